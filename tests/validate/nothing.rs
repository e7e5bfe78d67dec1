//! Drills of what is never drilled, and of what holds nothing.

use std::fs;

use serde_json::Value;

use crate::lab::{self, run};
use crate::watch::rdb;

#[test]
fn what_is_never_drilled_was_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.rdb"), rdb(1000)).unwrap();
    let mut command = lab::tool("backup-validate", dir.path());
    let ran =
        run(command.args(["-o", ".", "--drill", "a.rdb", "--json", "--report", "junit", "r.xml"])).exits(0);
    assert!(!ran.err.contains("and proven"), "{}", ran.err);
    let object: Value = serde_json::from_str(ran.line()).unwrap();
    assert_eq!(object["verdict"], "warn");
    let why = "only dumps and snapshots of volumes are";
    assert_eq!(object["drill"], serde_json::json!({ "skipped": why }));
    let xml = fs::read_to_string(dir.path().join("r.xml")).unwrap();
    assert!(xml.contains(" failures=\"0\" errors=\"0\" skipped=\"1\" "), "{xml}");
    assert!(xml.contains("<skipped message=\"not drilled: only dumps"), "{xml}");
}

#[test]
fn a_dump_of_nothing_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let text = "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.1\n\
        -- Dumped by pg_dump version 15.1\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
    fs::write(dir.path().join("empty.sql"), text).unwrap();
    let ran = run(lab::tool("backup-validate", dir.path()).args(["--drill", "empty.sql"])).exits(0);
    ran.says("warn ").says(" s: it holds no table");
}
