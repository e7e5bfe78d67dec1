//! The command line of `pgdump-restore`.

use std::fs;

use crate::every_tool::every_tool;
use crate::{is_usage_error, lab, run, run_bytes};

const TOOL: &str = "pgdump-restore";

every_tool!("pgdump-restore");

#[test]
fn exactly_one_dump_is_named() {
    for words in [
        &[][..],
        &["--yes"],
        &["a.sql", "b.sql"],
        &["a.sql", "--latest"],
        &["--latest", "--pick"],
        &["--latest", "--latest"],
        &["--list", "--latest"],
        &["--list", "a.sql"],
        &["-", "--pick"],
        &["-", "a.sql"],
    ] {
        is_usage_error(TOOL, words);
    }
}

#[test]
fn values_are_checked() {
    for words in [&["a.sql", "-d", ""][..], &["--list", "--dir", ""]] {
        is_usage_error(TOOL, words);
    }
}

#[test]
fn a_file_that_is_no_utf8_is_refused() {
    run_bytes(TOOL, &[b"--yes", b"\xff.sql"]).exits(2).says("FILE");
}

/// Found out before a server is asked, and before anything is read.
#[test]
fn nobody_to_ask_is_refused_with_what_lifts_it() {
    for words in [&["a.sql"][..], &["--latest"], &["--pick"], &["-"], &["--pick", "--stop", "touch stopped"]]
    {
        let ran = run(TOOL, words).exits(4).says("hint: Give --yes");
        assert_eq!(ran.out, "", "{words:?}");
    }
}

#[test]
fn a_list_needs_a_directory() {
    let ran = run(TOOL, &["--list"]).exits(1).says("cannot list 'backups'");
    assert_eq!(ran.out, "");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    lab::run(lab::tool(TOOL, dir.path()).args(["--list", "--dir=file"])).exits(1);
}

#[test]
fn both_programs_list_the_same() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("backups")).unwrap();
    for name in ["backup_20251127_143022.sql", "shop_20251128_000000.sql.gz", "foreign.dump", "notes.txt"] {
        // days ago, so that a second more or less is not told
        let file = fs::File::create(dir.path().join("backups").join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(300_000)).unwrap();
    }
    for words in [&["--list"][..], &["--list", "--json"], &["--list", "--name", "shop"]] {
        let [rotate, restore] =
            ["pgdump-rotate", TOOL].map(|t| lab::run(lab::tool(t, dir.path()).args(words)).exits(0).out);
        assert_eq!(rotate, restore, "{words:?}");
        assert_eq!(rotate.lines().count(), if words.len() == 3 { 1 } else { 3 }, "{rotate}");
    }
}
