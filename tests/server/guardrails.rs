//! Guardrails: what would fail halfway, or hurt, is refused before anything is touched; `--force` lifts it.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::beside::{Was, beside, rows};
use crate::lab::{Ran, Server, end, run, wait_until};
use crate::stage::{back_up, plain_dump, start};

/// Puts a text of `server` in the place of another, as a file that can be restored.
#[track_caller]
fn edited(server: &Server, text: &str, from: &str, to: &str) {
    assert!(text.contains(from), "{from}");
    fs::write(server.home().join("edited.sql"), text.replace(from, to)).unwrap();
}

/// A restore that is refused, and changes nothing, also where it only says what it would do.
#[track_caller]
fn refuses(server: &Server, args: &[&str]) -> Ran {
    let was = Was::of(server);
    let stop = ["--start", "touch started"];
    let dry = server.restore(&[args, &["--dry-run"]].concat()).exits(4);
    let ran = server.restore(&[args, &["--yes"], &stop].concat()).exits(4);
    assert_eq!((dry.out.as_str(), ran.out.as_str(), &dry.err), ("", "", &ran.err));
    assert!(!server.home().join("started").exists() && !server.home().join("backups/safety").exists());
    was.still(server);
    ran
}

fn shop() -> (Server, String) {
    let server = Server::start();
    server.make("shop");
    let text = plain_dump(&server, "shop");
    (server, text)
}

const INTO_SHOP: [&str; 4] = ["edited.sql", "-d", "shop", "--swap"];

#[test]
fn a_dump_of_a_newer_server() {
    let (server, text) = shop();
    let here = server.sql("shop", "SHOW server_version");
    edited(
        &server,
        &text,
        &format!("Dumped from database version {here}"),
        "Dumped from database version 99.1",
    );
    refuses(&server, &INTO_SHOP).says("of PostgreSQL 99.1").says("--force=version");
    // another name lifts nothing
    refuses(&server, &[&INTO_SHOP[..], &["--force=roles,guard"]].concat()).says("99.1");
    for force in ["--force=version", "--force"] {
        server.sql("shop", "TRUNCATE grades");
        server.restore(&[&INTO_SHOP[..], &["--yes", force]].concat()).exits(0);
        assert_eq!(rows(&server, "shop"), "500");
    }
}

#[test]
fn roles_that_are_missing() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "CREATE ROLE clerk; CREATE ROLE \"the Auditor\"; CREATE ROLE reader LOGIN");
    server.sql(
        "shop",
        "ALTER TABLE grades OWNER TO clerk; GRANT SELECT ON people TO \"the Auditor\"; \
        ALTER TABLE people ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON people TO reader USING (id > 1); \
        ALTER DEFAULT PRIVILEGES FOR ROLE clerk GRANT SELECT ON TABLES TO reader; \
        ALTER ROLE reader IN DATABASE shop SET work_mem = '9MB'; CREATE SCHEMA s AUTHORIZATION clerk; \
        CREATE FUNCTION s.owner_to() RETURNS text LANGUAGE sql AS 'SELECT ''OWNER TO nobody'''",
    );
    for create in [&[][..], &["--pg-dump-arg", "--create"]] {
        let backup = back_up(&server, &[&["-d", "shop"], create].concat());
        let file = backup.to_str().unwrap();
        let empty = Server::start();
        let ran = refuses(&empty, &[file]).says("lacks roles").says("--create-roles").says("--force=roles");
        assert!(ran.err.contains("clerk, reader, the Auditor"), "{}", ran.err);

        let plan = empty.restore(&[file, "--dry-run", "--create-roles"]).exits(0).out;
        assert!(plan.contains("create  roles, without login: clerk, reader, the Auditor"), "{plan}");
        empty.restore(&[file, "--yes", "--create-roles"]).exits(0);
        let roles = "SELECT string_agg(rolname, ', ' ORDER BY rolname), bool_or(rolcanlogin) FROM pg_roles WHERE oid >= 16384";
        assert_eq!(empty.sql("postgres", roles), "clerk, reader, the Auditor|f");
        let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'grades'";
        assert_eq!(empty.sql("shop", owner), "clerk");
        empty.sql("postgres", "DROP DATABASE shop; DROP ROLE clerk, reader, \"the Auditor\"");

        let plan = empty.restore(&[file, "--dry-run", "--force=roles"]).exits(0).out;
        assert!(plan.contains("without owners, grants and policies of roles: clerk"), "{plan}");
        empty.restore(&[file, "--yes", "--force=roles"]).exits(0);
        assert_eq!((rows(&empty, "shop"), empty.sql("shop", owner)), ("500".into(), "postgres".into()));
        assert_eq!(empty.sql("postgres", roles), "|");
    }
}

