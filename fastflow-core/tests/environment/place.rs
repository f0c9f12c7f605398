//! Another place than this machine, without any engine: tools run as another user in a mount namespace of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use fastflow_core::{
    SystemClock,
    environment::{HostWorkbench, SetupLog, ToolCall, ToolEnd, ToolFailure, Workbench},
    testing::tool,
};

use crate::lab::Lab;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/environment/place.sh");

/// A place in which a tool sees nothing of the laboratory but what its call names.
#[derive(Debug)]
pub(crate) struct Place {
    identity: String,
    here: HostWorkbench,
    root: PathBuf,
    uv: PathBuf,
    /// What the place has of itself, to be read.
    has: Vec<PathBuf>,
    /// Where it looks for programs.
    path: String,
    nothing: BTreeMap<String, String>,
    seen: Mutex<Vec<Seen>>,
}

/// What a tool was called with.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) args: String,
    pub(crate) directory: PathBuf,
    pub(crate) writes: BTreeSet<PathBuf>,
}

impl Place {
    /// A place that is called `identity` and has the packages of `lab`. None where there can be none, after having
    /// said so.
    pub(crate) fn new(lab: &Lab, identity: &str) -> Option<Self> {
        let tried =
            Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            tool::require(
                "mount",
                "run the tests as root, so that they can mount in a namespace of their own",
            );
            return None;
        }
        Some(Self {
            identity: identity.to_owned(),
            here: HostWorkbench::new(Arc::new(SystemClock::new())),
            root: lab.root.path().to_owned(),
            uv: tool::uv()?,
            has: vec![lab.wheels()],
            path: "/mnt/bin:/usr/local/bin:/usr/bin:/bin".to_owned(),
            nothing: BTreeMap::new(),
            seen: Mutex::default(),
        })
    }

    /// The same without any Python.
    pub(crate) fn without_python(mut self) -> Self {
        "/mnt/bin".clone_into(&mut self.path);
        self
    }

    /// The same with another uv, and something more that the place has of itself.
    pub(crate) fn with_uv(mut self, uv: PathBuf, has: PathBuf) -> Self {
        self.uv = uv;
        self.has.push(has);
        self
    }

    /// The calls so far that have `word` among their arguments.
    pub(crate) fn calls(&self, word: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|call| call.args.contains(word)).cloned().collect()
    }

    fn note(&self, call: &ToolCall) {
        let args: Vec<_> = call.args.iter().map(|argument| argument.to_string_lossy()).collect();
        let (directory, writes) = (call.directory.clone(), call.writes.iter().cloned().collect());
        let seen = Seen { args: args.join(" "), directory, writes };
        self.seen.lock().unwrap().push(seen);
    }

    /// Each path once, those above others first.
    fn grants(&self, call: &ToolCall) -> BTreeMap<PathBuf, &'static str> {
        let read = call.reads.iter().chain(&self.has).chain([&call.directory]);
        let mut grants: BTreeMap<_, _> = read.map(|path| (path.clone(), "ro")).collect();
        grants.extend(call.writes.iter().map(|path| (path.clone(), "rw")));
        assert!(grants.keys().all(|path| path.starts_with(&self.root) && path != &self.root), "{grants:?}");
        grants
    }
}

#[async_trait]
impl Workbench for Place {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn is_this_machine(&self) -> bool {
        false
    }

    fn base_env(&self) -> &BTreeMap<String, String> {
        &self.nothing
    }

    async fn run(&self, mut call: ToolCall, log: &dyn SetupLog) -> Result<ToolEnd, ToolFailure> {
        self.note(&call);
        let mut args: Vec<OsString> =
            ["--mount", "--pid", "--fork", "--kill-child", "sh", SCRIPT].map(Into::into).into();
        args.extend([&self.root, &self.uv, &call.directory].map(|path| path.clone().into_os_string()));
        for (path, access) in self.grants(&call) {
            args.extend([access.into(), path.into_os_string()]);
        }
        args.extend(["--", "env"].map(Into::into));
        args.push(format!("PATH={}", self.path).into());
        args.extend(["HOME=/mnt/tmp", "TMPDIR=/mnt/tmp"].map(Into::into));
        args.push(call.program.into_os_string());
        args.append(&mut call.args);
        let call = ToolCall { program: "unshare".into(), args, directory: Path::new("/").to_owned(), ..call };
        self.here.run(call, log).await
    }
}
