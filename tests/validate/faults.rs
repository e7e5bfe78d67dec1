//! What goes wrong around a check: each is told in words that help, and hides nothing else.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, Instant};

use crate::lab::{self, Server, feed, run, tool};

/// A folder with a proven backup in it, and its path there.
fn made(options: &[&str]) -> (Server, String) {
    let server = Server::start();
    server.make("shop");
    let path = server.rotate(&[&["-q", "-d", "shop"], options].concat()).exits(0).line().to_owned();
    (server, path)
}

#[test]
fn an_archive_that_is_away_hides_nothing_else() {
    let (server, _) = made(&[]);
    let watch = ["--min-size", "1G", "--wal", "nowhere", "--report", "json", "r.json"];
    let ran = server.run("backup-validate", watch);
    assert!(ran.code == 1 || ran.code == 5, "{}: {}", ran.code, ran.err);
    let words: Vec<&str> = ran.out.lines().map(|l| l.split('\t').next().unwrap()).collect();
    assert_eq!(words, ["small", "unread"]);
    assert!(ran.says("nowhere").out.contains("nowhere"));
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(server.home().join("r.json")).unwrap()).unwrap();
    assert_eq!(
        (&report["findings"][1]["finding"], &report["wal"]),
        (&"unread".into(), &serde_json::Value::Null)
    );
}

#[test]
fn a_digest_that_differs_comes_with_what_helps() {
    let (server, path) = made(&["--compress", "none"]);
    let sums = server.home().join("backups/SHA256SUMS");
    let text = fs::read_to_string(&sums).unwrap();
    let other = text.replacen(&text[..1], if text.starts_with('0') { "1" } else { "0" }, 1);
    fs::write(&sums, other).unwrap();
    let ran = server.run("backup-validate", [&path]).exits(1).says("SHA256SUMS tells of another digest");
    ran.says("hint: If the file was replaced on purpose, remove its line from SHA256SUMS.");
}

#[test]
fn a_port_that_says_nothing_is_not_waited_for_for_ever() {
    let (server, path) = made(&[]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let began = Instant::now();
    let mut command = server.tool("backup-validate");
    let ran = run(command.args(["--against", &path]).env("PGHOST", "127.0.0.1").env("PGPORT", &port));
    ran.exits(5).says("against the server").says("timeout expired");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    // who says how long, is heard
    let began = Instant::now();
    let mut command = server.tool("backup-validate");
    command.args(["--against", &path]).env("PGHOST", "127.0.0.1").env("PGPORT", &port);
    run(command.env("PGCONNECT_TIMEOUT", "2")).exits(5);
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

#[test]
fn a_path_that_is_no_utf8_is_bad_and_the_next_is_looked_at() {
    let (server, path) = made(&[]);
    let list = [b"backups/\xff\xfe.sql\n".as_slice(), path.as_bytes(), b"\n"].concat();
    let odd = std::ffi::OsStr::new("backups").to_owned();
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe.sql");
    let folder = server.home().join(odd);
    fs::copy(server.home().join(&path), folder.join(name)).unwrap();
    let ran = feed(&mut server.tool("backup-validate"), list).exits(3).says("its name is no UTF-8");
    assert_eq!(ran.line(), path);
}

#[test]
fn a_group_that_cannot_be_kept_costs_no_verdict() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let (server, path) = made(&[]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let program = at("backup-validate");
    fs::copy(env!("CARGO_BIN_EXE_backup-validate"), &program).unwrap();
    let name = path.rsplit('/').next().unwrap();
    for file in [name.to_owned(), format!("{name}.json")] {
        fs::copy(server.home().join("backups").join(&file), at(&file)).unwrap();
        lab::give(&at(&file));
    }
    lab::give(folder.path());
    let record = at(&format!("{name}.json"));
    // a group that its owner is no member of
    chown(&record, None, Some(0)).unwrap();
    fs::set_permissions(&record, fs::Permissions::from_mode(0o640)).unwrap();
    let ran = run(lab::as_runner(program).arg(at(name))).exits(0);
    assert!(!ran.err.contains("warn"), "{}", ran.err);
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    assert_eq!(value["verified"]["how"], "check");
    let meta = record.metadata().unwrap();
    assert_ne!(meta.gid(), 0);
    assert_eq!(meta.mode() & 0o7777, 0o600, "another group reads what was not meant for it");
}

#[test]
fn what_is_damaged_is_said_in_words() {
    let (server, path) = made(&[]);
    let file = server.home().join(&path);
    let good = fs::read(&file).unwrap();
    let technical = ["BadData", "corrupt deflate", "InsufficientSpace", "invalid gzip", "DecompressionError"];
    let judged = |path: &str| {
        let ran = run(tool("backup-validate", &server.home()).arg(path)).exits(1);
        assert!(!technical.iter().any(|word| ran.err.contains(word)), "{}", ran.err);
        ran
    };
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle..middle + 40].fill(0xff);
    fs::write(&file, &bad).unwrap();
    judged(&path).says("the gzip data is damaged at byte ");
    // the same without its manifest, as one stream
    let foreign = server.home().join("foreign.sql.gz");
    fs::write(&foreign, &bad).unwrap();
    judged("foreign.sql.gz").says("the gzip data is damaged, at byte ");
    fs::write(&foreign, &good[..middle]).unwrap();
    judged("foreign.sql.gz").says("cut short");
}

#[test]
fn a_dump_with_the_ends_of_lines_of_windows_is_told() {
    let (server, path) = made(&["--compress", "none"]);
    let text = fs::read_to_string(server.home().join(&path)).unwrap();
    fs::write(server.home().join("dos.sql"), text.replace('\n', "\r\n")).unwrap();
    let ran = server.run("backup-validate", ["dos.sql"]).exits(0);
    ran.says("its lines end in CR LF");
    assert!(!server.run("backup-validate", [&path]).exits(0).err.contains("CR LF"));
}

#[test]
fn a_list_that_cannot_be_read_is_told_and_hides_nothing_else() {
    let (server, backup) = made(&[]);
    let sums = server.home().join("backups/SHA256SUMS");
    let watch = ["--watch", "--max-age", "1s", "--metrics", "m.prom"];
    let is_told = |what: &str| {
        assert_eq!(server.run("backup-validate", [&backup]).exits(0).says(what).line(), backup);
        let ran = server.run("backup-validate", watch).exits(1);
        let begins = |word: &str| ran.lines().iter().any(|line| line.starts_with(word));
        assert!(begins("unread\t-\t-\tcannot read 'backups/") && begins("stale\tshop\t"), "{}", ran.out);
        let numbers = fs::read_to_string(server.home().join("m.prom")).unwrap();
        assert!(numbers.contains("pgkeep_backup_timestamp_seconds{"), "{numbers}");
    };
    std::thread::sleep(Duration::from_secs(2));
    // of which backup that line told is not known
    let text = fs::read_to_string(&sums).unwrap();
    fs::write(&sums, text.replacen(&text[..1], "x", 1)).unwrap();
    is_told("line 1 is no digest of anything");
    fs::write(&sums, b"\xff\xfe").unwrap();
    is_told("SHA256SUMS': stream did not contain valid UTF-8");
    let fifo = |path: &std::path::Path| {
        fs::remove_file(path).ok();
        run(std::process::Command::new("mkfifo").arg(path)).exits(0);
    };
    fifo(&sums);
    is_told("SHA256SUMS': it is no file");
    fs::remove_file(&sums).unwrap();
    fifo(&server.home().join("backups/drills.jsonl"));
    is_told("ok ");
}
