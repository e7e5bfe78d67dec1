//! What the server would refuse halfway is found before anything is dropped.
#![allow(clippy::unwrap_used)]

use std::fs;

use rustix::process::Signal;

use crate::lab::{Server, end, run, wait_until};
use crate::stage::{back_up, identities, plain_dump, same, signal, start, with_last_act};

const REPLICATES: &str = "wal_level = logical\nmax_wal_senders = 4\nmax_replication_slots = 4\n\
    max_prepared_transactions = 4\n";

#[test]
fn prepared_transactions_subscriptions_and_slots() {
    let server = Server::start_with(REPLICATES);
    server.make("alpha");
    server.make("shop");
    let cluster = back_up(&server, &[]);
    let cluster = cluster.to_str().unwrap();
    let before = identities(&server);
    let refused = |words: &str| {
        server.restore(&[cluster, "--dry-run"]).exits(4).says(words);
        server.restore(&[cluster, "--yes", "--stop", "touch stopped"]).exits(4).says(words).says("shop");
        assert!(!server.home().join("stopped").exists());
        assert_eq!(identities(&server), before, "{words}");
    };
    server.sql("shop", "BEGIN; DELETE FROM grades; PREPARE TRANSACTION 'half done'");
    refused("half done");
    server.sql("shop", "ROLLBACK PREPARED 'half done'");

    let subscribe = "CREATE SUBSCRIPTION feed CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)";
    server.sql("shop", subscribe);
    refused("subscriptions (feed)");
    server.sql("shop", "ALTER SUBSCRIPTION feed SET (slot_name = NONE);\nDROP SUBSCRIPTION feed");

    server.sql("shop", "SELECT pg_create_logical_replication_slot('stream', 'pgoutput')");
    let plan = server.restore(&[cluster, "--dry-run"]).exits(0).out;
    assert!(plan.contains("stay with what is kept of it, and keep WAL: stream"), "{plan}");
    let mut reader = server.client("pg_recvlogical");
    reader.args(["-w", "-d", "shop", "-S", "stream", "--start", "-f", "/dev/null"]);
    let mut reader = reader.args(["-o", "proto_version=1", "-o", "publication_names=p"]).spawn().unwrap();
    let active = "SELECT count(*) FROM pg_replication_slots WHERE active";
    wait_until("the slot is read", || server.sql("postgres", active) == "1");
    refused("in use (stream)");
    reader.kill().unwrap();
    reader.wait().unwrap();
    wait_until("nobody reads the slot", || server.sql("postgres", active) == "0");
    server.restore(&[cluster, "--yes"]).exits(0);
    let slots = || server.sql("postgres", "SELECT count(*) FROM pg_replication_slots");
    assert_eq!(slots(), "1");
    server.restore(&["--drop-before", "--yes"]).exits(0).says("dropped shop__before_");
    assert_eq!(slots(), "0");
}

#[test]
fn a_database_whose_nature_cannot_be_kept() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    let backup = backup.to_str().unwrap();
    server.sql("postgres", "ALTER DATABASE shop ALLOW_CONNECTIONS false");
    let before = identities(&server);
    for how in ["--dry-run", "--yes"] {
        server.restore(&[backup, how]).exits(4).says("allows no connections").says("ALLOW_CONNECTIONS true");
    }
    for name in ["template0", "template1"] {
        server.restore(&[backup, "--yes", "-d", name]).exits(4).says(name);
    }
    let long = "x".repeat(64);
    server.restore(&[backup, "--yes", "-d", &long]).exits(2).says("63 bytes");
    assert_eq!(identities(&server), before);
    server.restore(&[backup, "--yes", "-d", &long[1..]]).exits(0);
}

#[test]
fn a_closed_database_in_a_cluster_dump() {
    let server = Server::start();
    server.make("shop");
    let cluster = back_up(&server, &[]);
    server.sql("postgres", "ALTER DATABASE shop ALLOW_CONNECTIONS false");
    let before = identities(&server);
    server.restore(&[cluster.to_str().unwrap(), "--yes"]).exits(4).says("shop").says("allows no connections");
    assert_eq!(identities(&server), before);
}

#[test]
fn too_few_connections() {
    let server = Server::start();
    server.make("shop");
    let cluster = back_up(&server, &[]);
    let before = identities(&server);
    let others: Vec<_> = (0..18)
        .map(|_| start(server.client("psql").args(["-Xqd", "postgres", "-c", "SELECT pg_sleep(600)"])))
        .collect();
    let busy =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND pid <> pg_backend_pid()";
    wait_until("all are there", || server.sql("template1", busy) == "18");
    server.restore(&[cluster.to_str().unwrap(), "--yes"]).exits(5).says("2 connections left").says("needs 3");
    assert_eq!(identities(&server), before);
    // sessions of what was refused may not be gone yet
    let end = busy.replace("count(*)", "pg_terminate_backend(pid)");
    let mut psql = server.client("psql");
    psql.args(["-XAtqw", "-d", "template1", "-c", &end]);
    wait_until("they are ended", || run(&mut psql).code == 0);
    others.into_iter().for_each(|mut other| assert!(other.wait().is_ok()));
    wait_until("all are gone", || server.sql("template1", busy) == "0");
    server.restore(&[cluster.to_str().unwrap(), "--yes"]).exits(0);
}

