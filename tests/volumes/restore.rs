//! A restore: proven first, beside what is there, undone by names.

use std::fs;

use crate::lab::{feed, run};
use crate::stage::Stage;

/// Names beside the volume that hold what was there before.
fn befores(stage: &Stage) -> Vec<String> {
    stage.names("").into_iter().filter(|n| n.contains(".before_")).collect()
}

#[test]
fn the_snapshot_comes_back_and_what_was_there_stays_beside() {
    let stage = Stage::with_data();
    let old = stage.tree("data");
    let stamp = stage.stamp();
    stage.write("data/a", "changed");
    stage.write("data/new", "new");
    let changed = stage.tree("data");
    let ran = stage.restore(&[&stamp, "--yes"]).exits(0);
    assert_eq!(ran.line(), "data");
    assert_eq!(stage.tree("data"), old);
    let [before] = &befores(&stage)[..] else { panic!("{:?}", befores(&stage)) };
    assert_eq!(stage.tree(before), changed);
    // and back, and back again
    stage.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(stage.tree("data"), changed);
    stage.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(stage.tree("data"), old);
    assert_eq!(befores(&stage).len(), 1);
}

#[test]
fn only_so_many_earlier_states_stay() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    for keep in ["2", "2", "2"] {
        stage.restore(&[&stamp, "--yes", "--keep-before", keep]).exits(0);
    }
    assert_eq!(befores(&stage).len(), 2);
    stage.restore(&[&stamp, "--yes", "--keep-before", "0"]).exits(0);
    assert_eq!(befores(&stage).len(), 0);
    stage.restore(&["--undo", "--yes"]).exits(1).says("nothing to undo");
}

#[test]
fn several_volumes_come_back_together_also_those_that_are_gone() {
    let stage = Stage::with_data();
    stage.write("more/x", "y");
    let ran = stage.snap(&["dir:data", "dir:more"]).exits(0);
    let (data, more) = (stage.tree("data"), stage.tree("more"));
    fs::remove_dir_all(stage.path("more")).unwrap();
    stage.write("data/a", "changed");
    let ran = stage.restore(&[ran.line(), "--yes"]).exits(0);
    assert_eq!(ran.lines(), ["data", "more"]);
    assert_eq!((stage.tree("data"), stage.tree("more")), (data, more));
    stage.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(stage.read("data/a"), "changed");
}

#[test]
fn a_volume_goes_elsewhere_if_that_is_said() {
    let stage = Stage::with_data();
    stage.stamp();
    stage.restore(&["--latest", "data=dir:elsewhere/deep"]).exits(0);
    assert_eq!(stage.tree("elsewhere/deep"), stage.tree("data"));
    assert!(befores(&stage).is_empty());
    stage.restore(&["--latest", "other=dir:x"]).exits(2).says("holds no volume 'other'");
}

#[test]
fn into_a_new_directory_touches_nothing() {
    let stage = Stage::with_data();
    stage.stamp();
    stage.write("data/a", "changed");
    let ran = stage.restore(&["--latest", "--into", "out"]).exits(0);
    assert_eq!(ran.line(), "out/data");
    assert_eq!((stage.read("out/data/a").as_str(), stage.read("data/a").as_str()), ("one", "changed"));
    stage.restore(&["--latest", "--into", "out"]).exits(4).says("it is there");
}

#[test]
fn into_a_new_directory_comes_all_or_nothing() {
    let stage = Stage::with_data();
    stage.write("more/x", "y");
    stage.snap(&["dir:data", "dir:more"]).exits(0);
    let names = stage.names("backups/snapshots");
    let archive = names.iter().find(|n| n.ends_with("_more.tar.gz")).unwrap();
    let path = stage.path(&format!("backups/snapshots/{archive}"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, bytes).unwrap();
    let before = stage.names("");
    stage.restore(&["--latest", "--into", "out"]).exits(1).says(archive);
    assert_eq!(stage.names(""), before);
}

#[test]
fn nothing_is_done_without_the_word() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    stage.write("data/a", "changed");
    stage.restore(&["--latest"]).exits(4).says("--yes");
    let asked = |args: &[&str], answer: &str| feed(&mut stage.tool("volrestore", args), answer);
    asked(&["--latest"], "DESTROY\n").exits(4).says("no terminal");
    let plan = stage.restore(&["--latest", "--dry-run"]).exits(0);
    assert!(plan.out.contains("fill") && plan.out.contains("keep"), "{}", plan.out);
    let record = stage.path("backups/snapshots").join(format!("{stamp}.json")).display().to_string();
    for words in [&[&record, "--dir", "none"][..], &[&record, "--into", "none"]] {
        stage.restore(&[words, &["--dry-run"]].concat()).exits(0);
        assert!(!stage.there("none"), "{words:?}");
    }
    assert_eq!(stage.read("data/a"), "changed");
    assert_eq!(befores(&stage).len(), 0);
}

#[test]
fn the_word_is_asked_for_at_a_terminal_in_capitals() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    stage.write("data/a", "changed");
    let volrestore = env!("CARGO_BIN_EXE_volrestore");
    let at_terminal = |args: &str, answers: &str| {
        let script = format!("printf '{answers}' | script -qec '{volrestore} {args}' /dev/null");
        stage.sh(&script)
    };
    let ran = at_terminal("--latest", "destroy\\n");
    assert_eq!(ran.code, 4, "{}", ran.out);
    assert!(ran.out.contains("This will DESTROY all current volumes!"), "{}", ran.out);
    assert_eq!(stage.read("data/a"), "changed");
    let ran = at_terminal("--pick", &format!("{stamp}\\nDESTROY\\n"));
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("Available snapshots:") && ran.out.contains(&stamp), "{}", ran.out);
    assert_eq!(stage.read("data/a"), "one");
}

#[test]
fn an_archive_that_is_damaged_is_found_before_anything_stops() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    let archive = stage.path(&format!("backups/snapshots/{stamp}_data.tar.gz"));
    let whole = fs::read(&archive).unwrap();
    let before = stage.tree("data");
    for at in [0, 12, whole.len() / 2, whole.len() - 6, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x20;
        fs::write(&archive, &flipped).unwrap();
        stage.restore(&["--latest", "--yes", "--stop", "touch stopped"]).exits(1);
        assert!(!stage.there("stopped"), "flipped at {at}");
    }
    fs::write(&archive, &whole[..whole.len() - 1]).unwrap();
    stage.restore(&[&stamp, "--yes", "--stop", "touch stopped"]).exits(1).says("its record says");
    assert_eq!((stage.tree("data"), stage.there("stopped")), (before, false));
}

#[test]
fn which_is_the_latest_is_not_guessed() {
    let stage = Stage::with_data();
    stage.write("more/x", "y");
    stage.stamp();
    stage.snap(&["dir:more"]).exits(0);
    stage.restore(&["--latest", "--yes"]).exits(4).says("different volumes");
    stage.restore(&["20200101_000000", "--yes"]).exits(1).says("there is no snapshot");
    run(&mut stage.tool("volrestore", &["--list"])).exits(0);
}

#[test]
fn a_link_to_the_volume_leads_to_what_is_replaced() {
    let stage = Stage::with_data();
    fs::rename(stage.path("data"), stage.path("real")).unwrap();
    std::os::unix::fs::symlink("real", stage.path("data")).unwrap();
    stage.stamp();
    stage.write("data/a", "changed");
    stage.restore(&["--latest", "--yes"]).exits(0);
    assert_eq!(stage.read("real/a"), "one");
    assert!(stage.path("data").is_symlink());
}
