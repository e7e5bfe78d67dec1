//! Snapshots of volumes that come back: directories, real data directories of PostgreSQL, hostile
//! archives, and runs that are killed.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../lab/mod.rs"]
mod lab;

mod again;
mod archive;
mod aside;
mod disk;
mod hostile;
mod killed;
mod memory;
mod postgresql;
mod replicas;
mod restore;
mod services;
mod snapshot;
mod stage;
mod told;
