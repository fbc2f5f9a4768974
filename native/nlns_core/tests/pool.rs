//! The pool's own promises, each by its effect.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use nlns_core::{Config, Error, Reply, Socket, Spec, Stage, State};

use support::netns::{Directory, Process, cookie, oracle, remove};
use support::{Answer, CONFIG, PATIENCE, Running, descriptors, eventually, skipped, threads};

/// Tests count the process's threads and descriptors, so they run one at a time.
static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

const FOREVER: Config = Config {
    linger: None,
    ..CONFIG
};

#[test]
fn helpers_stay_where_they_are_used_and_leave_when_they_have_lingered() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let paths = [names.make("a"), names.make("b")];
    let linger = Some(Duration::from_millis(100));
    let pool = Running::start(Config { linger, ..CONFIG });
    // A helper that is still awake serves the next path itself, so not necessarily at first.
    eventually("one in each", || {
        for path in &paths {
            assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
        }
        pool.pinned() == 2
    });
    eventually("left", || pool.pinned() == 0);
    eventually("ended but for one", || threads("nlns-helper") == 1);
}

/// Opens, and gives the helper time to settle there: before it does, it looks by itself.
fn settle(pool: &Running, path: &std::path::Path) {
    pool.open(path, 0).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(pool.pinned(), 1);
}

#[test]
fn a_deleted_name_is_left_at_once_and_a_dead_process_too() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(FOREVER);
    settle(&pool, &path);
    remove(&path);
    eventually("left the deleted", || pool.pinned() == 0);

    let process = Process::start();
    settle(&pool, &process.path());
    drop(process);
    eventually("left the dead", || pool.pinned() == 0);
}

#[test]
fn a_dead_process_is_left_by_whatever_path_to_a_procfs_it_was_reached() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let mounted = names.mount_procfs("proc");
    let link = names.0.join("link");
    let pool = Running::start(FOREVER);
    for procfs in ["//proc", "/proc/.", "/proc/self/root/proc", &mounted] {
        let process = Process::start();
        let path = PathBuf::from(format!("{procfs}/{}/ns/net", process.id()));
        settle(&pool, &path);
        std::os::unix::fs::symlink(&path, &link).unwrap();
        pool.open(&link, 0).unwrap();
        drop(process);
        eventually(procfs, || pool.pinned() == 0);
        std::fs::remove_file(&link).unwrap();
    }
}

#[test]
fn a_dead_process_of_another_pid_namespace_is_left_too() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let Some(process) = Process::start_first(&names, "proc") else {
        return skipped("no procfs of another pid namespace can be mounted here");
    };
    let pool = Running::start(FOREVER);
    settle(&pool, &names.0.join("proc/1/ns/net"));
    drop(process);
    eventually("left", || pool.pinned() == 0);
}

#[test]
fn what_a_link_leads_to_is_left_at_once_too() {
    let _alone = ALONE.lock();
    let (names, links) = (Directory::new(), Directory::new());
    let pool = Running::start(FOREVER);
    let link = |name: &str, target: &Path| {
        let link = links.0.join(name);
        std::os::unix::fs::symlink(target, &link).unwrap();
        pool.open(&link, 0).unwrap();
        // One that has not settled yet sees for itself.
        std::thread::sleep(Duration::from_millis(20));
        assert_ne!(pool.pinned(), 0);
    };
    let path = names.make("a");
    link("a", &path);
    link("link", Path::new("a"));
    remove(&path);
    eventually("left the deleted", || pool.pinned() == 0);

    // As `ip netns` is shown a container, and a file as the container sees it.
    let process = Process::start();
    let proc = PathBuf::from(format!("/proc/{}", process.id()));
    link("process", &proc.join("ns/net"));
    drop(process);
    eventually("left the dead", || pool.pinned() == 0);

    let process = Process::start();
    let proc = PathBuf::from(format!("/proc/{}", process.id()));
    let path = names.make("b");
    link(
        "seen",
        &proc.join("root").join(path.strip_prefix("/").unwrap()),
    );
    drop(process);
    eventually("left what nobody sees", || pool.pinned() == 0);
}

