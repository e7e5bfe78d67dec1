//! Hot snapshots from the stream of `pg_basebackup`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::lab::{self, Ran};
use crate::stage::{Stage, flip};

/// `volsnap` from a folder of its own, of a place that is not there.
fn snap(stage: &Stage, options: &[&str]) -> Ran {
    let mut command = stage.server.tool("volsnap");
    command.args(["--hot", "--from-basebackup", "data=dir:/nowhere/data"]).args(options);
    lab::run(command.env("PGUSER", "postgres"))
}

fn drill(stage: &Stage, record: &str, rows: &str) -> Ran {
    let ask = ["-d", "postgres", "--query", "SELECT count(*) FROM grades", "--expect", rows];
    lab::run(stage.server.tool("backup-validate").args(["--drill", record]).args(ask))
}

#[test]
fn a_snapshot_of_a_server_elsewhere_holds_its_log_and_is_proven_by_postgresql() {
    let stage = Stage::archiving(&[]);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 100) AS id");
    for codec in ["gzip", "zstd", "none"] {
        let record = snap(&stage, &["--compress", codec]).exits(0).line().to_owned();
        drill(&stage, &record, "100").exits(0).says("pg_verifybackup found nothing wrong");
    }
    // and on to a moment after it, beside
    stage.server.sql("postgres", "INSERT INTO grades SELECT generate_series(101, 500)");
    stage.settle();
    let into = stage.server.data().parent().unwrap().join("beside");
    let options = ["--latest", "--until-latest", "--wal", &stage.archive_text(), "--into"];
    lab::run(stage.server.tool("volrestore").args(options).arg(&into)).exits(0);
    let (is, was) = (fs::metadata(into.join("data")).unwrap(), fs::metadata(stage.server.data()).unwrap());
    assert_eq!((is.mode(), is.uid(), is.gid()), (was.mode(), was.uid(), was.gid()));
}

#[test]
fn what_is_not_whole_or_does_not_fit_one_stream_is_no_snapshot() {
    let stage = Stage::archiving(&[]);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 100) AS id");
    let snapshots = stage.server.home().join("backups/snapshots");
    let nothing = || lab::names(&snapshots).iter().all(|n| !n.ends_with(".tar.gz") && !n.ends_with(".json"));
    // a role that may not replicate
    stage.server.sql("postgres", "CREATE ROLE mere LOGIN; GRANT pg_read_all_settings TO mere");
    let mut command = stage.server.tool("volsnap");
    command.args(["--hot", "--from-basebackup", "data=dir:/nowhere/data"]).env("PGUSER", "mere");
    lab::run(&mut command).exits(1).says("may not replicate").says("ALTER ROLE");
    assert!(nothing());
    // what PostgreSQL's own manifest says of it is believed, not only ours
    let record = snap(&stage, &["--compress", "none"]).exits(0).line().to_owned();
    let home = stage.server.home();
    let into = home.join("out");
    lab::run(stage.server.tool("volrestore").args([&record, "--into"]).arg(&into)).exits(0);
    flip(&into.join("data/base/1/1259"), 5000);
    let data = format!("data=dir:{}", into.join("data").display());
    fs::remove_dir_all(&snapshots).unwrap();
    let record = lab::run(stage.server.tool("volsnap").arg(&data)).exits(0).line().to_owned();
    drill(&stage, &record, "100").exits(1).says("pg_verifybackup").says("base/1/1259");

    let space = home.join("space");
    fs::create_dir(&space).unwrap();
    lab::give(&space);
    stage.server.sql("postgres", &format!("CREATE TABLESPACE other LOCATION '{}'", space.display()));
    snap(&stage, &[]).exits(4).says("'other'").says("--hot");
}
