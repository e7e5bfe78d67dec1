//! `wal-archive` against real servers, on good days and bad ones.
//!
//! What is killed, or finds the disk full, at each of its system calls is driven by strace: nothing
//! in the programs knows of it.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../lab/mod.rs"]
mod lab;

mod ahead;
mod bad_days;
mod basebackup;
mod clones;
mod drill;
mod each_call;
mod get;
mod hot;
mod in_place;
mod killed;
mod moment;
mod outside;
mod prune;
mod push;
mod recovery;
mod stage;
mod status;
mod told;
mod verify;
