//! Snapshots of the local server's files, and back.

use std::fs;

use crate::host::{Host, said};

fn snapshots(host: &Host) -> Vec<String> {
    let listed = host.ok(&["dev-snapshots"]);
    listed.lines().map(|l| l.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn a_snapshot_comes_back_and_can_be_taken_back() {
    let host = Host::new("GUEST\n");
    assert!(said(&host.make(&["dev-snapshot"])).contains("make dev-up"));
    host.ok(&["dev-up", "wait-healthy"]);
    host.sql("CREATE TABLE t AS SELECT 1 AS n");
    let record = host.ok(&["dev-snapshot", "BACKUP_TAG=why"]);
    assert!(host.path().join(record.trim_end().replace(".json", "_data.tar.gz")).is_file(), "{record}");
    assert_eq!(host.sql("SELECT n FROM t"), "1");

    host.sql("UPDATE t SET n = 2");
    let [stamp] = &snapshots(&host)[..] else { panic!("not one snapshot") };
    // nobody there to type the word
    assert!(!host.make(&["dev-restore-snapshot", &format!("SNAPSHOT={stamp}")]).status.success());
    assert_eq!(host.sql("SELECT n FROM t"), "2");
    host.ok(&["dev-restore-snapshot", &format!("SNAPSHOT={stamp}"), "YES=1"]);
    assert_eq!(host.sql("SELECT n FROM t"), "1");
    host.ok(&["dev-undo-snapshot", "YES=1"]);
    assert_eq!(host.sql("SELECT n FROM t"), "2");
}

#[test]
fn a_server_that_was_down_stays_down_for_a_snapshot_and_all_of_it_comes_back_when_lost() {
    let host = Host::new("GUEST\n");
    host.ok(&["dev-up", "wait-healthy"]);
    host.sql("CREATE TABLE t AS SELECT 1 AS n");
    host.ok(&["dev-down"]);
    host.ok(&["dev-snapshot"]);
    assert!(!host.make(&["wait-healthy"]).status.success());
    let data = fs::canonicalize(host.path().join(".dev/data")).unwrap();
    fs::remove_dir_all(data).unwrap();
    let [stamp] = &snapshots(&host)[..] else { panic!("not one snapshot") };
    host.ok(&["dev-restore-snapshot", &format!("SNAPSHOT={stamp}")]);
    assert_eq!(host.sql("SELECT n FROM t"), "1");
}

#[test]
fn the_users_own_server_has_no_files_that_we_know_of() {
    let host = Host::new("DEV_STACK = none\nGUEST\n");
    let output = host.make(&["dev-snapshot"]);
    assert!(!output.status.success() && said(&output).contains("volsnap dir:PATH"), "{}", said(&output));
}
