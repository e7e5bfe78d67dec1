//! Several sessions restore the very same database as one.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::beside::{Was, rows};
use crate::lab::{Server, feed, run};
use crate::stage::{back_up, same};

/// What is hard to load by several: circles, partitions, statements that belong to an index, rows that are
/// longer than a piece, and many small tables.
const RICH: &str = r#"
CREATE SCHEMA "Odd; schema";
CREATE TABLE ring_a (id int PRIMARY KEY, b int, note text);
CREATE TABLE ring_b (id int PRIMARY KEY, c int UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "Odd; schema"."ring C" (id int PRIMARY KEY, a int, self int);
INSERT INTO ring_a SELECT n, 1 + n % 3000, repeat('note ', 40) FROM generate_series(1, 3000) n;
INSERT INTO ring_b SELECT n, n FROM generate_series(1, 3000) n;
INSERT INTO "Odd; schema"."ring C" SELECT n, 3001 - n, 1 + n % 7 FROM generate_series(1, 3000) n;
ALTER TABLE ring_a ADD CONSTRAINT to_b FOREIGN KEY (b) REFERENCES ring_b DEFERRABLE;
ALTER TABLE ring_b ADD CONSTRAINT to_c FOREIGN KEY (c) REFERENCES "Odd; schema"."ring C";
ALTER TABLE "Odd; schema"."ring C" ADD CONSTRAINT to_a FOREIGN KEY (a) REFERENCES ring_a ON DELETE CASCADE;
ALTER TABLE "Odd; schema"."ring C" ADD CONSTRAINT "to self" FOREIGN KEY (self) REFERENCES "Odd; schema"."ring C";
COMMENT ON CONSTRAINT to_a ON "Odd; schema"."ring C" IS 'a circle; ALTER TABLE x;';
COMMENT ON CONSTRAINT ring_a_pkey ON ring_a IS 'its key';
CREATE INDEX ring_a_b ON ring_a (b);
COMMENT ON INDEX ring_a_b IS E'of "a";\n\\.\nand b';
ALTER TABLE ring_a CLUSTER ON ring_a_b;
CREATE INDEX expressed ON ring_b ((c + 1)) WHERE c > 5;
ALTER INDEX expressed ALTER COLUMN 1 SET STATISTICS 500;
ALTER TABLE ring_b ALTER c SET STATISTICS 77;
CREATE STATISTICS related ON b, note FROM ring_a;
CREATE TABLE replicated (id int NOT NULL, note text);
CREATE UNIQUE INDEX replicated_id ON replicated (id);
ALTER TABLE replicated REPLICA IDENTITY USING INDEX replicated_id;
CREATE TABLE whole (id int); ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE sales (id int, day date, a int REFERENCES ring_a, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE sales_2 PARTITION OF sales FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (id);
CREATE TABLE sales_2_x PARTITION OF sales_2 DEFAULT;
CREATE TABLE sales_rest PARTITION OF sales DEFAULT;
CREATE INDEX sales_a ON sales (a); CREATE INDEX own ON sales_1 (day, a);
COMMENT ON INDEX sales_1_a_idx IS 'attached';
ALTER TABLE sales_1 CLUSTER ON sales_1_a_idx;
INSERT INTO sales SELECT n, date '2026-01-01' + n % 90, 1 + n % 3000 FROM generate_series(1, 4000) n;
CREATE TABLE refunds (id int PRIMARY KEY, sale int, day date, FOREIGN KEY (sale, day) REFERENCES sales);
INSERT INTO refunds SELECT id, id, day FROM sales WHERE id % 9 = 0;
CREATE MATERIALIZED VIEW totals AS SELECT day, count(*) AS n FROM sales GROUP BY day;
CREATE UNIQUE INDEX totals_day ON totals (day);
CREATE MATERIALIZED VIEW grand AS SELECT sum(n) AS n FROM totals;
CREATE MATERIALIZED VIEW unfilled AS SELECT * FROM totals WITH NO DATA;
CREATE TABLE long_rows (id int PRIMARY KEY, text text);
INSERT INTO long_rows SELECT n, repeat(chr(96 + n), CASE n WHEN 2 THEN 3000000 WHEN 4 THEN 524288 ELSE 7 END)
    FROM generate_series(1, 6) n;
CREATE TABLE empty (id int PRIMARY KEY, a int REFERENCES ring_a);
CREATE TABLE nothing ();
INSERT INTO nothing SELECT FROM generate_series(1, 5);
CREATE UNLOGGED TABLE unlogged AS SELECT n FROM generate_series(1, 50) n;
CREATE TABLE parent (id int PRIMARY KEY, kind text); CREATE TABLE child (more int) INHERITS (parent);
INSERT INTO parent VALUES (1, 'p'), (2, 'p'); INSERT INTO child VALUES (3, 'c', 4);
CREATE TABLE rooms (room int, at int4range, EXCLUDE USING gist (at WITH &&));
INSERT INTO rooms SELECT 1, int4range(n * 2, n * 2 + 1) FROM generate_series(1, 40) n;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := ''touched''; RETURN NEW; END';
CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON ring_a FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TRIGGER off BEFORE UPDATE ON replicated FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE replicated DISABLE TRIGGER off;
ALTER TABLE ring_a ENABLE ROW LEVEL SECURITY; CREATE POLICY of_some ON ring_a USING (id > 5);
SELECT lo_from_bytea(777, decode(repeat('00ff5c2e', 300000), 'hex'));
COMMENT ON LARGE OBJECT 777 IS 'large';
SELECT format('CREATE TABLE many_%s (id serial PRIMARY KEY, at int UNIQUE, of int REFERENCES ring_a);
    INSERT INTO many_%1$s (at, of) SELECT n, n FROM generate_series(1, %1$s) n;', n) FROM generate_series(1, 30) n \gexec
"#;

fn rich() -> Server {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE rich");
    server.sql("rich", RICH);
    server
}

#[test]
fn any_number_of_sessions_restores_the_same_from_any_dump() {
    let server = rich();
    let want = server.everything();
    let text = run(server.client("pg_dump").args(["-w", "-d", "rich"])).exits(0).out;
    fs::write(server.home().join("plain.sql"), &text).unwrap();
    run(&mut server.shell("gzip -k plain.sql; pg_dump -w -Fd -f folder rich; pg_dump -w -Fc -f custom rich"))
        .exits(0);
    run(&mut server.shell("pg_dump -w --inserts --rows-per-insert=9 rich >inserts.sql")).exits(0);
    for (file, jobs) in [
        ("plain.sql.gz", &["1", "2", "4"][..]),
        ("folder", &["3"]),
        ("custom", &["4"]),
        ("inserts.sql", &["2"]),
    ] {
        for jobs in jobs {
            server.sql("postgres", "DROP DATABASE rich");
            server.restore(&[file, "-d", "rich", "--yes", "-j", jobs]).exits(0);
            same(&server.everything(), &want);
        }
    }
    assert!(!server.log_text().contains("deadlock"), "{}", server.log_text());
}

#[test]
fn several_sessions_restore_a_cluster_and_standard_input() {
    let server = rich();
    let want = server.everything();
    let text = run(server.client("pg_dump").args(["-w", "-d", "rich"])).exits(0).out;
    let backup = back_up(&server, &[]);
    server.restore(&[backup.to_str().unwrap(), "--yes", "-j", "4", "-D", "--no-safety"]).exits(0);
    same(&server.everything(), &want);
    server.sql("postgres", "DROP DATABASE rich");
    feed(server.tool("pgdump-restore").args(["-", "-d", "rich", "--yes", "-j", "2", "--prove=hash"]), text)
        .exits(0);
    same(&server.everything(), &want);
}

#[test]
fn a_cluster_with_the_university_and_several_encodings() {
    let server = Server::start();
    server.seed("university");
    server.make("shop");
    server.sql(
        "postgres",
        "CREATE DATABASE western TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    server.sql(
        "western",
        "CREATE TABLE \"Straße\" AS SELECT n, 'Zürich' AS town FROM generate_series(1, 500) n",
    );
    server
        .sql("western", "CREATE INDEX \"Größe\" ON \"Straße\" (town); COMMENT ON INDEX \"Größe\" IS 'für ü'");
    let want = server.everything();
    for args in [&[][..], &["--pg-dump-arg", "--clean"]] {
        let backup = back_up(&server, args);
        server.sql("university", "DELETE FROM grades");
        server.sql("western", "DROP TABLE \"Straße\"");
        server.restore(&[backup.to_str().unwrap(), "--yes", "-j", "3", "-D", "--no-safety"]).exits(0);
        same(&server.everything(), &want);
    }
}

#[test]
fn an_error_of_any_session_ends_all_and_leaves_nothing() {
    let server = rich();
    server.make("shop");
    let text = run(server.client("pg_dump").args(["-w", "-d", "rich"])).exits(0).out;
    let was = Was::of(&server);
    let edit = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        fs::write(server.home().join("bad.sql"), text.replacen(from, to, 1)).unwrap();
        server.restore(&["bad.sql", "-d", "shop", "--swap", "--yes", "--no-safety", "-j", "3"]).exits(1)
    };
    // a row, an index, a foreign key, a comment on an index, the last trigger
    edit("\n2999\t2999\n", "\nx2999\t2999\n").says("invalid input syntax");
    edit("\n2999\t2999\n", "\n2999\t2999\n2999\t2999\n").says("is duplicated");
    edit("USING btree (day, a)", "USING btree (day, b)").says("\"b\" does not exist");
    edit("ADD CONSTRAINT to_a FOREIGN KEY (a)", "ADD CONSTRAINT to_a FOREIGN KEY (nix)").says("nix");
    edit("COMMENT ON INDEX public.ring_a_b", "COMMENT ON INDEX public.nix").says("nix");
    edit("DISABLE TRIGGER off", "DISABLE TRIGGER nix").says("nix");
    was.still(&server);
    assert_eq!(rows(&server, "shop"), "500");
    assert!(!server.log_text().contains("deadlock"), "{}", server.log_text());
}
