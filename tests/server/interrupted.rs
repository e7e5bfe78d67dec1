//! Backups that are cut off midway: by a signal, by a crash, by the server; and two at once.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use rustix::process::Signal;

use crate::lab::{Ran, Server, end, is_ignored, names, run, wait_until};
use crate::stage::{
    Held, back_up, command_line, descendants, lives, program, signal, snapshot, start, wait_for_midway,
};

/// A server with an earlier backup, and a dump that hangs midway.
struct Midway {
    held: Held,
    rotate: Child,
    dir: PathBuf,
    before: BTreeMap<String, Vec<u8>>,
    server: Server,
}

impl Midway {
    fn of(args: &[&str]) -> Midway {
        let server = Server::start();
        server.make("shop");
        let dir = back_up(&server, &["-d", "shop"]).parent().unwrap().to_owned();
        let before = kept(&dir);
        let held = Held::hold(&server, "shop");
        let rotate = start(server.tool("pgdump-rotate").args(args));
        wait_for_midway(&server, &dir);
        Midway { held, rotate, dir, before, server }
    }

    /// Ends the run by a signal, and asserts that nothing of it is left.
    fn ends_by(self, with: Signal) -> Ran {
        let children = descendants(self.rotate.id());
        assert!(!children.is_empty());
        signal(self.rotate.id(), with);
        let ran = end(self.rotate);
        // what its children started got the signal too, and needs a moment
        wait_until("all that it started has ended", || !children.iter().any(|c| lives(*c)));
        assert_eq!(ran.out, "");
        assert_eq!(kept(&self.dir), self.before);
        drop(self.held);
        back_up(&self.server, &["-d", "shop"]);
        ran
    }
}

/// Everything in the folder but the lock, which every run writes to.
fn kept(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = snapshot(dir);
    files.remove(".pgkeep.lock");
    files
}

#[test]
fn sigterm_ends_a_backup_and_all_that_it_started() {
    Midway::of(&["-d", "shop"]).ends_by(Signal::TERM).exits(5).says("interrupted by SIGTERM");
}

#[test]
fn sigint_ends_a_cluster_dump_and_all_that_it_started() {
    if is_ignored(Signal::INT) {
        return;
    }
    Midway::of(&[]).ends_by(Signal::INT).exits(5).says("interrupted by SIGINT");
}

#[test]
fn sighup_ends_a_command_and_all_that_it_started() {
    if is_ignored(Signal::HUP) {
        return;
    }
    let script = "pg_dump -d shop | cat";
    Midway::of(&["--", "sh", "-c", script]).ends_by(Signal::HUP).exits(5).says("interrupted by SIGHUP");
}

#[test]
fn a_signal_ends_the_whole_run_and_not_one_of_its_databases() {
    let run = Midway::of(&["-d", "shop", "-d", "postgres"]);
    run.ends_by(Signal::TERM).exits(5).says("interrupted by SIGTERM");
}

#[test]
fn a_pg_dump_that_is_killed_leaves_nothing() {
    let midway = Midway::of(&["-d", "shop"]);
    let children = descendants(midway.rotate.id());
    let pg_dump = children.into_iter().find(|c| program(*c) == "pg_dump").unwrap();
    signal(pg_dump, Signal::KILL);
    let ran = end(midway.rotate)
        .exits(1)
        .says("cannot back up database 'shop'")
        .says("pg_dump was killed by SIGKILL");
    assert_eq!(ran.out, "");
    assert_eq!(kept(&midway.dir), midway.before);
}

#[test]
fn a_pg_dump_that_is_killed_under_pg_dumpall_leaves_nothing() {
    let midway = Midway::of(&[]);
    let children = descendants(midway.rotate.id());
    let pg_dump = children.into_iter().find(|c| program(*c) == "pg_dump").unwrap();
    signal(pg_dump, Signal::KILL);
    let ran = end(midway.rotate)
        .exits(1)
        .says("cannot back up the cluster")
        .says("pg_dump failed on database \"shop\"");
    assert_eq!(ran.out, "");
    assert_eq!(kept(&midway.dir), midway.before);
}

#[test]
fn a_server_that_stops_midway_is_worth_a_retry() {
    for args in [&["-d", "shop"][..], &[]] {
        let mut midway = Midway::of(args);
        midway.server.stop();
        let ran = end(midway.rotate).exits(5).says("server closed the connection");
        assert_eq!(ran.out, "");
        assert_eq!(kept(&midway.dir), midway.before);
        midway.server.start_again();
        back_up(&midway.server, args);
    }
}

