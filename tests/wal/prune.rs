//! `prune`: what goes, and what never does.

use std::fs;
use std::path::Path;

use crate::lab::{self, Ran};
use crate::stage::{Stage, flip};

fn prune(stage: &Stage, options: &[&str]) -> Ran {
    stage.wal(&[&["prune", "-a", &stage.archive_text()], options].concat())
}

/// Three base backups with work between them.
fn stocked() -> (Stage, Vec<String>) {
    let stage = Stage::archiving(&[]);
    for name in ["one", "two", "three"] {
        stage.fill(2);
        stage.base(name);
    }
    stage.fill(2);
    stage.settle();
    let labels = crate::lab::names(&stage.folder()).into_iter().filter(|n| n.ends_with(".backup"));
    let starts = labels.map(|n| n[..24].to_owned()).collect();
    (stage, starts)
}

#[test]
fn what_lies_before_the_oldest_kept_backup_goes_and_nothing_else() {
    let (stage, starts) = stocked();
    let before = stage.archived(1);
    let told = prune(&stage, &["--keep", "2", "--dry-run"]).exits(0).out;
    assert_eq!(stage.archived(1), before, "a dry run removes nothing");
    assert_eq!(prune(&stage, &["--keep", "2"]).exits(0).out, told);
    let kept: Vec<String> = before.iter().filter(|n| **n >= starts[1]).cloned().collect();
    assert_eq!(stage.archived(1), kept);
    let gone = told.lines().filter(|l| l.starts_with("remove\t")).count();
    assert_eq!(gone, before.len() - kept.len() + 1, "and the label of the backup that is not kept");
    stage.wal(&["verify", "-a", &stage.archive_text()]).exits(0);
    // what is kept is kept
    assert!(!prune(&stage, &["--keep", "2"]).exits(0).out.contains("remove"));
    assert!(!prune(&stage, &["--keep", "9"]).exits(0).out.contains("remove"));
}

#[test]
fn a_backup_that_cannot_be_recovered_does_not_count() {
    let (stage, starts) = stocked();
    fs::remove_file(stage.folder().join(&starts[2])).unwrap();
    prune(&stage, &["--keep", "1"]).exits(0);
    assert!(stage.archived(1).contains(&starts[1]), "the last one that is whole");
}

#[test]
fn a_backup_whose_own_log_is_damaged_does_not_count() {
    let (stage, starts) = stocked();
    let before = stage.archived(1);
    let needed = stage.folder().join(&starts[2]);
    let whole = fs::read(&needed).unwrap();
    flip(&needed, 100);
    let ran = prune(&stage, &["--keep", "1", "--dry-run"]).exits(0).says("does not count");
    assert!(ran.out.contains(&format!("from {} on", starts[1])), "{}", ran.out);
    fs::write(&needed, "").unwrap();
    prune(&stage, &["--keep", "1"]).exits(0).says("does not count");
    assert!(stage.archived(1).contains(&starts[1]), "the last one that is whole");
    // none is left to go by
    flip(&stage.folder().join(&starts[1]), 100);
    let left = stage.archived(1);
    prune(&stage, &["--keep", "1"]).exits(4).says("no whole base backup");
    assert_eq!(stage.archived(1), left);
    assert_ne!(left, before);
    fs::write(&needed, whole).unwrap();
    prune(&stage, &["--keep", "1"]).exits(0);
    assert_eq!(stage.archived(1)[0], starts[2]);
}

#[test]
fn without_a_backup_nothing_is_pruned() {
    let stage = Stage::archiving(&[]);
    stage.fill(3);
    stage.settle();
    let before = stage.archived(1);
    prune(&stage, &["--keep", "1"]).exits(4).says("no whole base backup").says("hint: ");
    prune(&stage, &["--keep-from", "0000000100000000000000EE"]).exits(4);
    assert_eq!(stage.archived(1), before);
    prune(&stage, &["--keep-from", &before[2]]).exits(0);
    assert_eq!(stage.archived(1), before[2..]);
}

