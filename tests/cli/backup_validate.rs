//! The command line of `backup-validate`.

use crate::every_tool::every_tool;
use crate::{is_usage_error, run};

const TOOL: &str = "backup-validate";

every_tool!("backup-validate");

#[test]
fn what_contradicts_itself_is_refused() {
    for words in [
        &["a", "--all"][..],
        &["--latest", "--all"],
        &["a", "--query", "SELECT 1"],
        &["a", "--drill", "--expect", "1"],
        &["a", "--drill", "--query", "SELECT 1", "--expect", "1", "--expect", "2"],
        &["a", "--quick", "--drill"],
        &["a", "--quick", "--against"],
        &["a", "--drill", "-j", "0"],
        &["a", "--drill-in", "podman:x"],
        &["a", "--drill-in", "docker:"],
        &["a", "-d", ""],
        &["a", "--force=guard"],
        &["a", "--drill", "--query", ""],
        &["a", "--drill", "--query", "COMMIT; DELETE FROM items"],
        &["a", "--drill", "--query", "\\! touch pwned"],
        &["a", "--drill", "--force=roles"],
    ] {
        is_usage_error(TOOL, words);
    }
}

#[test]
fn nothing_to_look_at_is_no_success() {
    run(TOOL, &[]).exits(1).says("no path came");
    run(TOOL, &["--all"]).exits(1).says("cannot list 'backups'");
}
