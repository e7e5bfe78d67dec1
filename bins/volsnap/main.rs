//! `volsnap`: a snapshot of volumes that belong together, as ordinary tar archives.
//!
//! It stops what is named, reads all volumes as one set, starts again what ran, and proves what it
//! wrote before the set gets its record. It refuses a data directory on which somebody runs, unless that
//! server is told of the backup (`--hot`), and finds that out by looking. Snapshots without a record count for nothing and are never removed for others.

use std::process::ExitCode;

mod archived;
mod basebackup;
mod cli;
mod cold;
mod header;
mod help;
mod holes;
mod hot;
mod inspect;
mod leader;
mod repack;
mod rotate;
mod run;
mod sketch;
mod spool;
mod take;
mod tree;
mod xattr;

fn main() -> ExitCode {
    kit::exit::run(cli::TOOL, run::run)
}
