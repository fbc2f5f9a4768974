//! The other ways to open a netlink socket in a namespace, as NIFs that only the benchmark loads.
//! Each answers `{:ok, fd}` or `{:error, {stage, errno}}` like nlns, and `close/1` is for all of them.

mod exchange;
mod floor;
mod in_place;
mod process;
mod step;
mod throwaway;

rustler::init!("Elixir.Bench.Native");
