//! The command line of `wal-archive`.

use crate::every_tool::every_tool;
use crate::{is_usage_error, run};

const TOOL: &str = "wal-archive";
const SEGMENT: &str = "000000010000000000000001";

every_tool!("wal-archive");

#[test]
fn a_verb_and_what_it_takes() {
    for words in [
        &[][..],
        &["push"],
        &["nonsense", "-a", "x"],
        &["push", "-a", "x", SEGMENT],
        &["push", SEGMENT, SEGMENT],
        &["push", "-a", "x", "a", "../../outside"],
        &["push", "-a", "x", "a", "00000001000000000000000a"],
        &["get", "-a", "x", SEGMENT],
        &["get", "-a", "x", "nonsense", "out", "--retry-for", "0s"],
        &["verify", "-a", "x", "-a", "y"],
        &["verify", "-a", "x", "--keep", "1"],
        &["prune", "-a", "x"],
        &["prune", "-a", "x", "--keep", "0"],
        &["prune", "-a", "x", "--keep", "1", "--keep-from", SEGMENT],
        &["config", "-a", "s3://bucket/../prefix"],
        &["status", "--max-age", "15"],
    ] {
        is_usage_error(TOOL, words);
    }
}

#[test]
fn config_prints_lines_for_each_reader() {
    let lines = run(TOOL, &["config", "-a", "/srv/wal", "--compress", "zstd:3", "--ahead", "8"]).exits(0).out;
    assert!(lines.contains(" push -a /srv/wal --compress zstd:3 --ahead 8 %p %f'\n"), "{lines}");
    assert!(lines.contains(" get -a /srv/wal --ahead 8 %f %p'\n"), "{lines}");
    let yaml = run(TOOL, &["config", "-a", "/srv/wal", "--patroni"]).exits(0).out;
    assert!(yaml.starts_with("postgresql:\n  parameters:\n"), "{yaml}");
}
