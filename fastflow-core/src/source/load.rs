//! From a snapshot to a pipeline.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::Path,
};

use crate::{
    Error, PipelineName, Result,
    pipeline::{Diagnostic, MAX_FILE_BYTES, Pipeline, PipelineKind, PipelineTexts, Position},
};

/// The largest script that is looked into for its metadata: 16 MiB.
const MAX_SCRIPT_BYTES: usize = 16 << 20;
/// Names that must be files where they are there at all.
const FILES: &[&str] = &[
    "main.py",
    "main.ipynb",
    "pipeline.json",
    "pyproject.toml",
    "uv.lock",
    "pylock.toml",
    "requirements.txt",
    "requirements.txt.lock",
];

/// Reads the pipeline that `folder` holds. `script` is the file to run when it is not `main.py`.
///
/// The outer error means that the snapshot itself cannot be read.
pub(super) fn load(
    folder: &Path,
    name: &PipelineName,
    script: Option<&str>,
) -> Result<Result<Pipeline, Vec<Diagnostic>>> {
    let mut findings = Vec::new();
    let files = files(folder, &mut findings)?;
    let script_name = script.unwrap_or(PipelineKind::Script.entry());
    let named = format!("{name}.json");
    // A single file has no folder of its own in which a manifest could lie.
    let manifest_name = ["pipeline.json", &named].into_iter().find(|file| files.contains(*file));
    let mut text = |file: &str, max| read(folder, file, max, &mut findings);
    let script_text = if files.contains(script_name) {
        text(script_name, MAX_SCRIPT_BYTES)?.map(|bytes| decode_script(&bytes))
    } else {
        None
    };
    let mut strict = |file: &str, max| -> Result<Option<String>> {
        let bytes = read(folder, file, max, &mut findings)?;
        Ok(bytes.and_then(|bytes| decode(file, bytes, &mut findings)))
    };
    // One byte more than the parser takes, so that it is the parser who says what the limit is.
    let manifest_text = manifest_name.map(|file| strict(file, MAX_FILE_BYTES + 1)).transpose()?.flatten();
    let project_text =
        if files.contains("pyproject.toml") { strict("pyproject.toml", MAX_FILE_BYTES)? } else { None };
    let texts = PipelineTexts {
        script: script_text.as_deref().map(|text| (script_name, text)),
        manifest: manifest_name.zip(manifest_text.as_deref()),
        project: project_text.as_deref().map(|text| ("pyproject.toml", text)),
        files,
    };
    let pipeline = texts.assemble(name.clone());
    if findings.is_empty() {
        return Ok(pipeline);
    }
    // What could not be read is why something else seems to be missing.
    let also = pipeline.err().unwrap_or_default().into_iter().filter(|found| found.position.is_some());
    findings.extend(also);
    Ok(Err(findings))
}

/// The names of the files at the top; names that should be files and are not are findings.
fn files(folder: &Path, findings: &mut Vec<Diagnostic>) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(error, folder))? {
        let entry = entry.map_err(|error| failed(error, folder))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Through links: they stay inside, or there would be no snapshot.
        match fs::metadata(entry.path()) {
            Ok(meta) if meta.is_file() => {
                files.insert(name);
            }
            Ok(_) if FILES.contains(&name.as_str()) => {
                findings.push(Diagnostic::error(name, "", "found a folder, expected a file"));
            }
            Err(_) if FILES.contains(&name.as_str()) => {
                findings.push(Diagnostic::error(name, "", "found a link to nothing, expected a file"));
            }
            _ => {}
        }
    }
    Ok(files)
}

fn read(folder: &Path, name: &str, max: usize, findings: &mut Vec<Diagnostic>) -> Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    File::open(&path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| failed(error, &path))?;
    if bytes.len() > max {
        findings.push(Diagnostic::error(
            name,
            "",
            format!("found more than {max} bytes, expected at most that"),
        ));
        return Ok(None);
    }
    Ok(Some(bytes))
}

/// Python reads other encodings, too; the metadata is ASCII in all of them.
fn decode_script(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()
}

fn decode(name: &str, bytes: Vec<u8>, findings: &mut Vec<Diagnostic>) -> Option<String> {
    String::from_utf8(bytes)
        .map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..good]);
            let message = "found a byte that is not UTF-8; save the file as UTF-8";
            findings.push(Diagnostic::error(name, "", message).at(Position::at(&text, good)));
        })
        .ok()
}

fn failed(error: std::io::Error, path: &Path) -> Error {
    Error::from(error).with("path", path.display())
}
