//! A helper as other threads see it. Its own work is in [`crate::worker`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::sync::Unparker;
use parking_lot::Mutex;
use rustix::process::Pid;

use crate::affinity;
use crate::path::Path;
use crate::request::LeaveRequest;
use crate::turn::Turn;
use crate::watcher::Watch;

pub(crate) struct Helper {
    pub(crate) id: u64,
    /// Its key among the sleepers in a namespace, when it was last one. Guarded by the idle set's lock.
    pub(crate) key: AtomicU64,
    /// Written by the helper itself only, after it has moved, and by the manager once its thread is gone.
    place: Mutex<Option<Place>>,
    /// When it was taken out of the idle set and counted as awake, in nanoseconds since the start; 0 once it has
    /// taken note of that.
    woken_at: AtomicU64,
    /// Before anything else it must leave, or see whether the path still leads where it is.
    check_requested: AtomicBool,
    /// The number of its thread while that is bound to its caller's processor, else 0.
    pub(crate) bound: AtomicI32,
    unparker: Unparker,
    pub(crate) turn: Turn,
    /// The path that it looks up where that may block: what the manager tries if it does.
    lookup: Mutex<Option<Arc<Path>>>,
    pub(crate) served: AtomicU64,
}

/// The namespace a helper is in, by the path that led there.
pub(crate) struct Place {
    pub(crate) path: Arc<Path>,
    pub(crate) since: Instant,
    /// Dropped when the helper has left, which tells those that wait for it.
    pub(crate) leave_requests: Vec<LeaveRequest>,
    /// From before the idle timeout begins to count, where that can be had.
    watch: Option<Watch>,
    /// It sleeps here, and the events say so.
    pub(crate) is_announced: bool,
}

impl Place {
    pub(crate) fn new(path: Arc<Path>) -> Self {
        Self {
            path,
            since: Instant::now(),
            leave_requests: Vec::new(),
            watch: None,
            is_announced: false,
        }
    }

    /// Returns whether a part of its ends, at least, is told.
    pub(crate) fn has_watch(&self) -> bool {
        self.watch.is_some()
    }

    /// Returns whether each end that can be seen is told.
    pub(crate) fn is_watched(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_whole)
    }

    /// Returns whether somebody waits for it to be left.
    pub(crate) fn must_be_left(&self) -> bool {
        !self.leave_requests.is_empty()
    }
}

impl Helper {
    pub(crate) fn new(id: u64, unparker: Unparker) -> Self {
        Self {
            id,
            key: AtomicU64::new(0),
            place: Mutex::default(),
            woken_at: AtomicU64::new(0),
            check_requested: AtomicBool::new(false),
            bound: AtomicI32::new(0),
            unparker,
            turn: Turn::default(),
            lookup: Mutex::default(),
            served: AtomicU64::new(0),
        }
    }

    /// Wakes it. Only for the thread that took it out of the idle set.
    pub(crate) fn wake(&self, now: Duration) {
        let now = (now.as_nanos() as u64).max(1);
        self.woken_at.store(now, Ordering::Release);
        self.unparker.unpark();
    }

    /// Returns whether it was woken, and has not taken note of it.
    pub(crate) fn is_woken(&self) -> bool {
        self.woken_at.load(Ordering::Acquire) != 0
    }

    /// Takes note of having been woken, and returns when that was. Only after its turn says that it is awake.
    pub(crate) fn note_woken(&self) -> Duration {
        Duration::from_nanos(self.woken_at.swap(0, Ordering::AcqRel))
    }

    /// Asks it to leave `path`; `false` if it is not there. `leave_request` is dropped when it has left.
    pub(crate) fn request_leave(&self, path: &Arc<Path>, leave_request: LeaveRequest) -> bool {
        let mut place = self.place.lock();
        match place.as_mut() {
            Some(place) if Arc::ptr_eq(&place.path, path) => {
                place.leave_requests.push(leave_request);
                self.request_check();
                true
            }
            _ => false,
        }
    }

    /// Fails the leave requests of a helper for which a stop does not wait.
    pub(crate) fn fail_leave_requests(&self) {
        if let Some(place) = self.place.lock().as_mut() {
            place
                .leave_requests
                .drain(..)
                .for_each(|leave| leave.fail());
        }
    }

    /// Asks it to see whether its path still leads where it is.
    pub(crate) fn request_check(&self) {
        self.check_requested.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_check_requested(&self) -> bool {
        self.check_requested.load(Ordering::SeqCst)
    }

    /// Takes note of what it was asked, and returns whether that was to leave the place where it is now.
    pub(crate) fn must_leave(&self) -> bool {
        // Under the lock under which leave requests are added, so that none comes between.
        let place = self.place.lock();
        self.check_requested.store(false, Ordering::SeqCst);
        place.as_ref().is_some_and(Place::must_be_left)
    }

    pub(crate) fn path(&self) -> Option<Arc<Path>> {
        self.with_place(|place| place.path.clone())
    }

    pub(crate) fn set_watch(&self, watch: Watch) {
        if let Some(place) = self.place.lock().as_mut() {
            place.watch = Some(watch);
        }
    }

    /// Notes that the events say where it sleeps; the path if that is new.
    pub(crate) fn announce(&self) -> Option<Arc<Path>> {
        let mut place = self.place.lock();
        let place = place.as_mut().filter(|place| !place.is_announced)?;
        place.is_announced = true;
        Some(place.path.clone())
    }

    pub(crate) fn with_place<R>(&self, f: impl FnOnce(&Place) -> R) -> Option<R> {
        self.place.lock().as_ref().map(f)
    }

    /// Notes the path that it is about to look up, where that may block.
    pub(crate) fn set_lookup(&self, path: Option<Arc<Path>>) {
        *self.lookup.lock() = path;
    }

    pub(crate) fn lookup(&self) -> Option<Arc<Path>> {
        self.lookup.lock().clone()
    }

    /// Says where it is now, and returns where it was.
    pub(crate) fn set_place(&self, place: Option<Place>) -> Option<Place> {
        if let Some(place) = &place {
            place.path.inside.fetch_add(1, Ordering::SeqCst);
        }
        let before = std::mem::replace(&mut *self.place.lock(), place);
        if let Some(before) = &before {
            before.path.inside.fetch_sub(1, Ordering::SeqCst);
        }
        before
    }

    /// Returns whether it is bound to one processor.
    pub(crate) fn is_bound(&self) -> bool {
        self.bound.load(Ordering::SeqCst) != 0
    }

    /// Lets it run wherever the process may.
    pub(crate) fn unbind(&self) {
        if let Some(thread) = Pid::from_raw(self.bound.swap(0, Ordering::SeqCst)) {
            affinity::run_anywhere(Some(thread));
        }
    }
}
