//! Signals: the run ends, with it what it started, and nothing half stays.

use std::io::Write;
use std::process::{ChildStdin, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::together::midway;
use crate::{Place, Running, lab};

/// A run that waits for more on its standard input, which comes back too.
fn reading(place: &Place) -> (Running, ChildStdin) {
    let mut running = Running::start(place.tool().arg("--stdin").stdin(Stdio::piped()));
    let mut stdin = running.child().stdin.take().unwrap();
    stdin.write_all(crate::HEAD.as_bytes()).unwrap();
    place.until_midway();
    (running, stdin)
}

#[test]
fn a_signal_ends_the_reading_of_standard_input() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::HUP, "SIGHUP")] {
        if lab::is_ignored(signal) {
            continue;
        }
        let place = Place::with_backup();
        let before = place.contents();
        let (mut running, stdin) = reading(&place);
        running.send(signal);
        // the producer still holds its end: only the signal can end this
        running.end().exits(5).says(&format!("interrupted by {name}"));
        drop(stdin);
        assert_eq!(place.contents(), before);
    }
}

#[test]
fn a_signal_ends_the_producer_and_its_children_too() {
    let place = Place::with_backup();
    let before = place.contents();
    let script = "sleep 1000 & echo $$ $! >pids; head -n 99 dump.sql; wait";
    let mut running = place.start(&["--", "sh", "-c", script]);
    let pids = || std::fs::read_to_string(place.path("pids")).unwrap_or_default();
    lab::wait_until("the producer runs", || pids().ends_with('\n'));
    running.send(Signal::TERM);
    running.end().exits(5);
    // an orphan that nobody waits for is gone too
    let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let is_gone = |pid: &str| stat(pid).map_or(true, |s| s.contains(") Z "));
    lab::wait_until("all of them are gone", || pids().split_whitespace().all(is_gone));
    assert_eq!(place.contents(), before);
}

#[test]
fn a_producer_that_ignores_the_signal_is_ended_all_the_same() {
    let place = Place::new();
    let script = "trap '' TERM; touch ready; while :; do sleep 1; done";
    let mut running = place.start(&["--", "sh", "-c", script]);
    lab::wait_until("the producer runs", || place.path("ready").exists());
    running.send(Signal::TERM);
    let began = Instant::now();
    running.end().exits(5);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn a_signal_ends_the_waiting_for_the_lock() {
    let place = Place::new();
    let first = midway(&place);
    let mut second = place.start(&["--lock-timeout", "20", "--", "cat", "dump.sql"]);
    std::thread::sleep(Duration::from_millis(300));
    second.send(Signal::TERM);
    let began = Instant::now();
    second.end().exits(5).says("interrupted by SIGTERM");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    place.sh("touch go").exits(0);
    first.end().exits(0);
    place.holds(1);
}

/// `nohup` and the `&` of a shell's script ignore signals for the program that they start, which
/// must leave it at that.
#[test]
fn a_signal_that_the_caller_ignores_stays_ignored() {
    for (name, signal) in [("HUP", Signal::HUP), ("INT", Signal::INT)] {
        let place = Place::new();
        let script = format!(
            "trap '' {name}; exec \"$ROTATE\" -- sh -c 'touch ready; until [ -e go ]; do sleep 0.02; done; cat dump.sql'"
        );
        let mut shell = place.command("sh");
        let mut running = Running::start(shell.args(["-c", &script]));
        lab::wait_until("the producer runs", || place.path("ready").exists());
        running.send(signal);
        std::thread::sleep(Duration::from_millis(200));
        place.sh("touch go").exits(0);
        let ran = running.end();
        assert_eq!(ran.code, 0, "SIG{name}: {}", ran.err);
        place.holds(1);
    }
}

#[test]
fn what_is_killed_leaves_nothing_that_counts() {
    let place = Place::with_backup();
    let mut running = midway(&place);
    running.send(Signal::KILL);
    running.end().exits(128 + 9);
    place.until_midway();
    assert_eq!(place.rotate(&["--list"]).exits(0).lines().len(), 1);
    // the producer holds no lock
    place.rotate(&["--", "cat", "dump.sql"]).exits(0).says(".part, left by a run that did not end");
    place.sh("touch go").exits(0);
    place.holds(2);
}
