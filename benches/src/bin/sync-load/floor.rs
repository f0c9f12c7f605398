//! The least that git and the disk can do.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use fastflow_core::{Clock, Result, SystemClock};

use crate::place::{Place, Scheme, files};

/// A clone by the git program, with its files checked out, and flushed as snapshots are.
pub(crate) fn clone(place: &Place, scheme: Scheme, parent: &Path, name: &str) -> Result<Duration> {
    let url = place.url(scheme);
    let took = place.git(parent, &["clone", "--quiet", "--depth", "1", &url, name])?;
    Ok(took + flush(&parent.join(name))?)
}

/// The same clone, brought to what there is now.
pub(crate) fn update(place: &Place, clone: &Path) -> Result<Duration> {
    let fetched = place.git(clone, &["fetch", "--quiet", "--depth", "1", "origin", "main"])?;
    let checked_out = place.git(clone, &["reset", "--quiet", "--hard", "FETCH_HEAD"])?;
    Ok(fetched + checked_out + flush(clone)?)
}

/// Writes the files of these pipelines into `folder`, and flushes them.
pub(crate) fn write(folder: &Path, pipelines: std::ops::Range<u32>, version: u32) -> Result<Duration> {
    let contents: Vec<_> = pipelines.flat_map(|number| files(number, version)).collect();
    let clock = SystemClock::new();
    fs::create_dir(folder)?;
    for (path, content) in &contents {
        let path = folder.join(path);
        if let Some(parent) = path.parent()
            && !parent.is_dir()
        {
            fs::create_dir(parent)?;
        }
        fs::write(path, content)?;
    }
    flush(folder)?;
    Ok(clock.elapsed())
}

/// One flush of the file system.
fn flush(folder: &Path) -> Result<Duration> {
    let clock = SystemClock::new();
    rustix::fs::syncfs(File::open(folder)?).map_err(std::io::Error::from)?;
    Ok(clock.elapsed())
}
