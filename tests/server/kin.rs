//! Backups that do not stand for each other: parts of a database, other databases and servers in one series.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::lab::Server;
use crate::stage::{back_up, beside, dumps, edit, identities, manifest};

#[test]
fn parts_never_crowd_out_the_whole() {
    let server = Server::start();
    server.make("shop");
    let whole = back_up(&server, &["-d", "shop", "--keep-last", "1"]);
    assert_eq!(manifest(&whole)["source"]["partial"], serde_json::json!([]));
    for (args, want) in [
        (&["--pg-dump-arg=-s"][..], "--schema-only"),
        (&["--pg-dump-arg=-t", "--pg-dump-arg", "people"], "--table=people"),
        (&["--pg-dump-arg=--data-only"], "--data-only"),
        (&["--pg-dump-arg=--exclude-table-data=grades"], "--exclude-table-data=grades"),
    ] {
        let args = [&["-d", "shop", "--keep-last", "1"], args].concat();
        let first = back_up(&server, &args);
        let part = back_up(&server, &args);
        assert_eq!(manifest(&part)["source"]["partial"], serde_json::json!([want]));
        assert!(whole.exists() && part.exists(), "{want}");
        assert!(!first.exists(), "parts of one kind are counted too: {want}");
        let list = server.rotate(&["--list"]).exits(0);
        assert!(list.out.contains(&format!("proven, {want}")), "{}", list.out);
    }
    // the one a command makes, and one whose options nobody saw
    let by_command = ["--name", "shop", "--keep-last", "1", "--", "env", "pg_dump", "-w", "-ad", "shop"];
    assert_eq!(manifest(&back_up(&server, &by_command))["source"]["partial"][0], "--data-only");
    assert!(whole.exists());

    let before = server.everything();
    server.sql("shop", "DELETE FROM grades");
    let ran = server.restore(&["--latest", "--name", "shop", "--yes"]).exits(0);
    assert!(ran.err.contains("passed over") && ran.err.contains("--schema-only"), "{}", ran.err);
    assert_eq!(server.everything(), before);
}

#[test]
fn a_part_takes_the_place_of_no_database() {
    let server = Server::start();
    server.make("shop");
    let identity = identities(&server);
    for option in ["-s", "--table=people"] {
        let part = back_up(&server, &["-d", "shop", "--pg-dump-arg", option]);
        let path = part.to_str().unwrap();
        server.restore(&[path, "--yes"]).exits(4).says("only a part").says("-d NAME");
        server.restore(&[path, "--dry-run"]).exits(4);
        assert_eq!(identities(&server), identity);
        server.restore(&[path, "--yes", "-d", "beside"]).exits(0);
        server.sql("postgres", "DROP DATABASE beside");
    }
    // what leaves out the rows of a table is what its owner wants back
    let lean = back_up(&server, &["-d", "shop", "--pg-dump-arg", "--exclude-table-data=grades"]);
    let ran = server.restore(&[lean.to_str().unwrap(), "--yes"]).exits(0);
    assert!(ran.err.contains("without what was left out by --exclude-table-data=grades"), "{}", ran.err);
    // roles alone replace nothing
    let globals = back_up(&server, &["--pg-dump-arg", "--globals-only"]);
    assert_eq!(manifest(&globals)["source"]["partial"][0], "--globals-only");
    server.restore(&[globals.to_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM people"), "5");
}

#[test]
fn a_database_called_backup_and_the_cluster() {
    let server = Server::start();
    server.make("backup");
    let cluster = back_up(&server, &["--keep-last", "1"]);
    let database = back_up(&server, &["-d", "backup", "--keep-last", "1"]);
    let again =
        server.rotate(&["-d", "backup", "--keep-last", "1"]).exits(0).says("each is counted by itself");
    assert!(cluster.exists() && !database.exists());
    let before = identities(&server);
    server.restore(&["--latest", "--yes"]).exits(4).says("different things").says("--pick");
    assert_eq!(identities(&server), before);
    server.restore(&[again.line(), "--yes"]).exits(0);
}

#[test]
fn two_servers_in_one_folder() {
    let server = Server::start();
    server.make("shop");
    let of_server = |id: &str| {
        let backup = back_up(&server, &["--no-rotate"]);
        edit(&backup, |m| m["source"]["system_identifier"] = id.into());
        backup
    };
    let own = back_up(&server, &[]);
    let foreign = of_server("1");
    let kept = back_up(&server, &["--keep-last", "1"]);
    assert!(foreign.exists() && kept.exists() && !own.exists());

    of_server("2");
    let ran = server.restore(&["--latest", "--yes"]).exits(0).says("passed over");
    assert!(ran.err.contains(kept.file_name().unwrap().to_str().unwrap()), "{}", ran.err);
    // none is of this server: which is meant?
    fs::remove_file(beside(&kept)).unwrap();
    server.restore(&["--latest", "--dry-run"]).exits(4).says("of server 1").says("of server 2");
}

#[test]
fn a_dry_run_counts_the_one_to_come_with_its_kin() {
    let server = Server::start();
    server.make("shop");
    back_up(&server, &["-d", "shop"]);
    back_up(&server, &["-d", "shop", "--pg-dump-arg=-s"]);
    let dry = server.rotate(&["-d", "shop", "--keep-last", "1", "--dry-run"]).exits(0);
    let what: Vec<&str> = dry.lines().iter().map(|l| l.split('\t').next().unwrap()).collect();
    assert_eq!(what, ["make", "keep", "remove"], "{}", dry.out);
    server.rotate(&["-d", "shop", "--keep-last", "1"]).exits(0);
    assert_eq!(dumps(&server.home().join("backups")).len(), 2);
}

#[test]
fn databases_that_pg_dumpall_passes_over_are_named() {
    let server = Server::start();
    server.make("shop");
    server.make("closed");
    server.sql("postgres", "ALTER DATABASE closed ALLOW_CONNECTIONS false");
    let ran = server.rotate(&["--quiet"]).exits(0).says("'closed' allows no connections");
    let backup = server.home().join(ran.line());
    assert_eq!(manifest(&backup)["source"]["left_out"], serde_json::json!(["closed"]));
}

#[test]
fn what_would_fail_after_the_dump_fails_before_it() {
    let server = Server::start();
    server.make("shop");
    let dir = server.home().join("backups");
    fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", dir.join("latest.sql")).unwrap();
    server.rotate(&["-d", "shop", "--latest-link", "latest.sql"]).exits(4).says("leads to no backup");
    assert_eq!(fs::read_link(dir.join("latest.sql")).unwrap().to_str(), Some("/etc/hostname"));
    fs::write(dir.join("SHA256SUMS"), [0xff, 0xfe]).unwrap();
    let ran = server.rotate(&["-d", "shop"]).exits(1).says("SHA256SUMS");
    assert!(!ran.err.contains("proven"), "{}", ran.err);
    assert_eq!(dumps(&dir), ["latest.sql"]);
}
