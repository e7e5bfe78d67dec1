//! The command line of `volrestore`.

use crate::every_tool::every_tool;
use crate::is_usage_error;

every_tool!("volrestore");

#[test]
fn one_thing_at_a_time() {
    for words in [
        &[][..],
        &["a", "b"],
        &["a", "--latest"],
        &["--latest", "--pick"],
        &["--undo", "--list"],
        &["--undo", "x=dir:y"],
        &["a", "--into", "d", "x=dir:y"],
        &["a", "--services", "x", "--start", "y"],
    ] {
        is_usage_error("volrestore", words);
    }
}