#[test]
fn zero_bytes_of_a_crash() {
    let server = Server::start();
    server.make("shop");
    let dump = plain_dump(&server, "shop").into_bytes();
    let before = identities(&server);
    let copy = dump.windows(4).position(|w| w == b"COPY").unwrap();
    for at in [100, copy + 120] {
        let torn = [&dump[..at], &[0; 4096], &dump[at..]].concat();
        fs::write(server.home().join("torn.sql"), torn).unwrap();
        server
            .restore(&["torn.sql", "--yes", "-d", "shop", "--swap"])
            .exits(1)
            .says(&format!("zero byte (at {at})"));
    }
    let hidden = with_last_act(&dump, b"SELECT 1\0'\n\\! touch hacked\n';");
    fs::write(server.home().join("torn.sql"), hidden).unwrap();
    server.restore(&["torn.sql", "--yes", "-d", "shop", "--swap"]).exits(1).says("zero byte");
    assert_eq!(identities(&server), before);
}

#[test]
fn a_pipe_in_place_of_a_manifest() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    let beside = crate::stage::beside(&backup);
    fs::remove_file(&beside).unwrap();
    run(std::process::Command::new("mkfifo").arg(&beside)).exits(0);
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(2).says("it is no file");
    assert!(server.rotate(&["--list"]).exits(0).out.contains("no: "));
    server.rotate(&["-d", "shop", "--keep-last", "1"]).exits(0);
    assert!(backup.exists());
}

#[test]
fn roles_that_may_not() {
    let server = Server::start();
    server.make("shop");
    let cluster = back_up(&server, &[]);
    server
        .sql("postgres", "CREATE ROLE clerk LOGIN; CREATE ROLE maker LOGIN CREATEDB; CREATE DATABASE closed");
    server.sql("postgres", "CREATE DATABASE own OWNER maker; REVOKE CONNECT ON DATABASE closed FROM PUBLIC");
    server.sql("own", "SET ROLE maker; CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS id");
    let own = back_up(&server, &["-d", "own"]);
    let before = identities(&server);
    let refuses = |user: &str, args: &[&str], words: &str| {
        run(server.tool("pgdump-restore").env("PGUSER", user).args(args)).exits(4).says(words);
        assert_eq!(identities(&server), before);
    };
    let (cluster, own) = (cluster.to_str().unwrap(), own.to_str().unwrap());
    refuses("maker", &[cluster, "--yes"], "belongs to another role");
    refuses("maker", &[own, "--yes", "-d", "shop", "--swap"], "belongs to another role");
    refuses("clerk", &[own, "--yes", "-d", "fresh"], "CREATEDB");
    server.sql("postgres", "DROP DATABASE shop");
    let before = identities(&server);
    run(server.tool("pgdump-restore").env("PGUSER", "maker").args([cluster, "--yes"]))
        .exits(4)
        .says("superuser");
    assert_eq!(identities(&server), before);
    // a database that it may not enter is in nobody's way
    run(server.tool("pgdump-restore").env("PGUSER", "maker").args([own, "--yes"])).exits(0);
    assert_eq!(server.sql("own", "SELECT count(*) FROM s.t"), "1");
}

#[test]
fn what_became_of_the_databases_is_told() {
    let server = Server::start();
    server.make("shop");
    let dump = plain_dump(&server, "shop");
    let path = server.home().join("broken.sql");
    let restore = |act: &str| {
        fs::write(&path, with_last_act(dump.as_bytes(), act.as_bytes())).unwrap();
        let before = identities(&server);
        let ran = server.restore(&["broken.sql", "--yes", "-d", "shop", "--swap", "--force=guard"]).exits(1);
        assert_eq!(identities(&server), before);
        ran
    };
    restore("SELECT 1 / 0;").says("division by zero").says("Every database is as it was.");
    restore("DO 'BEGIN DELETE FROM public.grades; END';")
        .says("public.grades has 0 rows, the dump 500")
        .says("Loaded without an error, but not proven.");
}

