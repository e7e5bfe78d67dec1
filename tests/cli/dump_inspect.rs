//! The command line of `dump-inspect`.

use crate::every_tool::every_tool;
use crate::{is_usage_error, run_bytes};

const TOOL: &str = "dump-inspect";

every_tool!("dump-inspect");

#[test]
fn one_verb_and_one_file() {
    for words in [
        &[][..],
        &["tables"],
        &["a.sql", "b.sql"],
        &["nonsense", "a.sql"],
        &["extract", "a.sql"],
        &["extract", "-t", "t", "--globals", "a.sql"],
        &["extract", "-t", "t", "--schema-only", "--data-only", "a.sql"],
        &["cat", "-t", "t", "a.sql"],
        &["index", "-"],
        &["tables", "--clean", "a.sql"],
    ] {
        is_usage_error(TOOL, words);
    }
}

#[test]
fn patterns_are_checked() {
    for pattern in ["", ".", "a.b.c.d", "\"a"] {
        is_usage_error(TOOL, &["extract", "-t", pattern, "a.sql"]);
    }
    is_usage_error(TOOL, &["extract", "-n", "a.b", "a.sql"]);
}

#[test]
fn a_file_that_is_no_utf8_is_refused() {
    run_bytes(TOOL, &[b"tables", b"\xff.sql"]).exits(2).says("FILE");
}
