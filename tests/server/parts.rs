//! Parts of a dump, and the other way to replace a database: `--only`, `--globals-only`, `--schema-only`,
//! `--in-place`.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::beside::{Was, beside, only_beside, rows};
use crate::lab::{Server, run, wait_until};
use crate::replace::nature;
use crate::stage::{back_up, identities, same};

/// What no dump of database shop alone has.
pub(crate) const OWNED: &str = "CREATE ROLE clerk LOGIN; ALTER DATABASE shop OWNER TO clerk; REVOKE CONNECT ON DATABASE shop FROM PUBLIC; \
    ALTER DATABASE shop SET work_mem = '5MB'; ALTER ROLE clerk IN DATABASE shop SET work_mem = '6MB'; \
    COMMENT ON DATABASE shop IS 'the shop'";

/// Three databases, roles, and a backup of all.
fn three() -> (Server, String) {
    let server = Server::start();
    for name in ["alpha", "shop", "zeta"] {
        server.make(name);
    }
    server.sql(
        "postgres",
        "CREATE ROLE clerk LOGIN; CREATE ROLE later; ALTER DATABASE shop OWNER TO clerk; \
        ALTER DATABASE shop SET work_mem = '5MB'; COMMENT ON DATABASE shop IS 'the shop'; \
        ALTER DATABASE zeta SET work_mem = '7MB'; CREATE TABLE of_postgres AS SELECT 1 AS n",
    );
    let backup = back_up(&server, &[]).to_str().unwrap().to_owned();
    (server, backup)
}

#[test]
fn one_database_of_a_cluster_dump_wherever_it_stands() {
    let (server, backup) = three();
    let was = Was::of(&server);
    let natural = nature(&server, "shop");
    for name in ["alpha", "shop", "zeta"] {
        for more in [&[][..], &["-j", "2"]] {
            server.sql(name, "DELETE FROM grades WHERE id > 9");
            server.sql("postgres", "ALTER ROLE clerk NOLOGIN");
            let others = identities(&server);
            let args = [&[&backup, "--only", name, "--yes", "-D", "--no-safety"], more].concat();
            let ran = server.restore(&args).exits(0);
            assert_eq!(ran.lines().len(), 1, "{}", ran.out);
            let same_oids = |line: &&str| !line.starts_with(name) && !identities(&server).contains(*line);
            assert_eq!(others.lines().find(same_oids), None);
            // roles are not part of a database
            assert_eq!(
                server.sql("postgres", "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clerk'"),
                "f"
            );
            server.sql("postgres", "ALTER ROLE clerk LOGIN");
            was.again(&server);
        }
    }
    assert_eq!(nature(&server, "shop"), natural);
    // one that is gone comes back with all that it had
    server.sql("postgres", "DROP DATABASE shop");
    server.restore(&[&backup, "--only", "shop", "--yes"]).exits(0);
    was.again(&server);
    server.restore(&[&backup, "--only", "postgres", "--yes", "-D"]).exits(0);
    was.again(&server);
}

#[test]
fn one_database_of_a_cluster_dump_under_another_name() {
    let (server, backup) = three();
    let was = Was::of(&server);
    server.restore(&[&backup, "--only", "shop", "-d", "copy", "--yes"]).exits(0);
    assert_eq!(rows(&server, "copy"), "500");
    assert_eq!(nature(&server, "copy"), nature(&server, "shop"));
    server.restore(&[&backup, "--only", "zeta", "-d", "copy", "--yes"]).exits(4).says("'copy' is there");
    server.restore(&[&backup, "--only", "zeta", "-d", "copy", "--yes", "-D"]).exits(0);
    assert_eq!(nature(&server, "copy"), nature(&server, "zeta"));
    server.sql("postgres", "DROP DATABASE copy");
    was.still(&server);
    server
        .restore(&[&backup, "--only", "nix", "--yes"])
        .exits(1)
        .says("no database 'nix'")
        .says("It holds: template1, alpha, postgres, shop, zeta");
    was.still(&server);
}