#[test]
fn two_dumps_in_one_file() {
    let server = Server::start();
    server.make("shop");
    let dump = plain_dump(&server, "shop");
    let cluster = run(server.client("pg_dumpall").arg("-w")).out;
    let before = identities(&server);
    for (joined, args) in [(dump.repeat(2), &["-d", "shop"][..]), (cluster.repeat(2), &[])] {
        fs::write(server.home().join("two.sql"), joined).unwrap();
        server.restore(&[&["two.sql", "--yes"], args].concat()).exits(1).says("a second dump follows");
        assert_eq!(identities(&server), before);
    }
    // roles, then a database that names itself: one stream, well formed
    let globals = run(server.client("pg_dumpall").args(["-w", "--globals-only"])).out;
    let created = run(server.client("pg_dump").args(["-wC", "-d", "shop"])).out;
    fs::write(server.home().join("both.sql"), globals + &created).unwrap();
    server.restore(&["both.sql", "--yes"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
}

#[test]
fn a_dump_within_a_transaction() {
    let server = Server::start();
    server.make("shop");
    server.sql("shop", "SELECT lo_from_bytea(4711, 'x'); ALTER TABLE grades ADD CHECK (points >= 0)");
    let before = server.everything();
    let text = plain_dump(&server, "shop");
    let wrapped = format!("\\set ON_ERROR_STOP on\nBEGIN;\n{text}COMMIT;\n");
    fs::write(server.home().join("wrapped.sql"), wrapped).unwrap();
    // the rows of large tables are read by themselves where it is packed in pieces
    run(server.tool("dump-inspect").args(["index", "--reframe", "pieces.sql.gz", "wrapped.sql"])).exits(0);
    for args in [
        &["wrapped.sql", "--jobs", "1"][..],
        &["wrapped.sql", "--jobs", "3"],
        &["pieces.sql.gz", "--jobs", "3"],
    ] {
        server.sql("shop", "DELETE FROM grades");
        server.restore(&[args, &["-d", "shop", "--swap", "--yes"]].concat()).exits(0);
        same(&server.everything(), &before);
    }
}

#[test]
fn lines_that_end_otherwise_and_what_is_no_sql() {
    let server = Server::start();
    server.make("shop");
    fs::write(server.home().join("dos.sql"), plain_dump(&server, "shop").replace('\n', "\r\n")).unwrap();
    server.restore(&["dos.sql", "--yes", "-d", "dos"]).exits(0);
    assert_eq!(server.sql("dos", "SELECT count(*) FROM people WHERE name = 'Ada'"), "1");

    let identity = identities(&server);
    for (program, bytes) in
        [("xz", &b"\xfd7zXZ\0rest"[..]), ("bzip2", b"BZh9rest"), ("iconv", b"\xff\xfe-\0-\0")]
    {
        fs::write(server.home().join("odd"), bytes).unwrap();
        server.restore(&["odd", "--yes", "-d", "shop", "--swap"]).exits(4).says(program);
    }
    // a pipe by name is not waited for
    run(std::process::Command::new("mkfifo").arg(server.home().join("pipe"))).exits(0);
    server.restore(&["pipe", "--yes", "-d", "x"]).exits(1).says("standard input");
    assert_eq!(identities(&server), identity);
}

#[test]
fn a_signal_ends_what_stops_the_services() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    let before = identities(&server);
    let mut command = server.tool("pgdump-restore");
    command.args([backup.to_str().unwrap(), "--yes", "--stop", "touch stopping; sleep 600; echo never"]);
    let child = start(command.args(["--start", "touch started"]));
    wait_until("it stops", || server.home().join("stopping").exists());
    signal(child.id(), Signal::TERM);
    end(child).exits(5);
    assert!(server.home().join("started").exists());
    assert_eq!(identities(&server), before);
}

#[test]
fn a_wrapper_that_splits_words_again() {
    let server = Server::start();
    let name = "my shop; touch hacked";
    server.make(name);
    // as ssh does: its words become one line for another shell
    let far = server.home().join("far");
    fs::write(&far, "#!/bin/sh\nexec sh -c \"$*\"\n").unwrap();
    run(std::process::Command::new("chmod").arg("+x").arg(&far)).exits(0);
    let ran = server.rotate(&["--via", "./far", "-d", name]).exits(0);
    server.sql(name, "DELETE FROM grades");
    server.restore(&["--via", "./far", ran.line(), "--yes"]).exits(0);
    assert_eq!(server.sql(name, "SELECT count(*) FROM grades"), "500");
    assert!(!server.home().join("hacked").exists());
}

#[test]
fn backslashes_in_the_comment_of_an_old_fashioned_database() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "ALTER DATABASE shop SET standard_conforming_strings = off");
    server.sql("postgres", r"COMMENT ON DATABASE shop IS E'a\\b ''c'''");
    let backup = back_up(&server, &["-d", "shop"]);
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    let ask = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'shop'";
    assert_eq!(server.sql("postgres", ask), r"a\b 'c'");
}
