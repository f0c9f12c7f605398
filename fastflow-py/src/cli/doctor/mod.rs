//! `fastflow doctor`.

mod check;
mod engines;
mod files;
mod machine;
mod store;
mod tools;

use anstyle::AnsiColor;
use serde_json::json;

use self::check::{Check, Level};
use super::{command::Context, exit::Exit, failed::Failed, output::Output, place::Place, text};

/// Looks at everything, and says what is wrong and what to do.
///
/// # Errors
///
/// When that cannot be written.
pub(crate) async fn doctor(context: &mut Context) -> Result<Exit, Failed> {
    let place = Place::find(&context.global)?;
    let mut checks = vec![files::data_dir(&place), files::disk(&place), files::pipelines(&place)];
    checks.extend(store::store(context, &place).await);
    checks.push(tools::uv(context).await);
    checks.push(tools::python(context));
    checks.extend(machine::process_executor(&place).await);
    checks.extend(engines::engines().await);
    checks.push(machine::clock());
    let is_well = !checks.iter().any(|check| check.level == Level::Fail);
    tell(&checks, &mut context.out)?;
    Ok(if is_well { Exit::SUCCESS } else { Exit::FAILURE })
}

fn tell(checks: &[Check], out: &mut Output) -> std::io::Result<()> {
    if out.is_json() {
        let value = |check: &Check| {
            json!({
                "name": check.name, "level": check.level.name(), "message": check.message, "help": check.help,
            })
        };
        out.json(&checks.iter().map(value).collect())?;
    } else {
        for check in checks {
            let style = out.style(colour(check.level).on_default().bold());
            let (name, said) = (check.name, text::plain(&check.message));
            out.line(&format!("{style}{:4}{style:#}  {name:17} {said}", check.level.name()))?;
            if let Some(help) = &check.help {
                out.line(&format!("{:24}{}", "", text::plain(help)))?;
            }
        }
    }
    out.flush()
}

fn colour(level: Level) -> AnsiColor {
    match level {
        Level::Ok => AnsiColor::Green,
        Level::Warn => AnsiColor::Yellow,
        Level::Fail => AnsiColor::Red,
    }
}