#[test]
fn a_deleted_name_is_left_by_all_who_came_by_another_path_to_it() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(FOREVER);
    let spellings = [path.clone(), names.0.join(".//a")];
    eventually("two in it", || {
        for path in &spellings {
            pool.open(path, 0).unwrap();
            // One that sleeps does not serve the other path.
            std::thread::sleep(Duration::from_millis(15));
        }
        pool.pinned() == 2
    });
    remove(&path);
    eventually("left", || pool.pinned() == 0);
}

#[test]
fn requests_that_fail_elsewhere_hold_no_namespace() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(Config {
        max_helpers: 1,
        ..CONFIG
    });
    pool.open(&path, 0).unwrap();
    let missing = names.0.join("missing");
    eventually("left", || {
        assert!(pool.open(&missing, 0).is_err());
        pool.pinned() == 0
    });
}

#[test]
fn a_renamed_name_is_left_at_once() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let link = names.0.join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let pool = Running::start(FOREVER);
    settle(&pool, &link);
    std::fs::rename(&link, names.0.join("other")).unwrap();
    eventually("left", || pool.pinned() == 0);
}

#[test]
fn released_is_said_when_nobody_is_there_and_what_waited_was_served() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(FOREVER);
    let answers: Vec<_> = (0..500).map(|_| pool.ask(&path, 0).unwrap()).collect();
    pool.release(&path);
    assert_eq!(pool.pinned(), 0);
    assert!(
        answers
            .iter()
            .all(|answer| answer.try_recv().unwrap().is_ok())
    );
    pool.release(&path);
}

#[test]
fn a_release_finds_a_helper_that_sleeps() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(FOREVER);
    settle(&pool, &path);
    pool.release(&path);
    assert_eq!(pool.pinned(), 0);
}

#[test]
fn what_a_stopped_pool_does_not_release_is_not_announced() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(FOREVER);
    settle(&pool, &path);
    pool.stop();
    // The submitting thread may be a scheduler, which must not send.
    let said = Arc::new(AtomicUsize::new(0));
    let saying = said.clone();
    let released = Box::new(move |_| _ = saying.fetch_add(1, Ordering::SeqCst));
    let path = path.as_os_str().as_encoded_bytes();
    assert_eq!(pool.0.release(path, released), Err(Error::STOPPED));
    assert_eq!(said.load(Ordering::SeqCst), 0);
}

#[test]
fn more_paths_than_helpers_take_turns() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let paths: Vec<_> = (0..12).map(|n| names.make(&n.to_string())).collect();
    let max_helpers = 2;
    let pool = Running::start(Config {
        max_helpers,
        ..FOREVER
    });
    for _ in 0..20 {
        pool.assert_each_is_served(&paths);
        assert!(threads("nlns-helper") <= max_helpers);
    }
    assert!(pool.pinned() <= max_helpers);
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let _alone = ALONE.lock();
    struct Numbered(usize, Sender<usize>);
    impl Reply for Numbered {
        fn is_wanted(&self) -> bool {
            true
        }
        fn answer(self: Box<Self>, result: Result<Socket, Error>) {
            result.unwrap();
            self.1.send(self.0).unwrap();
        }
    }
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(CONFIG);
    let (sender, answers) = unbounded();
    for n in 0..2_000 {
        let reply = Box::new(Numbered(n, sender.clone()));
        let path = path.as_os_str().as_encoded_bytes();
        pool.0.open(path, Spec::netlink(0), reply).unwrap();
    }
    for n in 0..2_000 {
        assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), n);
    }
}

/// Answers that make the helper panic, or hold it until told otherwise.
struct Rude(Box<dyn FnOnce() + Send>);

impl Reply for Rude {
    fn is_wanted(&self) -> bool {
        true
    }
    fn answer(self: Box<Self>, _result: Result<Socket, Error>) {
        (self.0)();
    }
}

