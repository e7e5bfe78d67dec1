//! Recovery to any moment, in place and beside.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::lab::{self, Ran, Server};
use crate::stage::{Stage, flip, rows};

pub(crate) fn snap(stage: &Stage, options: &[&str]) -> Ran {
    let data = format!("data=dir:{}", stage.server.data().display());
    lab::run(stage.server.tool("volsnap").args(["--hot", &data, "--compress", "zstd"]).args(options))
}

/// `volrestore` in the folder of the snapshots, with the archive.
pub(crate) fn recover(stage: &Stage, options: &[&str]) -> Ran {
    lab::run(stage.server.tool("volrestore").args(["--wal", &stage.archive_text()]).args(options))
}

/// A folder that a server can be recovered into.
pub(crate) fn new_folder(stage: &Stage) -> String {
    stage.server.data().parent().unwrap().join("beside").display().to_string()
}

/// The recovered server, started by itself.
pub(crate) fn started(into: &str, settings: &str) -> Server {
    let off = "\narchive_mode = off\n";
    let mut server = Server::from(&Path::new(into).join("data"), &format!("{off}{settings}"));
    server.start_again();
    server
}

fn now(stage: &Stage) -> String {
    stage.server.sql("postgres", "SELECT clock_timestamp() AT TIME ZONE 'UTC'")
}

/// A server with a hot snapshot taken under load, grades, and a mistake.
struct Mistake {
    stage: Stage,
    /// Just before the mistake.
    moment: String,
    lsn: String,
    xid: String,
}

fn mistake() -> Mistake {
    let stage = Stage::archiving(&["--compress", "zstd", "--ahead", "2"]);
    let bench = stage.bench(4);
    snap(&stage, &[]).exits(0);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
    stage.server.sql("postgres", "SELECT pg_create_restore_point('before')");
    let (moment, lsn) = (now(&stage), stage.server.sql("postgres", "SELECT pg_current_wal_insert_lsn()"));
    let xid = stage.server.sql("postgres", "DELETE FROM grades RETURNING pg_current_xact_id()");
    let xid = xid.lines().next().unwrap().to_owned();
    lab::end(bench).exits(0);
    stage.settle();
    Mistake { stage, moment, lsn, xid }
}

pub(crate) const COUNT: &str = "SELECT count(*) FROM grades";
/// Whole transactions only: each adds the same to a branch and to the history.
pub(crate) const WHOLE: &str = "SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)";

#[test]
fn beside_the_live_server_by_every_kind_of_moment() {
    let Mistake { stage, moment, lsn, xid } = mistake();
    let before = rows(&stage.server);
    let into = new_folder(&stage);
    for (options, count) in [
        (["--until", &moment], "500"),
        (["--until-name", "before"], "500"),
        (["--until-lsn", &lsn], "500"),
        (["--until-xid", &xid], "0"),
        (["--until-latest", "-q"], "0"),
    ] {
        let _ = fs::remove_dir_all(&into);
        let ran = recover(&stage, &[&options[..], &["--into", &into]].concat()).exits(0);
        assert_eq!(ran.line(), format!("{into}/data"), "{options:?}");
        let server = started(&into, "");
        assert_eq!(server.sql("postgres", COUNT), count, "{options:?}");
        assert_eq!(server.sql("postgres", WHOLE), "t", "{options:?}");
        assert!(!server.data().join("recovery.signal").exists());
        if options[0] == "--until-latest" {
            assert_eq!(rows(&server), before);
        }
    }
    assert!(!stage.archive().join("00000002").exists(), "what stands beside archives nothing");
    assert_eq!(rows(&stage.server), before, "the live server is as it was");
}

#[test]
fn in_place_with_what_was_there_kept_beside() {
    let Mistake { mut stage, moment, .. } = mistake();
    // nobody may run on what is replaced
    recover(&stage, &["--until", &moment, "--yes"]).exits(4).says("runs on");
    stage.server.stop();
    let ran = recover(&stage, &["--until", &moment, "--yes"]).exits(0);
    assert_eq!(ran.line(), "data");
    let told = ran.says("along timeline 1").says("before the commit of transaction");
    told.says("it goes on as timeline 2");
    stage.server.start_again();
    assert_eq!(stage.server.sql("postgres", COUNT), "500");
    assert_eq!(stage.server.sql("postgres", WHOLE), "t");
    // it goes on, and its log can be followed: back to after the recovery
    stage.server.sql("postgres", "CREATE TABLE since (); SELECT pg_create_restore_point('since')");
    stage.settle();
    stage.wal(&["verify", "-a", &stage.archive_text()]).exits(0);
    let into = new_folder(&stage);
    recover(&stage, &["--until-name", "since", "--into", &into]).exits(0).says("along timeline 2");
    let server = started(&into, "");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM since"), "0");
    // both timelines hold moments from after the snapshot: which one is meant, nobody guesses
    let _ = fs::remove_dir_all(&into);
    let both = recover(&stage, &["--until-latest", "--into", &into]).exits(4);
    both.says("several timelines").says("--timeline");
    recover(&stage, &["--until-latest", "--timeline", "1", "--into", &into]).exits(0);
    assert_eq!(started(&into, "").sql("postgres", COUNT), "0");
    // up to a moment before they parted there is nothing to choose
    let _ = fs::remove_dir_all(&into);
    recover(&stage, &["--until", &moment, "--into", &into]).exits(0).says("along timeline 2");
    assert_eq!(started(&into, "").sql("postgres", COUNT), "500");
}

