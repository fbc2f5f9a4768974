//! `{:pid, n}` is the process that has this number here, whatever procfs is mounted at `/proc`: the pid
//! namespace's own, that of the one or none.

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crossbeam_channel::bounded;
use nlns_core::{Error, NetnsKey, Pool, Spec, Stage};

use support::faults::{Faults, start};
use support::netns::{Process, cookie, in_fresh_thread, oracle, unshare_net};
use support::{FOREVER, Running, eventually, patience, settle_at_each, skipped};

/// What is done to `/proc` in a pid namespace of its own, before the tests of [`inside`] run there.
const OUTER: &str = ":";
const OWN: &str = "mount -t proc proc /proc";
/// (There may be several, one over the other, of which a user namespace cannot unmount each.)
const NONE: &str = "while umount -l /proc; do :; done 2>/dev/null; [ ! -e /proc/self ] || mount -t tmpfs none /proc";
const EMPTY: &str = "mount -t tmpfs none /proc";

/// Runs a test of [`inside`](mod@inside) as the first process of a pid namespace.
fn run(test: &str, proc: &str) {
    assert_passed(proc, &inside(test, proc).output().unwrap());
}

fn inside(test: &str, proc: &str) -> Command {
    let script = format!("{proc} || exit 99; exec \"$@\"");
    let itself = std::env::current_exe().unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--pid",
        "--mount",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        &script,
        "sh",
    ]);
    unshare.arg(itself);
    unshare.args([
        "--exact",
        &format!("inside::{test}"),
        "--ignored",
        "--nocapture",
    ]);
    unshare
}

fn assert_passed(proc: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let is_run = output.status.success() && said.contains("1 passed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        is_run,
        "with `{proc}`: {}\n{said}\n{complaints}",
        output.status
    );
}

#[test]
fn number_means_process_with_any_procfs() {
    for proc in [OUTER, OWN, NONE, EMPTY] {
        run("number_means_own_process", proc);
    }
}

#[test]
fn number_means_process_on_older_kernels() {
    for proc in [OUTER, OWN, NONE] {
        run("number_means_own_process_by_procfs", proc);
    }
}

#[test]
fn process_is_visited_without_own_procfs() {
    for proc in [OUTER, OWN, NONE] {
        run("number_means_own_process_by_visit", proc);
    }
}

#[test]
fn unproven_number_is_an_error() {
    run("number_is_not_proven", OUTER);
    run("nothing_is_found", NONE);
    run("own_proc_is_proof_enough", OWN);
}

#[test]
fn process_of_first_request_is_no_other() {
    run("process_asked_for_at_once", OWN);
}

/// The process elsewhere ends when a line is written to its input, which the one inside has for its own.
#[test]
fn number_of_process_elsewhere_is_unwatched() {
    let elsewhere = || {
        unshare_net();
        let mut reader = Command::new("sh");
        reader.args(["-c", "read line"]).stdin(Stdio::piped());
        reader.spawn().unwrap()
    };
    let mut elsewhere = in_fresh_thread(elsewhere);
    let input = elsewhere.stdin.take().unwrap();
    let mut inside = inside("process_elsewhere_is_left", OUTER);
    inside.env(ELSEWHERE, elsewhere.id().to_string());
    let output = inside.stdin(input).output();
    elsewhere.kill().unwrap();
    elsewhere.wait().unwrap();
    assert_passed(OUTER, &output.unwrap());
}

/// The number that the process elsewhere has in the pid namespace outside.
const ELSEWHERE: &str = "NLNS_TEST_ELSEWHERE";

const ENDED: Error = Error {
    stage: Stage::Open,
    errno: libc::ENOENT,
};

fn assert_numbers_mean_own_processes(pool: &Running) {
    let home = pool.open_process(std::process::id());
    let home = home.map(cookie).unwrap();
    assert!(release(pool, std::process::id()));
    let processes = [(); 2].map(|()| Process::start_with_cookie());
    for _ in 0..3 {
        for (process, there) in &processes {
            assert_ne!(*there, home);
            assert_eq!(pool.open_process(process.id()).map(cookie), Ok(*there));
        }
    }
    // What is at the path is another matter: its own queue, its own answer.
    let path = format!("/proc/{}/ns/net", processes[0].0.id());
    let path = Path::new(&path);
    assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
    pool.release(path);
    let keys = processes.each_ref().map(|process| {
        let id = process.0.id() as i32;
        NetnsKey::process(id).unwrap()
    });
    settle_at_each(pool, &keys);
    let [released, ended] = processes;
    assert!(release(pool, released.0.id()));
    let id = ended.0.id();
    drop(ended);
    eventually("left the dead", || pool.pinned() == 0);
    assert_eq!(pool.open_process(id).err(), Some(ENDED));
    assert_eq!(pool.open_process(id + 1_000).err(), Some(ENDED));
}

/// Releases a process, and waits until that is done; `false` if there was nothing to release.
fn release(pool: &Running, pid: u32) -> bool {
    let (done, left) = bounded(1);
    let told = Box::new(move |result| done.send(result).unwrap());
    let key = NetnsKey::process(pid as i32).unwrap();
    let is_pending = pool.0.release(key, told).unwrap();
    assert!(!is_pending || left.recv_timeout(patience()) == Ok(Ok(())));
    is_pending
}

/// Only for the tests above, but for the procfs of this pid namespace they hold too.
mod inside {
    use super::*;

    #[test]
    #[ignore = "runs in a pid namespace of its own"]
    fn number_means_own_process() {
        assert_numbers_mean_own_processes(&Running::start(FOREVER));
    }