#[test]
fn a_dump_by_session_authorization_without_its_roles() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "CREATE ROLE clerk");
    server.sql("shop", "ALTER TABLE grades OWNER TO clerk");
    let args = ["-d", "shop", "--pg-dump-arg", "--use-set-session-authorization"];
    let backup = back_up(&server, &args);
    let empty = Server::start();
    refuses(&empty, &[backup.to_str().unwrap()]).says("lacks roles").says("clerk");
    empty.restore(&[backup.to_str().unwrap(), "--yes", "--force=roles"]).exits(0);
    assert_eq!(rows(&empty, "shop"), "500");
}

#[test]
fn extensions_that_are_missing() {
    let (server, text) = shop();
    let at = "CREATE TABLE public.grades";
    let creates = |names: &[&str]| -> String {
        names.iter().map(|n| format!("CREATE EXTENSION IF NOT EXISTS {n} WITH SCHEMA public;\nCOMMENT ON EXTENSION {n} IS 'x';\n")).collect()
    };
    edited(&server, &text, at, &(creates(&["\"pg_Nix\"", "vector", "citext"]) + at));
    let major = server.sql("shop", "SELECT current_setting('server_version_num')::int / 10000");
    let ran = refuses(&server, &INTO_SHOP).says("lacks extensions").says("--force=extensions");
    assert!(
        ran.err.contains(&format!("apt-get install postgresql-{major}-Nix postgresql-{major}-pgvector")),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("citext"), "{}", ran.err);
    let plan = server.restore(&[&INTO_SHOP[..], &["--dry-run", "--force=extensions"]].concat()).exits(0).out;
    assert!(plan.contains("without extensions: pg_Nix, vector"), "{plan}");
    server.sql("shop", "TRUNCATE grades");
    server.restore(&[&INTO_SHOP[..], &["--yes", "--force=extensions"]].concat()).exits(0);
    assert_eq!(rows(&server, "shop"), "500");
    assert_eq!(server.sql("shop", "SELECT count(*) FROM pg_extension WHERE extname = 'citext'"), "1");
}

#[test]
fn tablespaces_that_are_missing() {
    let server = Server::start();
    let folder = server.host().join("space");
    let make = format!("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; mkdir {}'", folder.display());
    server.sql("postgres", &make);
    server.sql("postgres", &format!("CREATE TABLESPACE \"fast Disk\" LOCATION '{}'", folder.display()));
    server.sql(
        "postgres",
        "CREATE DATABASE shop TABLESPACE \"fast Disk\"; COMMENT ON TABLESPACE \"fast Disk\" IS 'x'; \
        GRANT CREATE ON TABLESPACE \"fast Disk\" TO PUBLIC; ALTER TABLESPACE \"fast Disk\" SET (seq_page_cost = 2); \
        CREATE DATABASE blog",
    );
    server
        .sql("blog", "CREATE TABLE grades (id int) TABLESPACE \"fast Disk\"; INSERT INTO grades VALUES (1)");
    server.sql("shop", "CREATE TABLE grades (id int); INSERT INTO grades VALUES (1)");
    let (cluster, single) = (back_up(&server, &[]), back_up(&server, &["-d", "blog"]));
    let empty = Server::start();
    run(empty.shell("cp -r \"$1\" .").arg(cluster.parent().unwrap())).exits(0);
    let name = |path: &std::path::Path| format!("backups/{}", path.file_name().unwrap().to_str().unwrap());
    let (cluster, single) = (&*name(&cluster), &*name(&single));
    // its folder goes with it
    drop(server);
    refuses(&empty, &[cluster])
        .says("folder of tablespace 'fast Disk' is not on the server")
        .says("--force=tablespaces");
    refuses(&empty, &[single]).says("lacks tablespaces").says("fast Disk");
    refuses(&empty, &[cluster, "--only", "shop"]).says("lacks tablespaces");
    for args in [&[cluster][..], &[cluster, "--only", "shop"], &[single]] {
        let plan = empty.restore(&[args, &["--dry-run", "--force=tablespaces"]].concat()).exits(0).out;
        assert!(plan.contains("without tablespaces: fast Disk"), "{plan}");
        empty.restore(&[args, &["--yes", "--force=tablespaces"]].concat()).exits(0);
        for name in ["shop", "blog"].iter().filter(|n| args != &[single][..] || **n == "blog") {
            assert_eq!(rows(&empty, name), "1", "{args:?}");
        }
    }
    assert_eq!(empty.sql("postgres", "SELECT count(*) FROM pg_tablespace"), "2");
}