#[test]
fn a_recovery_is_run_by_whoever_owns_the_data_also_into_a_relative_folder() {
    let mut stage = Stage::archiving(&[]);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
    stage.settle();
    stage.server.stop_in_order();
    let data = stage.server.data();
    // only root can give files to anybody
    let as_root = data.metadata().unwrap().uid() != fs::metadata("/proc/self").unwrap().uid();
    if as_root {
        let ran = std::process::Command::new("chown")
            .args(["-R", "nobody:"])
            .args([&data, &stage.archive()])
            .status();
        assert!(ran.unwrap().success());
    }
    let owner = data.metadata().unwrap().uid();
    let cold = format!("data=dir:{}", data.display());
    lab::run(stage.server.tool("volsnap").arg(&cold)).exits(0);
    let ran = recover(&stage, &["--until-latest", "--into", "beside"]).exits(0);
    let there = stage.server.home().join("beside/data");
    assert_eq!(ran.line(), there.display().to_string());
    assert!(!there.join("recovery.signal").exists());
    assert_eq!(there.join("postgresql.auto.conf").metadata().unwrap().uid(), owner);
}

#[test]
fn what_the_log_does_not_reach_is_found_before_anything_is_touched() {
    let Mistake { stage, moment, .. } = mistake();
    let into = new_folder(&stage);
    let refused = |options: &[&str], code: i32, says: &str| {
        recover(&stage, &[options, &["--into", &into]].concat()).exits(code).says(says);
        assert!(!Path::new(&into).exists(), "{options:?}");
    };
    refused(&["--until", "2100-01-01 00:00:00"], 1, "the log of timeline 1 ends at");
    refused(&["--until-name", "nonsense"], 1, "ends at");
    refused(&["--until-xid", "4000000"], 1, ", without transaction 4000000");
    refused(&["--until-xid", "4000000"], 1, "What ended before the snapshot needs an earlier one");
    refused(&["--until-lsn", "FF/0"], 1, "ends at");
    refused(&["--until", "2001-01-01 00:00:00"], 1, "no snapshot of this server from before");
    refused(&["--until-lsn", "0/28"], 1, "lies before the snapshot");
    refused(&["--until", &moment, "--timeline", "7"], 1, "timeline 7 does not come from");
    let segments = stage.archived(1);
    let stored = stage.folder().join(format!("{}.zst", segments[segments.len() - 3]));
    let whole = fs::read(&stored).unwrap();
    flip(&stored, whole.len() as u64 / 2);
    refused(&["--until-latest"], 1, "is damaged");
    fs::remove_file(&stored).unwrap();
    let bring = format!("bring {} back", segments[segments.len() - 3]);
    refused(&["--until-xid", "4000000"], 1, &bring);
    fs::rename(stage.archive(), stage.archive().with_extension("away")).unwrap();
    refused(&["--until", &moment], 5, "cannot open the archive");
}

#[test]
fn a_cold_snapshot_of_a_server_that_crashed_is_consistent_where_its_own_log_ends() {
    let mut stage = Stage::archiving(&[]);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
    stage.settle();
    let moment = now(&stage);
    stage.server.sql("postgres", "DELETE FROM grades WHERE id > 400");
    stage.server.stop();
    let cold = format!("data=dir:{}", stage.server.data().display());
    let record = lab::run(stage.server.tool("volsnap").arg(&cold)).exits(0).line().to_owned();
    // a moment is told by the second
    std::thread::sleep(std::time::Duration::from_millis(1200));
    stage.server.start_again();
    stage.server.sql("postgres", "DELETE FROM grades WHERE id > 300");
    stage.settle();
    let into = new_folder(&stage);
    // PostgreSQL stops nowhere within it
    let ran = recover(&stage, &[&record, "--until", &moment, "--into", &into]);
    ran.exits(1).says("lies before the snapshot");
    for (option, count) in [("--until-immediate", "400"), ("--until-latest", "300")] {
        let _ = fs::remove_dir_all(&into);
        recover(&stage, &[option, "--into", &into]).exits(0);
        assert_eq!(started(&into, "").sql("postgres", COUNT), count, "{option}");
    }
}

