//! Which run is meant.

use std::num::NonZeroU32;

use fastflow_core::{Error, ErrorKind, Orchestrator, PipelineName, RunId, run::Run, store::RunQuery};

/// The newest run.
const LATEST: &str = "latest";
/// The fewest characters of an id that can mean one.
const MIN_PART_CHARS: usize = 4;
/// How many runs are looked at for a part of an id: the newest ones.
const MAX_LOOKED_AT: usize = 20_000;
/// How many of those that are meant are named.
const MAX_NAMED: usize = 5;

/// The run that `text` means: an id, the beginning or the end of one, `latest`, or `PIPELINE@latest`.
///
/// # Errors
///
/// `NotFound`; `Invalid` for what means several, or can mean none.
pub(crate) async fn find(flow: &Orchestrator, text: &str) -> Result<Run, Error> {
    if let Ok(id) = text.parse::<RunId>() {
        return flow.runs().get(id).await;
    }
    if let Some(pipeline) = text
        .strip_suffix(LATEST)
        .and_then(|before| before.strip_suffix('@').or_else(|| before.is_empty().then_some("")))
    {
        return latest(flow, pipeline).await;
    }
    let part = text.to_ascii_lowercase();
    let is_part = part.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if !is_part || part.len() < MIN_PART_CHARS {
        return Err(Error::new(
            ErrorKind::Invalid,
            "this is no run: give an id, four or more characters of its beginning or end, `latest`, or \
             PIPELINE@latest",
        )
        .with("found", text));
    }
    let mut found = matching(flow, &part).await?;
    match found.len() {
        0 => {
            Err(Error::new(ErrorKind::NotFound, "no run has an id that begins or ends so")
                .with("found", text))
        }
        1 => Ok(found.swap_remove(0)),
        _ => {
            let named: Vec<_> = found.iter().take(MAX_NAMED).map(|run| run.id.to_string()).collect();
            Err(Error::new(ErrorKind::Invalid, "several runs have an id that begins or ends so")
                .with("found", text)
                .with("runs", named.join(", ")))
        }
    }
}

async fn latest(flow: &Orchestrator, pipeline: &str) -> Result<Run, Error> {
    let mut query = RunQuery::default();
    query.limit = Some(NonZeroU32::MIN);
    if !pipeline.is_empty() {
        // Somebody who misspells a name hears so, and not that it never ran.
        let name: PipelineName = pipeline.parse()?;
        query.pipeline = Some(name.clone());
        if let Some(run) = flow.runs().list(&query).await?.items.pop() {
            return Ok(run);
        }
        flow.pipelines().get(&name).await?;
        return Err(
            Error::new(ErrorKind::NotFound, "this pipeline has not run yet").with("pipeline", pipeline)
        );
    }
    let newest = flow.runs().list(&query).await?.items.pop();
    newest.ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing has run here yet"))
}

async fn matching(flow: &Orchestrator, part: &str) -> Result<Vec<Run>, Error> {
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let mut query = RunQuery::default();
    query.limit = NonZeroU32::new(RunQuery::MAX_LIMIT);
    loop {
        let page = flow.runs().list(&query).await?;
        looked_at += page.items.len();
        found.extend(page.items.into_iter().filter(|run| {
            let id = run.id.to_string();
            id.starts_with(part) || id.ends_with(part)
        }));
        query.before = page.next;
        if query.before.is_none() || looked_at >= MAX_LOOKED_AT {
            return Ok(found);
        }
    }
}
