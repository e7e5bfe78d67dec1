//! Backups and restores that meet: neither is of half a database.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use crate::lab::{Server, end, wait_until};
use crate::stage::{Held, back_up, dumps, identities, start, wait_for_midway};

/// A restore that waits in its `--stop` until the file is there.
fn waiting(server: &Server, backup: &str) -> (std::process::Child, PathBuf) {
    let go = server.home().join("go");
    // it outlives a restore that is killed, but not the test's folder
    let home = server.home();
    let stop =
        format!("until [ -e '{}' ] || [ ! -d '{}' ]; do sleep 0.02; done", go.display(), home.display());
    let mut command = server.tool("pgdump-restore");
    let child = start(command.args([backup, "--yes", "--stop", &stop]));
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'";
    wait_until("the restore holds its lock", || server.sql("template1", held) == "1");
    (child, go)
}

#[test]
fn during_a_restore_nothing_is_backed_up_or_restored() {
    let server = Server::start();
    server.make("shop");
    let shop = back_up(&server, &["-d", "shop"]);
    // one that replaces the database postgres holds its lock in another
    server.sql("postgres", "CREATE TABLE kept (id int)");
    let cluster = back_up(&server, &[]);
    let dir = cluster.parent().unwrap();
    let (first, second) = (cluster.to_str().unwrap(), shop.to_str().unwrap());
    let before = (identities(&server), dumps(dir));
    let (child, go) = waiting(&server, first);
    for args in [&[][..], &["-d", "shop"], &["-d", "shop", "--format", "custom"]] {
        let ran = server.rotate(args).exits(5).says("pgdump-restore").says("at work");
        assert_eq!(ran.out, "");
    }
    server.restore(&[second, "--yes"]).exits(5).says("pgdump-restore");
    assert_eq!((identities(&server), dumps(dir)), before);
    std::fs::write(go, "").unwrap();
    end(child).exits(0);
    server.rotate(&[]).exits(0);
    server.restore(&[second, "--yes"]).exits(0);
    // and says good-bye to the server
    assert!(!server.log_text().contains("unexpected EOF"), "{}", server.log_text());
}

#[test]
fn a_restore_does_not_begin_during_a_backup_but_backups_may() {
    let server = Server::start();
    server.make("shop");
    server.make("blog");
    let blog = back_up(&server, &["-d", "blog"]);
    let held = Held::hold(&server, "shop");
    let dir = server.home().join("elsewhere");
    let mut command = server.tool("pgdump-rotate");
    let backup = start(command.args(["-d", "shop", "-o", "elsewhere"]));
    wait_for_midway(&server, &dir);
    let before = identities(&server);
    server.restore(&[blog.to_str().unwrap(), "--yes"]).exits(5).says("pgdump-rotate").says("Wait");
    assert_eq!(identities(&server), before);
    server.rotate(&["-d", "blog"]).exits(0);
    drop(held);
    end(backup).exits(0);
    server.restore(&[blog.to_str().unwrap(), "--yes"]).exits(0);
}

#[test]
fn a_lock_that_somebody_ends_is_missed() {
    let server = Server::start();
    server.make("shop");
    let shop = back_up(&server, &["-d", "shop"]);
    let end_locks = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'";
    // in a restore: it ends, and says that others may have come in between
    let (child, go) = waiting(&server, shop.to_str().unwrap());
    server.sql("postgres", end_locks);
    std::fs::write(go, "").unwrap();
    end(child).exits(5).says("ended by somebody").says("again");
    // what feeds the server is seen without the lock
    let mut session = server.client("psql");
    session.env("PGAPPNAME", "pgkeep restore").args(["-Xqd", "postgres", "-c", "SELECT pg_sleep(600)"]);
    let mut session = start(&mut session);
    let seen = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgkeep restore'";
    wait_until("it is there", || server.sql("template1", seen) == "1");
    server.rotate(&["-d", "shop"]).exits(5).says("pgkeep restore");
    server.sql("template1", &seen.replace("count(*)", "pg_terminate_backend(pid)"));
    session.wait().unwrap();
    wait_until("it is gone", || server.sql("template1", seen) == "0");
    // in a backup: it gets no name
    let held = Held::hold(&server, "shop");
    let dir = server.home().join("elsewhere");
    let mut command = server.tool("pgdump-rotate");
    let backup = start(command.args(["-d", "shop", "-o", "elsewhere"]));
    wait_for_midway(&server, &dir);
    server.sql("postgres", end_locks);
    drop(held);
    end(backup).exits(5).says("ended by somebody");
    assert!(dumps(&dir).is_empty());
}

#[test]
fn the_lock_ends_with_whoever_held_it() {
    let server = Server::start();
    server.make("shop");
    let shop = back_up(&server, &["-d", "shop"]);
    let (mut child, go) = waiting(&server, shop.to_str().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    // what stops the services goes on without it
    std::fs::write(go, "").unwrap();
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    wait_until("the lock is gone", || server.sql("template1", locks) == "0");
    server.restore(&[shop.to_str().unwrap(), "--yes"]).exits(0);
}
