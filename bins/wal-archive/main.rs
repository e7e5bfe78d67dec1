//! `wal-archive`: keeps PostgreSQL's write-ahead log, and gives it back.
//!
//! As `archive_command` it answers 0 only when the file and its name are on stable storage, and
//! never overwrites. As `restore_command` it says that a file is not there only when that is
//! proven; what it hands over is whole. It never touches `archive_status`, and drops nothing.

use std::process::ExitCode;

mod chart;
mod cli;
mod config;
mod get;
mod kept;
mod prefetch;
mod prune;
mod push;
mod receipt;
mod run;
mod source;
mod status;
mod store;
mod survey;
mod verify;

fn main() -> ExitCode {
    kit::exit::run(cli::TOOL, run::run)
}
