//! Bad days: what is missing, full, in the way or broken. A clear word, the right status, and no good
//! backup lost.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::lab::{Server, feed, names, run, tool, wait_until};
use crate::stage::{back_up, beside, dumps, manifest, snapshot};

/// A server with a small database and one backup of its cluster.
fn with_a_backup() -> (Server, PathBuf) {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &[]);
    (server, backup)
}

/// Everything in the folder but the lock, which every run writes to.
fn kept(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = snapshot(dir);
    files.remove(".pgkeep.lock");
    files
}

#[test]
fn no_client_programs() {
    let (server, backup) = with_a_backup();
    let dir = backup.parent().unwrap();
    let before = kept(dir);
    // here they cannot be hidden from the program, which looks beyond PATH; behind a prefix they can
    let nowhere = ["--via", "env PATH=/nonexistent"];
    let ran = server.rotate(&nowhere).exits(4).says("psql").says("No such file");
    assert_eq!(ran.out, "");
    server.rotate(&[&nowhere[..], &["-d", "shop"]].concat()).exits(4).says("psql");
    server.restore(&[&nowhere[..], &["--latest", "--yes"]].concat()).exits(4).says("psql");
    // a prefix that is not there itself
    server.rotate(&["--via", "/nonexistent/docker exec db"]).exits(4).says("/nonexistent/docker");
    server.rotate(&["--", "/nonexistent/pg_dump"]).exits(4).says("pg_dump");
    assert_eq!(kept(dir), before);
}

#[test]
fn the_server_is_down() {
    let (mut server, backup) = with_a_backup();
    let before = kept(backup.parent().unwrap());
    server.stop();
    for args in [&[][..], &["-d", "shop"], &["-d", "shop", "-d", "blog"]] {
        let ran = server.rotate(args).exits(5).says("connection to server");
        assert_eq!(ran.out, "");
    }
    server.restore(&["--latest", "--yes"]).exits(5).says("connection to server");
    assert_eq!(kept(backup.parent().unwrap()), before);
    // what needs no server still works
    assert_eq!(server.rotate(&["--list"]).exits(0).lines().len(), 1);
    server.rotate(&["--rotate-only"]).exits(0);
    server.start_again();
    server.rotate(&[]).exits(0);
}

/// From now on, the server asks `postgres` for the password `right`.
fn ask_for_password(server: &Server) {
    server.sql("postgres", "SET password_encryption = 'scram-sha-256'; ALTER ROLE postgres PASSWORD 'right'");
    fs::write(server.data().join("pg_hba.conf"), "local all all scram-sha-256\n").unwrap();
    server.sql("postgres", "SELECT pg_reload_conf()");
    let psql = ["-Xw", "-d", "postgres", "-c", "SELECT 1"];
    wait_until("a password is asked for", || run(server.client("psql").args(psql)).code != 0);
}

#[test]
fn a_wrong_password_is_an_answer_and_not_worth_a_retry() {
    let (server, backup) = with_a_backup();
    let before = kept(backup.parent().unwrap());
    ask_for_password(&server);
    let with = |password: &str, args: &[&str]| {
        run(server.tool("pgdump-rotate").env("PGPASSWORD", password).args(args))
    };
    for args in [&[][..], &["-d", "shop"], &["-d", "shop", "-d", "blog"]] {
        let ran = with("s3cret-wrong", args).exits(1).says("password authentication failed");
        assert!(!ran.err.contains("s3cret"), "{}", ran.err);
        server.rotate(args).exits(1).says("no password supplied");
    }
    let restore = server.restore(&["--latest", "--yes"]).exits(1).says("no password supplied");
    assert_eq!(restore.out, "");
    assert_eq!(kept(backup.parent().unwrap()), before);

    // and the right one, by every way that libpq and we know
    with("right", &[]).exits(0);
    let host = server.host().to_str().unwrap().replace('/', "%2F");
    let url = format!("postgresql://postgres:right@{host}:5432/shop");
    let mut rotate = tool("pgdump-rotate", &server.home());
    let ran = run(rotate.env("DATABASE_URL", &url)).exits(0);
    assert!(!fs::read_to_string(beside(&server.home().join(ran.line()))).unwrap().contains("right"));
    let pgpass = server.home().join(".pgpass");
    fs::write(&pgpass, "*:*:*:*:right\n").unwrap();
    fs::set_permissions(&pgpass, fs::Permissions::from_mode(0o600)).unwrap();
    server.rotate(&[]).exits(0);
    server.restore(&["--latest", "--yes"]).exits(0);
}

