//! Days on which the archive is away, full, or ends too early, with real servers.

use std::fs;
use std::process::Command;

use crate::lab::{self, wait_until};
use crate::stage::{Stage, flip, recover, rows};

/// A server that archived a base backup and work behind it.
fn worked() -> (Stage, std::path::PathBuf) {
    let stage = Stage::archiving(&[]);
    let base = stage.base("base");
    lab::end(stage.bench(2)).exits(0);
    stage.settle();
    (stage, base)
}

#[test]
fn an_archive_that_goes_away_in_a_targeted_recovery_does_not_open_the_database() {
    let (stage, base) = worked();
    stage.server.sql("postgres", "SELECT pg_create_restore_point('here')");
    stage.settle();
    let mut server = stage.recovering(&base, &["--retry-for", "1s"], "recovery_target_name = 'here'");
    let away = stage.archive().with_extension("away");
    fs::rename(stage.archive(), &away).unwrap();
    let ran = server.runs_out();
    assert_ne!(ran.code, 0);
    let log = server.log_text();
    assert!(log.contains("cannot open the archive") && log.contains("FATAL"), "{log}");
    assert!(
        !log.contains("ready to accept connections") && !log.contains("archive recovery complete"),
        "{log}"
    );
    assert!(server.data().join("recovery.signal").exists(), "nothing is lost");
    // an empty mount point is no archive either
    fs::create_dir(stage.archive()).unwrap();
    assert_ne!(server.runs_out().code, 0);
    fs::remove_dir(stage.archive()).unwrap();
    fs::rename(&away, stage.archive()).unwrap();
    recover(&mut server);
    assert_eq!(rows(&server), rows(&stage.server));
}

#[test]
fn an_archive_that_comes_back_in_time_is_waited_for() {
    let (stage, base) = worked();
    let mut server = stage.recovering(&base, &["--retry-for", "60s"], "");
    let away = stage.archive().with_extension("away");
    fs::rename(stage.archive(), &away).unwrap();
    let archive = stage.archive();
    let log = server.data().parent().unwrap().join("log");
    let back = std::thread::spawn(move || {
        wait_until("it is missed", || fs::read_to_string(&log).is_ok_and(|t| t.contains("trying for 60 s")));
        fs::rename(away, archive).unwrap();
    });
    recover(&mut server);
    back.join().unwrap();
    assert_eq!(rows(&server), rows(&stage.server));
}

#[test]
fn a_standby_is_promoted_while_the_archive_is_away() {
    let (stage, base) = worked();
    let last = stage.server.sql("postgres", "SELECT pg_create_restore_point('last')");
    stage.settle();
    let mut server = stage.recovering(&base, &["--retry-for", "1s"], "hot_standby = on");
    let signals = ["recovery.signal", "standby.signal"].map(|signal| server.data().join(signal));
    fs::rename(&signals[0], &signals[1]).unwrap();
    server.start_again();
    let caught_up = format!("SELECT pg_last_wal_replay_lsn() >= '{last}'");
    wait_until("it has caught up", || server.sql("postgres", &caught_up) == "t");
    fs::rename(stage.archive(), stage.archive().with_extension("away")).unwrap();
    let mut promote = lab::as_runner(lab::bin("pg_ctl"));
    lab::run(promote.args(["promote", "-t", "60", "-D"]).arg(server.data())).exits(0);
    wait_until("it is promoted", || server.sql("postgres", "SELECT pg_is_in_recovery()") == "f");
    assert!(!signals[1].exists());
    let timeline = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
    assert_eq!(server.sql("postgres", timeline), "00000002");
    assert_eq!(rows(&server), rows(&stage.server));
}

#[test]
fn a_damaged_segment_stops_a_recovery_and_verify_finds_it() {
    let (stage, base) = worked();
    let segments = stage.archived(1);
    let damaged = &segments[segments.len() - 2];
    flip(&stage.folder().join(damaged), 400_000);
    let server = stage.recovering(&base, &["--retry-for", "0s"], "");
    assert_ne!(server.runs_out().code, 0);
    assert!(server.log_text().contains("is damaged"), "{}", server.log_text());
    stage.wal(&["verify", "-a", &stage.archive_text()]).exits(1).says(damaged);
}

