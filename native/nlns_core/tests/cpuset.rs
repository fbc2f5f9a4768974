//! Which processors the pool's threads have when the process's cpuset grows.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use rustix::process::Pid;
use rustix::thread::sched_getaffinity;

use support::netns::Directory;
use support::processors::{allowed, numbers};
use support::{CONFIG, Running, eventually, skipped, tasks};

/// Set for the process inside.
const INSIDE: &str = "NLNS_TEST_CPUSET";

#[test]
fn threads_use_added_processors() {
    if let Some(cpuset) = std::env::var_os(INSIDE) {
        return grow(Path::new(&cpuset));
    }
    let cpus = numbers(&allowed());
    let Some(cpuset) = (cpus.len() > 1).then(|| Cpuset::new(cpus[0])).flatten() else {
        return skipped("it takes two processors and the right to make a cpuset");
    };
    let enter = "echo $$ > \"$NLNS_TEST_CPUSET/cgroup.procs\" && exec \"$0\"";
    let inside = Command::new("sh")
        .args(["-c", enter])
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, &cpuset.0)
        .status();
    assert!(inside.unwrap().success());
}

fn grow(cpuset: &Path) {
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(CONFIG);
    drop(pool.open(&path, 0).unwrap());
    let before = allowed();
    let all = fs::read_to_string(cpuset.with_file_name("cpuset.cpus"))
        .or_else(|_| fs::read_to_string(cpuset.with_file_name("cpuset.cpus.effective")));
    fs::write(cpuset.join("cpuset.cpus"), all.unwrap()).unwrap();
    eventually("the process has more processors", || allowed() != before);
    let grown = allowed();
    for thread in tasks("nlns-").into_iter().filter_map(Pid::from_raw) {
        // A helper may end meanwhile.
        if let Ok(cpus) = sched_getaffinity(Some(thread)) {
            assert_eq!(numbers(&cpus), numbers(&grown));
        }
    }
}

/// A cpuset of its own, as version 1 or 2 of the control groups has it.
struct Cpuset(PathBuf);

impl Cpuset {
    fn new(cpu: usize) -> Option<Self> {
        ["/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"]
            .iter()
            .find_map(|parent| {
                let path = Path::new(parent).join(format!("nlns-test-{}", id()));
                fs::create_dir(&path).ok()?;
                let this = Self(path);
                // Only version 1 has no processes without memory.
                if let Ok(memory) = fs::read(Path::new(parent).join("cpuset.mems")) {
                    fs::write(this.0.join("cpuset.mems"), memory).ok()?;
                }
                fs::OpenOptions::new()
                    .write(true)
                    .open(this.0.join("cpuset.cpus"))
                    .ok()?;
                fs::write(this.0.join("cpuset.cpus"), cpu.to_string()).ok()?;
                Some(this)
            })
    }
}

impl Drop for Cpuset {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
