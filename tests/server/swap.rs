//! The swap: a database is replaced by a proven one in a moment, and stays beside it.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::beside::{Was, beside, only_beside, rows, time_of};
use crate::lab::{Server, end, run, wait_until};
use crate::replace::nature;
use crate::stage::{back_up, identities, same, signal, start};

#[test]
fn what_was_there_stays_beside_with_all_that_it_had() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "postgres",
        "CREATE ROLE clerk LOGIN; CREATE ROLE \"the owner\"; ALTER DATABASE shop OWNER TO \"the owner\"; \
        ALTER DATABASE shop SET work_mem = '5MB'; ALTER ROLE clerk IN DATABASE shop SET work_mem = '6MB'; \
        ALTER DATABASE shop CONNECTION LIMIT 3; GRANT CREATE ON DATABASE shop TO clerk; \
        COMMENT ON DATABASE shop IS E'the ''shop''\nof two lines'",
    );
    for args in [&["-d", "shop"][..], &[]] {
        let backup = back_up(&server, args);
        let (was, natural) = (Was::of(&server), nature(&server, "shop"));
        let oid = |name: &str| {
            server.sql("postgres", &format!("SELECT oid FROM pg_database WHERE datname = '{name}'"))
        };
        let live = oid("shop");
        server.sql("shop", "DELETE FROM grades WHERE id > 7");
        server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0).says("kept: what was shop");
        was.again(&server);
        assert_eq!(nature(&server, "shop"), natural);

        let before = only_beside(&server, "before");
        assert_eq!(oid(&before), live, "it was copied");
        assert_eq!(rows(&server, &before), "7");
        let mark = format!("pgkeep before {} of shop", time_of(&before));
        let marked = natural.replace("the 'shop'\nof", &format!("{mark}\nthe 'shop'\nof"));
        assert_ne!(marked, natural);
        same(&nature(&server, &before), &marked);
        server.restore(&["--drop-before", "--yes"]).exits(0);
    }
}

/// What a client saw that came back again and again.
struct Seen {
    /// The longest time without an answer.
    gap: Duration,
    answers: Vec<String>,
}

/// Asks for the rows of `shop` in a new session each time, until told to stop.
fn ask_again_and_again(server: &Server, stop: &AtomicBool) -> Seen {
    let mut seen = Seen { gap: Duration::ZERO, answers: Vec::new() };
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let ran =
            run(server.client("psql").args(["-XAtq", "-d", "shop", "-c", "SELECT count(*) FROM grades"]));
        if ran.code == 0 {
            seen.gap = seen.gap.max(last.elapsed());
            last = Instant::now();
            seen.answers.push(ran.out.trim().to_owned());
        }
    }
    seen.gap = seen.gap.max(last.elapsed());
    seen
}

#[test]
fn clients_that_come_back_at_once_find_the_database_within_a_second() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    server.sql("shop", "DELETE FROM grades WHERE id > 7");
    // and one that stays until it is thrown out
    let guest = ["-Xqd", "shop", "-c", "SELECT pg_sleep(600)"];
    let guest = crate::stage::start(server.client("psql").args(guest));
    wait_until("the guest is there", || crate::beside::sleeping(&server) == 1);
    let stop = AtomicBool::new(false);
    let all: Vec<Seen> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(|| ask_again_and_again(&server, &stop))).collect();
        // whatever fails here must end the clients, too
        let swap = scope.spawn(|| server.restore(&[backup.to_str().unwrap(), "--yes"]));
        let swapped = swap.join();
        let back = scope.spawn(|| server.restore(&["--undo", "--yes"])).join();
        stop.store(true, Ordering::Relaxed);
        swapped.unwrap().exits(0);
        back.unwrap().exits(0);
        clients.into_iter().map(|c| c.join().unwrap()).collect()
    });
    crate::lab::end(guest).exits(2).says("terminating connection");
    for seen in &all {
        let mut answers = seen.answers.clone();
        answers.dedup();
        assert_eq!(answers.first().map(String::as_str), Some("7"));
        assert!(answers.iter().any(|a| a == "500"), "{answers:?}");
    }
    // the machine may be busy with other tests; all of them are not
    let gap = all.iter().map(|s| s.gap).min().unwrap();
    assert!(gap < Duration::from_secs(1), "nobody got an answer for {gap:?}");
}

#[test]
fn all_databases_of_a_cluster_dump_change_at_once() {
    let server = Server::start();
    for name in ["shop", "blog", "mail"] {
        server.make(name);
    }
    server.sql("postgres", "CREATE TABLE of_postgres AS SELECT 1 AS n");
    server.sql("template1", "CREATE TABLE of_template AS SELECT 1 AS n");
    let backup = back_up(&server, &[]);
    let was = Was::of(&server);
    let named = ["blog", "mail", "postgres", "shop", "template1"];
    let old = identities(&server);
    for name in ["shop", "blog", "mail"] {
        server.sql(name, "DROP TABLE grades CASCADE");
    }
    server.sql("postgres", "DROP TABLE of_postgres");
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    was.again(&server);
    let before = beside(&server, "before");
    assert_eq!(before.len(), named.len(), "{before:?}");
    for (before, name) in before.iter().zip(named) {
        assert_eq!(*before, format!("{name}__before_{}", time_of(before)));
        let oid = server.sql("shop", &format!("SELECT oid FROM pg_database WHERE datname = '{before}'"));
        assert!(old.contains(&format!("{name}|{oid}")), "{before}: {old}");
    }
    let times: std::collections::BTreeSet<&str> = before.iter().map(|b| time_of(b)).collect();
    assert_eq!(times.len(), 1);
    // and back, all of them
    server.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM pg_class WHERE relname = 'of_postgres'"), "0");
    for line in old.lines() {
        assert!(identities(&server).contains(line), "{line}");
    }
}

