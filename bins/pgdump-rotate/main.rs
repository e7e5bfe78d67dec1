//! `pgdump-rotate`: dump, compress, prove, place, then rotate.
//!
//! It spawns the program that dumps, so that it knows how that ended; it reads back what it wrote
//! before it gives it a name; and it removes older backups only after that. It never counts a
//! backup that is not proven, never removes the newest that is, and touches no file without a
//! manifest that says it is ours.

use std::process::ExitCode;

mod backup;
mod cli;
mod narrow;
mod produce;
mod prove;
mod rotate;
mod run;

fn main() -> ExitCode {
    kit::exit::run(cli::TOOL, run::run)
}
