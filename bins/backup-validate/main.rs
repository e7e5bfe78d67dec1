//! `backup-validate`: proof that backups are what they should be.
//!
//! A filter on paths: those that pass go to standard output, what is known of each to standard error.
//! It reads every byte, holds a server's needs against a dump, and restores into a throwaway server.
//! It never changes a backup; of a manifest it renews what was proven, and when.

use std::process::ExitCode;

mod against;
mod check;
mod choose;
mod cli;
mod coverage;
mod drill;
mod help;
mod look;
mod mirror;
mod report;
mod run;
mod verdict;

fn main() -> ExitCode {
    kit::exit::run(cli::TOOL, run::run)
}