#[test]
fn a_producer_that_fails_after_complete_output() {
    let (server, backup) = with_a_backup();
    let before = kept(backup.parent().unwrap());
    for script in ["pg_dumpall; exit 1", "pg_dump -d shop; exit 3", "pg_dump -Fc -d shop; kill -9 $$"] {
        let ran = server.rotate(&["--", "sh", "-c", script]).exits(1).says("cannot back up");
        assert_eq!(ran.out, "", "{script}");
    }
    assert_eq!(kept(backup.parent().unwrap()), before);
}

#[test]
fn a_dump_that_is_not_whole() {
    let (server, backup) = with_a_backup();
    server.make("blog");
    let before = kept(backup.parent().unwrap());
    let cases = [
        ("pg_dumpall | head -n -5", "not whole"),
        ("pg_dump -d shop | sed '/database dump complete/d'", "footer"),
        ("pg_dump -d shop | sed '/^COPY public.people/q'", "within the rows of public.people"),
        ("pg_dump -d shop | head -c 1500", "not whole"),
        // one of its databases is whole, the cluster is not
        ("pg_dumpall | sed '/^-- PostgreSQL database dump complete/q'", "ends after one of its databases"),
        ("pg_dump -Fc -d shop | head -c 2000", "cut short"),
        ("echo PGDMP", "damaged"),
        ("true", "it is empty"),
        ("echo 'no dump at all'", "not whole"),
    ];
    for (script, words) in cases {
        let ran = server.rotate(&["--", "sh", "-c", script]).exits(1).says(words);
        assert_eq!(ran.out, "", "{script}");
    }
    assert_eq!(kept(backup.parent().unwrap()), before);
}

