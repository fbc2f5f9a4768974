//! What ends the answer to a netlink request, and what bounds it.

mod support;

use std::time::Duration;

use nlns_core::Error;

use support::netlink::*;
use support::{CONFIG, FOREVER, alone_with, lacks, patience, skipped};

/// nfnetlink_acct: counters by name, of which a single one is answered with `NLM_F_MULTI` and without `DONE`.
const ACCT_NEW: u16 = 7 << 8;
const ACCT_GET: u16 = ACCT_NEW | 1;

#[test]
fn single_entry_of_many_parts_is_whole() {
    let (pool, path, ..) = &alone_with(CONFIG);
    let of = |kind, flags, attributes: &[u8]| {
        // struct nfgenmsg: family, version, resource
        let payload = [&[0; 4], attributes].concat();
        let request = request(kind, flags, &payload);
        pool.exchange_of(path, NETFILTER, request, MAX_REPLY, Some(patience()))
    };
    let name = attribute(1, b"counter\0");
    if of(ACCT_NEW, CREATE, &name) != Ok(Ok(Vec::new())) {
        return skipped("the kernel has no nfnetlink_acct");
    }
    let single = of(ACCT_GET, 0, &name).unwrap().unwrap();
    assert_eq!(single.len(), 1);
    assert_eq!(of(ACCT_GET, DUMP, &[]).unwrap().unwrap(), single);
}

#[test]
fn large_answers_of_list_are_whole() {
    if lacks((5, 5), "other names of links") {
        return;
    }
    let (pool, path, ..) = &alone_with(FOREVER);
    pool.change(path, add_pair("a", "b"));
    // 14 kB each.
    pool.change(path, add_names("a", 0..100));
    for count in [13, 64, 65, 200, 64] {
        let list: Vec<u8> = (0..count).flat_map(|_| get("a")).collect();
        let answer = pool.exchange(path, list).unwrap().unwrap();
        assert_eq!(answer.len(), count);
    }
}

#[test]
fn flowing_dump_ends_in_time() {
    let (pool, path, ..) = &alone_with(FOREVER);
    for network in 0..20 {
        let addresses = (0..1_000).map(|n| address(NEWADDR, 1, 0x0a00_0000 + network * 1_000 + n));
        pool.change(path, addresses.flatten().collect());
    }
    let dump = || request(GETADDR, DUMP, &[2, 0, 0, 0, 0, 0, 0, 0]);
    let ask = |timeout| pool.exchange_of(path, ROUTE, dump(), MAX_REPLY, timeout);
    assert_eq!(ask(None).unwrap().unwrap().len(), 20_000);
    // There is always something to be received.
    let late = ask(Some(Duration::from_millis(1)));
    assert_eq!(late.err(), Some(Error::TIMED_OUT));
}
