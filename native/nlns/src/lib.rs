//! The NIF border: decodes, calls [`nlns_core`], encodes. No function here is dirty, looks up a path
//! or waits. Each has a stub in `lib/nlns/native.ex`.

mod answer;
mod descriptor;
mod events;
mod exchange;
mod features;
mod info;
mod message;
mod netns;
mod owner;
mod process;
mod running;
mod terms;

rustler::init!("Elixir.Nlns.Native");
