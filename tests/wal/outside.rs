//! Recovery of a server that keeps something outside of its data directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab;
use crate::moment::{COUNT, new_folder, recover, snap, started};
use crate::stage::Stage;

/// Makes a table in a tablespace of its own, and says where that is.
fn tablespace(stage: &Stage) -> PathBuf {
    tablespace_in(stage, stage.archive().with_extension("space"))
}

fn tablespace_in(stage: &Stage, space: PathBuf) -> PathBuf {
    fs::create_dir(&space).unwrap();
    lab::give(&space);
    stage.server.sql("postgres", &format!("CREATE TABLESPACE fast LOCATION '{}'", space.display()));
    stage
        .server
        .sql("postgres", "CREATE TABLE grades TABLESPACE fast AS SELECT generate_series(1, 500) AS id");
    space
}

#[test]
fn tablespaces_come_along_and_those_in_use_are_left_alone() {
    let mut stage = Stage::archiving(&[]);
    let space = tablespace(&stage);
    stage.server.sql("postgres", "CREATE ROLE plain LOGIN");
    // by another name than the server's
    let other = space.with_extension("other");
    std::os::unix::fs::symlink(&space, &other).unwrap();
    let with = format!("space=dir:{}", other.display());
    snap(&stage, &["--allow-outside"]).exits(0);
    stage.settle();
    let into = new_folder(&stage);
    recover(&stage, &["--until-latest", "--into", &into]).exits(4).says("does not hold the tablespace in");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    snap(&stage, &[&with]).exits(0);
    let point = "SELECT pg_create_restore_point('before')";
    stage.server.sql("postgres", &format!("INSERT INTO grades SELECT 501; CHECKPOINT; {point}"));
    stage.server.sql("postgres", "DELETE FROM grades; CHECKPOINT");
    stage.settle();
    let ran = recover(&stage, &["--until-name", "before", "--into", &into]).exits(0);
    assert_eq!(ran.out, format!("{into}/space\n{into}/data\n"));
    // where it was recovered to: its links lead there
    let mut beside = lab::as_runner(lab::bin("pg_ctl"));
    let run = stage.server.host();
    let options = format!("-k {} -p 5433 -c archive_mode=off", run.display());
    beside.args(["-w", "-o", &options, "-l", "/dev/null", "-D", &format!("{into}/data")]);
    lab::run(beside.arg("start").stdout(std::process::Stdio::null())).exits(0);
    let ask = |sql: &str| {
        lab::run(stage.server.client("psql").args(["-p", "5433", "-XAtc", sql, "postgres"])).exits(0).out
    };
    let (count, place) =
        (ask(COUNT), ask("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'"));
    let mut stop = lab::as_runner(lab::bin("pg_ctl"));
    lab::run(stop.args(["stop", "-m", "immediate", "-D", &format!("{into}/data")])).exits(0);
    assert_eq!((count.trim(), place.trim()), ("501", format!("{into}/space").as_str()));
    assert_eq!(stage.server.sql("postgres", COUNT), "0", "the live server's is as it was");

    // in place its links lead to where they led, and both go back together
    stage.server.stop_in_order();
    let mut command = stage.server.tool("volrestore");
    // who may not promote has it done all the same: the data directory is theirs
    command.env("PGUSER", "plain").args(["--wal", &stage.archive_text(), "--until-name", "before", "--yes"]);
    lab::run(&mut command).exits(0);
    stage.server.start_again();
    let place = "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'";
    let now = |stage: &Stage| (stage.server.sql("postgres", COUNT), stage.server.sql("postgres", place));
    let space = space.display().to_string();
    assert_eq!(now(&stage), ("501".into(), space.clone()));
    stage.server.sql("postgres", "INSERT INTO grades SELECT 502; CHECKPOINT");
    stage.server.stop_in_order();
    let ran = lab::run(stage.server.tool("volrestore").args(["--undo", "--yes"])).exits(0);
    ran.says("the archive has the timeline that the recovery began");
    stage.server.start_again();
    assert_eq!(now(&stage), ("0".into(), space));
}

