//! `dump-inspect`: look into a dump, and take a part out of it.
//!
//! It reads what pg_dump wrote and asks no server. What it prints of a dump with a manifest comes
//! from the manifest, and of any other from one pass over it. It believes the SQL, not pg_dump's
//! comments, and never calls a dump that is cut short complete.

use std::process::ExitCode;

mod cli;
mod contents;
mod csv;
mod dependencies;
mod diff;
mod encoding;
mod extract;
mod guard;
mod index;
mod left_out;
mod list;
mod near;
mod partitions;
mod pattern;
mod records;
mod rename;
mod run;
mod salvage;
mod sections;
mod settings;
mod write;

fn main() -> ExitCode {
    kit::exit::run(cli::TOOL, run::run)
}
