//! The command line of `pgdump-rotate`.

use std::fs;

use crate::every_tool::every_tool;
use crate::{is_usage_error, lab, run, run_bytes};

const TOOL: &str = "pgdump-rotate";

every_tool!("pgdump-rotate");

#[test]
fn sources_exclude_each_other() {
    for words in [
        &["--stdin", "-d", "x"][..],
        &["--stdin", "--", "cat"],
        &["-d", "x", "--", "cat"],
        &["--format", "custom"],
        &["--format", "custom", "--stdin"],
        &["--format", "custom", "--", "cat"],
        &["--no-rotate", "--rotate-only"],
        &["-d", "a", "-d", "b", "--latest-link", "newest"],
    ] {
        is_usage_error(TOOL, words);
    }
}

/// Whoever types `--list` expects that nothing is removed, and a command that is given is to run.
#[test]
fn a_run_does_one_thing() {
    for words in [
        &["--list", "--rotate-only"][..],
        &["--rotate-only", "--list"],
        &["--rotate-only", "--stdin"],
        &["--rotate-only", "--", "cat"],
        &["--list", "--stdin"],
        &["--list", "--", "cat"],
    ] {
        is_usage_error(TOOL, words);
    }
}

/// Without a client program to run, these would be passed over in silence.
#[test]
fn what_steers_pg_dump_needs_pg_dump() {
    for words in [
        &["--via", "ssh db", "--", "pg_dumpall"][..],
        &["--via", "ssh db", "--stdin"],
        &["--pg-dump-arg", "--clean", "--stdin"],
        &["--pg-dump-arg", "--clean", "--", "pg_dumpall"],
    ] {
        is_usage_error(TOOL, words);
    }
}

#[test]
fn a_command_stands_behind_two_dashes_only() {
    for words in [&["pg_dump"][..], &["-q", "pg_dump", "-d", "x"], &["--"], &["-q", "--"]] {
        is_usage_error(TOOL, words);
    }
}

#[test]
fn values_are_checked() {
    for words in [
        &["--keep-last", "-1"][..],
        &["--keep-last", "many"],
        &["--keep-last", "4294967296"],
        &["--keep-daily", "1.5"],
        &["--keep-within", "7"],
        &["--keep-within", "99999999999999999w"],
        &["--lock-timeout", "-1"],
        &["--lock-timeout", "1s"],
        &["--compress", "lz4"],
        &["--compress", "gzip:10"],
        &["--compress", "zstd:20"],
        &["--format", "tar"],
        &["--dir", ""],
        &["--tag", ""],
        &["-d", ""],
        &["--name", ""],
        &["--latest-link", ""],
    ] {
        is_usage_error(TOOL, words);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut tool = lab::tool(TOOL, dir.path());
    lab::run(tool.env("BACKUP_COMPRESS", "lz4").args(["--", "true"])).exits(2).says("BACKUP_COMPRESS");
    assert_eq!(lab::names(dir.path()), [""; 0]);
}

/// A path is a record of one line, and a name stays in its folder.
#[test]
fn names_stay_on_their_line_and_in_their_folder() {
    for name in ["a\nb", "a\rb", "a\u{1b}[2Jb", "a/b", "..", ".hidden", "/abs"] {
        is_usage_error(TOOL, &["--name", name, "--", "true"]);
        is_usage_error(TOOL, &["--latest-link", name, "--", "true"]);
    }
    is_usage_error(TOOL, &["--dir", "a\nb", "--", "true"]);
}

#[test]
fn names_with_blanks_and_unicode_are_fine() {
    for name in ["my shop", "Läden", "店", "a.b-c_d", "50%"] {
        run(TOOL, &["--name", name, "--help"]).exits(0);
    }
}

#[test]
fn a_program_that_is_no_utf8_is_refused_but_its_arguments_are_its_own() {
    run_bytes(TOOL, &[b"--", b"cat\xff"]).exits(2);
    let dir = tempfile::tempdir().unwrap();
    let (name, dump) = (dir.path().join("d\u{fc}mp"), "-- PostgreSQL database dump complete\n");
    fs::write(&name, format!("--\n-- PostgreSQL database dump\n--\n{dump}")).unwrap();
    let script = "cat d?mp || cat d??mp; [ \"$1\" = \"$(printf '\\377')\" ]";
    let raw = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(b"\xff".to_vec());
    lab::run(lab::tool(TOOL, dir.path()).args(["--", "sh", "-c", script, "sh"]).arg(raw)).exits(0);
}

#[test]
fn a_list_needs_a_directory() {
    let ran = run(TOOL, &["--list"]).exits(1).says("cannot list 'backups'");
    assert_eq!(ran.out, "");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for words in [["--list", "--dir=nowhere"], ["--list", "--dir=file"]] {
        assert_eq!(lab::run(lab::tool(TOOL, dir.path()).args(words)).exits(1).out, "");
    }
    fs::create_dir(dir.path().join("empty")).unwrap();
    let ran = lab::run(lab::tool(TOOL, dir.path()).args(["--list", "--dir=empty"])).exits(0);
    assert_eq!((ran.out, ran.err), (String::new(), String::new()));
    assert_eq!(lab::names(&dir.path().join("empty")), [""; 0], "listing makes nothing");
}

#[test]
fn a_dry_run_makes_nothing_not_even_the_directory() {
    let ran = run(TOOL, &["--dry-run", "--", "touch", "ran"]).exits(0);
    assert!(
        ran.out.starts_with("make\tbackup_") && ran.out.ends_with("\tthe dump of touch\n"),
        "{}",
        ran.out
    );
    let ran = run(TOOL, &["--dry-run", "--rotate-only"]).exits(0);
    assert_eq!(ran.out, "");
}

#[test]
fn a_leader_is_asked_for_and_has_its_place_or_nothing_is_done() {
    let (via, urls) = ("docker exec -i {leader}", "http://127.0.0.1:1");
    for words in [
        &["--via", via][..],
        &["--patroni", urls],
        &["--patroni", urls, "--via", "docker exec -i db"],
        &["--patroni", "127.0.0.1:1", "--via", via],
        &["--patroni", urls, "--stdin"],
    ] {
        is_usage_error(TOOL, words);
    }
    run(TOOL, &["--patroni", urls, "--via", via])
        .exits(5)
        .says("cannot ask Patroni who leads: 127.0.0.1:1: Connection refused");
}

#[test]
fn a_command_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut tool = lab::tool(TOOL, dir.path());
    // a folder in PATH that may not be read makes it another error
    tool.env("PATH", "/usr/bin:/bin").args(["--", "no-such-program-here", "secret"]);
    let ran = lab::run(&mut tool).exits(4);
    let ran = ran.says("cannot run 'no-such-program-here': no such file");
    // the words behind it may hold a password
    assert!(!ran.err.contains("secret"), "{}", ran.err);
    assert_eq!(ran.out, "");
}
