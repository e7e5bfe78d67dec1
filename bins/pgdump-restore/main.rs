//! `pgdump-restore`: check a dump to its last byte, put it back, and count every row.
//!
//! A database is restored beside the live one; once every row is proven the two change names. Until
//! then nothing was lost, and afterwards it can be undone. What was stopped for the restore is
//! started again whatever happens. It refuses dumps that would make psql run anything but SQL, and
//! never ignores an error: statements that are expected to fail (a role that exists) are known and
//! left out instead.

use std::process::ExitCode;

mod check;
mod choose;
mod cli;
mod create;
mod feed;
mod guardrails;
mod help;
mod left;
mod plan;
mod prove;
mod run;
mod safety;
mod session;
mod survey;
mod swap;
mod tables;
mod tell;
mod transaction;

fn main() -> ExitCode {
    kit::exit::run(cli::TOOL, run::run)
}
