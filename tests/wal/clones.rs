//! Servers that must not meet in one archive.

use std::fs;

use crate::lab::{self, Server, wait_until};
use crate::stage::Stage;

fn failures(server: &Server) -> String {
    server.sql("postgres", "SELECT failed_count > 0, archived_count FROM pg_stat_archiver")
}

/// The archive's files and their contents.
fn contents(stage: &Stage) -> Vec<(String, Vec<u8>)> {
    let names = lab::names(&stage.folder()).into_iter();
    names.map(|n| (n.clone(), fs::read(stage.folder().join(n)).unwrap())).collect()
}

#[test]
fn another_servers_log_is_refused() {
    let stage = Stage::archiving(&[]);
    stage.fill(2);
    stage.settle();
    let other = Stage::hoarding();
    other.fill(1);
    let segment = &other.ready()[0];
    // the template's data directory is copied: only its identifier makes another server of it
    let path = other.server.data().join("pg_wal").join(segment);
    let mut bytes = fs::read(&path).unwrap();
    bytes[24] ^= 1;
    fs::write(&path, bytes).unwrap();
    let before = contents(&stage);
    let push = ["push", "-a", &stage.archive_text(), path.to_str().unwrap(), segment];
    other.wal(&push).exits(4).says("of system").says("hint: Each server needs an archive of its own");
    // a history carries no identifier: the data directory's control file has it
    let control = other.server.data().join("global/pg_control");
    let mut bytes = fs::read(&control).unwrap();
    bytes[0] ^= 1;
    fs::write(&control, bytes).unwrap();
    let history = other.server.data().join("pg_wal/00000009.history");
    fs::write(&history, "1\t0/1000000\tx\n").unwrap();
    let push = ["push", "-a", &stage.archive_text(), history.to_str().unwrap(), "00000009.history"];
    other.wal(&push).exits(4).says("of system");
    assert!(contents(&stage) == before);
}

#[test]
fn a_clone_that_goes_its_own_way_is_refused_and_the_original_goes_on() {
    let stage = Stage::archiving(&[]);
    stage.fill(2);
    stage.settle();
    let mut stage = stage;
    stage.server.stop();
    // a copy of the machine: same identifier, same timeline, same archive
    let mut clone = Server::from(&stage.server.data(), "");
    stage.server.start_again();
    stage.server.sql("postgres", "CREATE TABLE original AS SELECT 1");
    stage.settle();
    let before = contents(&stage);
    clone.start_again();
    clone.sql("postgres", "CREATE TABLE clone AS SELECT 2; SELECT pg_switch_wal()");
    wait_until("the clone's archiver fails", || failures(&clone).starts_with("t|"));
    assert!(clone.log_text().contains("other content"), "{}", clone.log_text());
    assert_eq!(failures(&clone), "t|0");
    assert!(contents(&stage) == before, "the original's log is as it was");
    stage.fill(2);
    stage.settle();
    assert_eq!(failures(&stage.server).split('|').next(), Some("f"));
}
