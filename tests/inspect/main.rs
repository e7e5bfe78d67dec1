//! `dump-inspect` on real dumps: what it tells is so, and what it takes out loads and is the same.

#[path = "../lab/mod.rs"]
mod lab;

mod archive;
mod bad;
mod clean;
mod diff;
mod extract;
mod index;
mod list;
mod needs;
mod partitions;
mod salvage;
mod stage;
mod told;
