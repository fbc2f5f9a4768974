//! A process that stands still is not stuck: no helper is, and no request is refused for it.

mod support;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nlns_core::Config;
use rustix::process::{Pid, Signal, kill_process};

use support::netns::Directory;
use support::{CONFIG, Running};

/// Set for the process that is paused.
const INSIDE: &str = "NLNS_TEST_PAUSED";

/// Longer than after which a turn counts as stuck.
const PAUSE: Duration = Duration::from_millis(1_200);

/// A pause refuses a request only if it meets a helper in the middle of a turn.
const PAUSES: usize = 4;

#[test]
fn requests_outlast_a_paused_process() {
    if std::env::var_os(INSIDE).is_some() {
        return open_until_told();
    }
    let mut process = Paused(
        Command::new(std::env::current_exe().unwrap())
            .env(INSIDE, "1")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    for _ in 0..PAUSES {
        std::thread::sleep(Duration::from_millis(200));
        process.signal(Signal::STOP);
        std::thread::sleep(PAUSE);
        process.signal(Signal::CONT);
    }
    drop(process.0.stdin.take());
    assert!(process.0.wait().unwrap().success());
}

/// Opens in many threads, in more paths than there are helpers, until the standard input ends.
fn open_until_told() {
    let names = Directory::new();
    let paths: Vec<_> = (0..4).map(|n| names.make(&n.to_string())).collect();
    let pool = Running::start(Config {
        max_helpers: 1,
        ..CONFIG
    });
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for path in paths.iter().cycle().take(8) {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let asked = pool.ask(path, 0).unwrap();
                    // No bound of time: it may stand still.
                    assert!(asked.recv().unwrap().is_ok());
                }
            });
        }
        let mut nothing = String::new();
        std::io::stdin().read_line(&mut nothing).unwrap();
        is_over.store(true, Ordering::SeqCst);
    });
    assert_eq!(pool.0.info().refused, 0);
}

struct Paused(Child);

impl Paused {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