#[test]
fn what_stood_beside_archives_its_whole_timeline_once_it_archives() {
    let Mistake { stage, moment, .. } = mistake();
    let into = new_folder(&stage);
    recover(&stage, &["--until", &moment, "--into", &into]).exits(0);
    // it becomes a server of its own, with an archive of its own
    let other = stage.archive().with_extension("other");
    let archive = other.to_str().unwrap();
    stage.wal(&["init", "-a", archive]).exits(0);
    lab::run(
        std::process::Command::new("chown").args(["-R", "--reference"]).arg(stage.archive()).arg(&other),
    )
    .exits(0);
    let config = stage.config(&[]).replace(&stage.archive_text(), archive);
    let own = Stage { server: started(&into, &format!("{config}\narchive_mode = on\n")) };
    own.server.sql("postgres", "CREATE TABLE since ()");
    own.settle();
    assert!(other.join("00000002/00000002.history").exists(), "{:?}", lab::names(&other));
    stage.wal(&["verify", "-a", archive]).exits(0);
    assert!(!stage.archive().join("00000002").exists());
}

#[test]
fn a_gap_behind_the_target_is_no_hindrance_and_one_at_the_end_is_told() {
    let Mistake { stage, moment, .. } = mistake();
    stage.server.sql("postgres", "CREATE TABLE behind AS SELECT 1; SELECT pg_create_restore_point('last')");
    let missing = stage.server.sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
    stage.fill(2);
    stage.settle();
    fs::remove_file(stage.folder().join(format!("{missing}.zst"))).unwrap();
    let into = new_folder(&stage);
    recover(&stage, &["--until", &moment, "--into", &into]).exits(0);
    assert_eq!(started(&into, "").sql("postgres", COUNT), "500");
    let _ = fs::remove_dir_all(&into);
    recover(&stage, &["--until-name", "last", "--into", &into]).exits(1).says("is missing");
    let ran = recover(&stage, &["--until-latest", "--into", &into]).exits(0);
    ran.says(&format!("at a gap: {missing} is missing, and there is more behind it"));
    let server = started(&into, "");
    assert_eq!(server.sql("postgres", COUNT), "0");
    assert_eq!(server.sql("postgres", "SELECT to_regclass('behind') IS NULL"), "t");
}

#[test]
fn a_look_at_a_moment_without_opening_it() {
    let Mistake { stage, moment, .. } = mistake();
    let into = new_folder(&stage);
    recover(&stage, &["--until", &moment, "--then", "pause", "--into", &into]).exits(0);
    let auto = Path::new(&into).join("data/postgresql.auto.conf");
    let text = fs::read_to_string(&auto).unwrap();
    assert!(text.contains("recovery_target_action = 'pause'"), "{text}");
    // who runs the server may not reach the folder that cargo builds in
    let get =
        format!("restore_command = '{} get -a {} %f %p'", stage.program().display(), stage.archive_text());
    fs::write(&auto, format!("{text}\n{get}\n")).unwrap();
    let mut server = Server::from(&Path::new(&into).join("data"), "\narchive_mode = off\n");
    server.start_again();
    lab::wait_until("it is paused", || {
        server.sql("postgres", "SELECT pg_get_wal_replay_pause_state()") == "paused"
    });
    assert_eq!(server.sql("postgres", COUNT), "500");
}

#[test]
fn a_snapshot_from_after_the_moment_is_refused_also_where_nobody_wrote() {
    let stage = Stage::archiving(&[]);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
    snap(&stage, &[]).exits(0);
    let moment = now(&stage);
    std::thread::sleep(std::time::Duration::from_secs(2));
    stage.server.sql("postgres", "DELETE FROM grades");
    let record = snap(&stage, &[]).exits(0).line().to_owned();
    stage.server.sql("postgres", "CREATE TABLE later ()");
    stage.settle();
    let into = new_folder(&stage);
    let until = ["--until", &moment, "--into", &into];
    for named in ["--latest", &record] {
        recover(&stage, &[&[named][..], &until].concat()).exits(1).says("lies before the snapshot");
        assert!(!Path::new(&into).join("data").exists());
    }
    recover(&stage, &until).exits(0);
    assert_eq!(started(&into, "").sql("postgres", COUNT), "500");
}