#[test]
fn a_backup_that_is_killed_is_swept_by_the_next() {
    let midway = Midway::of(&["-d", "shop"]);
    let children = descendants(midway.rotate.id());
    signal(midway.rotate.id(), Signal::KILL);
    end(midway.rotate).exits(128 + 9);
    let part = |name: &String| name.ends_with(".part");
    let parts: Vec<String> = names(&midway.dir).into_iter().filter(part).collect();
    assert_eq!(parts.len(), 1);
    // counted by nobody
    assert_eq!(midway.server.rotate(&["--list"]).exits(0).lines().len(), 1);
    drop(midway.held);
    midway.server.rotate(&["-d", "shop"]).exits(0).says(&format!("removed {}", parts[0]));
    assert!(!names(&midway.dir).iter().any(part));
    wait_until("pg_dump has found out", || !children.iter().any(|c| lives(*c)));
}

#[test]
fn parts_of_a_crash_go_and_those_of_others_stay() {
    let server = Server::start();
    server.make("shop");
    let dir = server.home().join("backups");
    fs::create_dir(&dir).unwrap();
    let ours = [
        "backup_20250101_000000.sql.gz.part",
        "shop_20250101_000000.dump.part",
        "shop_20250101_000000.sql.zst.json.part",
        "SHA256SUMS.part",
        "latest.part",
    ];
    let foreign = [
        "film.mkv.part",
        "backup.sql.part",
        "backup_20250230_000000.sql.part",
        "backup_20250101_000000.part",
    ];
    for name in ours.iter().chain(&foreign) {
        fs::write(dir.join(name), name).unwrap();
    }
    server.rotate(&["-d", "shop", "--latest-link", "latest"]).exits(0).says(ours[0]);
    let left = names(&dir);
    for name in ours {
        assert!(!left.iter().any(|n| n == name), "{name}: {left:?}");
    }
    for name in foreign {
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), name);
    }
}

#[test]
fn of_two_runs_at_once_the_second_is_told_to_come_back() {
    let midway = Midway::of(&["-d", "shop"]);
    let holder = format!("process {}", midway.rotate.id());
    for args in [&["-d", "shop"][..], &["-d", "postgres"], &["--rotate-only"], &["--lock-timeout", "1"]] {
        let ran = midway.server.rotate(args).exits(5).says("another run holds it").says(&holder);
        assert_eq!(ran.out, "");
    }
    // looking needs no lock
    midway.server.rotate(&["--list"]).exits(0);
    midway.server.rotate(&["--dry-run", "-d", "shop"]).exits(0);
    // another folder has a lock of its own
    midway.server.rotate(&["-d", "postgres", "-o", "elsewhere"]).exits(0);
    let patient = start(midway.server.tool("pgdump-rotate").args(["-d", "shop", "--lock-timeout", "90"]));
    std::thread::sleep(Duration::from_millis(300));
    drop(midway.held);
    let first = end(midway.rotate).exits(0);
    let second = end(patient).exits(0);
    assert_ne!(first.line(), second.line());
    let sums = run(midway.server.shell("sha256sum -c SHA256SUMS").current_dir(&midway.dir)).exits(0);
    assert_eq!(sums.lines().len(), 3);
}

#[test]
fn a_signal_ends_the_wait_for_the_lock() {
    let midway = Midway::of(&["-d", "shop"]);
    let patient = start(midway.server.tool("pgdump-rotate").args(["-d", "shop", "--lock-timeout", "8"]));
    let waits = || {
        fs::read_dir(format!("/proc/{}/fd", patient.id()))
            .unwrap()
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.ends_with(".pgkeep.lock")))
    };
    wait_until("the second run waits for the lock", waits);
    signal(patient.id(), Signal::TERM);
    end(patient).exits(5).says("interrupted by SIGTERM");
}

#[test]
fn no_password_stands_in_an_argument_list() {
    let server = Server::start();
    server.make("shop");
    let held = Held::hold(&server, "shop");
    let host = server.host().to_str().unwrap().replace('/', "%2F");
    let mut rotate = crate::lab::tool("pgdump-rotate", &server.home());
    rotate.env("DATABASE_URL", format!("postgresql://postgres:s3cret@{host}:5432/shop"));
    let rotate = start(&mut rotate);
    wait_for_midway(&server, &server.home().join("backups"));
    let lines: Vec<String> = descendants(rotate.id()).into_iter().map(command_line).collect();
    assert!(lines.len() > 1 && !lines.iter().any(|l| l.contains("s3cret")), "{lines:?}");
    drop(held);
    end(rotate).exits(0);
}
