//! What the guard finds, and what it lets pass.

use super::*;

fn found(sql: &str) -> Vec<String> {
    let (mut guard, mut found) = (Guard::default(), Vec::new());
    for byte in sql.as_bytes().chunks(7) {
        guard.feed(byte, &mut |f| found.push(f.what));
    }
    guard.finish(&mut |f| found.push(f.what));
    found
}

#[test]
fn a_second_byte_that_looks_like_a_backslash_is_none() {
    for (encoding, want) in [("SJIS", 0), ("gbk", 0), ("UTF8", 1)] {
        let rows = format!("SET client_encoding = '{encoding}';\nCOPY t FROM stdin;\n");
        let rows = [rows.as_bytes(), b"a\x83\\! id\n\\.\n"].concat();
        for size in 1..rows.len() {
            let (mut guard, mut found) = (Guard::default(), 0);
            rows.chunks(size).for_each(|chunk| guard.feed(chunk, &mut |_| found += 1));
            guard.finish(&mut |_| found += 1);
            assert_eq!(found, want, "{encoding} by {size}");
        }
    }
}

#[test]
fn what_pg_dump_writes_is_fine_and_the_rest_is_told() {
    for fine in [
        "COPY public.t (a, \"from program\") FROM stdin;\n1\n\\.\n",
        "SELECT pg_catalog.setval('s', 1);\n",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ begin copy t from program 'x'; end $$;",
        "CREATE FUNCTION f() RETURNS int AS $_$ language c $_$ LANGUAGE sql;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC; SELECT 1; END;",
        "\\restrict abc\n\\connect shop\n\\unrestrict abc\n",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false, slot_name = 's');",
        "CREATE EXTENSION IF NOT EXISTS hstore;",
        "INSERT INTO t VALUES ('\\! id');",
        "Password: \n-- PostgreSQL database dump\nSET x = 1;",
        "COPY t FROM stdin;\n\\N\t\\\\! id\n\\\\.\t\\b\\f\\n\\r\\t\\v\n\\.\n",
        "SELECT pg_catalog.setval(pg_catalog.pg_get_serial_sequence('t', 'a'), 1, true);",
        "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '1';",
        "SELECT pg_catalog.set_config('search_path', '', false); SELECT lo_open(lo_create('1'), 131072);",
        "CREATE LANGUAGE plpgsql; DROP USER MAPPING FOR x SERVER y;",
        "-- PostgreSQL database cluster dump\nDROP DATABASE a;\nDROP ROLE r;\nDROP TABLESPACE t;\n\
            \\connect postgres\nALTER ROLE r WITH SUPERUSER;\nGRANT r TO s;\nALTER DATABASE a SET x TO 1;\n\
            \\connect a\n-- PostgreSQL database dump\n\\restrict k\nSET x = 1;\n\
            UPDATE pg_catalog.pg_database SET datistemplate = false WHERE datname = 'a';\n\
            DROP DATABASE a;\nCREATE DATABASE a;\nALTER DATABASE a OWNER TO r;\n\\connect a\n\
            ALTER ROLE r IN DATABASE a SET x TO 1;\nGRANT ALL ON DATABASE a TO r;\nDROP TABLE t;\n",
        "-- PostgreSQL database dump\n\\connect a\nALTER DATABASE a SET x TO 1;\nCOMMENT ON DATABASE old IS '';",
        "CREATE EXTENSION adminpack WITH SCHEMA pg_catalog; DROP CAST (pg_catalog.int4 AS t);",
        "REVOKE ALL ON FUNCTION pg_catalog.pg_stat_reset() FROM PUBLIC; COPY public.pg_authid FROM stdin;\n\\.\n",
        "DROP FUNCTION public.f(pg_catalog.int4, pg_catalog.text); INSERT INTO \"Pg_class\" VALUES (1);",
        "CREATE CAST (text AS t) WITH FUNCTION pg_catalog.f(text); SET search_path = public, pg_catalog;",
    ] {
        assert_eq!(found(fine), [""; 0], "{fine}");
    }
    for (sql, want) in [
        ("\\! id\n", "psql"),
        ("\\unrestrict `id`\n", "psql"),
        ("SELECT 1 \\gexec\n", "psql"),
        ("\\connect host=evil\n", "psql"),
        ("COPY t FROM PROGRAM 'id';", "program"),
        ("COPY t (a) TO '/etc/passwd';", "file"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $$x$$;", "plpython3u"),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int AS '$libdir/x', 'f' LANGUAGE c;", "in c"),
        ("CREATE FUNCTION f() RETURNS int AS $$ x $$ LANGUAGE 'C';", "in c"),
        ("CREATE EXTENSION plperlu;", "plperlu"),
        ("ALTER SYSTEM SET archive_command = 'x';", "whole server"),
        ("DO $$ begin end $$;", "at once"),
        ("SELECT pg_read_file('/etc/passwd');", "pg_read_file"),
        ("SELECT public.lo_import('x');", "lo_import"),
        ("LOAD 'x';", "library"),
        ("SELECT 1; -- c\r\\! id\n", "psql"),
        ("BEGIN; SET standard_conforming_strings = off; ROLLBACK;", "read otherwise"),
        ("SET NAMES 'SJIS';", "read otherwise"),
        ("INSERT INTO t SELECT lo_export(1, 'x');", "query"),
        ("INSERT INTO t VALUES (lo_export(1, 'x'));", "lo_export"),
        ("ALTER TABLE t ADD CHECK (lo_export(1, 'x') = 1);", "lo_export"),
        ("WITH x AS (SELECT 1) SELECT * FROM x;", "no dump holds"),
        ("CREATE SERVER s FOREIGN DATA WRAPPER file_fdw;", "file_fdw"),
        ("COPY (SELECT f()) TO STDOUT;", "query"),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p;", "subscription"),
        ("copy x from E'/etc/hostname';", "file"),
        ("copy x from U&'\\002fetc/hostname';", "file"),
        ("select U&\"pg\\005fread_file\"('x');", "U&"),
        ("ALTER TABLE t ADD CHECK (U&\"lo\\005fexport\"(1, 'x') = 1);", "U&"),
        ("select * into x from pg_ls_dir('.');", "pg_ls_dir"),
        ("select t.f from public.t t;", "no dump makes"),
        ("select 'a' +++ 'b';", "no dump makes"),
        ("(select 1);", "no dump holds"),
        ("/* /* */ */ table x;", "no dump holds"),
        ("BEGIN /* /* */ */; -- x\rselect pg_read_file('x');", "pg_read_file"),
        ("SELECT public.setval('s', 1);", "no dump makes"),
        ("CREATE FUNCTION public.setval(text, int) RETURNS int LANGUAGE sql AS $$x$$;", "that dumps call"),
        ("COPY t FROM stdin;\n1\n\\! id\n\\.\n", "where COPY fails"),
        ("COPY t FROM stdin;\n1\\\\\t\\copy x\n\\.\n", "where COPY fails"),
        ("import foreign schema x from server y into z;", "no dump holds"),
        ("set dynamic_library_path = 'x';", "library"),
        ("ALTER DATABASE d SET dynamic_library_path TO 'x';", "dynamic_library_path"),
        ("SELECT set_config('session_preload_libraries', 'x', false);", "session_preload_libraries"),
        ("SELECT set_config('search' || '_path', 'x', false);", "no dump makes"),
        ("create foreign table f (program text) server s options (program 'id', format 'csv');", "program"),
        ("create trusted language l handler h;", "handler"),
        ("create foreign data wrapper w handler h;", "handler"),
        ("drop owned by r;", "belongs to a role"),
        ("reassign owned by r to x;", "no dump holds"),
        ("alter role r superuser;", "superuser"),
        ("-- PostgreSQL database dump\nCREATE TABLE t ();\nDROP DATABASE d;", "a database that is dropped"),
        ("-- PostgreSQL database dump\nDROP ROLE r; DROP TABLESPACE t;", "a tablespace that is dropped"),
        ("drop database if exists x;", "a database that is dropped"),
        ("-- PostgreSQL database dump\nDROP DATABASE b;\nCREATE DATABASE a;", "a database that is dropped"),
        ("-- PostgreSQL database dump\nDROP DATABASE a;\n\\connect b\nCREATE DATABASE a;", "that is dropped"),
        ("-- PostgreSQL database dump\nCREATE DATABASE a;\nDROP DATABASE a;", "a database that is dropped"),
        ("-- PostgreSQL database dump\n\\connect a\nALTER DATABASE b SET x TO 1;", "another database"),
        ("-- PostgreSQL database dump\nALTER DATABASE b SET x TO 1;", "another database"),
        ("CREATE DATABASE a; GRANT ALL ON DATABASE a, b TO r;", "another database"),
        ("CREATE DATABASE a; ALTER ROLE r IN DATABASE b SET x TO 1;", "another database"),
        ("ALTER ROLE r CREATEROLE CREATEDB;", "a role that is made or changed"),
        ("create user r; alter user r password 'x';", "a role that is made or changed"),
        ("GRANT pg_monitor TO r;", "a role that is made or changed"),
        ("CREATE TABLESPACE t LOCATION '/x';", "a tablespace that is made"),
        ("COPY pg_catalog.pg_auth_members FROM stdin;\n\\.\n", "pg_catalog.pg_auth_members"),
        ("copy pg_largeobject from stdin;\n\\.\n", "a change of pg_largeobject"),
        ("INSERT INTO d.\"pg_catalog\".pg_db_role_setting VALUES (0);", "pg_catalog.pg_db_role_setting"),
        ("insert into \"pg_authid\" values (1);", "a change of pg_authid"),
        ("DELETE FROM pg_database;", "no dump holds"),
        ("UPDATE pg_database SET datallowconn = false;", "a change of rows"),
        ("UPDATE pg_database SET datistemplate = f() WHERE datname = 'a';", "a change of rows"),
        ("UPDATE pg_database SET datistemplate = true WHERE datname = 'a' OR true;", "a change of rows"),
        ("TRUNCATE TABLE ONLY a, pg_catalog.pg_class;", "a change of pg_catalog.pg_class"),
        ("ALTER TABLE pg_shdepend ADD x int;", "a change of pg_shdepend"),
        ("CREATE OR REPLACE FUNCTION pg_catalog.f() RETURNS int LANGUAGE sql AS '';", "pg_catalog.f"),
        ("CREATE TRIGGER t AFTER INSERT ON pg_catalog.pg_class EXECUTE FUNCTION f();", "pg_catalog.pg_class"),
        ("DROP FUNCTION IF EXISTS a(int, text), pg_catalog.b(int);", "a change of pg_catalog.b"),
        ("DROP RULE r ON pg_settings;", "a change of pg_settings"),
        ("DROP SCHEMA information_schema CASCADE;", "a change of information_schema"),
        ("INSERT INTO information_schema.sql_parts VALUES (1);", "information_schema.sql_parts"),
    ] {
        let found = found(sql);
        assert!(found.iter().any(|f| f.contains(want)), "{sql}: {found:?}");
    }
}
