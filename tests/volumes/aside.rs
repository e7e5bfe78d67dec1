//! Volumes that are copied first: what was stopped for them starts before they are compressed.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::archive::hard;
use crate::disk::noise;
use crate::lab::small::Small;
use crate::lab::wait_until;
use crate::stage::Stage;

/// How what a stage stops and starts is written down.
const LOGGED: [&str; 4] = ["--stop", "echo stop >>log", "--start", "echo start >>log"];

/// A volume that takes a while to compress.
fn large() -> Stage {
    let stage = Stage::with_data();
    let words = (0..10_000_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 12).to_le_bytes());
    stage.write("data/big", words.collect::<Vec<u8>>());
    stage
}

/// What a run with `--json` has made.
fn made(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn the_archive_is_the_same_to_the_last_byte() {
    let stage = hard();
    let _socket = std::os::unix::net::UnixListener::bind(stage.path("data/socket")).unwrap();
    stage.write("data/postmaster.pid", "1\n");
    let mut tars = Vec::new();
    for when in ["always", "never"] {
        let ran = stage.snap(&["dir:data", "--copy-first", when, "--compress", "none"]).exits(0);
        assert_eq!(ran.err.contains("copying dir:"), when == "always", "{}", ran.err);
        let record = stage.read(ran.line());
        assert!(record.contains(r#""left_out":["postmaster.pid","socket"]"#), "{record}");
        tars.push(fs::read(stage.path(&ran.line().replace(".json", "_data.tar"))).unwrap());
    }
    assert!(tars[0] == tars[1]);
}

#[test]
fn what_was_stopped_starts_before_anything_is_compressed() {
    let stage = large();
    stage.write("more/x", "y");
    // what is being made when it starts
    let start = "ls backups/snapshots >started";
    let args = ["dir:data", "dir:more", "--compress", "gzip:9", "--stop", "true", "--start", start, "--json"];
    let ran = stage.snap(&args).exits(0).says("services down for");
    assert_eq!(stage.read("started"), "");
    let set = made(ran.line());
    let ms = |name: &str| set[name].as_u64().unwrap();
    assert!(ms("downtime_ms") * 2 < ms("duration_ms"), "{set}");
    stage.restore(&["--latest", "--into", "out"]).exits(0);
    assert_eq!((stage.tree("out/data"), stage.tree("out/more")), (stage.tree("data"), stage.tree("more")));
    // as it is where nothing is copied
    stage.snap(&[&args[..], &["--copy-first", "never"]].concat()).exits(0);
    assert!(stage.read("started").contains("_data.tar.gz.part"), "{}", stage.read("started"));
    // nothing waits: nothing is copied
    assert!(!stage.snap(&["dir:more"]).exits(0).err.contains("copying"));
}

#[test]
fn killed_when_services_run_again_it_leaves_no_set_and_they_run() {
    let stage = large();
    let args = [&["dir:data", "--compress", "gzip:9"], &LOGGED[..]].concat();
    let mut child = stage.tool("volsnap", &args).spawn().unwrap();
    let parts = || crate::lab::names(&stage.path("backups/snapshots"));
    let part = || parts().iter().any(|n| n.ends_with(".part"));
    wait_until("it compresses", || stage.read("log") == "stop\nstart\n" && part());
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(stage.snap(&["--list"]).exits(0).lines().is_empty());
    fs::remove_file(stage.path("data/big")).unwrap();
    stage.snap(&["dir:data"]).exits(0).says("left by a run that did not end");
    // nothing else is left: no copy has a name
    let left: Vec<String> =
        parts().into_iter().filter(|n| n != "SHA256SUMS" && !n.contains("lock")).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(stage.read("log"), "stop\nstart\n");
}

#[test]
fn a_file_that_changes_while_it_is_copied_spoils_it_and_services_start() {
    let stage = large();
    // appends once the copy has begun, until that is noticed
    let stop = "echo stop >>log; (while [ ! -e enough ]; do echo x >>data/big; done) >/dev/null 2>&1 &";
    let args = ["dir:data", "--stop", stop, "--start", "touch enough; echo start >>log"];
    stage.snap(&args).exits(5).says("something writes to the volume");
    assert_eq!(stage.read("log"), "stop\nstart\n");
    assert!(stage.names("backups/snapshots").is_empty());
}

#[test]
fn where_there_is_no_room_it_says_so_and_compresses_at_once() {
    let stage = Stage::with_data();
    stage.write("data/big", vec![7; 60 << 20]);
    let Some(small) = Small::mount(stage.path("backups"), "90m") else { return };
    let always = [&["dir:data", "--copy-first", "always"], &LOGGED[..]].concat();
    stage.snap(&always).exits(5).says("no room in 'backups/snapshots' to copy the volumes first");
    assert!(!stage.there("log"));
    let ran = stage.snap(&[&["dir:data"], &LOGGED[..]].concat()).exits(0);
    let ran = ran.says("no room in 'backups/snapshots' to copy the volumes first");
    assert!(!ran.err.contains("copying"), "{}", ran.err);
    assert_eq!(stage.read("log"), "stop\nstart\n");
    drop(small);
}

#[test]
fn where_the_disk_is_full_midway_the_rest_is_compressed_at_once() {
    let stage = Stage::with_data();
    for path in ["more/x", "last/x"] {
        stage.write(path, "y");
    }
    stage.write("data/big", noise(9 << 20));
    let Some(small) = Small::mount(stage.path("backups"), "90m") else { return };
    // by the time that it stands still it is larger than the disk
    let stop = "echo stop >>log; head -c 150M /dev/zero >more/big";
    let args = ["dir:data", "dir:more", "dir:last", "--stop", stop, LOGGED[2], LOGGED[3]];
    let ran = stage.snap(&args).exits(0).says("the disk is full");
    assert_eq!(stage.read("log"), "stop\nstart\n");
    assert!(ran.err.contains("copying dir:") && !ran.err.contains("no room"), "{}", ran.err);
    stage.restore(&[ran.line(), "--into", "out"]).exits(0);
    for name in ["data", "more", "last"] {
        assert_eq!(stage.tree(&format!("out/{name}")), stage.tree(name));
    }
    drop(small);
}
