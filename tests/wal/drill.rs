//! Drills of snapshots with their log: hot ones, and to a moment.

use std::fs;

use crate::lab::{self, Ran};
use crate::stage::Stage;

/// A server that archives, a hot snapshot of it, and what was done to it afterwards.
struct Drilled {
    stage: Stage,
    /// The record of the snapshot.
    record: String,
    /// After the rows came, before they went.
    moment: String,
}

impl Drilled {
    fn new(options: &[&str]) -> Drilled {
        let stage = Stage::archiving(&[]);
        stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 100) AS id");
        let data = format!("data=dir:{}", stage.server.data().display());
        let mut snap = stage.server.tool("volsnap");
        let record = lab::run(snap.args(["-q", "--hot", &data]).args(options)).exits(0).line().to_owned();
        stage.server.sql("postgres", "INSERT INTO grades SELECT generate_series(101, 500)");
        let moment = stage.server.sql("postgres", "SELECT clock_timestamp() AT TIME ZONE 'UTC'");
        stage.server.sql("postgres", "DELETE FROM grades");
        stage.settle();
        fs::create_dir(stage.server.home().join("t")).unwrap();
        Drilled { stage, record, moment }
    }

    /// A drill, which asks how many rows there are.
    fn drill(&self, options: &[&str], rows: &str) -> Ran {
        let mut command = self.stage.server.tool("backup-validate");
        let ask = ["-d", "postgres", "--query", "SELECT count(*) FROM grades", "--expect", rows];
        command.env("TMPDIR", self.stage.server.home().join("t"));
        lab::run(command.args(["--drill", &self.record]).args(ask).args(options))
    }
}

#[test]
fn a_hot_snapshot_is_drilled_with_its_log_and_to_a_moment() {
    let drilled = Drilled::new(&[]);
    let archive = drilled.stage.archive_text();
    let before = drilled.stage.archived(1);
    // without its log it is nothing to start, and a drill that was asked for and not held is no success
    drilled.drill(&[], "100").exits(4).says("not drilled").says("--wal");
    for (options, rows) in
        [(&[][..], "100"), (&["--until", &drilled.moment], "500"), (&["--until", "latest"], "0")]
    {
        let options = [&["--wal", &archive], options].concat();
        let ran = drilled.drill(&options, rows).exits(0).says("restored into PostgreSQL");
        assert_eq!(ran.line(), drilled.record, "{options:?}");
    }
    let record = fs::read_to_string(drilled.stage.server.home().join(&drilled.record)).unwrap();
    assert!(record.contains("\"how\": \"drill\""), "{record}");
    drilled.drill(&["--wal", &archive, "--until", &drilled.moment], "499").exits(1).says("answers '500'");
    // nothing was archived, nothing is left
    assert_eq!(drilled.stage.archived(1), before);
    assert!(!drilled.stage.archive().join("00000002").exists());
    assert_eq!(lab::names(&drilled.stage.server.home().join("t")), [""; 0]);

    // a moment that the log does not reach, and a log that is not whole
    drilled.drill(&["--wal", &archive, "--until", "2199-01-01 00:00:00"], "0").exits(1);
    let first = before.iter().find(|n| n.len() == 24 && **n > before[0]).unwrap();
    fs::remove_file(drilled.stage.folder().join(first)).unwrap();
    let ran = drilled.drill(&["--wal", &archive, "--until", "latest"], "0");
    assert_ne!(ran.code, 0, "{}", ran.err);
    let drills =
        fs::read_to_string(drilled.stage.server.home().join("backups/snapshots/drills.jsonl")).unwrap();
    assert!(drills.lines().last().unwrap().contains("\"ok\":false"), "{drills}");
}

#[test]
fn a_hot_snapshot_that_holds_its_log_starts_by_itself() {
    let drilled = Drilled::new(&["--with-wal"]);
    drilled.drill(&[], "100").exits(0).says("restored into PostgreSQL");
    drilled.drill(&["--wal", &drilled.stage.archive_text(), "--until", &drilled.moment], "500").exits(0);
    let mut command = drilled.stage.server.tool("backup-validate");
    lab::run(command.args(["--drill", "--until", "latest", &drilled.record])).exits(2).says("--wal");
    // a dump knows no other moment
    let dump = drilled.stage.server.rotate(&["-q"]).exits(0).line().to_owned();
    let mut command = drilled.stage.server.tool("backup-validate");
    let options = ["--drill", "--until", "latest", "--wal", &drilled.stage.archive_text(), &dump];
    lab::run(command.args(options)).exits(0).says("--until is for snapshots");
}
