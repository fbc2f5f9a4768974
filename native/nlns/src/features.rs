//! The table of optional kernel features, for the doctor.

use nlns_core::features::{self, TABLE};
use rustler::NifMap;

#[derive(NifMap)]
#[rustler(encode)]
struct FeatureMap {
    name: &'static str,
    since: (u16, u16),
    gives: &'static str,
    stand_in: &'static str,
    is_there: bool,
}

/// Every feature, as it was found when the pool started.
#[rustler::nif]
fn features() -> Vec<FeatureMap> {
    let found = features::get();
    let map = |row: &features::Row| FeatureMap {
        name: row.name,
        since: row.since,
        gives: row.gives,
        stand_in: row.stand_in,
        is_there: found.has(row.feature),
    };
    TABLE.iter().map(map).collect()
}