#[test]
fn locales_that_are_missing() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "postgres",
        "CREATE DATABASE blog TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' CONNECTION LIMIT 9",
    );
    server.sql("blog", "CREATE TABLE grades AS SELECT 'ü' AS x");
    let text = run(server.client("pg_dumpall").arg("-w")).exits(0).out;
    let from = text.lines().find(|l| l.starts_with("CREATE DATABASE shop")).unwrap();
    let to = from.replace("LOCALE = 'C'", "LOCALE = 'nix_XX.UTF-8'");
    edited(&server, &text, from, &to);
    refuses(&server, &["edited.sql"]).says("lacks locales").says("nix_XX.UTF-8").says("--force=locale");
    let plan = server.restore(&["edited.sql", "--dry-run", "--force=locale"]).exits(0).out;
    assert!(plan.contains("without locales: nix_XX.UTF-8"), "{plan}");
    server.sql("shop", "TRUNCATE grades");
    server.restore(&["edited.sql", "--yes", "--force=locale"]).exits(0);
    assert_eq!((rows(&server, "shop"), rows(&server, "blog")), ("500".into(), "1".into()));
    // of another database it is nobody's business
    server.restore(&["edited.sql", "--yes", "--only", "blog"]).exits(0);
}

#[test]
fn a_setting_that_the_server_does_not_know_is_left_out() {
    let (server, text) = shop();
    let more = "SET lock_timeout = 0;\nSET nix_timeout = 0;\nSET \"Nix_Again\" TO 'x; y';\nSET my.own = 'z';";
    edited(&server, &text, "SET lock_timeout = 0;", more);
    for jobs in ["1", "2"] {
        let args = [&INTO_SHOP[..], &["-j", jobs]].concat();
        let plan = server.restore(&[&args[..], &["--dry-run"]].concat()).exits(0).out;
        assert!(
            plan.contains("without settings that this server does not know: Nix_Again, nix_timeout\n"),
            "{plan}"
        );
        server.sql("shop", "TRUNCATE grades");
        server.restore(&[&args[..], &["--yes"]].concat()).exits(0).says("nix_timeout");
        assert_eq!(rows(&server, "shop"), "500");
    }
}

#[test]
fn somebody_writes_right_now() {
    let (server, _) = shop();
    let backup = back_up(&server, &["-d", "shop"]);
    let file = backup.to_str().unwrap();
    let writer = || {
        let mut psql = server.client("psql");
        psql.env("PGAPPNAME", "the till").args(["-Xqd", "shop"]);
        psql.args(["-c", "BEGIN; DELETE FROM grades WHERE id = 1; SELECT pg_sleep(600)"]);
        let child = start(&mut psql);
        wait_until("it writes", || crate::beside::sleeping(&server) == 1);
        child
    };
    let ends = "psql -qc \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'the till'\" postgres";
    for lift in [&["--force=sessions"][..], &["--stop", ends]] {
        let was = Was::of(&server);
        let child = writer();
        for how in ["--dry-run", "--yes"] {
            let ran =
                server.restore(&[file, how]).exits(4).says("somebody writes right now: the till in shop");
            assert_eq!(ran.out, "");
        }
        was.still(&server);
        server.restore(&[&[file, "--yes", "-D", "--no-safety"], lift].concat()).exits(0);
        end(child).exits(2);
        was.again(&server);
    }
}

#[test]
fn what_is_dangerous_in_the_dump_of_another() {
    let (server, text) = shop();
    let at = "CREATE TABLE public.grades";
    edited(
        &server,
        &text,
        at,
        &format!("CREATE FUNCTION public.f() RETURNS int LANGUAGE internal AS 'int4um';\n{at}"),
    );
    let ran =
        refuses(&server, &INTO_SHOP).says("in internal").says("dump-inspect guard").says("--force=guard");
    assert!(run(server.tool("dump-inspect").args(["guard", "edited.sql"])).code != 0, "{}", ran.err);
    server.restore(&[&INTO_SHOP[..], &["--yes", "--force=guard"]].concat()).exits(0);
    // a backup of this very server may hold what this server holds; that of another may not
    server.sql("shop", "ALTER FUNCTION f() OWNER TO postgres");
    let own = back_up(&server, &["-d", "shop"]);
    server.restore(&[own.to_str().unwrap(), "--yes"]).exits(0);
    fs::remove_file(crate::stage::beside(&own)).unwrap();
    server.restore(&[own.to_str().unwrap(), "-d", "shop", "--swap", "--yes"]).exits(4).says("in internal");
}

