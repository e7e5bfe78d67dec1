//! `backup-validate s3://…`

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{Ran, feed, names, run, tool, wait_until};
use crate::store::Store;

/// A store, and a folder whose backups are put into it.
struct Place {
    dir: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Place { dir, store: Store::start() }
    }

    /// A backup of `rows` rows, in the store below `daily/`; its name.
    fn back_up(&self, rows: u32, args: &[&str]) -> String {
        let mut dump = String::from(
            "--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.t (a int);\n\nCOPY public.t (a) FROM stdin;\n",
        );
        (0..rows).for_each(|n| dump.push_str(&format!("{n}\n")));
        dump.push_str("\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n");
        fs::write(self.dir.path().join("dump.sql"), dump).unwrap();
        let mut rotate = tool("pgdump-rotate", self.dir.path());
        let line =
            run(rotate.arg("-q").args(args).args(["--", "cat", "dump.sql"])).exits(0).line().to_owned();
        let name = Path::new(&line).file_name().unwrap().to_str().unwrap().to_owned();
        for file in [name.clone(), format!("{name}.json"), "SHA256SUMS".into()] {
            let to = self.store.file(&format!("daily/{file}"));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(self.dir.path().join("backups").join(file), to).unwrap();
        }
        name
    }

    fn command(&self) -> std::process::Command {
        let mut command = tool("backup-validate", self.dir.path());
        self.store.known_to(&mut command).env("TMPDIR", self.dir.path().join("tmp"));
        command
    }

    fn validate(&self, args: &[&str]) -> Ran {
        run(self.command().args(args))
    }

    fn verified(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.store.file(&format!("daily/{name}.json"))).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["verified"].clone()
    }

    fn left(&self) -> Vec<String> {
        names(&self.dir.path().join("tmp"))
    }
}

#[test]
fn a_backup_in_a_store_is_proven_and_its_manifest_says_so() {
    let place = Place::new();
    let name = place.back_up(100_000, &[]);
    let url = format!("s3://keep/daily/{name}");
    let ran = place.validate(&[&url]).exits(0).says(&format!("ok {url}: ")).says("100,000 rows");
    assert_eq!(ran.line(), url);
    assert!(place.verified(&name)["how"].as_str().unwrap().contains("check"), "{}", place.verified(&name));
    assert_eq!(place.left(), [""; 0]);
    // … and its seal holds, the second time too
    place.validate(&[&url]).exits(0).says(&format!("ok {url}: "));
}

#[test]
fn a_flipped_bit_is_seen_and_recorded() {
    let place = Place::new();
    let name = place.back_up(1000, &["--compress", "zstd"]);
    let file = place.store.file(&format!("daily/{name}"));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&file, bytes).unwrap();
    let url = format!("s3://keep/daily/{name}");
    let ran = place.validate(&[&url]).exits(1).says(&format!("bad {url}: "));
    assert!(ran.out.is_empty());
    assert_eq!(place.verified(&name)["ok"], Value::Bool(false));
}

#[test]
fn a_quick_look_reads_no_data() {
    let place = Place::new();
    let name = place.back_up(2_000_000, &["--compress", "none"]);
    let file = place.store.file(&format!("daily/{name}"));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&file, &bytes).unwrap();
    let url = format!("s3://keep/daily/{name}");
    place.validate(&["--quick", &url]).exits(0);
    place.store.seen();
    place.validate(&[&url]).exits(1);
    let gets = |seen: Vec<String>| seen.iter().filter(|s| **s == format!("GET /keep/daily/{name}")).count();
    assert_eq!(gets(place.store.seen()), 1 + bytes.len().div_ceil(4 << 20), "its head, and then stretches");
    fs::write(&file, &bytes[1..]).unwrap();
    place.validate(&["--quick", &url]).exits(1).says("bytes");
    place.validate(&[&url]).exits(1).says("bytes");
    assert_eq!(place.verified(&name)["ok"], Value::Bool(false));
}

#[test]
fn a_folder_is_all_that_is_in_it() {
    let place = Place::new();
    let (one, two) = (place.back_up(10, &[]), place.back_up(20, &["--compress", "zstd"]));
    let ran = place.validate(&["s3://keep/daily/"]).exits(0);
    let mut lines = ran.lines();
    lines.sort_unstable();
    let mut both = [format!("s3://keep/daily/{one}"), format!("s3://keep/daily/{two}")];
    both.sort_unstable();
    assert_eq!(lines, both);
    // as the folder of backups, and by lines of standard input
    let latest = place.validate(&["--dir", "s3://keep/daily", "--latest"]).exits(0);
    assert!(latest.line().starts_with("s3://keep/daily/"), "{}", latest.out);
    place.validate(&["-o", "s3://keep/daily", "--watch"]).exits(0);
    let ran = feed(&mut place.command(), format!("{}\ns3://keep/none\n", both[0])).exits(3);
    ran.says("bad s3://keep/none: there is no 's3://keep/none'");
    let ran = feed(&mut place.command(), format!("s3://keep/a//b\n{}\n", both[0])).exits(3);
    assert_eq!(ran.says("unproven s3://keep/a//b: ").line(), both[0]);
    // one key that cannot be a file here hides no other
    fs::create_dir_all(place.store.file("daily/sub")).unwrap();
    fs::write(place.store.file("daily/sub/tab\t.sql"), "x").unwrap();
    let ran = place.validate(&["--dir", "s3://keep/daily", "--all"]).exits(0).says("is passed over");
    assert_eq!(ran.lines().len(), 2);
    let ran = run(place.command().arg(&both[0]).env("TMPDIR", "/nowhere")).exits(4);
    ran.says(&format!("unproven {}: ", both[0])).says("TMPDIR");
    place.validate(&["-o", "s3://keep/daily", "--all", "--report", "json", "-"]).exits(0);
}

