//! What a snapshot is: whole sets, ordinary archives, and which of them stay.

use std::fs;

use serde_json::Value;

use crate::lab::run;
use crate::stage::Stage;

fn record(stage: &Stage, stamp: &str) -> Value {
    serde_json::from_str(&stage.read(&format!("backups/snapshots/{stamp}.json"))).unwrap()
}

#[test]
fn a_set_is_archives_that_tar_reads_digests_and_a_record() {
    let stage = Stage::with_data();
    stage.write("more/x", "y");
    for (codec, ending) in [("gzip", "tar.gz"), ("zstd:3", "tar.zst"), ("none", "tar")] {
        let ran = stage.snap(&["dir:data", "two=dir:more", "--compress", codec, "--tag", "why"]).exits(0);
        let stamp = ran.line().trim_start_matches("backups/snapshots/").trim_end_matches(".json");
        let archive = format!("backups/snapshots/{stamp}_data.{ending}");
        let listed = stage.sh(&format!("tar -tf {archive}")).exits(0);
        let mut names = listed.lines();
        names.sort_unstable();
        assert_eq!(names, ["./", "a", "sub/", "sub/b", "sub/c"]);
        assert!(stage.there(&format!("backups/snapshots/{stamp}_two.{ending}")));
        let record = record(&stage, stamp);
        assert_eq!(
            (&record["kind"], &record["mode"], &record["tag"]),
            (&"snapshot".into(), &"cold".into(), &"why".into())
        );
        assert_eq!(record["volumes"][0]["entries"], 5);
        assert_eq!(record["volumes"][1]["label"], "two");
    }
    stage.sh("cd backups/snapshots && sha256sum -c SHA256SUMS").exits(0);
    assert_eq!(stage.snap(&["--list"]).exits(0).lines().len(), 3);
}

#[test]
fn the_second_within_a_second_has_a_name_of_its_own() {
    let stage = Stage::with_data();
    let (a, b) = (stage.stamp(), stage.stamp());
    assert!(a < b, "{a} {b}");
}

#[test]
fn sets_are_removed_whole_and_never_in_part() {
    let stage = Stage::with_data();
    stage.write("more/x", "y");
    for _ in 0..4 {
        stage.snap(&["dir:data", "dir:more", "--keep-last", "2"]).exits(0);
    }
    // two sets of three files each, and the list of digests
    assert_eq!(stage.names("backups/snapshots").len(), 7);
    stage.sh("cd backups/snapshots && sha256sum -c --strict SHA256SUMS").exits(0);
    assert_eq!(stage.read("backups/snapshots/SHA256SUMS").lines().count(), 4);
    // other volumes are another thing: they crowd out nothing, and their rules are none of these
    for _ in 0..2 {
        stage.snap(&["dir:more", "--keep-last", "1"]).exits(0);
        assert_eq!(stage.names("backups/snapshots").len(), 7 + 2);
    }
}

#[test]
fn what_has_no_record_is_neither_counted_nor_removed() {
    let stage = Stage::with_data();
    // as the scripts before made them
    stage.write("backups/snapshots/20200101_000000_data.tar.gz", "old");
    stage.snap(&["dir:data", "--keep-last", "1"]).exits(0);
    assert_eq!(stage.read("backups/snapshots/20200101_000000_data.tar.gz"), "old");
    assert_eq!(stage.snap(&["--list"]).exits(0).lines().len(), 1);
}

#[test]
fn a_set_that_lost_an_archive_is_no_set() {
    let stage = Stage::with_data();
    stage.write("more/x", "y");
    stage.snap(&["dir:data", "dir:more"]).exits(0);
    let gone = stage.names("backups/snapshots").into_iter().find(|n| n.ends_with("_more.tar.gz")).unwrap();
    fs::remove_file(stage.path(&format!("backups/snapshots/{gone}"))).unwrap();
    assert!(stage.snap(&["--list"]).exits(0).line().contains("is missing"));
    stage.restore(&["--latest", "--yes"]).exits(1).says("no whole snapshot");
    let stamp = &gone[..15];
    stage.restore(&[stamp, "--yes"]).exits(1).says("is missing");
    assert_eq!(stage.read("data/a"), "one");
}

#[test]
fn volumes_that_cannot_be_are_refused() {
    let stage = Stage::with_data();
    let refused = |args: &[&str], code, words: &str| {
        stage.snap(args).exits(code).says(words);
        assert!(!stage.there("backups/snapshots") || stage.names("backups/snapshots").is_empty());
    };
    refused(&["dir:none"], 1, "cannot read");
    refused(&["dir:data/a"], 1, "it is no directory");
    refused(&["data"], 2, "is none of docker:NAME, podman:NAME, dir:PATH");
    refused(&["dir:data", "x=dir:data"], 2, "hold the same files");
    refused(&["dir:data", "x=dir:data/sub"], 2, "hold the same files");
    refused(&["dir:data", "dir:data/sub/../../data/sub/../sub", "--leader", "x"], 2, "same files");
    refused(&["dir:data", "--leader", "x"], 2, "is none of the volumes");
    refused(&["a b=dir:data"], 2, "is no label");
    refused(&["all=dir:.", "--dir", "backups"], 4, "the snapshots themselves are in it");
}

#[test]
fn a_dry_run_makes_nothing() {
    let stage = Stage::with_data();
    let ran = stage.snap(&["dir:data", "--dry-run"]).exits(0);
    assert!(ran.line().starts_with("make\t") && ran.line().contains("_data.tar.gz"), "{}", ran.out);
    assert!(!stage.there("backups"));
}

#[test]
fn two_at_once_wait_for_one_another() {
    let stage = Stage::with_data();
    let mut first = stage.tool("volsnap", &["dir:data", "--stop", "touch stopped; sleep 2"]).spawn().unwrap();
    crate::lab::wait_until("the first has begun", || stage.there("stopped"));
    stage.snap(&["dir:data"]).exits(5).says("another run holds it");
    stage.snap(&["dir:data", "--lock-timeout", "60"]).exits(0);
    assert!(first.wait().unwrap().success());
}

#[test]
fn what_is_written_to_while_it_is_read_is_no_snapshot() {
    let stage = Stage::with_data();
    // grows and shrinks as fast as it can
    let script = "while [ ! -e enough ]; do head -c 20M /dev/zero >data/big; done";
    let mut writer = std::process::Command::new("sh");
    let mut writer = writer.args(["-c", script]).current_dir(stage.path("")).spawn().unwrap();
    let mut refused = false;
    for _ in 0..50 {
        let ran = run(&mut stage.tool("volsnap", &["dir:data", "-q"]));
        assert!(ran.code == 0 || ran.code == 5, "{}", ran.err);
        if ran.code == 5 {
            refused = true;
            assert!(ran.err.contains("something writes to the volume"), "{}", ran.err);
            break;
        }
    }
    stage.write("enough", "");
    writer.wait().unwrap();
    assert!(refused, "nobody noticed");
    assert!(!stage.names("backups/snapshots").iter().any(|n| n.ends_with(".part")));
}
