//! Being told that the shim has left an answer or an end in a folder.
//!
//! The shim renames its answers and its exit record into the run directory, and the kernel tells at once. One watch of
//! the kernel's serves all folders of an executor, for there are few of them; where it gives none, the folder is looked
//! at again and again.

use std::{
    collections::HashMap,
    ffi::CStr,
    fmt,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use fastflow_shim::layout;
use rustix::fs::inotify;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    task::AbortHandle,
};

use crate::Clock;

/// How often a folder is looked at of which nothing is heard: not every file system tells.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often, where the kernel gives no watch.
const BLIND_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Room for some events; what does not fit comes with the next read.
const EVENT_BYTES: usize = 16 * 1024;

/// Watches folders.
pub(super) struct FolderWatch {
    clock: Arc<dyn Clock>,
    shared: Mutex<Option<(Arc<Shared>, AbortHandle)>>,
}

struct Shared {
    kernel: AsyncFd<OwnedFd>,
    /// By the kernel's number for a folder. Two may watch the same.
    watched: Mutex<HashMap<i32, Weak<Notify>>>,
}

/// A folder that is watched until this is dropped.
pub(super) struct Watched {
    clock: Arc<dyn Clock>,
    told: Option<(Arc<Shared>, i32, Arc<Notify>)>,
}

impl FolderWatch {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, shared: Mutex::default() }
    }

    /// Begins to watch. What is there already is not told: look first, after this call.
    pub(super) fn folder(&self, path: &Path) -> Watched {
        Watched { clock: Arc::clone(&self.clock), told: self.begin(path) }
    }

    fn begin(&self, path: &Path) -> Option<(Arc<Shared>, i32, Arc<Notify>)> {
        let shared = self.shared()?;
        let events =
            inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::ONLYDIR;
        let mut watched = shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let number = inotify::add_watch(shared.kernel.get_ref(), path, events).ok()?;
        let notify = watched.get(&number).and_then(Weak::upgrade).unwrap_or_default();
        watched.insert(number, Arc::downgrade(&notify));
        drop(watched);
        Some((shared, number, notify))
    }

    /// The watch of the kernel's, and the task that listens to it, from the first use on.
    #[expect(unsafe_code, reason = "tokio cannot know that an owned descriptor stays open")]
    fn shared(&self) -> Option<Arc<Shared>> {
        let mut slot = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((shared, _)) = &*slot {
            return Some(Arc::clone(shared));
        }
        let kernel = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
        // SAFETY: the descriptor is open, and is moved in; nothing replaces or closes it before the watch is dropped.
        let kernel = unsafe { AsyncFd::register_with_interest(kernel, Interest::READABLE) }.ok()?;
        let shared = Arc::new(Shared { kernel, watched: Mutex::default() });
        let listener = tokio::spawn(listen(Arc::clone(&shared)));
        *slot = Some((Arc::clone(&shared), listener.abort_handle()));
        Some(shared)
    }
}

/// Whether a file of this name is waited for.
fn is_told(name: &CStr) -> bool {
    [layout::EXIT, layout::REPLY].iter().any(|told| name.to_bytes() == told.as_bytes())
}

/// Tells everybody what the kernel tells.
async fn listen(shared: Arc<Shared>) {
    // An error means that the runtime ends; folders are then looked at as if nothing was heard of them.
    while let Ok(mut guard) = shared.kernel.readable().await {
        let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
        let mut events = inotify::Reader::new(shared.kernel.get_ref(), &mut buffer);
        loop {
            match events.next() {
                Ok(event) if event.wd() < 0 || event.file_name().is_some_and(is_told) => {
                    shared.tell(event.wd());
                }
                // What a program makes there wakes nobody.
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        guard.clear_ready();
    }
}

impl Drop for FolderWatch {
    fn drop(&mut self) {
        let slot = self.shared.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, listener)) = slot.take() {
            listener.abort();
        }
    }
}

impl Shared {
    fn tell(&self, number: i32) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if number < 0 {
            // Some were lost: everybody looks.
            watched.values().filter_map(Weak::upgrade).for_each(|notify| notify.notify_waiters());
        } else if let Some(notify) = watched.get(&number).and_then(Weak::upgrade) {
            notify.notify_waiters();
        }
    }
}

impl Watched {
    /// Runs `look` until it finds something: at once, whenever there is something new, and now and then.
    pub(super) async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            // Before the look, so that nothing that comes after it is missed.
            let told = self.told.as_ref().map(|(_, _, notify)| notify.notified());
            if let Some(found) = look() {
                return found;
            }
            match told {
                Some(told) => tokio::select! {
                    () = told => {}
                    () = self.clock.sleep(LOOK_INTERVAL) => {}
                },
                None => self.clock.sleep(BLIND_LOOK_INTERVAL).await,
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some((shared, number, notify)) = self.told.take() else { return };
        let mut watched = shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
        drop(notify);
        if watched.get(&number).is_some_and(|other| other.strong_count() == 0) {
            watched.remove(&number);
            // The folder may be gone, and the watch with it.
            let _ = inotify::remove_watch(shared.kernel.get_ref(), number);
        }
    }
}

impl fmt::Debug for FolderWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderWatch").finish_non_exhaustive()
    }
}