impl Running {
    fn ask_rudely(&self, path: &std::path::Path, f: impl FnOnce() + Send + 'static) {
        let path = path.as_os_str().as_encoded_bytes();
        let reply = Box::new(Rude(Box::new(f)));
        self.0.open(path, Spec::netlink(0), reply).unwrap();
    }

    /// Asks, once, from wherever that is called.
    fn asking(
        &self,
        path: &Path,
    ) -> impl FnOnce() -> Receiver<Result<Socket, Error>> + Send + use<> {
        let (pool, path) = (self.0.clone(), path.as_os_str().as_encoded_bytes().to_vec());
        let (reply, answer) = Answer::new();
        move || {
            pool.open(&path, Spec::netlink(0), reply).unwrap();
            answer
        }
    }
}

#[test]
fn a_helper_that_panics_takes_nothing_with_it() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (path, other) = (names.make("a"), names.make("b"));
    let pool = Running::start(CONFIG);
    pool.open(&path, 0).unwrap();
    let before = descriptors();
    for _ in 0..20 {
        pool.ask_rudely(&path, || panic!("a panic that belongs to this test"));
        let behind = pool.ask(&path, 0).unwrap();
        assert!(pool.open(&other, 0).is_ok());
        assert!(behind.recv_timeout(PATIENCE).unwrap().is_ok());
    }
    eventually("counted", || pool.0.info().died == 20);
    pool.release(&path);
    pool.release(&other);
    eventually("closed", || descriptors() <= before);
}

#[test]
fn what_came_behind_a_request_that_kills_its_helper_is_served() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(FOREVER);
    for died in 1..=5 {
        // Settled, so that the keeper does not look by itself. For what comes behind nobody is called.
        settle(&pool, &path);
        let (ask_again, answer) = (pool.asking(&path), bounded(1));
        pool.ask_rudely(&path, move || {
            answer.0.send(ask_again()).unwrap();
            panic!("a panic that belongs to this test");
        });
        let behind = answer.1.recv_timeout(PATIENCE).unwrap();
        assert!(behind.recv_timeout(PATIENCE).unwrap().is_ok());
        eventually("counted", || pool.0.info().died == died);
    }
}

#[test]
fn a_request_made_after_the_look_waits_for_the_next_one() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (path, other) = (names.make("a"), names.make("b"));
    let (link, new) = (names.0.join("link"), names.0.join("new"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let pool = Running::start(FOREVER);
    let (there, arrived) = bounded(1);
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&link, move || {
        there.send(()).unwrap();
        held.recv().unwrap_or_default();
    });
    arrived.recv_timeout(PATIENCE).unwrap();
    std::os::unix::fs::symlink(&other, &new).unwrap();
    std::fs::rename(&new, &link).unwrap();
    let answer = pool.ask(&link, 0).unwrap();
    drop(let_go);
    let answer = answer.recv_timeout(PATIENCE).unwrap();
    assert_eq!(answer.map(cookie), oracle(&other, 0));
}

#[test]
fn who_asks_again_on_being_refused_is_not_refused_in_the_same_breath() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (sick, well) = (names.make("a"), names.make("b"));
    let max_helpers = 1;
    let pool = Running::start(Config {
        max_helpers,
        ..CONFIG
    });
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&sick, move || held.recv().unwrap_or_default());
    let (ask_again, answer, info) = (pool.asking(&well), bounded(1), pool.0.clone());
    pool.ask_rudely(&well, move || {
        answer.0.send(ask_again()).unwrap();
        drop(let_go);
        eventually("it is back", || {
            info.info().helpers.iter().all(|h| h.state != State::Stuck)
        });
    });
    let again = answer.1.recv_timeout(PATIENCE).unwrap();
    assert!(again.recv_timeout(PATIENCE).unwrap().is_ok());
    assert_eq!(pool.0.info().refused, 1);
}

