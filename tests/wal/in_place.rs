//! Recoveries in place: what else is there, and a disk that has no room for what the log brings.

use std::fs;

use crate::lab;
use crate::lab::small::Small;
use crate::moment::{COUNT, recover, snap};
use crate::stage::Stage;

#[test]
fn a_standby_that_nobody_would_make_anew_is_left_alone() {
    let mut stage = Stage::archiving(&[]);
    stage.server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
    let second = stage.base("second");
    stage.settle();
    stage.server.stop_in_order();
    let volumes = [("data", stage.server.data()), ("second", second.clone())];
    let volumes = volumes.map(|(label, dir)| format!("{label}=dir:{}", dir.display()));
    let ran = lab::run(stage.server.tool("volsnap").args(&volumes).args(["--leader", "data"])).exits(0);
    let set = ran.line().to_owned();
    stage.server.start_again();
    stage.server.sql("postgres", "DELETE FROM grades WHERE id > 400");
    stage.settle();
    stage.server.stop_in_order();
    fs::write(second.join("mark"), "").unwrap();
    let ran = recover(&stage, &[&set, "--until-latest", "--yes"]).exits(0);
    assert_eq!(ran.lines(), ["data"]);
    ran.says("is left alone, and cannot follow what is recovered");
    assert!(second.join("mark").exists() && second.join("PG_VERSION").exists());
    stage.server.start_again();
    assert_eq!(stage.server.sql("postgres", COUNT), "400");
}

#[test]
fn a_disk_that_fills_up_in_the_replay_is_temporary_and_told_in_the_servers_words() {
    let mut stage = Stage::archiving(&[]);
    let Some(small) = Small::mount(stage.archive().with_extension("small"), "24m") else { return };
    let space = small.path().join("space");
    fs::create_dir(&space).unwrap();
    lab::give(&space);
    let server = &stage.server;
    server.sql("postgres", &format!("CREATE TABLESPACE fast LOCATION '{}'", space.display()));
    server.sql("postgres", "CREATE TABLE grades TABLESPACE fast AS SELECT generate_series(1, 500) AS id");
    snap(&stage, &[&format!("space=dir:{}", space.display())]).exits(0);
    let more = "INSERT INTO grades SELECT generate_series(501, 400000)";
    stage.server.sql("postgres", &format!("{more}; CHECKPOINT"));
    stage.settle();
    stage.server.stop_in_order();
    let ran = recover(&stage, &["--until-latest", "--yes"]).exits(5);
    ran.says("FATAL:  could not ").says("No space left on device");
    assert_eq!(lab::names(small.path()), ["space"]);
    stage.server.start_again();
    assert_eq!(stage.server.sql("postgres", COUNT), "400000", "nothing was replaced");
    stage.server.stop();
}