#[test]
fn a_part_of_a_database_does_not_replace_the_whole() {
    let (server, _) = shop();
    let backup = back_up(&server, &["-d", "shop", "--pg-dump-arg", "--table=people"]);
    let file = backup.to_str().unwrap();
    refuses(&server, &[file]).says("only a part").says("--force=part");
    refuses(&server, &[file, "-d", "shop", "-D"]).says("--force=part");
    server.restore(&[file, "-d", "copy"]).exits(0);
    server.restore(&[file, "--yes", "--force=part"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM pg_class WHERE relname = 'grades'"), "0");
    server.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(rows(&server, "shop"), "500");
}

#[test]
fn all_that_hold_are_named_at_once() {
    let (server, text) = shop();
    let at = "CREATE TABLE public.grades";
    let more = format!(
        "CREATE EXTENSION nix;\nALTER SCHEMA public OWNER TO nobody_here;\nSET default_tablespace = nowhere;\n\
        CREATE FUNCTION public.f() RETURNS int LANGUAGE internal AS 'int4um';\nSET default_tablespace = '';\n{at}"
    );
    edited(&server, &text, at, &more);
    let all = ["roles", "extensions", "tablespaces", "guard"];
    let ran = refuses(&server, &INTO_SHOP);
    for name in all {
        assert!(ran.err.contains(&format!("--force={name} lifts this")), "{name}: {}", ran.err);
    }
    // those that are left
    let ran = refuses(&server, &[&INTO_SHOP[..], &["--force=guard,extensions"]].concat());
    assert!(ran.err.contains("--force=roles") && !ran.err.contains("--force=guard"), "{}", ran.err);
    server.restore(&[&INTO_SHOP[..], &["--yes", &format!("--force={}", all.join(","))]].concat()).exits(0);
    assert_eq!(rows(&server, "shop"), "500");
}

#[test]
fn a_role_that_is_no_superuser() {
    let server = Server::start();
    server.sql("postgres", "CREATE ROLE clerk LOGIN CREATEDB; CREATE DATABASE shop OWNER clerk");
    server.sql(
        "shop",
        "SET ROLE clerk; CREATE SCHEMA s; CREATE TABLE s.grades AS SELECT n FROM generate_series(1, 500) n",
    );
    let text = plain_dump(&server, "shop");
    let as_clerk = |args: &[&str]| run(server.tool("pgdump-restore").env("PGUSER", "clerk").args(args));
    let was = Was::of(&server);
    for (more, words) in [
        (
            "CREATE EXTENSION pg_stat_statements;",
            "only a superuser may create extensions of the dump: pg_stat_statements",
        ),
        ("ALTER TABLE s.grades FORCE ROW LEVEL SECURITY;", "forces row security"),
    ] {
        let at = "COPY s.grades";
        edited(&server, &text, at, &format!("{more}\n{at}"));
        for how in ["--dry-run", "--yes"] {
            as_clerk(&["edited.sql", "-d", "shop", "--swap", how]).exits(4).says(words);
            was.still(&server);
        }
    }
    // a trusted extension and hidden rows that are not forced are his to restore
    let at = "COPY s.grades";
    edited(
        &server,
        &text,
        at,
        &format!(
            "CREATE EXTENSION citext WITH SCHEMA s;\nALTER TABLE s.grades ENABLE ROW LEVEL SECURITY;\n{at}"
        ),
    );
    as_clerk(&["edited.sql", "-d", "shop", "--swap", "--yes"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM s.grades"), "500");
    as_clerk(&["--undo", "--yes"]).exits(0);
    as_clerk(&["--drop-before", "--yes"]).exits(0);
    assert_eq!(beside(&server, "before"), [""; 0]);
}

#[test]
fn parameters_of_databases_and_roles_that_the_server_does_not_know_are_left_out() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "postgres",
        "CREATE ROLE clerk; ALTER DATABASE shop SET work_mem TO '7MB'; ALTER ROLE clerk SET work_mem TO '8MB'; \
        ALTER ROLE clerk IN DATABASE shop SET work_mem TO '9MB'; \
        ALTER DATABASE shop SET \"DateStyle\" TO 'German'; ALTER ROLE clerk SET my.parameter TO 'x'",
    );
    let text = run(server.client("pg_dumpall").arg("-w")).exits(0).out;
    edited(&server, &text, "SET work_mem TO", "SET of_another_server TO");
    server.sql("postgres", "DROP DATABASE shop; DROP ROLE clerk");
    for more in [&[][..], &["--only", "shop"]] {
        let args =
            [&["edited.sql", "-D", "--yes", "--no-safety", "--prove=hash", "--create-roles"], more].concat();
        let ran = server.restore(&args).exits(0);
        let told = "without settings that this server does not know: of_another_server";
        assert!(ran.err.contains(told), "{}", ran.err);
        assert_eq!(server.sql("shop", "SHOW DateStyle"), "German, DMY");
    }
    let settings =
        "SELECT string_agg(array_to_string(setconfig, ' '), ' ' ORDER BY setconfig) FROM pg_db_role_setting";
    assert_eq!(server.sql("postgres", settings), "DateStyle=German my.parameter=x");
}
