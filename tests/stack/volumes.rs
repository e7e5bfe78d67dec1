//! Snapshots of a Patroni cluster that come back, whatever else is older or newer at that moment. One
//! test: a cluster takes longer to come up than most of these steps.

use std::time::Instant;

use crate::archive::is_whole;
use crate::lab::{Ran, run};
use crate::sh;
use crate::stage::Stack;

#[test]
fn a_cluster_comes_back_from_its_snapshot() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root reaches the files of Docker's volumes");
        return;
    }
    let stack = Stack::start();
    stack.make(&["dev-seed"]).exits(0);
    stack.docker(&["stop", "-t", "1"], "frontend");
    let redis = |words: &[&str]| docker_exec(&stack, "redis", &[&["redis-cli"], words].concat());
    redis(&["set", "key", "then"]);
    let made = stack.make(&["-s", "dev-snapshot"]).exits(0);
    let stamp = made.line().trim_start_matches("backups/snapshots/").trim_end_matches(".json").to_owned();
    assert_eq!(stack.running("frontend"), None, "what was down stays down");
    redis(&["set", "key", "now"]);
    let then = grades(&stack);

    let back = |what: &str| {
        let begun = Instant::now();
        let ran = stack.make(&["dev-restore-snapshot", &format!("SNAPSHOT={stamp}"), "YES=1"]).exits(0);
        let told =
            |what: &str| ran.err.lines().filter(|l| l.contains("replication: ") && l.contains(what)).count();
        assert_eq!((told(" leads on timeline "), told(" follows")), (1, 2), "{what}: {}", ran.err);
        println!("== {what}: {} s", begun.elapsed().as_secs());
        assert_eq!(grades(&stack), then, "{what}");
        assert_eq!(
            stack.sql("university", "SELECT count(*) FROM pg_class WHERE relname = 'later'"),
            "0",
            "{what}"
        );
        assert_eq!(redis(&["get", "key"]), "then", "{what}");
        // wait-healthy: one leader, and two replicas that stream
        stack.leader();
    };
    let later = || {
        stack.sql("university", "DELETE FROM grades WHERE id > 10; CREATE TABLE later AS SELECT 1 AS n");
        stack.sql("university", "SELECT pg_switch_wal(); CHECKPOINT");
    };

    later();
    back("over a cluster that runs: etcd, archive and data are newer");
    assert_eq!(stack.running("frontend"), None);
    stack.make(&["dev-undo-snapshot", "YES=1"]).exits(0);
    assert_eq!(stack.sql("university", "SELECT count(*) FROM grades"), "10");

    stack.make(&["dev-down"]).exits(0);
    volumes(&stack, "patroni1-data patroni2-data patroni3-data");
    back("etcd and the archive are newer, the data are gone");

    later();
    stack.make(&["dev-down"]).exits(0);
    volumes(&stack, "etcd-data patroni1-data patroni2-data patroni3-data redis-data");
    back("only the archive is there, and newer");

    stack.destroy();
    back("nothing is left");

    // its archive came back with it each time, and goes on
    is_whole(&stack);

    refusals(&stack, &stamp);
    through_a_container(&stack);
    stack.remove();
}

fn grades(stack: &Stack) -> String {
    stack.sql("university", "SELECT count(*), md5(string_agg(grades::text, ';' ORDER BY id)) FROM grades")
}

/// Removes volumes of a stack that is down.
fn volumes(stack: &Stack, names: &str) {
    let names: Vec<String> = names.split(' ').map(|n| format!("{}-{n}", stack.name)).collect();
    run(&mut sh(&format!("docker volume rm {}", names.join(" ")))).exits(0);
}

fn docker_exec(stack: &Stack, service: &str, words: &[&str]) -> String {
    let words = words.join(" ");
    run(&mut sh(&format!("docker exec {}-{service} {words}", stack.name))).exits(0).line().to_owned()
}

/// What cannot be done is refused before anything stops.
fn refusals(stack: &Stack, stamp: &str) {
    let started = || ["patroni1", "patroni2", "patroni3", "redis"].map(|s| stack.running(s).unwrap());
    let before = started();
    let volume = format!("docker:{}-patroni1-data", stack.name);
    let snap =
        |variables: &[(&str, &str)], args: &[&str]| -> Ran { stack.program("volsnap", variables, args) };
    snap(&[], &[&volume]).exits(4).says("runs on docker:");
    snap(&[], &["docker:no-such-volume-here"]).exits(1).says("there is no volume");
    snap(&[("DOCKER_HOST", "unix:///nowhere")], &[&volume]).exits(5).says("docker");
    snap(&[("PATH", "/nowhere")], &[&volume]).exits(4).says("docker");
    // the volumes of services, each once, though they share one
    let file = crate::host::home().join("scripts/stack/compose.yml");
    let project = [("COMPOSE_PROJECT_NAME", stack.name.as_str()), ("COMPOSE_FILE", file.to_str().unwrap())];
    let args = ["--service", "patroni1", "--service", "patroni2", "--dry-run", "--no-rotate"];
    let planned = snap(&project, &args).exits(0);
    for name in ["patroni1-data", "patroni2-data", "wal-archive"] {
        let place = format!("docker:{}-{name}: ", stack.name);
        assert_eq!(planned.out.matches(&place).count(), 1, "{}", planned.out);
    }
    // a container that is no service of ours
    let image = stack.docker(&["inspect", "-f", "{{.Config.Image}}"], "etcd");
    let other = format!("{}-other", stack.name);
    let mount = format!("{}-patroni1-data:/x", stack.name);
    run(&mut sh(&format!("docker run -d --rm --name {other} -v {mount} {image} sleep 600"))).exits(0);
    stack.fails(&["dev-snapshot"], 4).says(&format!("container '{other}' runs on"));
    stack
        .fails(&["dev-restore-snapshot", &format!("SNAPSHOT={stamp}"), "YES=1"], 4)
        .says(&format!("container '{other}' runs on"));
    run(&mut sh(&format!("docker kill {other}"))).exits(0);
    assert_eq!(started(), before);
}

/// A snapshot of the leader by the stream of `pg_basebackup`, which runs in its container, and a drill of it.
fn through_a_container(stack: &Stack) {
    let via = format!("docker exec -i {}-{}", stack.name, stack.leader());
    let reach = [("PG_VIA", via.as_str()), ("PGHOST", "/run/postgresql"), ("PGUSER", "postgres")];
    let volume = "data=dir:/var/lib/postgresql/data";
    let args = ["--hot", "--from-basebackup", "--dir", "streamed", volume];
    stack.program("volsnap", &reach, &args).exits(0);
    let query = ["--database", "university", "--query", "SELECT count(*) > 0 FROM grades", "--expect", "t"];
    let args = [&["--dir", "streamed", "--latest", "--drill"][..], &query].concat();
    stack.program("backup-validate", &[], &args).exits(0).says("proven in");
}