#[test]
fn a_store_that_is_away_or_does_not_let_us_proves_nothing() {
    let place = Place::new();
    let name = place.back_up(10, &[]);
    let url = format!("s3://keep/daily/{name}");
    // busy for a moment is no reason to give up
    place.store.busy(2);
    place.validate(&[&url]).exits(0);
    place.store.busy(1000);
    place.validate(&[&url]).exits(5).says(&format!("unproven {url}: ")).says("it answers 503");
    place.store.busy(0);
    run(place.command().arg(&url).env("S3_ENDPOINT_URL", "none")).exits(2);
    let ran = run(place.command().arg(&url).env("AWS_SECRET_ACCESS_KEY", "other"));
    ran.exits(4).says("unproven").says("AWS_SECRET_ACCESS_KEY");
    let ran = run(place.command().arg(&url).env_remove("AWS_ACCESS_KEY_ID"));
    ran.exits(2).says("needs AWS_ACCESS_KEY_ID");
    let ran = run(place.command().arg(&url).env("S3_ENDPOINT_URL", "http://127.0.0.1:1"));
    ran.exits(5).says("connection refused");
    place.validate(&["s3://nowhere/x"]).exits(4).says("NoSuchBucket");
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn a_drill_restores_from_a_store_and_its_history_goes_there() {
    let place = Place::new();
    let name = place.back_up(1000, &[]);
    let url = format!("s3://keep/daily/{name}");
    place
        .validate(&["--drill", "-d", "x", "--query", "SELECT count(*) FROM t", "--expect", "1000", &url])
        .exits(0);
    let ran = place.validate(&["--drill", &url]).exits(0).says(&format!("drill of {url} on PostgreSQL"));
    assert!(!ran.err.contains("mirror"), "{}", ran.err);
    let drills = fs::read_to_string(place.store.file("daily/drills.jsonl")).unwrap();
    assert_eq!(drills.lines().count(), 2, "{drills}");
    assert!(place.verified(&name)["how"].as_str().unwrap().contains("drill"));
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn another_who_records_a_proof_meanwhile_is_not_overwritten() {
    let place = Place::new();
    let name = place.back_up(1000, &[]);
    let record = place.store.file(&format!("daily/{name}.json"));
    let url = format!("s3://keep/daily/{name}");
    place.store.slow(std::time::Duration::from_millis(300));
    let mut command = place.command();
    let child = command.arg(&url).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let (mut gets, get) = (0, format!("GET /keep/daily/{name}"));
    wait_until("it reads the data, after its head", || {
        gets += place.store.seen().iter().filter(|s| **s == get).count();
        gets > 1
    });
    let text = fs::read_to_string(&record).unwrap();
    let theirs = text.replace("\"ok\": true", "\"ok\": false");
    fs::write(&record, &theirs).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("was changed meanwhile"), "{said}");
    assert_eq!(fs::read_to_string(&record).unwrap(), theirs);
    assert!(ended.status.success(), "a proof that cannot be kept is a proof all the same: {said}");
}

#[test]
fn what_a_killed_run_left_is_swept() {
    let place = Place::new();
    let name = place.back_up(1000, &[]);
    let url = format!("s3://keep/daily/{name}");
    place.store.slow(std::time::Duration::from_millis(300));
    let mut child = place.command().arg(&url).spawn().unwrap();
    wait_until("it has made its folder", || !place.left().is_empty());
    let mut requests = 0;
    wait_until("it reads", || {
        requests += place.store.seen().len();
        requests > 2
    });
    child.kill().unwrap();
    child.wait().unwrap();
    place.store.slow(std::time::Duration::ZERO);
    assert_eq!(place.left().len(), 1);
    place.validate(&[&url]).exits(0).says("left by a run that was killed");
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn a_set_of_snapshots_and_an_archive_of_wal_are_judged_whole() {
    let place = Place::new();
    let dir = place.dir.path();
    fs::create_dir(dir.join("data")).unwrap();
    fs::write(dir.join("data/file"), vec![7; 3 << 20]).unwrap();
    run(tool("volsnap", dir).args(["-q", "-o", "up", "dir:data"])).exits(0);
    run(tool("wal-archive", dir).args(["init", "-a", "up/wal"])).exits(0);
    let copied =
        std::process::Command::new("cp").arg("-r").arg(dir.join("up")).arg(place.store.file("up")).status();
    assert!(copied.unwrap().success());
    let find = |folder: &Path| names(folder).into_iter().find(|n| n.ends_with(".json")).unwrap();
    let folder = if dir.join("up/snapshots").is_dir() { "up/snapshots" } else { "up" };
    let record = find(&place.store.file(folder));
    let url = format!("s3://keep/{folder}/{record}");
    place.validate(&[&url]).exits(0).says("1 volumes, 2 entries");
    place.validate(&["--quick", &url]).exits(0);
    let archive = names(&place.store.file(folder)).into_iter().find(|n| n.ends_with(".tar.gz")).unwrap();
    let file = place.store.file(&format!("{folder}/{archive}"));
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    place.validate(&["--quick", &url]).exits(1).says("bytes");
    place.validate(&["s3://keep/up/wal"]).exits(1).says("nothing was ever archived");
}