#[test]
fn folders_that_cannot_be_written_to() {
    let server = Server::start();
    server.make("shop");
    let file = server.home().join("file");
    fs::write(&file, "mine").unwrap();
    // sysfs lets nobody make files, root neither
    for (dir, words) in [
        ("file", "cannot create 'file'"),
        ("file/backups", "cannot create 'file/backups'"),
        ("/sys", "cannot lock '/sys'"),
        ("/sys/backups", "cannot create '/sys/backups'"),
    ] {
        let ran = server.rotate(&["-o", dir]).exits(1).says(words);
        assert_eq!(ran.out, "");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    server.rotate(&["-o", "file", "--list"]).exits(1).says("cannot list 'file'");
    server.restore(&["-o", "nowhere", "--latest", "--yes"]).exits(1).says("nowhere");
}

#[test]
fn a_manifest_in_the_way_of_the_next_backup() {
    let (server, backup) = with_a_backup();
    let dir = backup.parent().unwrap();
    // whatever stands under the names of the coming minute
    for second in 1..60 {
        let stamp = kit::stamp::Stamp::now().plus(second).compact();
        fs::write(dir.join(format!("backup_{stamp}.sql.gz.json")), "{").unwrap();
    }
    let made = back_up(&server, &[]);
    assert_eq!(manifest(&made)["rows"], 505);
    assert_eq!(server.rotate(&["--list"]).exits(0).out.matches("\tproven").count(), 2);
}

#[test]
fn broken_manifests_are_passed_over_and_the_next_backup_is_made() {
    let (server, backup) = with_a_backup();
    let broken = back_up(&server, &[]);
    fs::write(beside(&broken), "{\"format_version\": 1,").unwrap();
    let listed = server.rotate(&["--list"]).exits(0).out;
    assert_eq!(listed.matches("\tno: cannot read").count(), 1, "{listed}");
    let ran = server.restore(&["--latest", "--dry-run"]).exits(0).says("passed over");
    assert!(ran.out.contains(backup.file_name().unwrap().to_str().unwrap()), "{}", ran.out);
    server.rotate(&["--keep-last", "1"]).exits(0);
    assert!(broken.exists() && !backup.exists(), "{:?}", dumps(backup.parent().unwrap()));
    // without any that is proven there is no latest
    let dir = tempfile::tempdir_in(server.home()).unwrap();
    fs::copy(&broken, dir.path().join("backup_20250101_000000.sql.gz")).unwrap();
    let args = ["-o", dir.path().to_str().unwrap(), "--latest", "--yes"];
    server.restore(&args).exits(1).says("no proven backup");
}

#[test]
fn a_file_that_may_grow_no_further() {
    let (server, backup) = with_a_backup();
    let before = kept(backup.parent().unwrap());
    server.sql("shop", "CREATE TABLE pages AS SELECT md5(n::text) FROM generate_series(1, 60000) n");
    for codec in ["none", "gzip", "zstd"] {
        // in blocks of 512 bytes; the signal that would come with the error is not wanted
        let mut limited = server.shell("trap '' XFSZ; ulimit -f 1000; exec \"$@\"");
        limited.arg(server.tool("pgdump-rotate").get_program()).args(["--compress", codec]);
        let ran = run(&mut limited).exits(5).says("cannot write").says("file too large");
        assert_eq!(ran.out, "");
        assert_eq!(kept(backup.parent().unwrap()), before, "{codec}");
    }
}

#[test]
fn a_manifest_that_cannot_be_written_takes_its_dump_along() {
    let (server, backup) = with_a_backup();
    // small when compressed, with a long table of contents
    let tables = "SELECT format('CREATE TABLE t%s (n int)', n) FROM generate_series(1, 300) n \\gexec\n";
    server.sql("shop", tables);
    let before = kept(backup.parent().unwrap());
    let mut limited = server.shell("trap '' XFSZ; ulimit -f 64; exec \"$@\"");
    limited.arg(server.tool("pgdump-rotate").get_program());
    let ran = run(&mut limited).exits(5).says(".sql.gz.json").says("file too large");
    assert_eq!(ran.out, "");
    // no manifest, no backup: what stayed of it no rotation would ever remove
    let after = kept(backup.parent().unwrap());
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(after, before);
}

/// Runs a script with the program as `$1` where `small` is a folder on a disk of 2 MiB; `None` where
/// nobody may mount one.
fn on_a_small_disk(server: &Server, script: &str) -> Option<crate::lab::Ran> {
    let mount = "mkdir -p small && mount -t tmpfs -o size=2m tmpfs small";
    for unshare in ["unshare -m", "unshare -rm"] {
        if run(&mut server.shell(&format!("{unshare} sh -c '{mount}'"))).code == 0 {
            let mut command = server.shell(&format!("exec {unshare} sh -c \"$1\" sh \"$2\""));
            command.arg(format!("{mount} && {script}")).arg(server.tool("pgdump-rotate").get_program());
            return Some(run(&mut command));
        }
    }
    None
}

#[test]
fn a_full_disk_is_temporary_and_costs_no_earlier_backup() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "CREATE DATABASE big");
    server.sql("big", "CREATE TABLE pages AS SELECT md5(n::text) FROM generate_series(1, 150000) n");
    let script = "\"$1\" -q -o small -d shop && cp -r small before && \"$1\" -o small -d big; echo $? && \
        cd small && ls -A && sha256sum -c SHA256SUMS && cmp SHA256SUMS ../before/SHA256SUMS";
    let Some(ran) = on_a_small_disk(&server, script) else {
        eprintln!("nobody may mount a small disk here: only the test with a limited file tells of full ones");
        return;
    };
    let ran = ran.exits(0).says("cannot back up database 'big'").says("no space left on device");
    let lines = ran.lines();
    assert_eq!(lines[1], "5", "{lines:?}");
    let names: Vec<&&str> = lines[2..].iter().filter(|l| !l.starts_with("shop_2")).collect();
    assert_eq!(names, [&".pgkeep.lock", &"SHA256SUMS"], "{lines:?}");
}

