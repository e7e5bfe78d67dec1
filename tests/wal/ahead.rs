//! Pushing and fetching ahead.

use std::fs;

use crate::lab::{self, names, wait_until};
use crate::stage::{Stage, recover, rows};

#[test]
fn what_waits_is_stored_in_the_same_run_and_acknowledged_from_a_receipt() {
    let stage = Stage::hoarding();
    stage.fill(12);
    let ready = stage.ready();
    stage.push(&ready[0], &["--ahead", "8"]).exits(0);
    let receipts = stage.archive().join("ahead");
    assert_eq!(stage.archived(1), ready[..9]);
    assert_eq!(names(&receipts), ready[1..9]);
    // a receipt is used once
    stage.push(&ready[1], &["--ahead", "8"]).exits(0);
    assert_eq!(names(&receipts), ready[2..9]);
    stage.push(&ready[1], &[]).exits(0);
    for segment in &ready {
        stage.push(segment, &["--ahead", "8"]).exits(0);
    }
    assert_eq!(stage.archived(1), ready);
    assert_eq!(stage.ready(), ready, "archive_status is the server's");
}

#[test]
fn a_receipt_that_does_not_fit_acknowledges_nothing() {
    let stage = Stage::hoarding();
    stage.fill(6);
    let ready = stage.ready();
    let receipt = |n: usize| stage.archive().join("ahead").join(&ready[n]);
    stage.push(&ready[0], &["--ahead", "5"]).exits(0);
    // what was stored is gone: it is stored again
    fs::remove_file(stage.folder().join(&ready[1])).unwrap();
    stage.push(&ready[1], &[]).exits(0);
    assert!(stage.folder().join(&ready[1]).exists());
    // another file than the one that was read
    let path = stage.server.data().join("pg_wal").join(&ready[2]);
    let mut other = fs::read(&path).unwrap();
    other[700_000] ^= 1;
    fs::write(&path, other).unwrap();
    stage.push(&ready[2], &[]).exits(4);
    // a receipt that a crash left unwritten
    fs::write(receipt(3), "").unwrap();
    stage.push(&ready[3], &[]).exits(0);
    // an archive that has gone, receipts and all
    fs::rename(stage.archive(), stage.archive().with_extension("away")).unwrap();
    stage.push(&ready[4], &[]).exits(5);
}

#[test]
fn one_that_fails_ahead_does_not_fail_the_one_asked_for() {
    let stage = Stage::hoarding();
    stage.fill(4);
    let ready = stage.ready();
    let path = stage.server.data().join("pg_wal").join(&ready[1]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, b"no segment").unwrap();
    stage.push(&ready[0], &["--ahead", "3"]).exits(0).says("ahead: ");
    assert_eq!(stage.archived(1), [&ready[0], &ready[2], &ready[3]].map(String::clone));
    stage.push(&ready[1], &["--ahead", "3"]).exits(4);
    fs::write(&path, whole).unwrap();
    stage.push(&ready[1], &["--ahead", "3"]).exits(0);
}

#[test]
fn a_replay_fetches_ahead_and_leaves_nothing_behind() {
    let stage = Stage::archiving(&["--ahead", "4", "--compress", "zstd"]);
    let base = stage.base("base");
    lab::end(stage.bench(3));
    stage.fill(10);
    stage.settle();
    let mut server = stage.recovering(&base, &["--ahead", "4"], "");
    recover(&mut server);
    assert_eq!(rows(&server), rows(&stage.server));
    let ahead = server.data().join("pg_wal/.pgkeep-ahead");
    assert!(ahead.exists(), "nothing was fetched ahead");
    // once it archives by itself, what is left of the replay goes
    let wal = server.data().join("pg_wal");
    wait_until("no fetching goes on", || !names(&ahead).iter().any(|n| n.ends_with(".part")));
    fs::write(wal.join("00000009.history"), "1\t0/1000000\tx\n").unwrap();
    let push = ["push", "-a", &stage.archive_text(), "pg_wal/00000009.history", "00000009.history"];
    lab::run(server.tool("wal-archive").current_dir(server.data()).args(push)).exits(0);
    assert!(!ahead.exists());
}
