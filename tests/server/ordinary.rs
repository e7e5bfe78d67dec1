//! Ordinary dumps and ordinary acts that a restore must not stumble over.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::lab::{Server, run};
use crate::stage::{back_up, identities};

#[test]
fn what_somebody_has_renamed_is_a_database_like_any_other() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    let backup = backup.to_str().unwrap();
    server.sql("shop", "DELETE FROM grades WHERE id > 9");
    server.restore(&[backup, "--yes"]).exits(0);
    let kept =
        server.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'shop\\_\\_before%'");
    server.sql("postgres", "DROP DATABASE shop");
    server.sql("postgres", &format!("ALTER DATABASE \"{kept}\" RENAME TO shop"));
    // going back by hand makes it the live one: it is backed up, and nobody drops it
    let ran = server.rotate(&[]).exits(0);
    assert!(!ran.err.contains("left out"), "{}", ran.err);
    let before = identities(&server);
    server.restore(&["--drop-before", "--yes"]).exits(0).says("nothing to drop");
    assert_eq!(identities(&server), before);
    server.restore(&[backup, "--yes", "--keep-before", "1"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
    // and its mark is not handed on
    let comment =
        "SELECT count(shobj_description(oid, 'pg_database')) FROM pg_database WHERE datname = 'shop'";
    assert_eq!(server.sql("postgres", comment), "0");
    server.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "9");
}

#[test]
fn token_types_of_text_search_are_no_roles() {
    let server = Server::start();
    server.make("shop");
    server.sql("shop", "CREATE TEXT SEARCH CONFIGURATION c (COPY = english)");
    let backup = back_up(&server, &["-d", "shop"]);
    server.restore(&[backup.to_str().unwrap(), "-d", "copy", "--prove=hash"]).exits(0);
}

#[test]
fn a_clean_dump_drops_no_user_mapping_of_a_server_that_is_not_there() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE EXTENSION postgres_fdw; CREATE SERVER fs FOREIGN DATA WRAPPER postgres_fdw; \
        CREATE USER MAPPING FOR postgres SERVER fs",
    );
    let dump = |options: &[&str]| {
        let text = run(server.client("pg_dump").args(["-w", "-d", "shop"]).args(options)).exits(0).out;
        fs::write(server.home().join("dump.sql"), text).unwrap();
    };
    dump(&["--clean"]);
    server.restore(&["dump.sql", "-d", "clean", "--prove=hash"]).exits(0);
    // what pg_dump may put into quotes is the same for that
    server.sql("shop", "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'it''s' $$");
    dump(&["--quote-all-identifiers", "--disable-dollar-quoting"]);
    server.restore(&["dump.sql", "-d", "quoted", "--prove=hash"]).exits(0);
}

#[test]
fn a_new_name_that_the_dump_cannot_tell_is_refused() {
    let server = Server::start();
    server.sql(
        "postgres",
        "CREATE DATABASE shop TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    server.sql("shop", "CREATE TABLE t AS SELECT 1 AS id");
    let backup = back_up(&server, &["-d", "shop"]);
    let backup = backup.to_str().unwrap();
    server.restore(&[backup, "-t", "t", "--as", "Ünï"]).exits(4).says("LATIN1");
    server.restore(&[backup, "-t", "t", "--as", "other"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM pg_class WHERE relname IN ('t', 'other')"), "2");
}
