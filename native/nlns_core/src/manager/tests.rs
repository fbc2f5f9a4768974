use rustix::thread::gettid;

use super::*;
use crate::pool::Config;

fn eventually(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_helper_that_is_held_up_is_let_go_whatever_lock_it_holds() {
    let pool = Pool::start(Config {
        max_helpers: 1,
        idle_timeout: None,
        max_queue: 1,
    });
    let pool = pool.unwrap();
    eventually(|| pool.crew.has_spare());
    let helper = pool.crew.helpers().remove(0);
    assert!(pool.crew.get_up(&helper));
    pool.crew.while_locked(|| {
        // It finds no work and gets as far as the lock.
        helper.wake(pool.now());
        let this_thread = gettid().as_raw_nonzero().get();
        helper.kept.0.store(this_thread, Ordering::SeqCst);
        pool.watch();
        eventually(|| helper.kept.0.load(Ordering::SeqCst) == 0);
    });
    let (stopped, is_stopped) = crossbeam_channel::bounded(1);
    pool.stop(Box::new(move |stuck| stopped.send(stuck).unwrap()));
    assert_eq!(is_stopped.recv(), Ok(0));
}
