//! Drills of dumps that pg_dump was told to leave something out of: that is no difference, and a loss is one.

use std::fs;

use crate::lab::{Ran, Server, run};

/// A server with a database that has sequences and large objects.
fn stage() -> Server {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE items (id serial PRIMARY KEY, no int GENERATED ALWAYS AS IDENTITY);
        INSERT INTO items DEFAULT VALUES; INSERT INTO items DEFAULT VALUES; CREATE ROLE clerk;
        SELECT lo_from_bytea(777, 'text'), lo_create(778);
        GRANT SELECT ON LARGE OBJECT 777 TO clerk; GRANT SELECT ON items TO clerk;
        COMMENT ON LARGE OBJECT 777 IS 'a text'",
    );
    server
}

fn drill(server: &Server, backup: &str) -> Ran {
    server.run("backup-validate", ["--drill", backup])
}

#[test]
fn what_pg_dump_was_told_to_leave_out_is_not_missed() {
    let server = stage();
    for options in [
        &["--schema-only"][..],
        &["--schema-only", "--format=custom"],
        &["--schema-only", "--blobs"],
        &["--no-owner", "--no-privileges", "--no-comments"],
        &["--section=pre-data"],
        &["--section=pre-data", "--no-owner", "--no-privileges"],
        &["--section=pre-data", "--section=data", "--inserts"],
        &["--exclude-table-data=public.*"],
    ] {
        run(server.client("pg_dump").args(["-w", "-d", "shop", "-f", "by-hand"]).args(options)).exits(0);
        drill(&server, "by-hand").exits(0).says("and proven in ");
    }
    for args in [&["-d", "shop"][..], &[]] {
        let backup = server.rotate(&[&["-q", "--pg-dump-arg", "--schema-only"], args].concat()).exits(0);
        drill(&server, backup.line()).exits(0).says("and proven in ");
    }
}

#[test]
fn what_a_dump_has_lost_and_what_a_restore_changes_is_found() {
    let server = stage();
    let whole = run(server.client("pg_dump").args(["-w", "-d", "shop"])).exits(0).out;
    let without = |what: &str| {
        let kept: Vec<&str> = whole.lines().filter(|line| !line.contains(what)).collect();
        assert_ne!(kept.len(), whole.lines().count(), "{what}");
        kept.join("\n") + "\n"
    };
    let end = "--\n-- PostgreSQL database dump complete";
    let with = |act: &str| whole.replacen(end, &format!("DO $$ BEGIN {act}; END $$;\n{end}"), 1);
    for (changed, why) in [
        (without("setval('public.items_id_seq'"), "sequence set public.items_id_seq"),
        // none at all, but rows
        (without("setval("), "sequence set public.items_id_seq"),
        (without("LARGE OBJECT 778 OWNER"), "owner of large objects"),
        (with("ALTER LARGE OBJECT 777 OWNER TO clerk"), "owner of large objects"),
        (with("REVOKE ALL ON LARGE OBJECT 777 FROM clerk"), "acl of large objects"),
        (with("COMMENT ON LARGE OBJECT 777 IS 'other'"), "comment of large objects"),
        (with("PERFORM lo_put(777, 0, 'T')"), "large objects of database 'drill' differ"),
        (with("PERFORM lo_unlink(778)"), "large objects of database 'drill' differ"),
    ] {
        fs::write(server.home().join("changed.sql"), changed).unwrap();
        let args = ["--drill", "changed.sql", "--force=guard"];
        server.run("backup-validate", args).exits(1).says("drill: ").says(why);
    }
}
