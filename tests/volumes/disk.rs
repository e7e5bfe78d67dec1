//! A disk that is full: found out before, or without harm in the midst.

use std::fs;

use crate::lab::small::Small;
use crate::stage::Stage;

/// Bytes that do not shrink.
pub(crate) fn noise(n: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(n / 8).flatten().collect()
}

#[test]
fn a_snapshot_that_does_not_fit_leaves_nothing_and_services_start() {
    let stage = Stage::with_data();
    stage.write("data/big", noise(8 << 20));
    let Some(small) = Small::mount(stage.path("backups"), "4m") else { return };
    let ran = stage.snap(&["dir:data", "--stop", "echo stop >>log", "--start", "echo start >>log"]);
    ran.exits(5).says("no space left");
    assert_eq!(stage.read("log"), "stop\nstart\n");
    assert!(stage.names("backups/snapshots").is_empty());
    drop(small);
}

#[test]
fn a_restore_that_does_not_fit_stops_nothing() {
    let stage = Stage::new();
    let Some(small) = Small::mount(stage.path("disk"), "12m") else { return };
    stage.write("disk/data/big", noise(8 << 20));
    stage.snap(&["dir:disk/data"]).exits(0);
    stage.write("disk/data/big", "small");
    stage.write("disk/other", noise(8 << 20));
    let ran = stage.restore(&["--latest", "--yes", "--stop", "touch stopped"]).exits(5);
    ran.says("no room").says("--keep-before 0");
    assert!(!stage.there("stopped"));
    // not even what is there makes room enough
    stage.restore(&["--latest", "--yes", "--keep-before", "0"]).exits(5).says("no room");
    assert_eq!(stage.read("disk/data/big"), "small");
    drop(small);
}

/// A disk with room for one volume and its snapshot elsewhere; the volume has changed since.
fn tight() -> Option<(Stage, Small, String)> {
    let stage = Stage::new();
    let small = Small::mount(stage.path("disk"), "12m")?;
    stage.write("disk/data/big", noise(7 << 20));
    stage.write("disk/data/sub/a", "one");
    stage.write("disk/state/x", "y");
    let record = stage.snap(&["dir:disk/data"]).exits(0).line().to_owned();
    stage.write("disk/data/big", vec![7; 7 << 20]);
    stage.write("disk/data/new", "new");
    Some((stage, small, record))
}

const LOGGED: [&str; 6] = ["--keep-before", "0", "--stop", "echo stop >>log", "--start", "echo start >>log"];

#[test]
fn where_there_is_no_room_beside_volumes_are_emptied_first_if_nothing_is_to_be_kept() {
    let Some((stage, small, record)) = tight() else { return };
    let args = [&[&record, "--forget", "dir:disk/state"], &LOGGED[..]].concat();
    let before = stage.tree("disk");
    let plan = stage.restore(&[&args[..], &["--dry-run"]].concat()).exits(0).out;
    assert!(plan.contains("there is no room beside, and no way back"), "{plan}");
    assert_eq!(stage.tree("disk"), before);
    // proven first
    let archive = stage.path(&record.replace(".json", "_data.tar.gz"));
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, [&whole[..whole.len() - 9], b"xxxxxxxxx"].concat()).unwrap();
    stage.restore(&[&args[..], &["--yes"]].concat()).exits(1);
    assert_eq!((stage.tree("disk"), stage.there("log")), (before, false));
    fs::write(&archive, whole).unwrap();
    let ran = stage.restore(&[&args[..], &["--yes"]].concat()).exits(0);
    assert_eq!((ran.line(), stage.read("log").as_str()), ("data", "stop\nstart\n"));
    assert_eq!(stage.names("disk"), ["data", "state"]);
    assert!(fs::read(stage.path("disk/data/big")).unwrap() == noise(7 << 20));
    assert_eq!(
        (stage.names("disk/data"), stage.names("disk/state").len()),
        (vec!["big".into(), "sub".into()], 0)
    );
    stage.restore(&["--undo", "--yes"]).exits(1).says("nothing to undo");
    drop(small);
}

/// Restores under strace, which kills it at a system call.
fn killed_at(stage: &Stage, record: &str, call: &str, n: usize) -> crate::lab::Ran {
    let args = [&[record, "--yes"], &LOGGED[..]].concat();
    stage.restore_with(&format!("inject={call}:signal=KILL:when={n}"), &args)
}

#[test]
fn killed_at_each_step_without_room_it_is_ended_by_the_next_run() {
    let (mut emptied, mut untouched) = (0, 0);
    for call in ["rename", "renameat2", "unlink", "unlinkat", "mkdir"] {
        for n in 1.. {
            let Some((stage, small, record)) = tight() else { return };
            if killed_at(&stage, &record, call, n).code == 0 {
                break;
            }
            let at = format!("{call} {n}");
            if stage.there("backups/snapshots/.swap.json") {
                emptied += 1;
                // nobody else starts the services meanwhile, or takes what is there for the volume
                let ran = stage.snap(&["dir:disk/data"]).exits(5).says("what an earlier run left stopped");
                ran.says("a restore of volumes was cut off");
                assert_eq!(stage.read("log"), "stop\n", "{at}");
            } else {
                untouched += usize::from(stage.there("disk/data/new"));
            }
            stage.restore(&[&[&record, "--yes"], &LOGGED[..]].concat()).exits(0);
            assert!(fs::read(stage.path("disk/data/big")).unwrap() == noise(7 << 20), "{at}");
            assert_eq!(stage.names("disk/data"), ["big", "sub"], "{at}");
            assert_eq!(stage.names("disk"), ["data", "state"], "{at}");
            assert!(stage.read("log").ends_with("start\n"), "{at}");
            drop(small);
        }
    }
    assert!(emptied > 3 && untouched > 0, "{emptied} {untouched}");
}

#[test]
fn where_the_snapshot_of_emptied_volumes_is_damaged_another_takes_its_place() {
    // at the first directory that is made once all is emptied
    let mut n = 0;
    let (stage, small, record, other) = loop {
        let Some((stage, small, record)) = tight() else { return };
        let other = stage.snap(&["dir:disk/data"]).exits(0).line().to_owned();
        n += 1;
        assert_eq!(killed_at(&stage, &record, "mkdir", n).code, crate::stage::KILLED);
        if stage.read("backups/snapshots/.swap.json").contains("emptying") {
            break (stage, small, record, other);
        }
    };
    assert!(stage.names("disk/data").is_empty());
    fs::write(stage.path(&record.replace(".json", "_data.tar.gz")), "").unwrap();
    stage.restore(&[&other, "--dry-run"]).exits(5).says("must be ended first");
    assert!(stage.names("disk/data").is_empty());
    for args in [&["--undo", "--yes"][..], &[&record, "--yes"]] {
        stage.restore(args).exits(1).says("another snapshot of the same volumes");
    }
    let ran = stage.restore(&[&other, "--yes"]).exits(0).says("is done");
    assert!(!ran.err.contains("--undo"), "{}", ran.err);
    assert_eq!((ran.line(), stage.read("log").as_str()), ("data", "stop\nstart\n"));
    assert_eq!(stage.read("disk/data/new"), "new");
    drop(small);
}
