//! Tools that make environments, each in a container of its own on the image that the environments are for.
//!
//! Such a container has the network and may write where it is told to. There is nothing in it that a pipeline could
//! want: no secret, and no other pipeline's files.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, lchown},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use fastflow_shim::{ExitRecord, Outcome, Reply, StopCause, layout, regular};

use super::{
    ContainerId, ContainerUser, ImageInfo,
    compose::{Blueprint, Kind, tool_order},
    launch::{Launched, clear, ended, launch},
    place::Place,
};
use crate::{
    Entropy as _, Error, ErrorKind, OsEntropy, OwnerId, Result,
    environment::{SetupLog, ToolCall, ToolEnd, ToolFailure, ToolStatus, Workbench},
    executor::{Limits, Network},
    journal::{Follower, Journal, LogLine, LogStream, Offset},
};

/// The most that a tool may answer on its standard output, which is where locks come from.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// The longest line that is passed on whole.
const MAX_LINE_BYTES: usize = 8 << 10;
/// How many of its last lines are kept.
const MAX_WORDS: usize = 400;
/// The largest exit record.
const MAX_EXIT_BYTES: u64 = 64 << 10;
/// Installing packages takes more processes than most pipelines have.
const MAX_PROCESSES: u32 = 1024;
/// Whose the containers of tools are: they belong to no attempt, so no list of attempts shows them.
const OWNER: &str = "tools";

/// An image as a place where environments are made.
#[derive(Debug)]
pub(super) struct ContainerWorkbench {
    place: Arc<Place>,
    image: ImageInfo,
    base_env: BTreeMap<String, String>,
}

impl ContainerWorkbench {
    pub(super) fn new(place: Arc<Place>, image: ImageInfo) -> Self {
        let mut base_env = image.env.clone();
        // Whoever a program runs as has no home in the image, and could not write there.
        base_env.insert("HOME".to_owned(), "/tmp".to_owned());
        Self { place, image, base_env }
    }

    /// Starts the tool, and does so to the end: the container of a start that nobody waits for would be made after it
    /// was to be removed.
    async fn launch(&self, tool: Arc<Tool>, call: ToolCall) -> Result<Launched> {
        let place = &self.place;
        place.give(&tool.run_dir).await?;
        let user = place.known().await?.user;
        for folder in &call.writes {
            give_folder(folder, user).map_err(|error| Error::from(error).with("path", folder.display()))?;
        }
        let mut env = self.base_env.clone();
        env.extend(call.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        let order = tool_order(&tool.name, &call, env)?;
        let mut reads = call.reads.clone();
        if !call.writes.contains(&call.directory) {
            reads.push(call.directory.clone());
        }
        let owner: OwnerId = OWNER.parse()?;
        let limits = Limits { max_processes: Some(MAX_PROCESSES), ..Limits::default() };
        let (place, image, writes) = (Arc::clone(place), self.image.clone(), call.writes);
        super::on_its_own(async move {
            let blueprint = Blueprint {
                name: &tool.name,
                kind: Kind::Tool,
                owner: &owner,
                labels: &[],
                image: &image,
                run_dir: &tool.run_dir,
                network: Network::Bridge,
                limits: &limits,
                reads: &reads,
                writes: &writes,
                order_wait: None,
            };
            launch(&place, &blueprint, order).await
        })
        .await
    }

    async fn listen(
        &self,
        tool: &Tool,
        launched: Launched,
        log: &dyn SetupLog,
    ) -> Result<ToolEnd, ToolFailure> {
        let unknown = || {
            let error = Error::new(ErrorKind::Unavailable, "a tool ended in its container without a record");
            ToolFailure::Place(error.with("container", &tool.name).with("image", &self.image.id))
        };
        match launched.reply {
            Some(Reply::Started { .. }) => {}
            Some(Reply::ExecFailed { errno, message }) => {
                return Err(ToolFailure::NotStarted(match errno {
                    Some(errno) => io::Error::from_raw_os_error(errno),
                    None => io::Error::other(message),
                }));
            }
            Some(Reply::Refused { .. } | Reply::BadOrder { .. }) | None => return Err(unknown()),
        }
        let exit = tool.run_dir.join(layout::EXIT);
        let over = finished(Arc::clone(&self.place), tool.run_dir.clone(), launched.id);
        let journal: Journal<LogLine> = Journal::new(tool.run_dir.join(layout::LOG));
        let mut follower = Follower::new(journal, Offset::START, Arc::clone(&self.place.clock), over);
        let mut heard = Heard::default();
        while let Some(batch) = follower.next_batch().await.map_err(ToolFailure::Place)? {
            batch.records.iter().try_for_each(|(_, line)| heard.take(line, log))?;
        }
        let record = regular::read(&exit, MAX_EXIT_BYTES).ok();
        let record: ExitRecord =
            record.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(unknown)?;
        if record.stopped_by == Some(StopCause::Timeout) {
            return Err(ToolFailure::TimedOut);
        }
        let status = match record.outcome {
            Outcome::Exited { code } => ToolStatus::Code(code),
            Outcome::Signaled { signal } => ToolStatus::Signal(signal),
            Outcome::ExecFailed { .. } => return Err(unknown()),
        };
        Ok(ToolEnd { status, answer: heard.answer, words: heard.words })
    }
}

#[async_trait]
impl Workbench for ContainerWorkbench {
    fn identity(&self) -> &str {
        &self.image.id
    }

    fn is_this_machine(&self) -> bool {
        false
    }

    fn base_env(&self) -> &BTreeMap<String, String> {
        &self.base_env
    }