#[test]
fn a_helper_that_is_stuck_holds_up_its_own_path_only() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (sick, well) = (names.make("a"), names.make("b"));
    let max_helpers = 2;
    let pool = Running::start(Config {
        max_helpers,
        max_queue: 3,
        ..CONFIG
    });
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&sick, move || held.recv().unwrap_or_default());
    for _ in 0..100 {
        assert!(pool.open(&well, 0).is_ok());
    }
    let stuck = |h: &nlns_core::HelperInfo| h.state == State::Stuck;
    eventually("seen", || pool.0.info().helpers.iter().any(stuck));
    let waiting: Vec<_> = (0..3).map(|_| pool.ask(&sick, 0).unwrap()).collect();
    assert_eq!(pool.ask(&sick, 0).err(), Some(Error::BUSY));

    // With every helper stuck nothing can be served, and nothing waits for ever.
    let (let_go_too, held) = bounded::<()>(0);
    pool.ask_rudely(&well, move || held.recv().unwrap_or_default());
    let third = names.make("c");
    assert_eq!(pool.open(&third, 0).err(), Some(Error::BUSY));
    drop((let_go, let_go_too));
    for answer in waiting {
        assert!(answer.recv_timeout(PATIENCE).unwrap().is_ok());
    }
    assert!(pool.open(&third, 0).is_ok());
}

#[test]
fn releases_that_wait_are_bounded_and_in_nobodys_way() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let max_queue = 3;
    let pool = Running::start(Config {
        max_queue,
        ..CONFIG
    });
    let (there, arrived) = bounded(1);
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&path, move || {
        there.send(()).unwrap();
        held.recv().unwrap_or_default();
    });
    arrived.recv_timeout(PATIENCE).unwrap();
    let (sender, said) = unbounded();
    let release = |n| {
        let sender = sender.clone();
        let released = Box::new(move |_| sender.send(n).unwrap());
        pool.0
            .release(path.as_os_str().as_encoded_bytes(), released)
    };
    for n in 0..max_queue {
        assert_eq!(release(n), Ok(true));
    }
    assert_eq!(release(max_queue), Err(Error::BUSY));
    let answers: Vec<_> = (0..max_queue)
        .map(|_| pool.ask(&path, 0).unwrap())
        .collect();
    assert_eq!(pool.ask(&path, 0).err(), Some(Error::BUSY));
    assert_eq!(pool.0.info().waiting, max_queue);
    drop(let_go);
    for n in 0..max_queue {
        assert_eq!(said.recv_timeout(PATIENCE), Ok(n));
    }
    for answer in answers {
        assert!(answer.recv_timeout(PATIENCE).unwrap().is_ok());
    }
    pool.release(&path);
    assert!(said.try_recv().is_err());
}

#[test]
fn a_path_behind_many_that_block_does_not_wait_for_one_after_the_other() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let sick: Vec<_> = (0..64).map(|n| names.make(&n.to_string())).collect();
    let well = names.make("well");
    let pool = Running::start(Config {
        max_helpers: 128,
        ..CONFIG
    });
    pool.open(&well, 0).unwrap();
    let (let_go, held) = bounded::<()>(0);
    for path in &sick {
        let held = held.clone();
        pool.ask_rudely(path, move || held.recv().unwrap_or_default());
    }
    let asked = Instant::now();
    pool.open(&well, 0).unwrap();
    // That a helper is blocked takes 10 ms to be seen.
    assert!(asked.elapsed() < Duration::from_millis(400));
    drop(let_go);
}

#[test]
fn what_is_refused_because_every_helper_is_stuck_is_counted() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (sick, well) = (names.make("a"), names.make("b"));
    let max_helpers = 1;
    let pool = Running::start(Config {
        max_helpers,
        ..CONFIG
    });
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&sick, move || held.recv().unwrap_or_default());
    let (given_up, answer) = Answer::new();
    given_up.wanted.store(false, Ordering::SeqCst);
    let path = well.as_os_str().as_encoded_bytes();
    pool.0.open(path, Spec::netlink(0), given_up).unwrap();
    for _ in 0..3 {
        assert_eq!(pool.open(&well, 0).err(), Some(Error::BUSY));
    }
    assert!(answer.recv_timeout(PATIENCE).is_err());
    let info = pool.0.info();
    assert_eq!((info.refused, info.cancelled), (3, 1));
    assert_eq!((info.opened, info.failed), (1, 0));
    drop(let_go);
}

