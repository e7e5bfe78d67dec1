//! The command line of `volsnap`.

use crate::every_tool::every_tool;
use crate::is_usage_error;

every_tool!("volsnap");

#[test]
fn volumes_services_and_rules_that_cannot_be() {
    for words in [
        &[][..],
        &["--list", "dir:x"],
        &["data"],
        &["docker:a/b"],
        &["dir:"],
        &["dir:x", "--services", "a", "--stop", "b"],
        &["dir:x", "--compose", "f"],
        &["dir:x", "--keep-for-ever", "1"],
    ] {
        is_usage_error("volsnap", words);
    }
}
