//! From the archive to a running server: every committed transaction that the chain covers is there.

use std::fs;

use crate::lab;
use crate::stage::{Stage, recover, rows};

#[test]
fn all_that_was_committed_is_there_with_every_codec() {
    for codec in ["none", "gzip", "zstd"] {
        let stage = Stage::archiving(&["--compress", codec, "--ahead", "2"]);
        let base = stage.base("base");
        lab::end(stage.bench(2)).exits(0);
        stage.settle();
        let mut server = stage.recovering(&base, &[], "");
        recover(&mut server);
        assert_eq!(rows(&server), rows(&stage.server), "{codec}");
    }
}

#[test]
fn a_named_moment_while_others_write() {
    let stage = Stage::archiving(&[]);
    let base = stage.base("base");
    let bench = stage.bench(4);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
    stage.server.sql("postgres", "SELECT pg_create_restore_point('before the mistake')");
    stage.server.sql("postgres", "DELETE FROM grades");
    lab::end(bench).exits(0);
    stage.settle();
    let mut server = stage.recovering(&base, &[], "recovery_target_name = 'before the mistake'");
    recover(&mut server);
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM grades"), "500");
    let sums = "SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)";
    assert_eq!(server.sql("postgres", sums), "t", "whole transactions only");
    assert_eq!(stage.server.sql("postgres", "SELECT count(*) FROM grades"), "0");
}

#[test]
fn a_second_recovery_takes_the_timeline_that_it_is_told() {
    let stage = Stage::archiving(&[]);
    let base = stage.base("base");
    let mark = |server: &lab::Server, name: &str| {
        server.sql("postgres", &format!("CREATE TABLE {name} (); SELECT pg_create_restore_point('{name}')"));
    };
    for name in ["one", "two", "three"] {
        mark(&stage.server, name);
        stage.fill(1);
    }
    stage.settle();
    let config = stage.config(&[]);
    let archiving = format!("{config}\narchive_mode = on\n");
    let tables = |server: &lab::Server| {
        server.sql(
            "postgres",
            "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
            WHERE relname IN ('one', 'two', 'three', 'other')",
        )
    };
    // back to the second moment; it goes on from there, on timeline 2, into the same archive
    let mut second = stage.recovering(&base, &[], &format!("{archiving}recovery_target_name = 'two'"));
    recover(&mut second);
    assert_eq!(tables(&second), "one two");
    mark(&second, "other");
    let on_two = Stage { server: second };
    on_two.settle();
    assert!(stage.archive().join("00000002/00000002.history").exists());

    // and once more, on the original's timeline: the other's rows are not there
    let mut third = stage.recovering(&base, &[], &format!("{archiving}recovery_target_name = 'three'"));
    recover(&mut third);
    assert_eq!(tables(&third), "one three two");
    let on_three = Stage { server: third };
    on_three.settle();
    // along timeline 2 on purpose
    let settings = "recovery_target_timeline = 2\nrecovery_target_name = 'other'";
    let mut along = stage.recovering(&base, &[], settings);
    recover(&mut along);
    assert_eq!(tables(&along), "one other two");

    let ran = stage.wal(&["verify", "-a", &stage.archive_text()]).exits(0);
    let timelines: Vec<&str> = ran.out.lines().filter(|l| l.starts_with("timeline")).collect();
    assert_eq!(timelines.len(), 3, "{}", ran.out);
    let whole = ran.out.lines().filter(|l| l.starts_with("base") && l.ends_with("whole")).count();
    assert_eq!(whole, 3, "the base backup can go along each: {}", ran.out);
    assert!(fs::read_dir(stage.archive().join("00000003")).unwrap().count() > 1);
}
