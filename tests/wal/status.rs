//! `status` and `config`, with a real server.

use crate::lab::{Ran, run, wait_until};
use crate::stage::Stage;

fn status(stage: &Stage, options: &[&str]) -> Ran {
    run(stage.server.tool("wal-archive").arg("status").args(options))
}

#[test]
fn all_well_is_0() {
    let stage = Stage::archiving(&[]);
    stage.fill(2);
    stage.settle();
    let ran = status(&stage, &["-a", &stage.archive_text()]).exits(0);
    let value = |name: &str| {
        let line = ran.out.lines().find_map(|l| l.strip_prefix(&format!("{name}\t")));
        line.unwrap_or_else(|| panic!("no {name}: {}", ran.out)).to_owned()
    };
    assert_eq!((value("archive_mode"), value("failures")), ("on".into(), "0".into()));
    assert!(value("free").ends_with("iB") && value("waiting").starts_with("0 "));
}

#[test]
fn a_backlog_or_a_failure_is_1() {
    let stage = Stage::hoarding();
    stage.fill(4);
    wait_until("the archiver has failed", || {
        stage.server.sql("postgres", "SELECT failed_count > 0 FROM pg_stat_archiver") == "t"
    });
    let ran = status(&stage, &["--max-backlog", "2"]).exits(1);
    assert!(
        ran.out.contains("files wait, more than 2") && ran.out.contains("the latest attempt failed"),
        "{}",
        ran.out
    );
    let json = status(&stage, &["--json", "--max-age", "1h"]).exits(1).out;
    assert!(json.contains("\"backlog\":4"), "{json}");
    let plain = crate::lab::Server::start();
    run(plain.tool("wal-archive").arg("status")).exits(1);
}

#[test]
fn what_the_server_calls_archived_must_be_there_if_anything_was_in_it() {
    let stage = Stage::archiving(&[]);
    stage.fill(1);
    stage.settle();
    let archive = stage.archive_text();
    status(&stage, &["-a", &archive]).exits(0);
    let last = stage.server.sql("postgres", "SELECT last_archived_wal FROM pg_stat_archiver");
    std::fs::remove_file(stage.folder().join(&last)).unwrap();
    let ran = status(&stage, &["-a", &archive]).exits(1);
    assert!(ran.out.contains(&format!("{last} is archived, says the server, and is not in")), "{}", ran.out);
    // made in advance on a timeline that was left before it: there was nothing to store
    let next = stage.archive().join("00000002");
    std::fs::create_dir(&next).unwrap();
    std::fs::write(next.join("00000002.history"), "1\t0/500028\tno recovery target specified\n").unwrap();
    status(&stage, &["-a", &archive]).exits(0);
}

#[test]
fn a_server_that_is_away_is_5() {
    let mut stage = Stage::hoarding();
    stage.server.stop();
    status(&stage, &[]).exits(5);
}

/// A path that every reader would like to misunderstand.
#[test]
fn the_lines_of_config_are_quoted_for_the_server_that_runs_them() {
    let mut stage = Stage::hoarding();
    let odd = stage.server.data().parent().unwrap().join("it's 100%p \\ \"odd\"");
    stage.wal(&["init", "-a", odd.to_str().unwrap()]).exits(0);
    crate::lab::give(&odd);
    for file in crate::lab::names(&odd) {
        crate::lab::give(&odd.join(file));
    }
    let mut command = std::process::Command::new(stage.program());
    let lines = run(command.args(["config", "-a", odd.to_str().unwrap()])).exits(0).out;
    stage.server.stop();
    let conf = stage.server.data().join("postgresql.conf");
    std::fs::write(&conf, format!("{}\n{lines}", std::fs::read_to_string(&conf).unwrap())).unwrap();
    stage.server.start_again();
    stage.fill(1);
    stage.settle();
    assert!(!crate::lab::names(&odd.join("00000001")).is_empty());
}
