//! Restores that end in the worst moment: what is live is as it was, and running again mends the rest.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Child;

use rustix::process::Signal;

use crate::beside::{Was, beside, dump_with, hanging, only_beside, rows, sleeping};
use crate::lab::{Server, end, is_ignored, run, wait_until};
use crate::stage::{
    back_up, descendants, identities, lives, plain_dump, program, signal, signal_what_lives, start,
};

fn shop() -> (Server, String) {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]).to_str().unwrap().to_owned();
    // what is live differs from what is in the dump
    server.sql("shop", "DELETE FROM grades WHERE id > 7");
    (server, backup)
}

/// Restores again: what was left goes, and all is well.
#[track_caller]
fn mends(server: &Server, backup: &str) {
    server.restore(&[backup, "--yes", "--no-safety"]).exits(0).says("left by a restore that did not end");
    assert_eq!(rows(server, "shop"), "500");
    assert_eq!(beside(server, "restore"), [""; 0]);
    assert_eq!(sleeping(server), 0);
}

/// The live databases of a cluster; what is beside them may have changed.
fn live(server: &Server) -> Vec<String> {
    identities(server).lines().filter(|l| !l.contains("__restore_")).map(str::to_owned).collect()
}

#[track_caller]
fn kill(mut restore: Child) {
    restore.kill().unwrap();
    end(restore).exits(128 + 9);
}

#[test]
fn a_restore_that_is_killed_while_it_loads() {
    let (server, backup) = shop();
    let was = live(&server);
    kill(hanging(&server, &["--no-safety"]));
    assert_eq!((live(&server), rows(&server, "shop")), (was, "7".into()));
    only_beside(&server, "restore");
    // its psql is still at work; backups do not mind, and hold nothing of it
    let made = back_up(&server, &[]);
    assert_eq!(crate::stage::manifest(&made)["rows"].as_u64(), Some(12));
    mends(&server, &backup);
}

#[test]
fn a_restore_that_is_killed_while_several_sessions_build_indexes() {
    let (server, backup) = shop();
    server.sql(
        "shop",
        "CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END'; \
        CREATE INDEX slow ON grades (slow(id)); CREATE INDEX other ON grades (slow(person))",
    );
    let dump = plain_dump(&server, "shop").replace("BEGIN RETURN 1", "BEGIN PERFORM pg_sleep(600); RETURN 1");
    fs::write(server.home().join("slow.sql"), dump).unwrap();
    let was = live(&server);
    let builds =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND state = 'active'";
    let restore = || {
        let mut restore = server.tool("pgdump-restore");
        restore.args(["slow.sql", "-d", "shop", "--swap", "--yes", "--no-safety", "-j", "2"]);
        let restore = start(&mut restore);
        wait_until("two build indexes", || server.sql("template1", builds) == "2");
        restore
    };
    kill(restore());
    assert_eq!((live(&server), rows(&server, "shop")), (was, "7".into()));
    mends(&server, &backup);
    assert_eq!(server.sql("template1", builds), "0");
    let was = live(&server);
    // again, and this time one of its sessions is ended, then one of its programs
    let second = restore();
    server.sql("template1", &format!("{} LIMIT 1", builds.replace("count(*)", "pg_terminate_backend(pid)")));
    end(second).exits(5).says("terminating connection").says("Every database is as it was");
    assert_eq!((live(&server), beside(&server, "restore").len()), (was.clone(), 0));
    let third = restore();
    let psql = descendants(third.id()).into_iter().filter(|p| program(*p) == "psql").max().unwrap();
    signal(psql, Signal::KILL);
    end(third).exits(1).says("psql was killed by SIGKILL").says("Every database is as it was");
    assert_eq!((live(&server), beside(&server, "restore").len()), (was, 0));
    assert_eq!(server.sql("template1", builds), "0");
}