#[test]
fn names_of_any_kind_are_swapped_and_swapped_back() {
    let server = Server::start();
    let long = format!("{}ü", "x".repeat(61));
    let names = [
        long.as_str(),
        &"長".repeat(21),
        "it's \"my\" shop",
        "a=b host=c",
        "Zoë of shop",
        "back\\slash $pgkeep$",
    ];
    for name in names {
        server.make(name);
    }
    let (cluster, was) = (back_up(&server, &[]), Was::of(&server));
    let single = back_up(&server, &["-d", names[1]]);
    for name in names {
        server.sql(name, "DELETE FROM grades WHERE id > 3");
    }
    let changed = Was::of(&server);
    server.restore(&[cluster.to_str().unwrap(), "--yes"]).exits(0);
    was.again(&server);
    server.restore(&["--undo", "--yes"]).exits(0);
    changed.again(&server);
    server.restore(&["--drop-before", "--yes"]).exits(0);
    changed.still(&server);

    server.restore(&[single.to_str().unwrap(), "--yes"]).exits(0);
    assert_eq!((rows(&server, names[1]), rows(&server, names[2])), ("500".into(), "3".into()));
    server.restore(&["--undo", "-d", names[1], "--yes"]).exits(0);
    changed.again(&server);
}

#[test]
fn a_template_with_guests_is_swapped_and_its_failed_restore_leaves_nothing() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    server.sql("postgres", "ALTER DATABASE shop IS_TEMPLATE true CONNECTION LIMIT 1");
    let natural = nature(&server, "shop");
    crate::beside::dump_with(&server, "shop", "SELECT 1 / 0;", "broken.sql");
    let was = Was::of(&server);
    server.restore(&["broken.sql", "-d", "shop", "--swap", "--yes", "--force=guard"]).exits(1);
    was.still(&server);
    server.restore(&[backup.to_str().unwrap(), "--yes", "-D"]).exits(0);
    was.again(&server);
    assert_eq!(nature(&server, "shop"), natural);
    assert_eq!(beside(&server, "before"), [""; 0]);
}

#[test]
fn a_dump_into_a_new_name_asks_nothing_and_keeps_nothing() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    server.restore(&[backup.to_str().unwrap(), "-d", "copy"]).exits(0);
    assert_eq!(rows(&server, "copy"), "500");
    assert_eq!(beside(&server, "before"), [""; 0]);
    assert!(!server.home().join("backups/safety").exists());
    // it is there now
    let was = Was::of(&server);
    server.restore(&[backup.to_str().unwrap(), "-d", "copy"]).exits(4).says("'copy' is there").says("-D");
    was.still(&server);
}

#[test]
fn a_signal_that_comes_after_the_swap_is_told_what_is_in_place() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    server.sql("shop", "DELETE FROM grades");
    let mut restore = server.tool("pgdump-restore");
    let started = server.home().join("started");
    restore.arg(&backup).args(["--yes", "--no-safety", "-j", "2", "--start", "touch started; sleep 1"]);
    let restore = start(&mut restore);
    wait_until("it is in place", || started.exists());
    signal(restore.id(), Signal::TERM);
    let ran =
        end(restore).exits(5).says("interrupted by SIGTERM").says("Restored and in place: shop. --undo");
    assert!(ran.out.starts_with("postgresql://"), "{}", ran.out);
    assert_eq!(rows(&server, "shop"), "500");
    server.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(rows(&server, "shop"), "0");
}

/// Passes on what psql says, but not that it has renamed a database.
const FORGETFUL: &str = r#"#!/bin/sh
case $1 in *psql) ;; *) exec "$@" ;; esac
tee "$0.$$" | "$@"
status=$?
grep -q 'RENAME TO' "$0.$$" && exit 2
exit $status
"#;

#[test]
fn a_swap_whose_answer_is_lost_is_told_as_done() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    let wrapper = server.home().join("forgetful");
    std::fs::write(&wrapper, FORGETFUL).unwrap();
    let via = format!("sh {}", wrapper.display());
    for (way, told) in [
        (&["--swap"][..], "Replaced all the same: shop; --undo goes back."),
        (&["--in-place", "--no-safety"], "Replaced all the same: shop."),
    ] {
        server.sql("shop", "DELETE FROM grades WHERE id > 9");
        let args = [&[backup.to_str().unwrap(), "-d", "shop", "--yes", "--via", &via], way].concat();
        let ran = server.restore(&args).exits(1).says(told);
        assert!(!ran.err.contains("as it was"), "{}", ran.err);
        assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
    }
}
