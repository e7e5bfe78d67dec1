//! `pgdump-restore`: check a dump to its last byte, put it back, and count every row.
//!
//! Nothing is dropped before the whole dump has been read and found complete and harmless. What
//! was stopped for the restore is started again whatever happens. It refuses dumps that would
//! make psql run anything but SQL, and never ignores an error: statements that are expected to
//! fail (a role that exists) are known and left out instead.

use std::process::ExitCode;

mod check;
mod choose;
mod cli;
mod count;
mod feed;
mod plan;
mod recreate;
mod run;
mod services;
mod survey;

fn main() -> ExitCode {
    kit::exit::run(cli::TOOL, run::run)
}