#[test]
fn a_process_that_ends_before_its_turn_is_not_served_though_a_helper_is_there() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let other = names.make("a");
    let process = Process::start();
    let max_helpers = 1;
    let pool = Running::start(Config {
        max_helpers,
        ..FOREVER
    });
    // While the one helper is held, what is asked becomes one batch, for which it looks at the path once.
    let (begin, held) = bounded::<()>(0);
    pool.ask_rudely(&other, move || held.recv().unwrap_or_default());
    let (there, arrived) = bounded(1);
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&process.path(), move || {
        there.send(()).unwrap();
        held.recv().unwrap_or_default();
    });
    let answer = pool.ask_process(process.id(), 0).unwrap();
    drop(begin);
    arrived.recv_timeout(PATIENCE).unwrap();
    drop((process, let_go));
    let ended = Error {
        stage: Stage::Open,
        errno: libc::ENOENT,
    };
    assert_eq!(answer.recv_timeout(PATIENCE).unwrap().err(), Some(ended));
}

#[test]
fn what_nobody_wants_is_not_opened() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(CONFIG);
    let (reply, answer) = Answer::new();
    reply.wanted.store(false, Ordering::SeqCst);
    let bytes = path.as_os_str().as_encoded_bytes();
    pool.0.open(bytes, Spec::netlink(0), reply).unwrap();
    assert!(answer.recv_timeout(PATIENCE).is_err());
    eventually("counted", || pool.0.info().cancelled == 1);
    assert_eq!(pool.0.info().opened, 0);
}

#[test]
fn a_stop_answers_what_waits_and_leaves_no_thread_and_no_descriptor() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let paths: Vec<_> = (0..4).map(|n| names.make(&n.to_string())).collect();
    let before = descriptors();
    for _ in 0..10 {
        let pool = Running::start(FOREVER);
        let asked: Vec<_> = (0..4_000)
            .map(|n| pool.ask(&paths[n % paths.len()], 0).unwrap())
            .collect();
        assert_eq!(pool.stop(), 0);
        let mut stopped = 0;
        for answer in asked {
            match answer.try_recv().expect("every request is answered") {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error, Error::STOPPED);
                    stopped += 1;
                }
            }
        }
        println!("{stopped} of 4000 were answered by the stop");
        let info = pool.0.info();
        assert_eq!((info.opened, info.refused), (4_000 - stopped, stopped));
        assert_eq!(pool.ask(&paths[0], 0).err(), Some(Error::STOPPED));
        eventually("threads", || threads("nlns") == 0);
        drop(pool);
        // Fewer, where something of an earlier test was still being closed.
        eventually(&format!("{before} descriptors"), || descriptors() <= before);
    }
}

#[test]
fn a_thousand_callers_are_answered_once_each() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let paths: Arc<Vec<_>> = Arc::new((0..7).map(|n| names.make(&n.to_string())).collect());
    let pool = Arc::new(Running::start(CONFIG));
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..50)
        .map(|caller| {
            let (pool, paths, answered) = (pool.clone(), paths.clone(), answered.clone());
            std::thread::spawn(move || {
                for n in 0..100 {
                    let answer = pool.ask(&paths[(caller + n) % paths.len()], 0).unwrap();
                    answer.recv_timeout(PATIENCE).unwrap().unwrap();
                    // A second one would come before the sender is gone.
                    assert!(answer.recv_timeout(PATIENCE).is_err());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    assert_eq!(answered.load(Ordering::Relaxed), 5_000);
    assert_eq!(pool.0.info().opened, 5_000);
}
