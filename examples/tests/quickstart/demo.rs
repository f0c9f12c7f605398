//! A folder of pipelines of its own, and a running `quickstart`.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use fastflow_core::{Clock as _, SystemClock, testing::tool};
use rustix::process::{Pid, Signal, kill_process};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Says that it has begun, and ends when it may. `{root}` is the folder of the demo.
pub(crate) const WAITS: &str = r"
import os, pathlib, time
root = pathlib.Path('{root}')
with open(root / 'starts', 'a') as starts:
    starts.write('started\n')
(root / 'pid').write_text(str(os.getpid()))
print('begun', flush=True)
for _ in range(6000):
    if (root / 'go').exists():
        break
    time.sleep(0.01)
print('done')
";

/// Says that it has begun, and does not end when asked to.
pub(crate) const STUBBORN: &str = r"
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path('{root}', 'pid').write_text(str(os.getpid()))
print('begun', flush=True)
time.sleep(60)
";

/// A folder with pipelines, their data, and whatever they leave.
pub(crate) struct Demo {
    root: tempfile::TempDir,
    uv: PathBuf,
}

impl Demo {
    /// None where there is no uv to make environments with, after having said so.
    pub(crate) fn new() -> Option<Self> {
        let Some(uv) = tool::uv() else {
            tool::require("uv", "there is none: run tools/setup-uv");
            return None;
        };
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("pipelines")).unwrap();
        Some(Self { root, uv })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn pipeline(&self, name: &str, program: &str) {
        let folder = self.path("pipelines").join(name);
        fs::create_dir(&folder).unwrap();
        let root = self.root.path().to_str().unwrap();
        fs::write(folder.join("main.py"), program.replace("{root}", root)).unwrap();
    }

    pub(crate) fn expect(&self, text: &str) {
        fs::write(self.path("pipelines/expected.toml"), text).unwrap();
    }

    pub(crate) fn start(&self, more: &[&str]) -> Running {
        let mut child = Command::new(program())
            .arg("--pipelines")
            .arg(self.path("pipelines"))
            .arg("--data")
            .arg(self.path("data"))
            .arg("--uv")
            .arg(&self.uv)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text = Arc::new(Mutex::new(Vec::new()));
        let readers = [
            read(child.stdout.take().unwrap(), Arc::clone(&text)),
            read(child.stderr.take().unwrap(), Arc::clone(&text)),
        ];
        Running { child, text, readers: readers.into() }
    }

    /// Whether the process lives that the program named.
    pub(crate) fn has_process(&self) -> bool {
        let pid = fs::read_to_string(self.path("pid")).unwrap();
        Path::new("/proc").join(pid).exists()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Environments are read-only, and only their owner can remove them.
        let _ = Command::new("chmod").arg("-R").arg("u+w").arg(self.root.path()).status();
    }
}

/// A running `quickstart`.
pub(crate) struct Running {
    child: Child,
    text: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

/// One that has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Running {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    pub(crate) fn wait_for(&mut self, text: &str, patience: Duration) {
        let clock = SystemClock::new();
        while !self.text().contains(text) {
            assert!(clock.elapsed() < patience, "{text:?} did not come: {}", self.text());
            assert_eq!(self.child.try_wait().unwrap(), None, "it has ended: {}", self.text());
            pause();
        }
    }

    pub(crate) fn interrupt(&self) {
        kill_process(self.pid(), Signal::INT).unwrap();
    }

    pub(crate) fn kill(mut self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn wait(mut self, patience: Duration) -> Ended {
        let clock = SystemClock::new();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if clock.elapsed() >= patience {
                self.child.kill().unwrap();
                panic!("it did not end: {}", self.text());
            }
            pause();
        };
        for reader in std::mem::take(&mut self.readers) {
            reader.join().unwrap();
        }
        Ended { code: status.code(), text: self.text() }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
fn pause() {
    std::thread::sleep(LOOK);
}

fn read(mut from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = from.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..bytes]);
        }
    })
}

/// Where cargo puts the examples of this package: beside the folder of the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/quickstart");
    assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
    program
}