#[test]
fn a_log_outside_of_the_data_directory_comes_along_and_the_one_in_use_is_left_alone() {
    let mut stage = Stage::archiving(&[]);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
    stage.server.stop_in_order();
    // as by `initdb -X`
    let (inside, outside) = (stage.server.data().join("pg_wal"), stage.archive().with_extension("log"));
    fs::rename(&inside, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &inside).unwrap();
    let data = format!("data=dir:{}", stage.server.data().display());
    let cold = |options: &[&str]| {
        let ran = lab::run(stage.server.tool("volsnap").arg(&data).args(options)).exits(0);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        ran.line().to_owned()
    };
    let without = cold(&["--allow-outside"]);
    let with = cold(&[&format!("log=dir:{}", outside.display())]);
    stage.server.start_again();
    stage.server.sql("postgres", "DELETE FROM grades");
    stage.settle();
    stage.server.stop_in_order();
    let live = || {
        let names = lab::names(&outside).into_iter().filter(|n| !n.starts_with("archive_status"));
        names.map(|n| (n.clone(), fs::read(outside.join(n)).ok())).collect::<Vec<_>>()
    };
    let (before, into) = (live(), new_folder(&stage));
    let refused = |options: &[&str], says: &str| {
        recover(&stage, &[&["--until-latest", "--yes"], options].concat()).exits(4).says(says);
        assert!(live() == before && !Path::new(&into).exists(), "{options:?}");
    };
    refused(&[&without, "--into", &into], "does not hold the log in");
    refused(&[&without], "does not hold the log in");
    // without a recovery it is a copy as it was, which is told
    let plain = lab::run(stage.server.tool("volrestore").args([&with, "--into", "copy"])).exits(0);
    plain.says("the link pg_wal leads to");
    recover(&stage, &[&with, "--until-latest", "--into", &into, "--dry-run"]).exits(0);
    assert!(!Path::new(&into).exists());
    let ran = recover(&stage, &[&with, "--until-latest", "--into", &into]).exits(0);
    assert_eq!(ran.out, format!("{into}/log\n{into}/data\n"));
    assert!(live() == before, "the log in use is as it was");
    assert_eq!(fs::read_link(format!("{into}/data/pg_wal")).unwrap(), Path::new(&format!("{into}/log")));
    assert_eq!(started(&into, "").sql("postgres", COUNT), "0");
    recover(&stage, &[&with, "--until-immediate", "--yes"]).exits(0);
    assert_eq!(fs::read_link(&inside).unwrap(), outside);
    stage.server.start_again();
    assert_eq!(stage.server.sql("postgres", COUNT), "500");

    // as a base backup has it
    let hot = snap(&stage, &[]).exits(0).says("pg_wal is a link").line().to_owned();
    stage.settle();
    stage.server.stop_in_order();
    let plan = recover(&stage, &[&hot, "--until-latest", "--dry-run"]).exits(0);
    assert!(
        plan.out.contains(&format!("WARNING: pg_wal there leads to {}", outside.display())),
        "{}",
        plan.out
    );
}

#[test]
fn a_log_that_makes_a_tablespace_is_not_replayed_over_the_one_in_use() {
    let stage = Stage::archiving(&[]);
    snap(&stage, &[]).exits(0);
    stage.server.sql("postgres", "SELECT pg_create_restore_point('before')");
    let space = tablespace(&stage);
    stage.settle();
    let into = new_folder(&stage);
    let ran = recover(&stage, &["--until-latest", "--into", &into]).exits(4);
    ran.says(&format!("a tablespace was made in '{}'", space.display()));
    assert!(!Path::new(&into).exists());
    recover(&stage, &["--until-name", "before", "--into", &into]).exits(0);
}

#[test]
fn one_volume_may_hold_the_data_and_where_their_links_lead() {
    let mut stage = Stage::archiving(&[]);
    let space = tablespace_in(&stage, stage.server.data().join("inside"));
    snap(&stage, &[]).exits(0);
    stage.server.sql("postgres", "INSERT INTO grades SELECT 501; CHECKPOINT");
    stage.settle();
    let into = new_folder(&stage);
    recover(&stage, &["--until-latest", "--into", &into]).exits(0);
    let link = |data: &Path| {
        let link = lab::names(&data.join("pg_tblspc")).remove(0);
        fs::read_link(data.join("pg_tblspc").join(link)).unwrap()
    };
    assert_eq!(link(&Path::new(&into).join("data")), Path::new(&into).join("data/inside"));
    stage.server.stop_in_order();
    // a role that the snapshot does not know is not asked for
    let mut command = stage.server.tool("volrestore");
    command.env("PGUSER", "later").args(["--wal", &stage.archive_text(), "--until-immediate", "--yes"]);
    lab::run(&mut command).exits(0);
    assert_eq!(link(&stage.server.data()), space);
    stage.server.start_again();
    assert_eq!(stage.server.sql("postgres", COUNT), "500");
}