#[test]
fn histories_stay_and_other_timelines_are_pruned_by_their_place_in_the_log() {
    let (stage, starts) = stocked();
    let two = stage.archive().join("00000002");
    fs::create_dir(&two).unwrap();
    for (i, name) in
        ["000000020000000000000001", "000000020000000000000001.partial", "0000000200000000000000EE"]
            .iter()
            .enumerate()
    {
        fs::write(two.join(name), i.to_string()).unwrap();
    }
    fs::write(two.join("00000002.history"), "1\t0/100000\tx\n").unwrap();
    fs::write(two.join("somebody's"), "").unwrap();
    prune(&stage, &["--keep-from", &starts[1]]).exits(0);
    assert_eq!(crate::lab::names(&two), ["00000002.history", "0000000200000000000000EE", "somebody's"]);
}

/// `volsnap` of the server's data directory; the folder of its snapshots.
fn snapshot(stage: &Stage, options: &[&str]) -> String {
    let data = format!("data=dir:{}", stage.server.data().display());
    lab::run(stage.server.tool("volsnap").arg(&data).args(options)).exits(0);
    stage.server.home().join("backups/snapshots").display().to_string()
}

/// The first segment that the archive still holds.
fn first(stage: &Stage) -> String {
    stage.archived(1)[0].clone()
}

#[test]
fn snapshots_hold_the_log_that_they_need() {
    let mut stage = Stage::archiving(&[]);
    stage.fill(2);
    let dir = snapshot(&stage, &["--hot"]);
    stage.fill(2);
    stage.server.stop_in_order();
    snapshot(&stage, &[]);
    stage.server.start_again();
    stage.fill(2);
    stage.base("base");
    stage.settle();
    let record = |n: usize| {
        let records = lab::names(Path::new(&dir)).into_iter().filter(|n| n.ends_with(".json"));
        Path::new(&dir).join(records.collect::<Vec<_>>()[n].clone())
    };
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let hot = read(&record(0))["wal"]["first"].as_str().unwrap().to_owned();
    let oldest = first(&stage);
    let told = prune(&stage, &["--keep", "1", "--snapshots", &dir, "--dry-run"]).exits(0);
    assert!(told.out.contains(&format!("from {hot} on, the oldest of the snapshots in")), "{}", told.out);
    assert_eq!(first(&stage), oldest);
    prune(&stage, &["--snapshots", &dir]).exits(0);
    assert_eq!(first(&stage), hot);
    // the hot one is gone: the cold one's log begins with its last checkpoint
    fs::remove_file(record(0)).unwrap();
    let redo = read(&record(0))["volumes"][0]["data"][0]["control"]["redo"].as_str().unwrap().to_owned();
    let cold = stage.server.sql("postgres", &format!("SELECT pg_walfile_name('{redo}'::pg_lsn + 1)"));
    prune(&stage, &["--keep", "1", "--snapshots", &dir]).exits(0);
    assert_eq!(first(&stage), cold);
    lab::run(
        stage
            .server
            .tool("volrestore")
            .args(["--wal", &stage.archive_text(), "--until-latest"])
            .args(["--into", &stage.server.data().with_extension("into").display().to_string()]),
    )
    .exits(0);
}

#[test]
fn snapshots_that_are_away_or_of_no_use_have_nothing_removed() {
    let stage = Stage::archiving(&[]);
    stage.fill(2);
    let dir = snapshot(&stage, &["--hot"]);
    stage.fill(2);
    stage.settle();
    let before = stage.archived(1);
    prune(&stage, &["--snapshots", "/nowhere"]).exits(5).says("'/nowhere' is not there");
    let empty = stage.server.home();
    prune(&stage, &["--snapshots", empty.to_str().unwrap()]).exits(4).says("no snapshot of this server");
    // its own log is damaged
    let label = lab::names(&stage.folder()).into_iter().find(|n| n.ends_with(".backup")).unwrap();
    let needed = stage.folder().join(&label[..24]);
    flip(&needed, 100);
    prune(&stage, &["--snapshots", &dir]).exits(4).says("cannot be recovered").says("no snapshot of this");
    flip(&needed, 100);
    // a snapshot that cannot be restored holds nothing
    let tar = lab::names(Path::new(&dir)).into_iter().find(|n| n.ends_with(".tar.gz")).unwrap();
    fs::write(Path::new(&dir).join(tar), "").unwrap();
    prune(&stage, &["--snapshots", &dir]).exits(4).says("does not count");
    assert_eq!(stage.archived(1), before);
}

#[test]
fn an_empty_archive_is_told() {
    let stage = Stage::hoarding();
    prune(&stage, &["--keep", "1"]).exits(0).says("nothing was ever archived in");
}