    /// Without `PIDFD_GET_NET_NAMESPACE` (Linux 6.11), `NS_GET_ID` and `SIOCGSKNS`.
    #[test]
    #[ignore = "runs in a pid namespace of its own"]
    fn number_means_own_process_by_procfs() {
        let Some(faults) = Faults::new() else { return };
        faults.fail(libc::SYS_ioctl, libc::ENOTTY);
        let pool = start(&faults, FOREVER);
        assert_numbers_mean_own_processes(&pool);
    }

    /// Without `PIDFD_GET_NET_NAMESPACE` and `NS_GET_ID`, and with a filter that lets no procfs be mounted.
    #[test]
    #[ignore = "runs in a pid namespace of its own"]
    fn number_means_own_process_by_visit() {
        let Some(faults) = Faults::new() else { return };
        for request in [0xff04, 0x8008_b70d] {
            faults.fail_where(libc::SYS_ioctl, (1, request), libc::ENOTTY);
        }
        faults.fail(libc::SYS_fsopen, libc::EPERM);
        let pool = start(&faults, FOREVER);
        let processes = [(); 2].map(|()| Process::start_with_cookie());
        for _ in 0..3 {
            for (process, there) in &processes {
                assert_eq!(pool.open_process(process.id()).map(cookie), Ok(*there));
            }
        }
        let id = processes[0].0.id();
        drop(processes);
        eventually("left the dead", || pool.pinned() == 0);
        assert_eq!(pool.open_process(id).err(), Some(ENDED));
        assert_eq!(pool.0.info().died, 0);
    }

    /// The same, and no way to ask a socket.
    fn with_nothing_but_proc() -> Option<(Faults, Running)> {
        let faults = Faults::new()?;
        faults.fail(libc::SYS_ioctl, libc::ENOTTY);
        faults.fail(libc::SYS_fsopen, libc::EPERM);
        let pool = faults.among_them(|| Pool::start(FOREVER));
        Some((faults, Running::of(pool.unwrap())))
    }

    #[test]
    #[ignore = "runs in a pid namespace of its own"]
    fn number_is_not_proven() {
        let Some((_faults, pool)) = with_nothing_but_proc() else {
            return;
        };
        let process = Process::start();
        let answer = pool.open_process(process.id()).map(cookie);
        let (stage, errno) = (Stage::Open, libc::EOPNOTSUPP);
        assert_eq!(answer, Err(Error { stage, errno }));
        // Paths work all the same, and those that mean this process.
        for path in ["/proc/self/ns/net", "/proc/thread-self/ns/net"] {
            let home = oracle(Path::new("/proc/self/ns/net"), 0);
            assert_eq!(pool.open(Path::new(path), 0).map(cookie), home);
        }
    }

    #[test]
    #[ignore = "runs in a pid namespace of its own"]
    fn nothing_is_found() {
        let Some((_faults, pool)) = with_nothing_but_proc() else {
            return;
        };
        let process = Process::start();
        let answer = pool.open_process(process.id()).map(cookie);
        let (stage, errno) = (Stage::Thread, libc::ENOENT);
        assert_eq!(answer, Err(Error { stage, errno }));
    }

    #[test]
    #[ignore = "runs in a pid namespace of its own"]
    fn own_proc_is_proof_enough() {
        let Some((_faults, pool)) = with_nothing_but_proc() else {
            return;
        };
        assert_numbers_mean_own_processes(&pool);
    }

    /// The first pool has not yet found what the kernel can do.
    #[test]
    #[ignore = "runs in a pid namespace of its own"]
    fn process_asked_for_at_once() {
        let Some(faults) = Faults::new() else {
            return;
        };
        let let_go = faults.hold_opens();
        let pool = faults.among_them(|| Pool::start(FOREVER));
        let pool = Running::of(pool.unwrap());
        eventually("it looks for its namespace", || faults.held() > 0);
        let process = Process::start();
        let number = process.id();
        let key = NetnsKey::process(number as i32).unwrap();
        let answer = pool.ask_by(key, Spec::netlink(0)).unwrap();
        drop(process);
        // The next is the thread that starts it.
        std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 2).to_string()).unwrap();
        let namesake = Process::start();
        assert_eq!(namesake.id(), number);
        faults.heal();
        drop(let_go);
        let answer = answer.recv_timeout(patience()).unwrap();
        assert_eq!(answer.map(cookie), Err(ENDED));
    }

    /// Another process has its number here, and goes on.
    #[test]
    #[ignore = "runs in a pid namespace of its own"]
    fn process_elsewhere_is_left() {
        let Ok(number) = std::env::var(ELSEWHERE) else {
            return skipped("it needs a process outside");
        };
        let number: u32 = number.parse().unwrap();
        // The next is the thread that starts it.
        std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 2).to_string()).unwrap();
        let namesake = Process::start_with_cookie();
        assert_eq!(namesake.0.id(), number);
        let pool = Running::start(FOREVER);
        let path = format!("/proc/{number}/ns/net");
        let there = oracle(Path::new(&path), 0);
        assert_ne!(there, Ok(namesake.1));
        let told = || pool.0.events(1, Box::new(|| {})).len();
        assert_eq!(told(), 0);
        assert_eq!(pool.open(Path::new(&path), 0).map(cookie), there);
        eventually("told to be pinned, so watched", || told() > 0);
        rustix::io::write(std::io::stdin(), b"\n").unwrap();
        eventually("left", || pool.pinned() == 0);
    }
}
