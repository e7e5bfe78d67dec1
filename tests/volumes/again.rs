//! The same command again, or another one, after kill -9: ended once, from any folder, and nothing is lost.

use std::fs;

use crate::lab::run;
use crate::stage::{KILLED, Stage, killing};

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
fn a_restore_killed_while_it_removes_an_older_state_costs_no_other_when_it_is_run_again() {
    let mut done = 0;
    for n in 1.. {
        let stage = Stage::with_data();
        let stamp = stage.stamp();
        stage.write("data/a", "old");
        stage.restore(&[&stamp, "--yes"]).exits(0);
        stage.write("data/a", "precious");
        let inject = format!("inject=unlinkat:signal=KILL:when={n}");
        if stage.restore_with(&inject, &[&stamp, "--yes"]).code == 0 {
            break;
        }
        done += usize::from(stage.read("data/a") == "one");
        stage.restore(&[&stamp, "--yes"]).exits(0);
        assert_eq!(stage.read("data/a"), "one");
        assert!(befores(&stage).contains(&"precious".into()), "{n}: {:?}", befores(&stage));
        // then it has been heard of
        stage.restore(&[&stamp, "--yes"]).exits(0);
        assert_eq!(befores(&stage), ["one"], "{n}");
    }
    assert!(done > 1, "{done}");
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

#[test]
fn the_same_restore_from_another_folder_is_the_same() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    stage.write("data/a", "live");
    cut_off_while_names_change(&stage, &stamp, &["data=dir:./data", "--forget", "dir:none"]);
    fs::create_dir_all(stage.path("else/where")).unwrap();
    let args = [&stamp, "--yes", "-o", "../../backups", "data=dir:../../data", "--forget", "dir:../../none"];
    let again = run(stage.tool("volrestore", &args).current_dir(stage.path("else/where"))).exits(0);
    again.says("ending the restore").says("is done");
    assert_eq!((stage.read("data/a"), befores(&stage)), ("one".into(), vec!["live".into()]));
}

#[test]
fn another_volume_of_that_name_in_another_folder_is_another() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    cut_off_while_names_change(&stage, &stamp, &["data=dir:data"]);
    fs::create_dir(stage.path("else")).unwrap();
    let args = [&stamp, "--yes", "-o", "../backups", "data=dir:data"];
    let other = run(stage.tool("volrestore", &args).current_dir(stage.path("else"))).exits(0);
    assert!(!other.err.contains("is done"), "{}", other.err);
    assert_eq!(stage.read("else/data/a"), "one");
}

#[test]
fn whoever_picks_the_same_again_is_told_that_it_is_done() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    stage.write("data/a", "live");
    cut_off_while_names_change(&stage, &stamp, &[]);
    let volrestore = env!("CARGO_BIN_EXE_volrestore");
    let pick = format!("printf '{stamp}\\n' | script -qec '{volrestore} --pick --yes' /dev/null");
    let ran = stage.sh(&pick).exits(0);
    assert!(ran.out.contains("is done") && ran.out.matches("Available").count() == 1, "{}", ran.out);
    assert_eq!((stage.read("data/a"), befores(&stage)), ("one".into(), vec!["live".into()]));
}

#[test]
fn half_of_a_restore_that_is_told_of_elsewhere_is_not_built_upon() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    stage.write("data/a", "live");
    stage.restore(&[&stamp, "--yes", "--stop", "kill -9 $PPID", "--start", "true"]).exits(KILLED);
    let staged = stage.names("").into_iter().find(|n| n.starts_with("data.restore_")).unwrap();
    let before = staged.replace("restore", "before");
    fs::rename(stage.path("backups/snapshots/.restore.json"), stage.path("backups/snapshots/.swap.json"))
        .unwrap();
    fs::rename(stage.path("data"), stage.path(&before)).unwrap();
    let record = stage.path(&format!("backups/snapshots/{stamp}.json"));
    let args = [record.to_str().unwrap(), "--yes", "-o", "others"];
    stage.restore(&args).exits(4).says("its journal is elsewhere").says(&before["data".len()..]);
    assert!(!stage.there("data"));
    stage.restore(&[&stamp, "--yes"]).exits(0).says("is done");
    assert_eq!((stage.read("data/a"), befores(&stage)), ("one".into(), vec!["live".into()]));
    assert_eq!(stage.read(&format!("{before}/a")), "live");
}

#[test]
fn half_of_a_set_that_is_told_of_elsewhere_is_neither_built_upon_nor_backed_up() {
    let stage = Stage::with_data();
    stage.write("more/x", "one");
    let stamp = stage.snap(&["-q", "dir:data", "dir:more"]).exits(0).line().to_owned();
    for file in ["data/a", "more/x"] {
        stage.write(file, "live");
    }
    stage.restore(&[&stamp, "--yes", "--stop", "kill -9 $PPID", "--start", "true"]).exits(KILLED);
    let staged = stage.names("").into_iter().find(|n| n.starts_with("data.restore_")).unwrap();
    let rename = |from: &str, to: &str| fs::rename(stage.path(from), stage.path(to)).unwrap();
    rename("backups/snapshots/.restore.json", "backups/snapshots/.swap.json");
    rename("data", &staged.replace("restore", "before"));
    rename(&staged, "data");
    let both = ["dir:data", "dir:more"];
    stage.restore(&[&stamp, "--yes", "-o", "others"]).exits(4).says("its journal is elsewhere");
    for dry in [&["-o", "others"][..], &["-o", "others", "--dry-run"]] {
        stage.snap(&[&both, dry].concat()).exits(4).says("its journal is elsewhere");
    }
    for dry in [&[][..], &["--dry-run"]] {
        stage.snap(&[&both, dry].concat()).exits(5).says("must be ended first");
    }
    assert_eq!((stage.read("data/a"), stage.read("more/x")), ("one".into(), "live".into()));
    stage.restore(&[&stamp, "--yes"]).exits(0).says("is done");
    assert_eq!((stage.read("data/a"), stage.read("more/x")), ("one".into(), "one".into()));
    stage.snap(&both).exits(0);
}
