//! kill -9 at each step: the next run ends what was begun, and nothing is half there.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::wait_until;
use crate::stage::Stage;

/// Kills our program the first time that it runs; afterwards writes a word down.
fn killing(word: &str) -> String {
    format!("[ -e killed ] || {{ : >killed; kill -9 $PPID; exit 0; }}; echo {word} >>log")
}

const KILLED: i32 = 128 + 9;

#[test]
fn a_snapshot_killed_while_services_are_down_leaves_no_set_and_the_next_run_starts_them() {
    for tool in ["volsnap", "volrestore", "pgdump-restore"] {
        let stage = Stage::with_data();
        let stop = "echo stop >>log; kill -9 $PPID";
        stage.snap(&["dir:data", "--stop", stop, "--start", "echo start >>log"]).exits(KILLED);
        assert_eq!((stage.read("log").as_str(), stage.names("backups/snapshots").len()), ("stop\n", 0));
        let next = match tool {
            "volsnap" => stage.snap(&["dir:data"]),
            "volrestore" => stage.restore(&["--undo", "--yes"]),
            _ => crate::lab::run(&mut stage.tool(tool, &["none.sql", "--yes"])),
        };
        next.says("starting what an earlier run left stopped");
        assert_eq!(stage.read("log"), "stop\nstart\n", "{tool}");
        stage.snap(&["dir:data"]).exits(0);
        assert_eq!(stage.read("log"), "stop\nstart\n", "{tool}: only once");
    }
}

#[test]
fn a_snapshot_killed_while_it_reads_leaves_nothing_that_counts() {
    let stage = Stage::with_data();
    stage.write("data/big", vec![7; 300 << 20]);
    let mut child = stage.tool("volsnap", &["dir:data", "--compress", "gzip:9"]).spawn().unwrap();
    let part = || stage.names("backups/snapshots").iter().any(|n| n.ends_with(".part"));
    wait_until("it writes", || stage.there("backups/snapshots") && part());
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert!(stage.snap(&["--list"]).exits(0).lines().is_empty());
    fs::remove_file(stage.path("data/big")).unwrap();
    stage.snap(&["dir:data"]).exits(0).says("left by a run that did not end");
    assert!(!part());
    assert_eq!(stage.snap(&["--list"]).exits(0).lines().len(), 1);
}

#[test]
fn a_set_whose_record_got_no_name_is_removed_whole() {
    let stage = Stage::with_data();
    stage.write("more/x", "y");
    let ran = stage.snap(&["dir:data", "dir:more"]).exits(0);
    // as a kill between the names of the archives and that of the record leaves it
    fs::rename(stage.path(ran.line()), stage.path(&format!("{}.part", ran.line()))).unwrap();
    stage.snap(&["dir:data"]).exits(0).says("left by a run that did not end");
    assert_eq!(stage.names("backups/snapshots").len(), 3);
    stage.sh("cd backups/snapshots && sha256sum -c --strict SHA256SUMS").exits(0);
}

#[test]
fn a_restore_killed_while_it_fills_in_has_changed_nothing() {
    let stage = Stage::with_data();
    for n in 0..5_000 {
        fs::write(stage.path(&format!("data/sub/{n}")), n.to_string()).unwrap();
    }
    let stamp = stage.stamp();
    stage.write("data/a", "changed");
    let mut child = stage.tool("volrestore", &[&stamp, "--yes"]).spawn().unwrap();
    let staged = || stage.names("").into_iter().find(|n| n.contains(".restore_"));
    wait_until("it fills in", || staged().is_some_and(|name| stage.there(&format!("{name}/sub"))));
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(stage.read("data/a"), "changed");
    stage.restore(&["--undo", "--yes"]).exits(1).says("has filled in");
    assert_eq!(staged(), None);
    stage.restore(&[&stamp, "--yes"]).exits(0);
    assert_eq!(stage.read("data/a"), "one");
}

#[test]
fn a_restore_killed_when_services_are_stopped_can_be_run_again() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    stage.write("data/a", "changed");
    let args = [&stamp, "--yes", "--stop", &killing("stop"), "--start", "echo start >>log"];
    stage.restore(&args).exits(KILLED);
    assert_eq!((stage.read("data/a").as_str(), stage.read("log").as_str()), ("changed", ""));
    stage.restore(&args).exits(0);
    assert_eq!(stage.read("data/a"), "one");
    // what the first had stopped, then the second's own
    assert_eq!(stage.read("log"), "start\nstop\nstart\n");
    assert_eq!(stage.names("").iter().filter(|n| n.contains(".restore_")).count(), 0);
}

