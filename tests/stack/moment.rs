//! A cluster back to the second before the mistake.

use std::path::Path;

use crate::archive::is_whole;
use crate::lab::{names, run};
use crate::sh;
use crate::stage::Stack;

const GRADES: &str = "SELECT count(*) FROM grades";

#[test]
fn a_cluster_goes_back_to_the_second_before_the_mistake() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root reaches the files of Docker's volumes");
        return;
    }
    let stack = Stack::start();
    let sql = |sql: &str| stack.sql("university", sql);
    stack.fails(&["dev-pitr", "UNTIL=latest", "YES=1"], 1).says("there are no snapshots");
    let led = stack.leader();
    stack.make(&["dev-snapshot"]).exits(0);
    sql("CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
    // who led then leads no more
    stack.docker(&["kill"], &stack.leader());
    sql("INSERT INTO grades SELECT generate_series(501, 600)");
    stack.make(&["dev-up"]).exits(0);
    let moment = sql("SELECT clock_timestamp() AT TIME ZONE 'UTC'");
    let timeline = || sql("SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int");
    let wrong = timeline();
    let left = || run(&mut sh("docker ps -aq --filter name=volrestore-")).exits(0).out;
    sql("DELETE FROM grades");
    sql("CREATE TABLE later AS SELECT 1 AS n");
    stack.writes("backend");

    let until = format!("UNTIL={moment}");
    stack.fails(&["dev-pitr", &until], 4).says("nobody can be asked");
    assert_eq!(sql(GRADES), "0");
    beside_in_a_new_volume(&stack, &led, &moment);
    assert_eq!((sql(GRADES), left()), ("0".to_owned(), String::new()));
    // it takes too long: the cluster runs on, and nothing is left
    stack.fails(&["dev-pitr", &until, "YES=1", "DEV_ARGS=--within 0s"], 5).says("within 0 s");
    assert_eq!((sql(GRADES), left()), ("0".to_owned(), String::new()));
    // killed midway, it leaves a server in its container, which the next run ends
    let temp = tempfile::Builder::new().prefix("pgkeep-").tempdir_in("/tmp").unwrap();
    let in_temp = format!("TMPDIR={}", temp.path().display());
    stack.kill(&["dev-pitr", &until, "YES=1", &in_temp], || !left().is_empty());
    assert_eq!((sql(GRADES), names(temp.path()).len()), ("0".to_owned(), 1));
    let ran = stack.make(&["dev-pitr", &until, "YES=1", &in_temp]).exits(0);
    assert_eq!((left(), names(temp.path())), (String::new(), vec![]));
    let ran = ran
        .says("left by a run that was killed")
        .says("before the commit of transaction")
        .says("reached ")
        .says("last transaction ");
    let ran = ran.says(&format!("empty   docker:{}-", stack.name));
    assert_eq!(sql(GRADES), "600");
    assert_eq!(sql("SELECT count(*) FROM pg_class WHERE relname = 'later'"), "0");
    // wait-healthy: one leader, and two replicas that stream; it is the one whose volume was filled
    let leads = stack.leader();
    let filled = format!("fill    docker:{}-{leads}-data", stack.name);
    assert!(ran.err.contains(&filled), "{led} led at the snapshot, {leads} leads");
    stack.writes("backend");
    is_whole(&stack);
    let recovered: u32 = timeline().parse().unwrap();
    assert!(recovered > wrong.parse().unwrap());
    let folder = format!("{}/{recovered:08X}", stack.volume("wal-archive"));
    assert!(Path::new(&folder).join(format!("{recovered:08X}.history")).exists());
    assert_eq!(left(), "");

    // the archive has gone on: what was there cannot simply be put back, but it can be reached
    stack.fails(&["dev-undo-snapshot", "YES=1"], 4).says("--until-latest --timeline N");
    assert_eq!(sql(GRADES), "600");
    let along = format!("DEV_ARGS=--timeline {wrong}");
    stack.make(&["dev-pitr", "UNTIL=latest", "YES=1", &along]).exits(0);
    assert_eq!(sql(GRADES), "0");
    assert_eq!(sql("SELECT count(*) FROM later"), "1");
    stack.leader();
    is_whole(&stack);
    stack.remove();
}

/// For a look around: the cluster goes on, and what was recovered runs for itself.
fn beside_in_a_new_volume(stack: &Stack, led: &str, moment: &str) {
    let new = format!("{}-look", stack.name);
    let to = format!("{led}-data=docker:{new}");
    let wal = stack.volume("wal-archive");
    stack.program("volrestore", &[], &["--wal", &wal, "--until", moment, &to]).exits(0).says("reached ");
    let image = stack.docker(&["inspect", "-f", "{{.Config.Image}}"], "etcd");
    let start = "pg_ctl -D /var/lib/patroni/pgdata -w -l /tmp/log \
        -o \"-k /tmp -p 5499 -c listen_addresses= -c archive_mode=off\" start >/dev/null";
    let ask = format!("psql -h /tmp -p 5499 -U postgres -XAtc \"{GRADES}\" university");
    let inside = format!(
        "docker run --rm -u postgres --network none -v {new}:/var/lib/patroni --entrypoint sh {image}"
    );
    let ran = run(&mut sh(&format!("{inside} -c '{start} && {ask}'")));
    run(&mut sh(&format!("docker volume rm {new}"))).exits(0);
    assert_eq!(ran.exits(0).line(), "600");
}