#[test]
fn a_restore_that_is_killed_in_the_middle_of_a_cluster() {
    let server = Server::start();
    server.make("blog");
    server.make("shop");
    server.sql("postgres", "CREATE TABLE of_postgres AS SELECT 1 AS n");
    let backup = back_up(&server, &[]);
    let text = run(server.client("pg_dumpall").arg("-w")).exits(0).out;
    let slow = text.replacen("\\connect shop\n", "\\connect shop\nSELECT pg_sleep(600);\n", 1);
    assert_ne!(slow, text);
    fs::write(server.home().join("slow.sql"), slow).unwrap();
    let (was, before) = (live(&server), Was::of(&server));
    let mut restore = server.tool("pgdump-restore");
    let restore = start(restore.args(["slow.sql", "--yes", "--force=guard", "--no-safety"]));
    wait_until("it sleeps", || sleeping(&server) == 1);
    assert_eq!(beside(&server, "restore").len(), 3);
    kill(restore);
    assert_eq!(live(&server), was);
    mends(&server, backup.to_str().unwrap());
    before.again(&server);
}

/// A session that keeps the name of `shop` as it is while it lives.
fn holds_the_name(server: &Server) -> Child {
    let mut psql = server.client("psql");
    psql.args(["-Xqd", "postgres", "-c", "BEGIN; COMMENT ON DATABASE shop IS 'x'; SELECT pg_sleep(600)"]);
    let child = start(&mut psql);
    wait_until("the name is held", || sleeping(server) == 1);
    child
}

