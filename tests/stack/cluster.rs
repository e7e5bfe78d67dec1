//! A Patroni cluster from its first start to its removal. One test: a cluster takes longer to come up
//! than most of these steps, each of which leaves it ready for the next.

use std::net::TcpListener;
use std::time::Instant;

use crate::archive;
use crate::host::Host;
use crate::lab::{Ran, wait_until};
use crate::sh;
use crate::stage::Stack;

#[test]
fn a_cluster_lives_fails_and_comes_back() {
    let stack = Stack::start();
    for (name, step) in [
        ("what is missing is said", what_is_missing_is_said as fn(&Stack)),
        ("a backup comes back", a_backup_comes_back),
        ("its log is archived", archive::its_log_is_archived),
        ("who was away finds the log", archive::who_was_away_finds_the_log),
        ("the lead is handed over", archive::the_lead_is_handed_over_twice),
        ("a migration reaches the leader", a_migration_reaches_the_leader),
        ("the leader is found", the_leader_is_found_among_the_dead),
        ("the next leader is waited for", the_next_leader_is_waited_for),
        ("a failover that takes too long", a_failover_test_that_fails_puts_the_node_back),
        ("a failover loses nothing", a_failover_loses_nothing),
        ("reset keeps a backup", reset_begins_anew_after_a_backup),
    ] {
        let begun = Instant::now();
        step(&stack);
        println!("== {name}: {} s", begun.elapsed().as_secs());
    }
    stack.remove();
}

#[test]
fn volumes_of_another_project_are_not_touched() {
    let name = format!("pgkeep-test-{}-other", std::process::id());
    let volume = format!("{name}-patroni1-data");
    let docker = |words: &str| Ran::from(sh(&format!("docker volume {words}")).output().unwrap());
    docker(&format!("create --label com.docker.compose.project=shop {volume}")).exits(0);
    let host = Host::new(&format!("DEV_STACK = compose\nDEV_PROJECT = {name}\nGUEST\n"));
    let ran = ["dev-up", "dev-reset"].map(|target| Ran::from(host.make(&[target, "SKIP_BACKUP=1"])));
    docker(&format!("rm {volume}")).exits(0);
    for ran in ran {
        ran.exits(2).says("Error 4\n").says(&format!("the volume '{volume}' belongs to the project 'shop'"));
    }
}

fn what_is_missing_is_said(stack: &Stack) {
    let leader = stack.leader();
    stack.docker(&["stop", "-t", "1"], "etcd");
    stack
        .fails(&["wait-healthy", "WAIT_SECONDS=1"], 5)
        .says(&format!("container {}-etcd does not run", stack.name))
        .says("etcd does not answer");
    // nor does Patroni then, to us
    stack.tool("pgdump-rotate", &[], &["--dir", "one"]).exits(5).says("cannot ask Patroni who leads: ");
    stack.docker(&["start"], "etcd");
    stack.make(&["wait-healthy"]).exits(0);

    let replica = ["patroni1", "patroni2"].into_iter().find(|node| *node != leader).unwrap();
    stack.docker(&["pause"], replica);
    let ran = stack.make(&["wait-healthy", "WAIT_SECONDS=1"]);
    stack.docker(&["unpause"], replica);
    ran.exits(2).says("Error 5\n").says(&format!("Patroni of {replica} does not answer"));
    stack.make(&["wait-healthy"]).exits(0);
}

fn a_backup_comes_back(stack: &Stack) {
    stack.make(&["dev-seed"]).exits(0);
    let grades = || stack.sql("university", "SELECT count(*), sum(id) FROM grades");
    let before = grades();
    stack.writes("backend");
    let path = stack.make(&["-s", "dev-backup", "BACKUP_TAG=by hand"]).exits(0);
    assert_eq!(path.line(), format!("backups/{}", stack.backup()));
    stack.make(&["dev-backups"]).exits(0);

    stack.sql("university", "DELETE FROM grades");
    stack.docker(&["stop", "-t", "1"], "frontend");
    let services = || ["backend", "frontend"].map(|s| stack.running(s));
    let [backend, frontend] = services();
    assert!(backend.is_some() && frontend.is_none());
    let chosen = format!("BACKUP={}", stack.backup());
    stack.make(&["dev-restore", &chosen, "YES=1"]).exits(0).says("start again at the end: backend");
    assert_eq!(grades(), before);
    let [again, frontend] = services();
    assert!(again.is_some() && again != backend && frontend.is_none(), "{again:?} {frontend:?}");
    stack.writes("backend");

    stack.make(&["dev-undo", "YES=1"]).exits(0);
    assert_eq!(stack.sql("university", "SELECT count(*) FROM grades"), "0");
    stack.make(&["dev-restore-table", "TABLE=grades", &chosen, "YES=1"]).exits(0);
    assert_eq!(grades(), before);
    stack.docker(&["start"], "frontend");
    stack.writes("frontend");
    // a session that was cut off is followed by another
    stack.writes("backend");
}