#[test]
fn one_database_needs_only_the_roles_that_it_names() {
    let (server, backup) = three();
    let empty = Server::start();
    empty.sql("postgres", "CREATE ROLE clerk");
    server.sql("zeta", "ALTER TABLE grades OWNER TO later");
    let newer = back_up(&server, &[]);
    empty.restore(&[newer.to_str().unwrap(), "--only", "shop", "--yes"]).exits(0);
    assert_eq!(rows(&empty, "shop"), "500");
    empty.restore(&[newer.to_str().unwrap(), "--only", "zeta", "--yes"]).exits(4).says("later");
    // all of it makes them itself
    empty.restore(&[&backup, "--yes"]).exits(0);
    assert_eq!(rows(&empty, "zeta"), "500");
}

#[test]
fn the_roles_of_a_cluster_dump_alone() {
    let (server, backup) = three();
    let was = Was::of(&server);
    let before = identities(&server);
    server.sql("postgres", "ALTER ROLE clerk NOLOGIN; DROP ROLE later; CREATE ROLE newer");
    server.sql("shop", "DELETE FROM grades WHERE id > 9");
    let ran = server.restore(&[&backup, "--globals-only", "--yes"]).exits(0);
    assert_eq!(ran.out, "");
    assert_eq!(identities(&server), before);
    assert_eq!(rows(&server, "shop"), "9");
    server.sql("postgres", "DROP ROLE newer");
    server.sql(
        "shop",
        "INSERT INTO grades SELECT n, 1 + n % 5, n % 1000 / 10.0 FROM generate_series(10, 500) n",
    );
    was.still(&server);
    // onto a server without any of the databases, where nothing of them is needed
    let empty = Server::start();
    let databases = identities(&empty);
    empty.restore(&[&backup, "--globals-only", "--yes"]).exits(0);
    assert_eq!(identities(&empty), databases);
    assert_eq!(empty.sql("postgres", "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clerk'"), "t");
    let single = back_up(&server, &["-d", "shop"]);
    server.restore(&[single.to_str().unwrap(), "--globals-only", "--yes"]).exits(1).says("holds no roles");
}

