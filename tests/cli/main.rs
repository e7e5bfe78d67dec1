//! The command lines: what each program prints, accepts and refuses before it does anything.
//!
//! No server is needed. What every program owes its user stands in [`every_tool`], once; each
//! module below adds what is its program's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../lab/mod.rs"]
mod lab;

mod backup_validate;
mod dump_inspect;
mod every_tool;
mod pages;
mod pgdump_restore;
mod pgdump_rotate;
mod volrestore;
mod volsnap;
mod wal_archive;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use lab::Ran;

/// Runs a program in a folder of its own, which stays empty when the command line is refused.
#[track_caller]
fn run(tool: &str, words: &[&str]) -> Ran {
    run_bytes(tool, &words.iter().map(|w| w.as_bytes()).collect::<Vec<_>>())
}

/// The same, with words that are not UTF-8.
#[track_caller]
fn run_bytes(tool: &str, words: &[&[u8]]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let words = words.iter().map(|w| OsString::from_vec(w.to_vec()));
    let ran = lab::run(lab::tool(tool, dir.path()).args(words));
    if ran.code == 2 {
        assert_eq!(lab::names(dir.path()), [""; 0], "status 2, and yet something was made");
    }
    ran
}

/// A command line that is refused as such: status 2, a hint, nothing on standard output.
#[track_caller]
fn is_usage_error(tool: &str, words: &[&str]) {
    let ran = run(tool, words);
    assert_eq!(ran.code, 2, "{words:?}: stdout {:?}, stderr {:?}", ran.out, ran.err);
    assert_eq!(ran.out, "", "{words:?}");
    let begins = |begin: &str| ran.err.lines().any(|l| l.starts_with(&format!("{tool}: {begin}")));
    assert!(begins("hint: ") && ran.err.lines().all(|l| l.starts_with(tool)), "{words:?}: {:?}", ran.err);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
