//! Hot snapshots: with the log that they need, or with an archive that has it.

use std::fs;

use crate::lab::{self, Server};
use crate::moment::{WHOLE, new_folder, recover, snap, started};
use crate::stage::{Stage, rows};

#[test]
fn a_snapshot_with_its_log_starts_by_itself() {
    let mut stage = Stage::hoarding();
    let bench = stage.bench(4);
    snap(&stage, &["--with-wal", "--limit", "200M"]).exits(0);
    lab::end(bench).exits(0);
    let into = new_folder(&stage);
    lab::run(stage.server.tool("volrestore").args(["--latest", "--into", &into])).exits(0);
    stage.server.stop();
    let server = started(&into, "");
    assert_eq!(server.sql("postgres", WHOLE), "t");
}

#[test]
fn a_hot_snapshot_does_not_wait_for_ever_for_an_archive_that_fails() {
    let stage = Stage::hoarding();
    let ran = snap(&stage, &["--within", "3s"]).exits(5);
    ran.says("the log is not archived after 3 s").says("waits, the archiver failed with").says("--within");
    let kept = lab::names(&stage.server.home().join("backups/snapshots"));
    assert!(kept.iter().all(|name| name.starts_with('.')), "{kept:?}");
    let ran = snap(&stage, &["--with-wal"]).exits(0);
    assert!(!ran.err.contains("archive"), "{}", ran.err);
    // mended, it is archived in time
    let config = stage.config(&[]);
    let command = config.lines().find_map(|l| l.strip_prefix("archive_command = ")).unwrap();
    stage.server.sql("postgres", &format!("ALTER SYSTEM SET archive_command = {command}"));
    stage.server.sql("postgres", "SELECT pg_reload_conf()");
    let record = snap(&stage, &["--within", "2m"]).exits(0).line().to_owned();
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(stage.server.home().join(record)).unwrap()).unwrap();
    for end in ["first", "last"] {
        assert!(stage.archived(1).contains(&record["wal"][end].as_str().unwrap().to_owned()), "{end}");
    }
}

#[test]
fn a_hot_snapshot_without_its_log_is_not_restored_alone() {
    let stage = Stage::archiving(&[]);
    lab::end(stage.bench(1)).exits(0);
    snap(&stage, &[]).exits(0);
    let into = new_folder(&stage);
    lab::run(stage.server.tool("volrestore").args(["--latest", "--into", &into]))
        .exits(4)
        .says("--until-immediate");
    recover(&stage, &["--latest", "--until-immediate", "--into", &into]).exits(0);
    assert_eq!(rows(&started(&into, "")), rows(&stage.server));
}

#[test]
fn a_server_that_keeps_no_log_or_is_another_is_refused() {
    let stage = Stage::hoarding();
    let other = Server::start();
    let data = format!("data=dir:{}", stage.server.data().display());
    lab::run(other.tool("volsnap").args(["--hot", &data])).exits(4).says("does not run on");
    let own = format!("data=dir:{}", other.data().display());
    lab::run(other.tool("volsnap").args(["--hot", &own])).exits(4).says("archives no log");
    assert_eq!(lab::names(&other.home()), [""; 0], "nothing is left of what failed");
    let none = ["--until-latest", "--wal", "/nowhere", "--into", "/nowhere"];
    lab::run(other.tool("volrestore").args(none)).exits(1).says("there are no snapshots");
    lab::run(other.tool("volrestore").args(["--latest", "--yes"])).exits(1).says("there are no snapshots");
    assert_eq!(lab::names(&other.home()), [""; 0]);
}