#[test]
fn the_schema_without_a_row() {
    let server = Server::start();
    server.seed("university");
    let schema = |database: &str| {
        let ran = run(server.client("pg_dump").args(["-w", "--schema-only", "-d", database])).exits(0);
        ran.out
            .lines()
            .filter(|l| !l.starts_with("--") && !l.starts_with('\\'))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let want = schema("university");
    run(&mut server.shell(
        "pg_dump -w -Fc -f custom university; pg_dump -w --rows-per-insert=900 university >inserts.sql",
    ))
    .exits(0);
    let backup = back_up(&server, &[]);
    let was = Was::of(&server);
    for args in [
        &[backup.to_str().unwrap(), "--only", "university", "-d", "copy"][..],
        &["custom", "-d", "copy", "-j", "2"],
        &["inserts.sql", "-d", "copy"],
        &["custom", "-d", "copy", "--prove=hash"],
    ] {
        server.restore(&[args, &["--schema-only", "--yes"]].concat()).exits(0);
        same(&schema("copy"), &want);
        let large = "SELECT count(*) FROM pg_largeobject_metadata";
        assert_eq!(server.sql("copy", "SELECT count(*) FROM grades"), "0", "{args:?}");
        assert_eq!(server.sql("copy", large), "0", "{args:?}");
        server.sql("postgres", "DROP DATABASE copy");
    }
    was.still(&server);
}

#[test]
fn in_place_the_live_one_goes_first_and_all_comes_back() {
    let (server, _) = three();
    server.sql("postgres", "ALTER DATABASE alpha IS_TEMPLATE true");
    let backup = back_up(&server, &[]);
    let backup = backup.to_str().unwrap();
    let single = back_up(&server, &["-d", "alpha"]);
    let of_postgres = back_up(&server, &["-d", "postgres"]);
    let (was, natural) = (Was::of(&server), nature(&server, "alpha"));
    for (file, more) in [
        (backup, &[][..]),
        (backup, &["-j", "2"]),
        (single.to_str().unwrap(), &[]),
        (backup, &["--only", "alpha"]),
        (of_postgres.to_str().unwrap(), &[]),
    ] {
        if !file.contains("postgres_") {
            server.sql("alpha", "DELETE FROM grades WHERE id > 9");
        }
        server.restore(&[&[file, "--in-place", "--yes", "--no-safety"], more].concat()).exits(0);
        was.again(&server);
        assert_eq!(nature(&server, "alpha"), natural);
        assert_eq!(beside(&server, "before"), [""; 0]);
        assert_eq!(beside(&server, "restore"), [""; 0]);
    }
}

#[test]
fn in_place_the_live_one_is_gone_while_the_dump_is_loaded() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", OWNED);
    let natural = nature(&server, "shop");
    let guest = ["-Xqd", "shop", "-c", "SET application_name = 'guest'; SELECT pg_sleep(599)"];
    let guest = crate::stage::start(server.client("psql").args(guest));
    let there = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'guest'";
    wait_until("the guest is there", || server.sql("postgres", there) == "1");
    crate::beside::dump_with(&server, "shop", "SELECT pg_sleep(600);", "hangs.sql");
    let mut restore = server.tool("pgdump-restore");
    restore.args(["hangs.sql", "-d", "shop", "--in-place", "--yes", "--force=guard"]);
    let restore = crate::stage::start(&mut restore);
    wait_until("it sleeps", || crate::beside::sleeping(&server) == 1);
    assert!(!identities(&server).contains("shop|"), "{}", identities(&server));
    only_beside(&server, "restore");
    crate::lab::end(guest).exits(2);
    let sleeper = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' \
        AND pid <> pg_backend_pid()";
    server.sql("postgres", sleeper);
    let ran = crate::lab::end(restore).exits(5).says("Dropped before: shop.");
    assert_eq!(ran.out, "");
    // what it was is in the safety backup, whose path was said
    let path = ran.err.lines().find_map(|l| l.split("safety backup: ").nth(1)).unwrap().to_owned();
    // and owner, settings and grants, which no dump of one database has, in one that is empty
    let kept = only_beside(&server, "restore");
    assert!(ran.err.contains(&format!("kept for the next restore, by {kept}.")), "{}", ran.err);
    assert_eq!(server.sql(&kept, "SELECT count(*) FROM pg_class WHERE oid >= 16384"), "0");
    // a restore of something else leaves it alone
    server.restore(&[&path, "-d", "other"]).exits(0);
    assert_eq!(only_beside(&server, "restore"), kept);
    // who may not give it that owner spoils nothing
    server.sql("postgres", "CREATE ROLE limited LOGIN CREATEDB");
    let mut limited = server.tool("pgdump-restore");
    limited.env("PGUSER", "limited").args([&path, "--yes"]);
    crate::lab::run(&mut limited).exits(1).says("shop__restore_");
    assert_eq!(only_beside(&server, "restore"), kept);
    server.restore(&[&path, "--yes"]).exits(0).says("'shop' gets the owner, settings and grants that it had");
    assert_eq!(rows(&server, "shop"), "500");
    assert_eq!((nature(&server, "shop"), beside(&server, "restore")), (natural, Vec::new()));
    assert!(fs::exists(server.home().join(path)).unwrap());
}

#[test]
fn in_place_a_kill_costs_no_owner_and_no_setting() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", OWNED);
    let natural = nature(&server, "shop");
    let backup = crate::stage::back_up(&server, &["-d", "shop"]);
    crate::beside::dump_with(&server, "shop", "SELECT pg_sleep(600);", "hangs.sql");
    let args = |file| [file, "-d", "shop", "--in-place", "--yes", "--force=guard", "--no-safety"];
    // the second is killed when what stood in is gone as well
    for _ in 0..2 {
        let restore = crate::stage::start(server.tool("pgdump-restore").args(args("hangs.sql")));
        wait_until("it sleeps", || crate::beside::sleeping(&server) == 1);
        crate::stage::signal(restore.id(), rustix::process::Signal::KILL);
        crate::lab::end(restore);
        server.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' \
            AND pid <> pg_backend_pid()",
        );
        wait_until("it sleeps no more", || crate::beside::sleeping(&server) == 0);
        only_beside(&server, "restore");
    }
    server.restore(&args(backup.to_str().unwrap())).exits(0);
    assert_eq!((nature(&server, "shop"), beside(&server, "restore")), (natural, Vec::new()));
}

