//! Statements and commands of psql, told apart.

use super::*;

fn q(schema: Option<&str>, name: &str) -> Qualified {
    Qualified { schema: schema.map(|s| s.as_bytes().to_vec()), name: name.as_bytes().to_vec() }
}

#[test]
fn statements_are_told_apart() {
    let name = |n: &str| n.as_bytes().to_vec();
    for (sql, want) in [
        ("COPY public.a (id, \"b\"\"c\") FROM stdin;", Statement::Copy(q(Some("public"), "a"))),
        ("copy \"Weird; Type: TABLE\" from STDIN;", Statement::Copy(q(None, "Weird; Type: TABLE"))),
        (
            "CREATE /* x */ UNLOGGED TABLE IF NOT EXISTS A.\"B\"\"\" (",
            Statement::CreateTable(q(Some("a"), "B\"")),
        ),
        ("CREATE FOREIGN TABLE f (", Statement::CreateTable(q(None, "f"))),
        ("CREATE TABLE -- why\n t();", Statement::CreateTable(q(None, "t"))),
        ("CREATE USER MAPPING FOR x SERVER y;", Statement::Other),
        ("CREATE ROLE \"my role\";", Statement::CreateRole(name("my role"))),
        ("DROP TABLE IF EXISTS public.t;", Statement::Drop),
        ("DROP SCHEMA IF EXISTS public;", Statement::DropPublic),
        ("SELECT pg_catalog.lo_unlink('16400');", Statement::Drop),
        ("DROP SCHEMA s;", Statement::Drop),
        ("DROP USER MAPPING FOR postgres SERVER fs;", Statement::Drop),
        ("ALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT IF EXISTS c;", Statement::Drop),
        ("ALTER TABLE public.t OWNER TO r;", Statement::Other),
        ("DROP ROLE IF EXISTS r;", Statement::DropRole(name("r"))),
        ("CREATE DATABASE d WITH TEMPLATE = template0;", Statement::CreateDatabase(name("d"))),
        ("DROP DATABASE IF EXISTS \"D\";", Statement::DropDatabase(name("D"))),
        ("INSERT INTO public.t VALUES (1);", Statement::Insert(q(Some("public"), "t"))),
        (
            "CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;",
            Statement::CreateExtension(name("hstore")),
        ),
        ("ALTER ROLE \"drop\" IN DATABASE d SET work_mem TO '1MB';", Statement::OnDatabase),
        ("ALTER ROLE r WITH NOLOGIN;", Statement::Other),
        ("GRANT ALL ON DATABASE d TO r;", Statement::OnDatabase),
        ("GRANT ALL ON TABLE \"database\" TO r;", Statement::Other),
        ("SET search_path = legacy, pg_catalog;", Statement::SearchPath(Some(name("legacy")))),
        ("SELECT pg_catalog.set_config('search_path', '', false);", Statement::SearchPath(None)),
        ("SET statement_timeout = 0;", Statement::Session),
        ("SELECT pg_catalog.lo_create('16400');", Statement::LargeObject),
        ("CREATE TABLE", Statement::Other),
        ("", Statement::Other),
    ] {
        assert_eq!(classify(sql.as_bytes()), want, "{sql}");
    }
}

#[test]
fn transactions_begin_and_end() {
    for (sql, want) in [
        ("BEGIN;", Some(true)),
        ("start transaction;", Some(true)),
        ("BEGIN TRANSACTION READ ONLY;", None),
        ("/* x */ COMMIT WORK;", Some(false)),
        ("END;", Some(false)),
        ("COMMIT PREPARED 'x';", None),
        ("COMMIT AND CHAIN;", None),
        ("ROLLBACK;", None),
    ] {
        assert_eq!(transaction(sql.as_bytes()), want, "{sql}");
    }
    for (line, want) in [
        ("\\set ON_ERROR_STOP on", true),
        ("\\set ON_ERROR_STOP off", false),
        ("\\set ON_ERROR_STOP `id`", false),
        ("\\set x on", false),
    ] {
        assert_eq!(is_expected(line.as_bytes()), want, "{line}");
    }
}

#[test]
fn what_is_about_databases_is_taken_out() {
    for (sql, want) in [
        ("DROP DATABASE n;", ""),
        ("DROP TABLE t;\n\nDROP DATABASE n;\nDROP TABLE u;", "DROP TABLE t;\nDROP TABLE u;"),
        ("DROP DATABASE n;\n\n\nDROP TABLE \";\";", "DROP TABLE \";\";"),
        ("UPDATE pg_catalog.pg_database SET datistemplate = false WHERE datname = 'template1';", ""),
        ("ALTER ROLE r IN DATABASE n SET x TO 1;", ""),
        ("GRANT SELECT ON TABLE t TO r;", "GRANT SELECT ON TABLE t TO r;"),
    ] {
        assert_eq!(String::from_utf8(without_databases(sql.as_bytes())).unwrap(), want, "{sql}");
    }
}

#[test]
fn only_the_connects_of_pg_dump_lead_anywhere() {
    for (line, want) in [
        ("\\connect shop", Some("shop")),
        ("\\connect \"my shop\"", Some("my shop")),
        ("\\connect \"a\"\"b\"\r", Some("a\"b")),
        ("\\connect -reuse-previous=on \"dbname='it\\'s'\"", Some("it's")),
        ("\\connect -reuse-previous=on \"dbname='a' host='evil'\"", None),
        ("\\connect shop evil", None),
        ("\\connect host=evil", None),
        ("\\connect postgresql://evil/", None),
        ("\\connect `id`", None),
        ("\\connect", None),
        ("\\! id", None),
    ] {
        assert_eq!(connect_target(line.as_bytes()), want.map(|w| w.as_bytes().to_vec()), "{line}");
    }
}
