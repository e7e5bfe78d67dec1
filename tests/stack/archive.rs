//! The log of a cluster, archived by the program in its containers.

use std::fs;

use crate::lab::{Ran, run, wait_until};
use crate::sh;
use crate::stage::{Stack, image, programs};

#[test]
fn a_program_that_cannot_run_in_the_image_is_no_silence() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("wal-archive");
    fs::copy(programs().join("wal-archive"), &program).unwrap();
    // of another architecture: e_machine in its ELF header is that of SuperH
    let mut bytes = fs::read(&program).unwrap();
    bytes[18] = 42;
    fs::write(&program, bytes).unwrap();
    let ran = image(folder.path()).exits(1);
    ran.says("cannot build 'pgkeep-stack:").says("STACK_BASE names a base that can run it");
}

/// The archive on this machine; nobody else reaches it than root.
fn archive(stack: &Stack) -> String {
    stack.volume("wal-archive")
}

/// Has the server archive what it has, and reads all that is in the archive.
#[track_caller]
pub(crate) fn is_whole(stack: &Stack) -> Ran {
    let segment = stack.sql("university", "SELECT pg_walfile_name(pg_switch_wal())");
    wait_until(&format!("{segment} is archived"), || {
        let done = format!("SELECT last_archived_wal >= '{segment}' FROM pg_stat_archiver");
        stack.sql("university", &done) == "t"
    });
    stack.make(&["dev-wal-status"]).exits(0);
    stack.program("wal-archive", &[], &["verify", "-a", &archive(stack)]).exits(0)
}

pub(crate) fn its_log_is_archived(stack: &Stack) {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root reaches the files of Docker's volumes");
        return;
    }
    // what its configuration says is what the program prints
    let leader = stack.leader();
    let inside = |words: &str| run(&mut sh(&format!("docker exec {}-{leader} {words}", stack.name))).exits(0);
    let printed = inside("wal-archive config --patroni -a /var/lib/wal-archive --compress zstd").out;
    let configured = inside("cat /etc/patroni/patroni.yml").out;
    for line in printed.lines().map(str::trim) {
        let same = |c: &&str| c.replace('"', "'") == line;
        assert!(configured.lines().map(str::trim).any(|c| same(&c)), "{line}");
    }
    is_whole(stack);

    stack.make(&["-s", "dev-snapshot"]).exits(0);
    let wal = archive(stack);
    is_whole(stack);
    stack.program("backup-validate", &[], &["--watch", "--wal", &wal]).exits(0);

    // nothing archives, and that is told
    let mode = |mode: &str| inside(&format!("chmod {mode} /var/lib/wal-archive"));
    mode("0000");
    stack.sql("university", "SELECT pg_switch_wal()");
    wait_until("the archiver has failed", || {
        stack.sql("university", "SELECT failed_count > 0 FROM pg_stat_archiver") == "t"
    });
    let told = stack.fails(&["dev-wal-status"], 1);
    assert!(told.out.contains("the latest attempt failed"), "{}", told.out);
    mode("0700");
    is_whole(stack);
}

/// The slot of a node that is away is dropped, and the leader keeps 64 MB for it.
pub(crate) fn who_was_away_finds_the_log(stack: &Stack) {
    let leader = stack.leader();
    let away = ["patroni1", "patroni2"].into_iter().find(|node| *node != leader).unwrap();
    stack.docker(&["stop"], away);
    wait_until("its slot is gone", || {
        let slots = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{away}'");
        stack.sql("university", &slots) == "0"
    });
    let first = stack.sql("university", "SELECT pg_walfile_name(pg_current_wal_lsn())");
    for _ in 0..8 {
        stack.sql("university", "CREATE TABLE IF NOT EXISTS filler (n int); INSERT INTO filler VALUES (1); SELECT pg_switch_wal()");
    }
    let has = format!("SELECT count(*) FROM pg_ls_waldir() WHERE name = '{first}'");
    wait_until("the leader has it no more", || {
        stack.sql("university", "CHECKPOINT");
        stack.sql("university", &has) == "0"
    });
    stack.docker(&["start"], away);
    // one leader, and both replicas stream
    stack.leader();
}

/// A leader that hands over in order, twice: all follow the next one, and the log goes on along its timeline.
pub(crate) fn the_lead_is_handed_over_twice(stack: &Stack) {
    for time in ["once", "twice"] {
        let from = stack.leader();
        stack.sql("university", &format!("CREATE TABLE {time} AS SELECT 1 AS n"));
        // Patroni takes none but the replica that it knows as synchronous, and says so with status 0
        wait_until(&format!("{from} hands over"), || {
            let sync = "SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'";
            let to = stack.sql("university", sync);
            let words = format!("switchover --force --leader {from} --candidate {to}");
            let patronictl = "patronictl -c /etc/patroni/patroni.yml";
            run(&mut sh(&format!("docker exec {}-{from} {patronictl} {words}", stack.name)));
            stack.leader() != from
        });
        assert_eq!(stack.sql("university", &format!("SELECT n FROM {time}")), "1");
        if rustix::process::geteuid().is_root() {
            is_whole(stack);
        }
    }
}