#[test]
fn in_place_nobody_gets_a_database_by_a_name_and_a_comment() {
    let server = Server::start();
    server.make("shop");
    let backup = crate::stage::back_up(&server, &["-d", "shop"]);
    server.sql(
        "postgres",
        "CREATE ROLE owner; CREATE ROLE mallory LOGIN CREATEDB IN ROLE owner; DROP DATABASE shop",
    );
    for owner in ["mallory", "owner"] {
        let name = "shop__restore_20260101_000000";
        server.sql("postgres", &format!("CREATE DATABASE {name} OWNER {owner}"));
        server.sql(
            "postgres",
            &format!("COMMENT ON DATABASE {name} IS 'pgkeep restore 20260101_000000 in place of shop'"),
        );
        let ran = server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
        assert!(ran.err.contains("could have made it for that"), "{}", ran.err);
        let of = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'";
        assert_eq!(server.sql("postgres", of), "postgres");
        server.restore(&[backup.to_str().unwrap(), "--yes", "-D", "-d", "shop"]).exits(0);
        assert_eq!(beside(&server, "restore"), [""; 0]);
        server.sql("postgres", "DROP DATABASE shop");
    }
}

#[test]
fn in_place_what_somebody_makes_meanwhile_is_kept() {
    let server = Server::start();
    server.make("shop");
    let waits = "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'go') LOOP \
        PERFORM pg_sleep(0.02); END LOOP; END $$;";
    crate::beside::dump_with(&server, "shop", waits, "waits.sql");
    let mut restore = server.tool("pgdump-restore");
    restore.args(["waits.sql", "-d", "shop", "--in-place", "--yes", "--no-safety", "--force=guard"]);
    let restore = crate::stage::start(&mut restore);
    wait_until("the live one is gone", || !identities(&server).contains("shop|"));
    // as programs do that make their database when it is missing
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", "CREATE TABLE meanwhile (n int)");
    server.sql("postgres", "CREATE ROLE go");
    crate::lab::end(restore).exits(0).says("kept: what was shop is shop__before_");
    assert_eq!(rows(&server, "shop"), "500");
    assert_eq!(server.sql(&only_beside(&server, "before"), "SELECT count(*) FROM meanwhile"), "0");
}

#[test]
fn in_place_what_cannot_be_removed_costs_no_owner() {
    let server = Server::start_with("max_prepared_transactions = 1\n");
    server.make("shop");
    server.sql("postgres", OWNED);
    let natural = nature(&server, "shop");
    let backup = back_up(&server, &["-d", "shop"]);
    crate::beside::dump_with(&server, "shop", "SELECT 1 / 0;", "fails.sql");
    server.restore(&["fails.sql", "-d", "shop", "--in-place", "--yes", "--force=guard"]).exits(1);
    let name = "other__restore_20260101_000000";
    server.sql("postgres", &format!("CREATE DATABASE {name}"));
    server
        .sql("postgres", &format!("COMMENT ON DATABASE {name} IS 'pgkeep restore 20260101_000000 of other'"));
    server.sql(name, "BEGIN; CREATE TABLE t (n int); PREPARE TRANSACTION 'p'");
    server
        .restore(&[backup.to_str().unwrap(), "--yes"])
        .exits(0)
        .says("cannot drop database 'other__restore_");
    assert_eq!(nature(&server, "shop"), natural);
    server.sql(name, "ROLLBACK PREPARED 'p'");
}
