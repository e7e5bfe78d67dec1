//! What is stopped is started again, exactly that, whatever happens.

use crate::stage::Stage;

/// A command that writes down that it ran.
fn log(word: &str) -> String {
    format!("echo {word} >>log")
}

#[test]
fn a_snapshot_stops_reads_and_starts() {
    let stage = Stage::with_data();
    let ran = stage.snap(&["dir:data", "--stop", &log("stop"), "--start", &log("start"), "--json"]).exits(0);
    assert_eq!(stage.read("log"), "stop\nstart\n");
    let made: serde_json::Value = serde_json::from_str(ran.line()).unwrap();
    assert!(made["downtime_ms"].as_u64() <= made["duration_ms"].as_u64(), "{made}");
    assert!(made["downtime_ms"].is_u64(), "{made}");
    ran.says("services down for");
}

#[test]
fn what_cannot_be_read_does_not_stay_stopped() {
    let stage = Stage::with_data();
    // found out after the stop: the stop itself takes the volume away
    let stop = format!("{}; mv data gone", log("stop"));
    stage.snap(&["dir:data", "--stop", &stop, "--start", &log("start")]).exits(1);
    assert_eq!(stage.read("log"), "stop\nstart\n");
    stage.sh("mv gone data").exits(0);
    stage.snap(&["dir:data", "--stop", "exit 3", "--start", &log("again")]).exits(1).says("cannot stop");
    assert_eq!(stage.read("log"), "stop\nstart\nagain\n");
    assert!(stage.names("backups/snapshots").is_empty());
}

#[test]
fn what_does_not_start_is_told_and_the_snapshot_stays() {
    let stage = Stage::with_data();
    let ran = stage.snap(&["dir:data", "--stop", "true", "--start", "exit 7"]).exits(1).says("cannot start");
    assert!(stage.there(ran.line()));
    // it is tried again by the next run of anything
    stage.restore(&["--latest", "--into", "out"]).exits(0).says("starting what an earlier run left stopped");
}

#[test]
fn a_restore_stops_when_all_is_filled_in_and_starts_when_names_have_changed() {
    let stage = Stage::with_data();
    stage.stamp();
    stage.write("data/a", "changed");
    let look = |word: &str| format!("echo {word} $(cat data/a) $(ls -d data.* | wc -l) >>log");
    stage.restore(&["--latest", "--yes", "--stop", &look("stop"), "--start", &look("start")]).exits(0);
    assert_eq!(stage.read("log"), "stop changed 1\nstart one 1\n");
    // what cannot be stopped is not replaced
    stage.write("data/a", "again");
    let ran = stage.restore(&["--latest", "--yes", "--stop", "exit 1", "--start", &log("start")]);
    ran.exits(1).says("cannot stop");
    assert_eq!(stage.read("data/a"), "again");
    assert_eq!(stage.names("").iter().filter(|n| n.contains(".restore_")).count(), 0);
    assert!(stage.read("log").ends_with("start\n"));
}

#[test]
fn what_never_starts_says_how_to_end_the_tries() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    let told = stage.restore(&[&stamp, "--yes", "--stop", "true", "--start", "false"]).exits(1);
    let promise =
        crate::lab::names(&stage.path("backups")).into_iter().find(|n| n.starts_with(".pgkeep.stopped."));
    let hint = format!("remove 'backups/{}'", promise.unwrap());
    told.says(&hint);
    stage.snap(&["dir:data"]).exits(0).says(&hint);
    stage.sh("rm backups/.pgkeep.stopped.*").exits(0);
    assert!(!stage.snap(&["dir:data"]).exits(0).err.contains("start"));
}

#[test]
fn a_signal_midway_starts_it_again() {
    let stage = Stage::with_data();
    let stop = "echo stop >>log; kill -TERM $PPID; sleep 1";
    stage.snap(&["dir:data", "--stop", stop, "--start", &log("start")]).exits(5).says("interrupted");
    assert_eq!(stage.read("log"), "stop\nstart\n");
    assert!(stage.names("backups/snapshots").is_empty());
}

#[test]
fn a_promise_that_others_may_have_written_is_not_kept() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::with_data();
    let promise = "backups/.pgkeep.stopped.1";
    let text = r#"{"start":{"first":"touch done","last":null,"patroni":null},"directory":".","hold":null}"#;
    stage.write(promise, text);
    let mode =
        |mode| std::fs::set_permissions(stage.path(promise), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o666);
    stage.snap(&["dir:data"]).exits(0).says("is not ours alone");
    assert!(!stage.there("done") && stage.there(promise));
    mode(0o600);
    stage.snap(&["dir:data"]).exits(0).says("starting what an earlier run left stopped: touch done");
    assert!(stage.there("done") && !stage.there(promise));
}

#[test]
fn a_stop_without_a_start_says_that_it_stays_so() {
    let stage = Stage::with_data();
    let ran = stage.snap(&["dir:data", "--stop", "true"]).exits(0).says("what 'true' stops stays stopped");
    assert!(!ran.err.contains("hint"), "{}", ran.err);
    assert!(!stage.snap(&["dir:data", "--stop", "true", "--start", "true"]).exits(0).err.contains("stays"));
}

#[test]
fn nothing_starts_where_names_changed_by_half() {
    let mut halves = 0;
    // the fault comes at this change of a name, and at all later ones
    for n in 1.. {
        let stage = Stage::with_data();
        let stamp = stage.stamp();
        stage.write("data/a", "changed");
        let inject = format!("inject=renameat2:error=EIO:when={n}+");
        let args = [&stamp, "--yes", "--stop", &log("stop"), "--start", &log("start")];
        let ran = stage.restore_with(&inject, &args);
        if ran.code == 0 {
            break;
        }
        if stage.there("backups/snapshots/.swap.json") {
            halves += 1;
            ran.says("what was stopped stays stopped").says("or undo it");
            assert_eq!(stage.read("log"), "stop\n", "{n}");
            stage.restore(&args).exits(0).says("ending the restore").says("left stopped");
            assert_eq!((stage.read("data/a"), stage.read("log")), ("one".into(), "stop\nstart\n".into()));
        } else {
            assert_eq!(stage.read("data/a"), "changed", "{n}");
            assert!(
                !stage.there("log") || stage.read("log") == "stop\nstart\n",
                "{n}: {}",
                stage.read("log")
            );
        }
    }
    assert!(halves > 0);
}
