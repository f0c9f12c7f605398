//! The programs that are needed.

use std::{path::Path, process::Stdio, time::Duration};

use fastflow_core::{Clock as _, SystemClock};
use tokio::process::Command;

use super::{super::command::Context, check::Check};

/// How long a program may take to say its version.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Whether there is a uv.
pub(super) async fn uv(context: &Context) -> Check {
    const NAME: &str = "uv";
    const HELP: &str = "`pip install uv`, or name another with --uv FILE";
    let given = context.global.uv.as_deref().or(context.surroundings.uv.as_deref());
    let path = given.unwrap_or(Path::new("uv"));
    match version(path).await {
        Ok(version) => Check::ok(NAME, format!("{version}, {}", path.display())),
        Err(why) => Check::fail(NAME, format!("{}: {why}", path.display()), HELP),
    }
}

async fn version(path: &Path) -> Result<String, String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let clock = SystemClock::new();
    let ended = tokio::select! {
        ended = command.output() => ended.map_err(|error| error.to_string())?,
        () = clock.sleep(ANSWER_LIMIT) => return Err("it does not answer".to_owned()),
    };
    if !ended.status.success() {
        return Err(format!("it ends with {}", ended.status));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}

/// Which Python this is.
pub(super) fn python(context: &Context) -> Check {
    Check::ok("python", &context.surroundings.python)
}