fn a_migration_reaches_the_leader(stack: &Stack) {
    // by the published port, with the client program of this machine
    stack.make(&["dev-migrate", "DEV_MIGRATE_CMD=psql -qc 'CREATE TABLE made (id int)'"]).exits(0);
    assert_eq!(stack.sql("university", "SELECT count(*) FROM made"), "0");
    assert!(stack.manifests().pop().unwrap().contains("\"tag\": \"pre-migrate\""));
    stack.make(&["dev-migrate", "DEV_MIGRATE_CMD=false", "SKIP_BACKUP=1"]).exits(2).says("NO BACKUP");
}

fn the_leader_is_found_among_the_dead(stack: &Stack) {
    // one refuses, one is silent, one is no Patroni at all
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let urls = ["http://127.0.0.1:1", &silent];
    stack.tool("pgdump-rotate", &urls, &["--dir", "one", "-d", "university"]).exits(0);
    stack.tool("pgdump-restore", &urls, &["--dir", "one", "--latest", "--dry-run"]).exits(0);
}

fn the_next_leader_is_waited_for(stack: &Stack) {
    let leader = stack.leader();
    let count = |locks: &str| {
        stack.sql(
            "university",
            &format!("SELECT count(*) FROM pg_locks WHERE relation = 'grades'::regclass AND {locks}"),
        )
    };
    let lock = "psql -d university -c 'BEGIN; LOCK grades; SELECT pg_sleep(99)'";
    let mut lock = sh(&format!("docker exec {}-{leader} {lock}", stack.name)).spawn().unwrap();
    wait_until("grades are locked", || count("granted AND mode = 'AccessExclusiveLock'") == "1");
    // the leader goes away in the middle of a dump
    let cut = std::thread::scope(|scope| {
        let dump = scope.spawn(|| stack.tool("pgdump-rotate", &[], &["--dir", "one", "-d", "university"]));
        wait_until("the dump waits for them", || count("NOT granted") == "1");
        stack.docker(&["kill"], &leader);
        dump.join().unwrap()
    });
    cut.exits(5).says("as when its container stops");
    lock.wait().unwrap();
    // nobody knows yet that it is dead, so at first it is still named
    stack.tool("pgdump-rotate", &[], &["--dir", "one", "-d", "university"]).exits(0);
    stack.docker(&["start"], &leader);
    assert_ne!(stack.leader(), leader);
}

fn a_failover_test_that_fails_puts_the_node_back(stack: &Stack) {
    // less than the 12 s that the leader's key in etcd lives on at least
    let leader = stack.leader();
    let words = ["test-failover", "WAIT_SECONDS=9", "SKIP_BACKUP=1"];
    stack
        .fails(&words, 5)
        .says("NO BACKUP IS TAKEN BEFORE test-failover")
        .says(&format!("no row was written after {leader} was killed within 9 s"));
    assert!(stack.running(&leader).is_some());
    stack.make(&["wait-healthy"]).exits(0);
}

fn a_failover_loses_nothing(stack: &Stack) {
    let leader = stack.leader();
    let ran = stack.make(&["-s", "test-failover"]).exits(0);
    let lines = ran.lines();
    assert!(lines[0].starts_with(&format!("leader: {leader} was killed")), "{lines:?}");
    assert!(lines[1].starts_with("next write: ") && lines[2].starts_with("all streaming: "), "{lines:?}");
    let rows = lines[3].strip_prefix("acknowledged rows: ").unwrap().strip_suffix(", lost: 0").unwrap();
    assert!(rows.parse::<u32>().unwrap() > 10, "{rows}");
    assert!(stack.manifests().pop().unwrap().contains("\"tag\": \"pre-failover\""));
    assert_ne!(stack.leader(), leader);
    stack.writes("backend");
}

fn reset_begins_anew_after_a_backup(stack: &Stack) {
    let grades = stack.sql("university", "SELECT count(*) FROM grades");
    stack.make(&["dev-reset"]).exits(0);
    assert_eq!(stack.sql("university", "SELECT count(*) FROM pg_class WHERE relname = 'grades'"), "0");
    assert!(stack.manifests().pop().unwrap().contains("\"tag\": \"pre-reset\""));
    stack.make(&["dev-restore", &format!("BACKUP={}", stack.backup()), "YES=1"]).exits(0);
    assert_eq!(stack.sql("university", "SELECT count(*) FROM grades"), grades);
    stack.make(&["dev-down"]).exits(0);
    stack.fails(&["wait-healthy"], 5).says("the stack is not up");
}
