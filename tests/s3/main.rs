//! Places in an object store: a real server of S3 in the test's own process, which verifies signatures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../lab/mod.rs"]
mod lab;

#[path = "../wal/stage.rs"]
#[allow(dead_code)] // what its own target uses
mod stage;

mod inspect;
mod recovery;
mod restore;
mod store;
mod validate;
mod wal;
