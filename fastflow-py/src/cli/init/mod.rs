//! `fastflow init`.

mod template;

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use fastflow_core::{Error, ErrorKind, PipelineName};
use serde_json::json;

use self::template::{File, Template};
use super::{command::Context, exit::Exit, failed::Failed, place::Place};

/// What to make.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fastflow init hello\n  fastflow init report --template requirements\n\nNothing is ever \
                  overwritten."
)]
pub(crate) struct InitArgs {
    /// The name of the pipeline
    name: PipelineName,
    /// What it begins with
    #[arg(short, long, value_enum, default_value_t = Template::Minimal)]
    template: Template,
}

/// Makes it.
///
/// # Errors
///
/// `Invalid` for a name that no pipeline can have; `AlreadyExists` when there is one; `Denied`, `StorageFull` by the file system's word.
pub(crate) fn init(args: &InitArgs, context: &mut Context) -> Result<Exit, Failed> {
    if args.name.is_code() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "names that begin so are those of code that is in no source",
        )
        .with("pipeline", &args.name)
        .into());
    }
    let folder = Place::find(&context.global)?.pipelines;
    let made = make(&folder, &args.name, args.template)?;
    let out = &mut context.out;
    if out.is_json() {
        let files: Vec<_> = made.iter().map(|path| path.display().to_string()).collect();
        out.json(&json!({"pipeline": args.name.as_str(), "files": files}))?;
    } else {
        for path in &made {
            out.line(&path.display().to_string())?;
        }
        out.note(&format!("run it with `{}`", context.global.command(&format!("run {}", args.name))));
    }
    context.out.flush()?;
    Ok(Exit::SUCCESS)
}

fn make(folder: &Path, name: &PipelineName, template: Template) -> Result<Vec<PathBuf>, Error> {
    let (home, script) = (folder.join(name.as_str()), folder.join(format!("{name}.py")));
    for there in [&home, &script] {
        // Both would be pipelines of this name.
        if fs::symlink_metadata(there).is_ok() {
            return Err(Error::new(ErrorKind::AlreadyExists, "there is a pipeline of this name")
                .with("path", there.display()));
        }
    }
    fs::create_dir_all(folder).map_err(|error| at(error, folder))?;
    match template.files() {
        File::Script(text) => write(&script, text).map(|()| vec![script]),
        File::Folder(files) => {
            fs::create_dir(&home).map_err(|error| at(error, &home))?;
            let each = files.iter().map(|(name, text)| {
                let path = home.join(name);
                write(&path, text).map(|()| path)
            });
            each.collect()
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let file = fs::File::create_new(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| at(error, path))
}

fn at(error: io::Error, path: &Path) -> Error {
    Error::from(error).with("path", path.display())
}
