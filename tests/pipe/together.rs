//! Two runs at once in one directory.

use std::time::{Duration, Instant};

use crate::{Place, Running};

/// A run that is midway until the file `go` is there.
pub(crate) fn midway(place: &Place) -> Running {
    let script = "head -n 99 dump.sql; until [ -e go ]; do sleep 0.02; done; tail -n +100 dump.sql";
    let running = place.start(&["--", "sh", "-c", script]);
    place.until_midway();
    running
}

#[test]
fn the_second_is_told_who_holds_the_lock() {
    let place = Place::new();
    let mut first = midway(&place);
    let began = Instant::now();
    let holder = format!("another run holds it (process {})", first.child().id());
    place.rotate(&["--", "cat", "dump.sql"]).exits(5).says(&holder).says("hint: ");
    place.rotate(&["--rotate-only"]).exits(5);
    place.rotate(&["--lock-timeout", "1", "--", "cat", "dump.sql"]).exits(5);
    assert!(began.elapsed() >= Duration::from_secs(1));
    // whoever only looks needs no lock
    assert_eq!(place.rotate(&["--list"]).exits(0).out, "");
    place.rotate(&["--dry-run"]).exits(0);
    // another directory is another matter
    place.rotate(&["-o", "elsewhere", "--", "cat", "dump.sql"]).exits(0);
    place.sh("touch go").exits(0);
    first.end().exits(0);
    place.holds(1);
}

#[test]
fn all_get_their_turn_and_names_of_their_own() {
    let place = Place::new();
    let script = "for i in 1 2 3 4 5 6; do \"$ROTATE\" -q --lock-timeout 60 -- cat dump.sql || echo failed & done; wait";
    let ran = place.sh(script).exits(0);
    let mut paths = ran.lines();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 6, "{}", ran.out);
    assert!(!ran.out.contains("failed"), "{}", ran.err);
    place.holds(6);
}

#[test]
fn a_lock_that_nobody_holds_stops_nobody() {
    let place = Place::with_backup();
    place.sh("echo 1 >backups/.pgkeep.lock").exits(0);
    place.rotate(&["--", "cat", "dump.sql"]).exits(0);
    place.holds(2);
}