    async fn run(&self, call: ToolCall, log: &dyn SetupLog) -> Result<ToolEnd, ToolFailure> {
        let tool = Arc::new(Tool::new(&self.place).map_err(ToolFailure::Place)?);
        let launched = self.launch(Arc::clone(&tool), call).await.map_err(ToolFailure::Place)?;
        self.listen(&tool, launched, log).await
    }
}

/// Removes what tools have left whose hosts are gone: containers, orders and folders.
pub(super) async fn sweep(place: &Place) -> Result<()> {
    for lock in locks(&tools_dir(place))? {
        // Whoever waits for a tool holds its lock, and cannot outlive that.
        let Ok(held) = File::open(&lock) else { continue };
        if held.try_lock().is_err() {
            continue;
        }
        let run_dir = lock.with_extension("");
        let name = run_dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        tracing::info!(container = name, "removing a tool whose host is gone");
        clear(place, &name).await?;
        remove_folder(&run_dir);
    }
    Ok(())
}

fn locks(folder: &Path) -> Result<Vec<PathBuf>> {
    let describe = |error: io::Error| Error::from(error).with("path", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(describe(error)),
    };
    let paths = entries.map(|entry| Ok(entry.map_err(describe)?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "lock")).collect())
}

/// A lock under its name is held already, for as long as its maker lives.
fn take_lock(run_dir: &Path) -> io::Result<File> {
    let aside = run_dir.with_extension("unheld");
    let lock = File::create(&aside)?;
    lock.lock()?;
    fs::rename(&aside, lock_of(run_dir))?;
    Ok(lock)
}

/// The lock beside a tool's folder, where the tool cannot reach it.
fn lock_of(run_dir: &Path) -> PathBuf {
    run_dir.with_extension("lock")
}

/// Last the lock: it is what leads to the rest.
fn remove_folder(run_dir: &Path) {
    let removed = match fs::remove_dir_all(run_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::remove_file(lock_of(run_dir)),
    };
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %run_dir.display(), %error, "the folder of a tool could not be removed");
    }
}

fn tools_dir(place: &Place) -> PathBuf {
    place.config.state_dir.join("tools")
}

/// Returns when the exit record is there, or the container is over without one.
async fn finished(place: Arc<Place>, run_dir: PathBuf, id: ContainerId) {
    let watched = place.watch.folder(&run_dir);
    let exit = run_dir.join(layout::EXIT);
    tokio::select! {
        () = watched.until(|| exit.exists().then_some(())) => {}
        _ = ended(&place, &id) => {}
    }
}

/// What a tool has said so far.
#[derive(Default)]
struct Heard {
    answer: Vec<u8>,
    words: Vec<String>,
    unfinished: String,
}

impl Heard {
    fn take(&mut self, line: &LogLine, log: &dyn SetupLog) -> Result<(), ToolFailure> {
        match line.stream {
            LogStream::Out => {
                self.answer.extend_from_slice(&line.bytes);
                if !line.continues {
                    self.answer.push(b'\n');
                }
                if self.answer.len() > MAX_ANSWER_BYTES {
                    return Err(ToolFailure::Endless(MAX_ANSWER_BYTES));
                }
            }
            LogStream::Err => {
                let text = line.text();
                let room = MAX_LINE_BYTES.saturating_sub(self.unfinished.len());
                self.unfinished.push_str(&text[..text.floor_char_boundary(room)]);
                if !line.continues {
                    let line = std::mem::take(&mut self.unfinished);
                    log.line(&line);
                    if self.words.len() == MAX_WORDS {
                        self.words.remove(0);
                    }
                    self.words.push(line);
                }
            }
            // What the shim has to say of itself is no tool's word.
            _ => {}
        }
        Ok(())
    }
}

/// A tool's container and folder, which end with this value, whoever drops it.
struct Tool {
    place: Arc<Place>,
    name: String,
    run_dir: PathBuf,
    /// Held for as long as somebody waits.
    lock: Option<File>,
}

impl Tool {
    fn new(place: &Arc<Place>) -> Result<Self> {
        let mut random = [0; 8];
        OsEntropy.fill(&mut random);
        let mut name = String::from("fastflow-tool-");
        // Writing into a String cannot fail.
        let _ = write!(name, "{:016x}", u64::from_be_bytes(random));
        let run_dir = tools_dir(place).join(&name);
        // First the lock: it leads to the rest.
        let lock = fs::create_dir_all(tools_dir(place)).and_then(|()| {
            let lock = take_lock(&run_dir)?;
            fs::create_dir(&run_dir)?;
            Ok(Some(lock))
        });
        let lock = lock.map_err(|error| Error::from(error).with("path", run_dir.display()))?;
        Ok(Self { place: Arc::clone(place), name, run_dir, lock })
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let (place, name, run_dir) = (Arc::clone(&self.place), self.name.clone(), self.run_dir.clone());
        let lock = self.lock.take();
        let clear = async move {
            match clear(&place, &name).await {
                Ok(()) => remove_folder(&run_dir),
                // The lock stays where it is, held by nobody: that is how the rest is found.
                Err(error) => {
                    tracing::warn!(
                        container = name,
                        error = error.chain(),
                        "a tool could not be removed yet"
                    );
                }
            }
            drop(lock);
        };
        // Without a runtime the process ends; what is left is removed with other leftovers.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(clear);
        }
    }
}

/// Gives a folder to the user of containers. What is in it was made by that user.
fn give_folder(path: &Path, user: ContainerUser) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let is_root = rustix::process::geteuid().is_root();
    if is_root && user.uid != 0 && (metadata.uid(), metadata.gid()) != (user.uid, user.gid) {
        lchown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}