#[test]
fn a_restore_that_is_killed_within_the_swap_has_swapped_all_or_nothing() {
    for with_its_programs in [true, false] {
        let (server, backup) = shop();
        let was = live(&server);
        let mut holder = holds_the_name(&server);
        let mut restore = server.tool("pgdump-restore");
        let mut restore = start(restore.args([&backup, "--yes", "--no-safety"]));
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER DATABASE%'";
        wait_until("the swap waits", || server.sql("template1", waits) == "1");
        let children = descendants(restore.id());
        restore.kill().unwrap();
        end(restore).exits(128 + 9);
        if with_its_programs {
            // some of them live for a moment only
            children.iter().for_each(|c| signal_what_lives(*c, Signal::KILL));
        }
        server.sql("template1", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%COMMENT%' AND pid <> pg_backend_pid()");
        holder.wait().unwrap();
        wait_until("all that it started has ended", || !children.iter().any(|c| lives(*c)));
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ALTER DATABASE%' AND pid <> pg_backend_pid()";
        wait_until("its sessions have ended", || server.sql("template1", sessions) == "0");
        if with_its_programs {
            assert_eq!((live(&server), rows(&server, "shop")), (was, "7".into()));
            mends(&server, &backup);
        } else {
            // what it had begun is done, or it is not, as a whole
            let done = [("500".to_owned(), 1), ("7".to_owned(), 0)];
            let now = (rows(&server, "shop"), beside(&server, "before").len());
            assert!(done.contains(&now), "{now:?}");
            server.restore(&[&backup, "--yes", "--no-safety"]).exits(0);
            assert_eq!((rows(&server, "shop"), beside(&server, "restore").len()), ("500".into(), 0));
        }
    }
}

#[test]
fn a_name_that_somebody_holds_is_waited_for_and_clients_come_in_meanwhile() {
    let (server, backup) = shop();
    let mut holder = holds_the_name(&server);
    let mut restore = server.tool("pgdump-restore");
    let restore = start(restore.args([&backup, "--yes", "--no-safety"]));
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER DATABASE%'";
    wait_until("the swap waits", || server.sql("template1", waits) == "1");
    assert_eq!(rows(&server, "shop"), "7");
    server.sql("template1", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%COMMENT%' AND pid <> pg_backend_pid()");
    holder.wait().unwrap();
    end(restore).exits(0);
    assert_eq!(rows(&server, "shop"), "500");
}

#[test]
fn a_server_that_crashes_midway() {
    let (mut server, backup) = shop();
    let was = live(&server);
    let restore = hanging(&server, &["--no-safety"]);
    let place = only_beside(&server, "restore");
    server.stop();
    end(restore).exits(5).says("left over").says(&place);
    server.start_again();
    assert_eq!((live(&server), rows(&server, "shop")), (was, "7".into()));
    mends(&server, &backup);
}

#[test]
fn a_signal_in_the_middle_leaves_nothing() {
    for with in [Signal::INT, Signal::TERM].into_iter().filter(|s| !is_ignored(*s)) {
        let (server, _) = shop();
        let was = Was::of(&server);
        let restore = hanging(&server, &["-j", "2"]);
        let children = descendants(restore.id());
        signal(restore.id(), with);
        let ran = end(restore).exits(5).says("interrupted by SIG").says("Every database is as it was");
        assert_eq!(ran.out, "");
        was.still(&server);
        wait_until("all that it started has ended", || !children.iter().any(|c| lives(*c)));
        assert_eq!(sleeping(&server), 0);
    }
}

#[test]
fn two_restores_at_once() {
    let (server, backup) = shop();
    let first = hanging(&server, &["--no-safety"]);
    let there = identities(&server);
    for more in [&[][..], &["--no-safety"], &["-d", "copy"]] {
        let ran = server
            .restore(&[&[&backup, "--yes"], more].concat())
            .exits(5)
            .says("pgdump-restore")
            .says("at work");
        assert_eq!(ran.out, "");
        assert_eq!((identities(&server), sleeping(&server)), (there.clone(), 1));
    }
    server.restore(&["--undo", "--yes"]).exits(1);
    signal(first.id(), Signal::TERM);
    end(first).exits(5);
    server.restore(&[&backup, "--yes"]).exits(0);
}

#[test]
fn an_error_in_the_last_of_ten_thousand_statements() {
    let (server, backup) = shop();
    let rows_of = |n: usize| format!("INSERT INTO public.people VALUES ({n}, 'n', 'x');\n");
    let acts: String = (100..10_100).map(rows_of).collect();
    dump_with(&server, "shop", &(acts + "INSERT INTO public.people VALUES (100, 'again', '');"), "long.sql");
    let was = Was::of(&server);
    for jobs in ["1", "3"] {
        let args = ["long.sql", "-d", "shop", "--swap", "--yes", "-j", jobs];
        server.restore(&args).exits(1).says("duplicate key").says("Every database is as it was");
        was.still(&server);
    }
    server.restore(&[&backup, "--yes"]).exits(0);
}

#[test]
fn a_table_that_somebody_has_locked_is_in_nobodys_way() {
    let (server, backup) = shop();
    let mut psql = server.client("psql");
    psql.args([
        "-Xqd",
        "shop",
        "-c",
        "BEGIN; LOCK TABLE grades IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)",
    ]);
    let guest = start(&mut psql);
    wait_until("it is locked", || sleeping(&server) == 1);
    server.restore(&[&backup, "--yes", "--no-safety"]).exits(0);
    end(guest).exits(2).says("terminating connection");
    assert_eq!(rows(&server, "shop"), "500");
}

#[test]
fn the_dump_of_another_database_can_be_taken_back() {
    let (server, _) = shop();
    server.make("blog");
    server.sql("blog", "DELETE FROM grades WHERE id > 9");
    let blog = back_up(&server, &["-d", "blog"]);
    let was = Was::of(&server);
    server.restore(&[blog.to_str().unwrap(), "-d", "shop", "--yes"]).exits(4).says("'shop' is there");
    was.still(&server);
    server.restore(&[blog.to_str().unwrap(), "-d", "shop", "--swap", "--yes"]).exits(0);
    assert_eq!(rows(&server, "shop"), "9");
    server.restore(&["--undo", "-d", "shop", "--yes"]).exits(0);
    was.again(&server);
}
