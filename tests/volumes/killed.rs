//! kill -9 at each step: the next run ends what was begun, and nothing is half there.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::wait_until;
use crate::stage::{KILLED, Stage, killing};

#[test]
fn a_snapshot_killed_while_services_are_down_leaves_no_set_and_the_next_run_starts_them() {
    for tool in ["volsnap", "volrestore", "pgdump-restore", "pgdump-rotate"] {
        let stage = Stage::with_data();
        let stop = "echo stop >>log; kill -9 $PPID";
        stage.snap(&["dir:data", "--stop", stop, "--start", "echo start >>log"]).exits(KILLED);
        assert_eq!((stage.read("log").as_str(), stage.names("backups/snapshots").len()), ("stop\n", 0));
        // a dry run starts nothing
        let dry: Option<&[&str]> = match tool {
            "volrestore" => Some(&["--undo", "--dry-run"]),
            "pgdump-restore" => Some(&["none.sql", "--dry-run"]),
            _ => None,
        };
        if let Some(args) = dry {
            let ran = crate::lab::run(&mut stage.tool(tool, args)).exits(1);
            ran.says("an earlier run left stopped what 'echo start >>log' starts");
            assert_eq!(stage.read("log"), "stop\n", "{tool}");
        }
        let next = match tool {
            "volsnap" => stage.snap(&["dir:data"]),
            "volrestore" => stage.restore(&["--undo", "--yes"]),
            "pgdump-rotate" => crate::lab::run(&mut stage.tool(tool, &["--", "false"])),
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
    stage.restore(&["--undo", "--yes"]).exits(0).says("has filled in").says("it had replaced nothing");
    assert_eq!(staged(), None);
    stage.restore(&[&stamp, "--yes"]).exits(0);
    assert_eq!(stage.read("data/a"), "one");
    // an earlier restore is not undone instead of the one that was cut off
    stage.write("data/a", "since");
    let mut child = stage.tool("volrestore", &[&stamp, "--yes"]).spawn().unwrap();
    wait_until("it fills in", || staged().is_some_and(|name| stage.there(&format!("{name}/sub"))));
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    stage.restore(&["--undo", "--yes"]).exits(0).says("it had replaced nothing");
    assert_eq!(stage.read("data/a"), "since");
    stage.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(stage.read("data/a"), "changed");
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
        // nor does a dry run end anything
        let names = || stage.sh("find . | sort").out;
        let before = names();
        for args in [&["--undo", "--dry-run"], &[record.line(), "--dry-run"]] {
            stage.restore(args).exits(5).says("a restore was cut off, and must be ended first");
        }
        assert_eq!((before, stage.read("log").as_str()), (names(), ""));
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

#[test]
fn a_restore_beside_killed_while_it_fills_is_cleaned_up_and_can_be_run_again() {
    let stage = Stage::with_data();
    for n in 0..5_000 {
        fs::write(stage.path(&format!("data/sub/{n}")), n.to_string()).unwrap();
    }
    stage.write("more/x", "y");
    let record = stage.path(stage.snap(&["dir:more", "dir:data"]).exits(0).line());
    let record = record.to_str().unwrap();
    let staged = |label: &str| {
        let names = if stage.there("out") { stage.names("out") } else { Vec::new() };
        names.into_iter().find(|n| n.starts_with(&format!("{label}.restore_")))
    };
    let kill = || {
        let mut child = stage.tool("volrestore", &[record, "--into", "out"]).spawn().unwrap();
        let fills = || staged("data").is_some_and(|name| stage.there(&format!("out/{name}/sub")));
        wait_until("it fills in", fills);
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
    };
    kill();
    stage.restore(&["--undo", "--yes"]).exits(1).says("has filled in");
    assert_eq!(stage.names("out"), [""; 0]);
    // as between two names
    kill();
    let more = staged("more").unwrap();
    fs::rename(stage.path(&format!("out/{more}")), stage.path("out/more")).unwrap();
    // what is whole is named, whoever runs next
    let told = stage.restore(&["--undo", "--yes"]).exits(1);
    told.says("has filled in").says("out/more was whole by then, and stays");
    assert_eq!((stage.names("out"), stage.read("out/more/x")), (vec!["more".to_owned()], "y".into()));
    stage.restore(&[record, "--into", "out"]).exits(4).says("it is there");
    fs::remove_dir_all(stage.path("out/more")).unwrap();
    let ran = stage.restore(&[record, "--into", "out"]).exits(0);
    assert_eq!(ran.lines(), ["out/more", "out/data"]);
    assert_eq!(stage.tree("out/data"), stage.tree("data"));
}