#[test]
fn a_reader_of_the_paths_that_is_gone_costs_no_backup() {
    let (server, _) = with_a_backup();
    let script = "\"$1\" --json | true; \"$1\" --list | true";
    let mut piped = server.shell(script);
    piped.arg(server.tool("pgdump-rotate").get_program());
    run(&mut piped).exits(0);
    assert_eq!(server.rotate(&["--list"]).exits(0).out.matches("\tproven").count(), 2);
}

#[test]
fn a_server_that_is_newer_than_the_programs() {
    // a pg_dump of long ago behind the prefix
    let server = Server::start();
    let old = server.home().join("pg_dump");
    fs::write(&old, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let via = format!("env PATH={}:\"$PATH\"", server.home().display());
    server.rotate(&["--via", &via]).exits(4).says("older than the server").says("hint: Install");
    assert_eq!(dumps(&server.home().join("backups")).len(), 0);
}

#[test]
fn a_role_that_may_not_read_everything() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "CREATE ROLE reader LOGIN");
    let reader = |args: &[&str]| run(server.tool("pgdump-rotate").env("PGUSER", "reader").args(args));
    reader(&[]).exits(1).says("permission denied").says("--no-role-passwords");
    reader(&["-d", "shop"]).exits(1).says("permission denied");
    assert_eq!(names(&server.home().join("backups")), [".pgkeep.lock"]);
    server.sql("shop", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader");
    reader(&["-d", "shop"]).exits(0);
    let sums =
        run(server.shell("sha256sum -c SHA256SUMS").current_dir(server.home().join("backups"))).exits(0);
    assert_eq!(sums.lines().len(), 1);
}

#[test]
fn standard_input_that_ends_too_soon_keeps_nothing() {
    let (server, backup) = with_a_backup();
    let before = kept(backup.parent().unwrap());
    let text = run(&mut server.client("pg_dumpall")).exits(0).out;
    for end in [0, 1, 100, text.len() / 2, text.len() - 60] {
        feed(server.tool("pgdump-rotate").arg("--stdin"), &text[..end]).exits(1).says("not whole");
    }
    assert_eq!(kept(backup.parent().unwrap()), before);
}

#[test]
fn what_a_kill_left_without_a_mark_is_removed_only_where_it_is_empty() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    let kept = [
        ("shop__restore_20260102_000000", "CREATE TYPE somebodys AS ENUM ('a')"),
        ("shop__restore_20260103_000000", "COMMENT ON DATABASE shop__restore_20260103_000000 IS 'mine'"),
        ("shop__restore_2026", "SELECT 1"),
        ("shop__before_20260101_000000", "SELECT 1"),
    ];
    server.sql("postgres", "CREATE DATABASE shop__restore_20260101_000000 TEMPLATE template0");
    for (name, act) in kept {
        server.sql("postgres", &format!("CREATE DATABASE {name}"));
        server.sql(name, act);
    }
    let ran = server.restore(&[backup.to_str().unwrap(), "--yes", "--no-safety", "-D"]).exits(0);
    let removed = "removed shop__restore_20260101_000000, empty, left by a restore that did not end";
    assert!(ran.err.contains(removed), "{}", ran.err);
    assert_eq!(ran.err.matches("removed ").count(), 1, "{}", ran.err);
    let there = "SELECT count(*) FROM pg_database WHERE datname LIKE 'shop\\_\\_%'";
    assert_eq!(server.sql("postgres", there), kept.len().to_string());
}