#[test]
fn a_missing_segment_stops_a_recovery_until_the_gap_is_accepted() {
    let (stage, base) = worked();
    let segments = stage.archived(1);
    let missing = &segments[segments.len() - 3];
    fs::remove_file(stage.folder().join(missing)).unwrap();
    let mut server = stage.recovering(&base, &["--retry-for", "0s"], "");
    assert_ne!(server.runs_out().code, 0);
    let log = server.log_text();
    assert!(log.contains(&format!("{missing} is missing")) && !log.contains("archive recovery complete"));
    let conf = server.data().join("postgresql.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, text.replace(" get -a", &format!(" get --accept-gap {missing} -a"))).unwrap();
    recover(&mut server);
    let count = |server: &lab::Server| -> u32 {
        server.sql("postgres", "SELECT count(*) FROM pgbench_history").parse().unwrap()
    };
    assert!(count(&server) < count(&stage.server));
}

#[test]
fn a_target_beyond_the_log_does_not_open_the_database() {
    let (stage, base) = worked();
    let server = stage.recovering(&base, &[], "recovery_target_time = '2100-01-01 00:00:00+00'");
    assert_ne!(server.runs_out().code, 0);
    assert!(server.log_text().contains("recovery ended before configured recovery target was reached"));
}

#[test]
fn an_archive_that_is_away_is_caught_up_with() {
    let stage = Stage::archiving(&["--ahead", "4"]);
    let base = stage.base("base");
    let away = stage.archive().with_extension("away");
    fs::rename(stage.archive(), &away).unwrap();
    fs::create_dir(stage.archive()).unwrap();
    lab::end(stage.bench(2)).exits(0);
    stage.fill(2);
    wait_until("the archiver has failed", || {
        stage.server.sql("postgres", "SELECT failed_count > 0 FROM pg_stat_archiver") == "t"
    });
    assert!(
        lab::names(&stage.archive()).is_empty(),
        "nothing is written where the archive should be mounted"
    );
    fs::remove_dir(stage.archive()).unwrap();
    fs::rename(&away, stage.archive()).unwrap();
    stage.settle();
    stage.wal(&["verify", "-a", &stage.archive_text()]).exits(0);
    let mut server = stage.recovering(&base, &[], "");
    recover(&mut server);
    assert_eq!(rows(&server), rows(&stage.server));
}

/// Room for one segment and a half.
#[test]
fn a_full_disk_keeps_what_is_there_and_the_next_try_stores() {
    let stage = Stage::hoarding();
    stage.fill(2);
    let ready = stage.ready();
    let disk = stage.server.home().join("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=1600k,mode=755 none '{disk}' && cd '{data}' || exit 90
        w() {{ \"$0\" \"$@\"; }}
        w init -a '{disk}' || exit 91
        w push -a '{disk}' pg_wal/{one} {one} || exit 92
        w push -a '{disk}' pg_wal/{two} {two}; [ $? = 5 ] || exit 93
        ls '{disk}/00000001' | grep part && exit 94
        w verify -a '{disk}' || exit 95
        mount -o remount,size=4000k '{disk}'
        w push -a '{disk}' pg_wal/{two} {two} || exit 96
        w verify -a '{disk}' || exit 97",
        disk = disk.display(),
        data = stage.server.data().display(),
        one = ready[0],
        two = ready[1]
    );
    // root has the right by itself; others may have it in a user namespace
    let able =
        |how: &&str| Command::new("unshare").args([*how, "true"]).output().is_ok_and(|o| o.status.success());
    let how =
        ["-m", "-rm"].iter().find(|how| able(how)).expect("a mount namespace: unshare -m or unshare -rm");
    let mut command = Command::new("unshare");
    command.args([*how, "sh", "-c", &script]).arg(stage.program()).stdin(std::process::Stdio::null());
    lab::run(&mut command).exits(0).says("no space left on device");
}
