//! `backup-validate`: damage that it must see, and drills on servers of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../lab/mod.rs"]
mod lab;

mod against;
mod damage;
mod drill;
mod faults;
mod filter;
mod instance;
mod left_out;
mod nothing;
mod report;
mod retention;
mod snapshot;
mod watch;
