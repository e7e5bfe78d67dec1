//! `volrestore`: puts a snapshot of volumes back, all of it or none.
//!
//! Every archive is proven to its last byte and filled in beside the present volume before anything
//! stops; then names change. What was there stays beside until the next restore, so that it can be
//! undone. A run that is killed leaves a journal, by which the next one ends what was begun.

use std::process::ExitCode;

mod choose;
mod cli;
mod fill;
mod help;
mod into;
mod journal;
mod made;
mod occupied;
mod plan;
mod recovery;
mod refill;
mod replicas;
mod rows;
mod run;
mod site;
mod through;
mod undo;
mod unpack;
mod until;

fn main() -> ExitCode {
    kit::exit::run(cli::TOOL, run::run)
}
