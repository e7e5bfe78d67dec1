//! Memory, whatever an archive claims.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::process::{Command, Stdio};

use crate::lab::run;

/// What our reader may take, and what the test program takes besides, bytes.
const MOST: u64 = 64 << 20;

/// Said to the process that measures itself.
const MEASURED: &str = "PGKEEP_MEASURED";

/// At the end of a test that measures: the most memory that this process ever had.
#[track_caller]
pub(crate) fn was_small() {
    if std::env::var_os(MEASURED).is_none() {
        return;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
    println!("{} MiB at most", peak >> 20);
    assert!(peak < MOST, "{} MiB", peak >> 20);
}

/// The same tests again, alone in a process of their own.
#[test]
fn stays_small_whatever_an_archive_claims() {
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests
        .args(["--test-threads=1", "hostile::", "damage::flipped", "damage::what", "--nocapture"])
        .env(MEASURED, "1");
    let ran = run(tests.stdin(Stdio::null())).exits(0);
    assert!(ran.out.contains("MiB at most"), "{}", ran.out);
}
