//! The NIF border: decodes, calls [`nlns_core`], encodes. No function here is dirty, looks up a path
//! or waits; what they do not do is in `lib/nlns/native.ex`'s module, which has a stub for each.

mod answer;
mod descriptor;
mod events;
mod info;
mod message;
mod running;
mod terms;

rustler::init!("Elixir.Nlns.Native");
