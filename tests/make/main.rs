//! `Makefile.dev` as a guest in somebody's Makefile, in somebody's folder, on a real local server.
#![cfg(test)]

mod hooks;
mod host;
mod snapshots;

use std::fs;
use std::time::Duration;

use host::{Host, said};

#[test]
fn the_hosts_default_goal_stays_its_own() {
    for makefile in ["GUEST\nhosts-own:\n\t@echo own\n", "hosts-own:\n\t@echo own\nGUEST\n"] {
        assert_eq!(Host::new(makefile).ok(&[]), "own\n");
    }
}

#[test]
fn help_lists_targets_and_variables_with_their_values() {
    let help = Host::new("BACKUP_KEEP = 3\nGUEST\n").ok(&["dev-help"]);
    for target in
        "dev-setup dev-up dev-down dev-restart wait-healthy dev-seed dev-shell-db dev-migrate dev-reset \
                   dev-backup dev-backups dev-restore dev-restore-table dev-undo dev-validate dev-drill dev-report \
                   dev-snapshot dev-snapshots dev-restore-snapshot dev-undo-snapshot dev-wal-on dev-wal-status \
                   dev-hooks dev-hooks-remove test-failover"
            .split_whitespace()
    {
        assert!(help.lines().any(|l| l.split_whitespace().next() == Some(target)), "{target}: {help}");
    }
    let value = |name: &str| {
        let line = help.lines().find(|l| l.split_whitespace().next() == Some(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!((value("BACKUP_KEEP"), value("BACKUP_DIR")), ("3".into(), "backups".into()));
}

#[test]
fn a_stack_that_does_not_exist_is_refused_with_those_that_do() {
    let output = Host::new("GUEST\n").make(&["dev-up", "DEV_STACK=nonsense"]);
    assert!(!output.status.success());
    assert!(["local", "compose", "none"].iter().all(|s| said(&output).contains(s)), "{}", said(&output));
}

#[test]
fn with_the_users_own_server_nothing_is_started_or_destroyed() {
    let host = Host::new("DEV_STACK = none\nGUEST\n");
    host.ok(&["dev-up"]);
    assert!(!host.path().join(".dev/data").exists());
    assert!(!host.make(&["dev-reset", "SKIP_BACKUP=1"]).status.success());
}

#[test]
fn what_was_backed_up_is_checked_drilled_and_told() {
    let host = Host::new("GUEST\n");
    for target in ["dev-validate", "dev-drill", "dev-report"] {
        let nothing = said(&host.make(&[target]));
        assert!(nothing.contains("no backups yet in 'backups'\ndev: hint: make dev-backup"), "{nothing}");
        assert!(nothing.contains("Error 1") && !nothing.contains("cannot list"), "{nothing}");
    }
    host.ok(&["dev-up", "dev-seed"]);
    host.ok(&["dev-backup"]);
    // the server is of no use to any of these
    host.ok(&["dev-down"]);
    let backup = host.backups().remove(0);
    let name = backup.file_name().unwrap().to_str().unwrap();
    assert_eq!(host.ok(&["dev-validate"]).trim_end(), format!("backups/{name}"));
    let drill = host.make(&["dev-drill"]);
    assert!(drill.status.success(), "{}", said(&drill));
    assert!(said(&drill).contains("restored into PostgreSQL ") && said(&drill).contains(" and proven in "));
    assert_eq!(host.ok(&["dev-report"]).trim_end(), "backups/report.html");
    let page = fs::read_to_string(host.path().join("backups/report.html")).unwrap();
    assert!(page.contains("<h1>Recoverable</h1>"), "{page}");
}

#[test]
fn the_playbook_from_start_to_end() {
    let host = Host::new("GUEST\n");
    host.ok(&["dev-up", "wait-healthy"]);
    host.ok(&["dev-seed"]);
    let grades = || host.sql("SELECT count(*), md5(string_agg(grades::text, ';' ORDER BY id)) FROM grades");
    let before = grades();

    host.ok(&["dev-backup"]);
    assert_eq!(host.backups().len(), 1);
    assert!(host.ok(&["dev-backups"]).contains("proven"));

    // a migration goes wrong, with the backup that was taken ahead of it
    host.ok(&["dev-migrate", "DEV_MIGRATE_CMD=psql -qc 'DELETE FROM grades'"]);
    assert!(host.sql("SELECT count(*) FROM grades") == "0");
    let migration = host.backups().pop().unwrap();
    assert_eq!(host.backups().len(), 2);
    let manifest = fs::read_to_string(format!("{}.json", migration.display())).unwrap();
    assert!(manifest.contains("\"tag\": \"pre-migrate\""), "{manifest}");

    let name = migration.file_name().unwrap().to_str().unwrap();
    // nobody there to say yes
    assert!(!host.make(&["dev-restore", &format!("BACKUP={name}")]).status.success());
    assert!(host.sql("SELECT count(*) FROM grades") == "0");
    host.ok(&["dev-restore", &format!("BACKUP={name}"), "YES=1"]);
    assert_eq!(grades(), before);
    host.ok(&["dev-undo", "YES=1"]);
    assert_eq!(host.sql("SELECT count(*) FROM grades"), "0");
    host.ok(&["dev-restore-table", "TABLE=grades", "TABLE_AS=grades_then", &format!("BACKUP={name}")]);
    assert_eq!(host.sql("SELECT count(*) FROM grades_then"), before.split('|').next().unwrap());
    host.ok(&["dev-restore-table", "TABLE=grades", &format!("BACKUP={name}"), "YES=1"]);
    assert_eq!(grades(), before);
    assert!(!host.make(&["dev-restore-table", "YES=1"]).status.success());

    // no backup, no migration; unless one asks for it, which is said aloud
    let migrate = ["dev-migrate", "DEV_MIGRATE_CMD=touch migrated", "BACKUP_COMPRESS=nonsense"];
    assert!(!host.make(&migrate).status.success());
    assert!(!host.path().join("migrated").exists());
    let output = host.make(&["dev-migrate", "DEV_MIGRATE_CMD=touch migrated", "SKIP_BACKUP=1"]);
    assert!(output.status.success() && said(&output).contains("NO BACKUP"), "{}", said(&output));
    assert!(host.path().join("migrated").exists());

    host.ok(&["dev-reset"]);
    assert_eq!(host.sql("SELECT count(*) FROM pg_class WHERE relname = 'grades'"), "0");
    host.ok(&["dev-restore", &format!("BACKUP={name}"), "YES=1"]);
    assert_eq!(grades(), before);
    host.ok(&["dev-restart"]);
    assert_eq!(grades(), before);
    host.ok(&["dev-down"]);
    assert!(!host.make(&["dev-backup"]).status.success());
}

#[test]
fn the_log_is_archived_from_one_command_on() {
    let host = Host::new("GUEST\n");
    host.ok(&["dev-up"]);
    assert!(!host.make(&["dev-wal-status"]).status.success(), "it is not on");
    host.ok(&["dev-wal-on"]);
    host.sql("CREATE TABLE t AS SELECT 1 AS n");
    host.sql("SELECT pg_switch_wal()");
    let wait = || {
        let archived = || host.sql("SELECT archived_count > 0 FROM pg_stat_archiver") == "t";
        assert!((0..600).any(|_| archived() || {
            std::thread::sleep(Duration::from_millis(100));
            false
        }));
    };
    wait();
    assert!(host.ok(&["dev-wal-status"]).contains("last archived\t0000"));
    // log that no snapshot needs any more goes
    let again = said(&host.make(&["dev-wal-on", "BACKUP_KEEP=1"]));
    let archive = again.split("is archived in '").nth(1).unwrap().split('\'').next().unwrap();
    let listed = host.command("ls").arg(format!("{archive}/00000001")).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(!listed.contains("000000010000000000000001"), "{again}\n{listed}");
    assert!(listed.contains(".backup"), "{listed}");
    // a hot snapshot is checked and drilled with it, and what it covers is shown; the server is of no use to that
    host.ok(&["dev-snapshot"]);
    host.ok(&["dev-wal-on"]);
    host.ok(&["dev-down"]);
    let judged = host.make(&["dev-validate"]);
    assert!(judged.status.success() && said(&judged).contains("its log is in '"), "{}", said(&judged));
    let drill = host.make(&["dev-drill"]);
    assert!(drill.status.success() && said(&drill).contains(" and proven in "), "{}", said(&drill));
    host.ok(&["dev-report"]);
    let page = fs::read_to_string(host.path().join("backups/report.html")).unwrap();
    assert!(page.contains("<h1>Recoverable</h1>") && page.contains("<h2>The log"), "{page}");
    host.ok(&["dev-up"]);
    // it stays on, and what dev-reset makes anew has an archive of its own
    host.ok(&["dev-restart"]);
    assert_eq!(host.sql("SHOW archive_mode"), "on");
    host.ok(&["dev-reset", "SKIP_BACKUP=1"]);
    host.sql("SELECT pg_switch_wal()");
    wait();
    host.ok(&["dev-wal-status"]);
}

#[test]
fn back_to_the_second_before_the_mistake() {
    let host = Host::new("GUEST\n");
    let script = host::home().join("tests/make/moment.sh");
    let output = host.command("sh").arg(script).arg(host.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("Every row is where it should be."));
}
