//! kill -9 of a recovery while its server replays.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::lab::{Ran, names, run, wait_until};
use crate::moment::{new_folder, snap, started};
use crate::stage::Stage;

/// The processes of a server whose socket is in `folder`, or was.
fn servers(folder: &str) -> usize {
    let numbers = names("/proc".as_ref()).into_iter().filter(|name| name.parse::<u32>().is_ok());
    let lines = numbers.filter_map(|number| fs::read(format!("/proc/{number}/cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&format!("-k\0{folder}/"))).count()
}

/// A recovery to the end of the log, whose private folders are in a folder of their own.
fn recovery(stage: &Stage, options: &[&str]) -> Command {
    let mut command = stage.server.tool("volrestore");
    command.env("TMPDIR", temp(stage)).args(["--wal", &stage.archive_text(), "--until-latest"]).args(options);
    command
}

fn temp(stage: &Stage) -> PathBuf {
    stage.server.home().join("t")
}

/// Kills one while its server runs.
fn kill(stage: &Stage, options: &[&str]) {
    let ours = temp(stage).display().to_string();
    let mut child = recovery(stage, options).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("its server runs", || servers(&ours) > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(servers(&ours) > 0, "it outlives a kill; else there is nothing to end");
}

/// The same again: what the killed one left is gone.
fn again(stage: &Stage, options: &[&str]) -> Ran {
    let ran = run(&mut recovery(stage, options)).exits(0).says("left by a run that was killed");
    assert_eq!((servers(&temp(stage).display().to_string()), names(&temp(stage))), (0, vec![]));
    ran
}

#[test]
fn a_recovery_that_was_killed_leaves_no_server_to_the_next_run() {
    let mut stage = Stage::archiving(&["--compress", "zstd"]);
    snap(&stage, &[]).exits(0);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
    stage.settle();
    fs::create_dir(temp(&stage)).unwrap();
    let into = new_folder(&stage);
    kill(&stage, &["--into", &into]);
    // who looks elsewhere does not find it, and removes nothing below it
    let elsewhere = stage.server.home().join("e");
    fs::create_dir(&elsewhere).unwrap();
    let ran = run(recovery(&stage, &["--into", &into]).env("TMPDIR", &elsewhere)).exits(5);
    ran.says("of a run that was killed runs on it").says("TMPDIR");
    again(&stage, &["--into", &into]);
    let count = "SELECT count(*) FROM grades";
    assert_eq!(started(&into, "").sql("postgres", count), "500");

    stage.server.stop();
    kill(&stage, &["--yes"]);
    again(&stage, &["--yes"]).says("it goes on as timeline 2");
    stage.server.start_again();
    assert_eq!(stage.server.sql("postgres", count), "500");
}