#[test]
fn a_restore_killed_while_names_change_is_ended_by_the_next_run() {
    // the steps, in order; each is one rename
    for steps in 1..4 {
        let stage = Stage::with_data();
        stage.write("more/x", "old");
        let record = stage.snap(&["dir:data", "dir:more"]).exits(0);
        stage.write("data/a", "changed");
        stage.write("more/x", "changed");
        // killed before the stop: all is filled in
        let args = [record.line(), "--yes", "--stop", "kill -9 $PPID", "--start", "echo start >>log"];
        stage.restore(&args).exits(KILLED);
        let rename = |from: &str, to: &str| fs::rename(stage.path(from), stage.path(to)).unwrap();
        let staged = stage.names("").into_iter().find(|n| n.starts_with("data.restore_")).unwrap();
        let before = staged.replace("restore", "before");
        let all: [&dyn Fn(); 3] = [
            &|| rename("backups/snapshots/.restore.json", "backups/snapshots/.swap.json"),
            &|| rename("data", &before),
            &|| rename(&staged, "data"),
        ];
        all.iter().take(steps).for_each(|step| step());
        // nobody else starts the services while half of the names have changed
        crate::lab::run(&mut stage.tool("pgdump-restore", &["none.sql", "--yes"]))
            .says("must be ended first");
        assert_eq!(stage.read("log"), "", "{steps}");
        stage.restore(&["--undo", "--yes"]).exits(0).says("ending the restore");
        assert_eq!(
            (stage.read("data/a"), stage.read("more/x")),
            ("changed".into(), "changed".into()),
            "{steps}"
        );
        assert_eq!(stage.read("log"), "start\n", "{steps}");
        stage.restore(&["--undo", "--yes"]).exits(0);
        assert_eq!((stage.read("data/a"), stage.read("more/x")), ("one".into(), "old".into()), "{steps}");
    }
}

/// Kills a restore of `data` after the directories have changed names, before that is written down.
fn cut_off_while_names_change(stage: &Stage, stamp: &str, options: &[&str]) {
    stage
        .restore(&[&[stamp, "--yes", "--stop", "kill -9 $PPID", "--start", "true"], options].concat())
        .exits(KILLED);
    let staged = stage.names("").into_iter().find(|n| n.starts_with("data.restore_")).unwrap();
    let rename = |from: &str, to: &str| fs::rename(stage.path(from), stage.path(to)).unwrap();
    rename("backups/snapshots/.restore.json", "backups/snapshots/.swap.json");
    rename("data", &staged.replace("restore", "before"));
    rename(&staged, "data");
}

/// What `data/a` holds in the states that are kept beside.
fn befores(stage: &Stage) -> Vec<String> {
    let names = stage.names("").into_iter().filter(|n| n.starts_with("data.before_"));
    names.map(|n| stage.read(&format!("{n}/a"))).collect()
}

#[test]
fn the_same_command_again_ends_a_restore_and_does_not_do_it_twice() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    stage.write("data/a", "live");
    cut_off_while_names_change(&stage, &stamp, &[]);
    let again = stage.restore(&["--latest", "--yes", "--stop", "echo stop >>log"]).exits(0);
    assert_eq!(again.says("ending the restore").says("is done").line(), "data");
    assert_eq!((stage.read("data/a"), befores(&stage)), ("one".into(), vec!["live".into()]));
    assert!(!stage.there("log"), "nothing was stopped again");
    // asked once more it is a restore of its own
    stage.write("data/a", "later");
    stage.restore(&["--latest", "--yes"]).exits(0);
    assert_eq!((stage.read("data/a"), befores(&stage)), ("one".into(), vec!["later".into()]));
}

#[test]
fn another_restore_keeps_what_was_before_the_one_that_it_ended() {
    for elsewhere in [false, true] {
        let stage = Stage::with_data();
        let first = stage.stamp();
        stage.write("data/a", "two");
        let second = stage.path(stage.snap(&["dir:data"]).exits(0).line());
        let second = second.file_stem().unwrap().to_str().unwrap();
        stage.write("data/a", "live");
        cut_off_while_names_change(&stage, &first, &[]);
        let options: &[&str] =
            if elsewhere { &[&first, "--yes", "data=dir:other"] } else { &[second, "--yes"] };
        stage.restore(&[options, &["--keep-before", "0"]].concat()).exits(0);
        let restored = if elsewhere { "other/a" } else { "data/a" };
        assert_eq!(stage.read(restored), if elsewhere { "one" } else { "two" });
        assert_eq!(befores(&stage), ["live"]);
    }
}

#[test]
fn a_restore_killed_before_services_start_loses_nothing_when_it_is_run_again() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    stage.write("data/a", "live");
    let args = [&stamp, "--yes", "--stop", "true", "--start", &killing("start")];
    stage.restore(&args).exits(KILLED);
    stage.restore(&args).exits(0);
    assert!(befores(&stage).contains(&"live".into()), "{:?}", befores(&stage));
}

#[test]
fn a_restore_killed_before_services_start_is_done_and_can_be_undone() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    stage.write("data/a", "changed");
    stage.restore(&[&stamp, "--yes", "--stop", "true", "--start", &killing("start")]).exits(KILLED);
    assert_eq!(stage.read("data/a"), "one");
    stage.restore(&["--undo", "--yes"]).exits(0).says("starting what");
    assert_eq!((stage.read("data/a").as_str(), stage.read("log").as_str()), ("changed", "start\n"));
}
