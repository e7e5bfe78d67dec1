//! Snapshots of volumes: records, archives, and the server that is started out of one.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lab::{self, Ran, Server, names, run};

/// A server that was stopped, and a snapshot of its data.
struct Stage {
    server: Server,
    record: PathBuf,
}

impl Stage {
    fn new(settings: &str) -> Stage {
        Stage::with(settings, "")
    }

    /// `sql`: what else is in the database.
    fn with(settings: &str, sql: &str) -> Stage {
        let mut server = Server::start_with(settings);
        server.make("shop");
        server.sql("shop", sql);
        server.sql("shop", "CHECKPOINT");
        server.stop();
        let data = format!("data=dir:{}", server.data().display());
        let ran = run(server.tool("volsnap").args(["-q", &data])).exits(0);
        let record = server.home().join(ran.line());
        fs::create_dir(server.home().join("t")).unwrap();
        Stage { server, record }
    }

    fn validate(&self, args: &[&str]) -> Ran {
        let mut command = self.server.tool("backup-validate");
        run(command.args(args).env("TMPDIR", self.server.home().join("t")))
    }

    fn record(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(&self.record).unwrap()).unwrap()
    }

    fn archive(&self) -> PathBuf {
        let record = self.record();
        self.record.with_file_name(record["volumes"][0]["file"]["name"].as_str().unwrap())
    }
}

#[test]
fn every_archive_of_a_set_is_proven() {
    let stage = Stage::new("");
    let path = stage.record.to_str().unwrap();
    // it was killed: that is no damage
    assert_eq!(stage.validate(&[path]).exits(0).says("warn").says("was not stopped in order").line(), path);
    let verified = &stage.record()["verified"];
    assert_eq!((&verified["how"], &verified["ok"]), (&"check".into(), &true.into()));
    // an archive alone, all of a folder, a time
    stage.validate(&[stage.archive().to_str().unwrap()]).exits(0);
    stage.validate(&["--all"]).exits(0);
    let stamp = stage.record.file_stem().unwrap().to_str().unwrap();
    assert!(stage.validate(&[stamp]).exits(0).line().ends_with(".json"));
    stage.validate(&["--quick", path]).exits(0);

    let (archive, good) = (stage.archive(), fs::read(stage.archive()).unwrap());
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 2;
        fs::write(&archive, bad).unwrap();
        stage.validate(&[path]).exits(1);
    }
    assert_eq!(stage.record()["verified"]["ok"], false);
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(&archive, &good[..cut]).unwrap();
        stage.validate(&[path]).exits(1).says("bytes, its record says");
    }
    fs::remove_file(&archive).unwrap();
    stage.validate(&[path]).exits(1).says("is missing");
    fs::write(&archive, &good).unwrap();
    stage.validate(&[path]).exits(0);
}

#[test]
fn a_record_that_was_changed_is_seen() {
    let stage = Stage::new("");
    let path = stage.record.to_str().unwrap();
    let text = fs::read_to_string(&stage.record).unwrap();
    for (i, _) in text.match_indices(|c: char| c.is_ascii_alphanumeric()).step_by(text.len() / 120 + 1) {
        let mut bytes = text.clone().into_bytes();
        bytes[i] = if bytes[i] == b'1' { b'2' } else { b'1' };
        fs::write(&stage.record, bytes).unwrap();
        let ran = stage.validate(&[path]);
        // whoever damages the name of the seal has a record without one
        let told = ran.code == 0 && ran.err.contains("has no seal");
        assert!([1, 4].contains(&ran.code) || told, "at byte {i}: {}", ran.err);
    }
    fs::write(&stage.record, text).unwrap();
    stage.validate(&[path]).exits(0);
}

#[test]
fn a_drill_starts_the_server_of_a_snapshot_and_none_of_its_settings() {
    let mark = tempfile::tempdir().unwrap();
    let command = format!(
        "archive_mode = on\nwal_level = replica\narchive_command = 'touch {}/%f'\n",
        mark.path().display()
    );
    fs::set_permissions(mark.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut stage = Stage::new(&command);
    let before = names(mark.path());
    let path = stage.record.to_str().unwrap();
    let ask = ["-d", "shop", "--query", "SELECT count(*) FROM grades", "--expect", "500"];
    let ran = stage.validate(&[&["--drill", path], &ask[..]].concat()).exits(0).says("and proven in ");
    assert_eq!(ran.line(), path);
    assert_eq!(stage.record()["verified"]["how"], "drill");
    let history = fs::read_to_string(stage.server.home().join("backups/snapshots/drills.jsonl")).unwrap();
    let drill: Value = serde_json::from_str(history.trim_end()).unwrap();
    let of = |step: &str| drill[step].as_f64().unwrap();
    let steps = [of("server_seconds"), of("restore_seconds"), of("prove_seconds")];
    assert!(steps.iter().all(|step| *step > 0.0), "{drill}");
    assert!((of("seconds") - steps.iter().sum::<f64>()).abs() < 0.01, "{drill}");
    assert_eq!(names(&stage.server.home().join("t")), [""; 0]);
    assert_eq!(names(mark.path()), before, "its archive_command was run");
    stage.validate(&["--drill", path, "--query", "SELECT 1", "--expect", "2"]).exits(1).says("answers '1'");
    // and the data that it was taken of were not looked at
    stage.server.start_again();
    assert_eq!(stage.server.sql("shop", "SELECT count(*) FROM grades"), "500");
}

#[test]
fn a_check_is_held_by_the_path_of_the_databases_own_sessions() {
    let stage = Stage::with(
        "",
        "CREATE SCHEMA s; SET search_path = s; CREATE TABLE s.pk (id int); INSERT INTO s.pk VALUES (1);
        CREATE FUNCTION s.known(x int) RETURNS bool LANGUAGE sql AS 'SELECT x IN (SELECT id FROM pk)';
        ALTER DATABASE shop SET search_path = s, public;
        CREATE TABLE s.t (a int CONSTRAINT c CHECK (s.known(a))); INSERT INTO s.t VALUES (1)",
    );
    let path = stage.record.to_str().unwrap();
    stage.validate(&["--drill", path]).exits(0).says("and proven in ");
    // an error in one of them does not hide what is wrong with the next
    let stage = Stage::with(
        "",
        "CREATE FUNCTION odd(x int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN x IN (SELECT id FROM gone); END';
        CREATE TABLE a (a int); INSERT INTO a VALUES (1); ALTER TABLE a ADD CHECK (odd(a)) NOT VALID;
        CREATE TABLE b (b int); INSERT INTO b VALUES (10); ALTER TABLE b ADD CHECK (b < 9) NOT VALID;
        UPDATE pg_constraint SET convalidated = true WHERE conrelid IN ('a'::regclass, 'b'::regclass)",
    );
    let ran = stage.validate(&["--drill", stage.record.to_str().unwrap()]).exits(1);
    let ran =
        ran.says("constraint a_a_check of public.a cannot be checked: relation \"gone\" does not exist");
    ran.says("constraint b_b_check of public.b does not hold");
}

#[test]
fn a_hot_snapshot_without_its_log_is_not_drilled() {
    let settings = "wal_level = replica\nmax_wal_senders = 2\narchive_mode = on\narchive_command = 'true'\n";
    let server = Server::start_with(settings);
    server.make("shop");
    let data = format!("data=dir:{}", server.data().display());
    let record = run(server.tool("volsnap").args(["-q", "--hot", &data])).exits(0).line().to_owned();
    let ran = server.run("backup-validate", ["--drill", &record, "--query", "SELECT 1/0", "--json"]).exits(4);
    let ran = ran.says("unproven ").says("not drilled: a hot snapshot").says("hint: Name the archive");
    assert!(!ran.err.contains("and proven"), "{}", ran.err);
    let object: Value = serde_json::from_str(ran.line()).unwrap();
    assert_eq!(object["verdict"], "unproven");
    assert!(object["drill"]["skipped"].is_string() && object["drill"]["ok"].is_null(), "{object}");
    assert!(!server.home().join("backups/snapshots/drills.jsonl").exists());
    // that of another server tells nothing
    let archive = server.home().join("wal");
    run(server.tool("wal-archive").args(["init", "-q", "-a", "wal"])).exits(0);
    let identity = fs::read_to_string(archive.join("archive.json")).unwrap();
    let mut identity: Value = serde_json::from_str(&identity).unwrap();
    identity["system_identifier"] = "7".into();
    fs::write(archive.join("archive.json"), identity.to_string()).unwrap();
    let ran = server.run("backup-validate", ["--wal", "wal", &record]).exits(0);
    ran.says("warn ").says("nobody looked for its log: 'wal' is of another server");
}

#[test]
fn a_snapshot_without_a_data_directory_is_never_drilled() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("up")).unwrap();
    fs::write(home.path().join("up/file"), "text").unwrap();
    let volume = format!("uploads=dir:{}/up", home.path().display());
    let record = run(lab::tool("volsnap", home.path()).args(["-q", &volume])).exits(0).line().to_owned();
    let ran = run(lab::tool("backup-validate", home.path()).args(["--drill", &record])).exits(0);
    let ran = ran.says("warn ").says("it is not drilled: it holds no data directory of PostgreSQL");
    assert!(!ran.err.contains("and proven"), "{}", ran.err);
    // and so nobody asks for one
    let mut command = lab::tool("backup-validate", home.path());
    run(command.args(["--report", "html", "r.html", "--metrics", "m.prom"])).exits(0);
    let read = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
    let page = read("r.html");
    assert!(page.contains("<h1>Recoverable</h1>") && page.contains("no drill can be held"), "{page}");
    assert!(!page.contains("ever restored"), "{page}");
    let numbers = read("m.prom");
    assert!(
        numbers.contains("pgkeep_backups{") && !numbers.contains("pgkeep_backup_drillable{"),
        "{numbers}"
    );
}

#[test]
fn a_tablespace_outside_is_not_written_to() {
    let stage = Stage::new("");
    let data = stage.server.data();
    let outside = stage.server.home().join("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, data.join("pg_tblspc/99999")).unwrap();
    let volume = format!("data=dir:{}", data.display());
    let ran = run(stage.server.tool("volsnap").args(["-q", "--allow-outside", &volume])).exits(0);
    let ran = stage.validate(&["--drill", ran.line()]);
    assert!(ran.code == 4 && ran.err.contains("leads out"), "{}: {}", ran.code, ran.err);
    assert_eq!(names(&outside), [""; 0]);
    assert!(Path::new(&outside).exists());
}

#[test]
fn an_archive_of_wal_is_judged_as_its_own_program_does() {
    let server = Server::start_with("wal_level = replica\n");
    let archive = server.home().join("wal");
    run(server.tool("wal-archive").args(["init", "-q", "-a", "wal"])).exits(0);
    let mut segments = Vec::new();
    for _ in 0..3 {
        server.sql("postgres", "CREATE TABLE IF NOT EXISTS t (id int); INSERT INTO t VALUES (1)");
        segments.push(server.sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())"));
    }
    for name in &segments {
        let path = server.data().join("pg_wal").join(name);
        run(server.tool("wal-archive").args(["push", "-q", "-a", "wal"]).arg(path).arg(name)).exits(0);
    }
    let validate = |path: &str| run(server.tool("backup-validate").arg(path));
    assert_eq!(validate("wal").exits(0).line(), "wal");
    let middle = format!("wal/00000001/{}", segments[1]);
    validate(&middle).exits(0);
    let stored = server.home().join(&middle);
    let good = fs::read(&stored).unwrap();
    let mut bad = good.clone();
    bad[9000] ^= 1;
    fs::write(&stored, bad).unwrap();
    validate(&middle).exits(1).says("is damaged");
    validate("wal").exits(1).says("is damaged");
    fs::remove_file(&stored).unwrap();
    validate("wal").exits(1).says("missing");
    assert!(archive.is_dir());
}

#[test]
fn snapshots_are_watched_measured_and_reported() {
    let stage = Stage::new("");
    let of = |dir: &Path| {
        let ran =
            run(stage.server.tool("volsnap").args(["-q", &format!("data=dir:{}", dir.display())])).exits(0);
        ran.line().to_owned()
    };
    let first = stage.record.file_name().unwrap().to_str().unwrap().to_owned();
    let (usual, report) = (["--watch"], ["--metrics", "m.prom", "--report", "html", "r.html"]);
    stage.validate(&usual).exits(0);
    // a volume of the same name that has lost nearly all
    let other = stage.server.home().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("file"), vec![7; 100_000]).unwrap();
    let identity = |set: &str| {
        let path = stage.server.home().join(set);
        let text = fs::read_to_string(&path).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        value["system_identifier"].clone()
    };
    let second = of(&other);
    assert_eq!(identity(&second), Value::Null);
    // of other data it is no measure for these
    stage.validate(&usual).exits(0);
    fs::write(other.join("file"), vec![7; 10_000]).unwrap();
    let third = of(&other);
    let ran = stage.validate(&usual).exits(1);
    assert!(ran.line().starts_with("shrunken\tdata\t"), "{}", ran.out);
    assert!(ran.line().ends_with("a snapshot by volsnap --allow-shrink accepts that"), "{}", ran.out);
    let short = |set: &str| set.rsplit('/').next().unwrap().to_owned();
    assert!(ran.out.contains(&short(&third)) && ran.out.contains(&short(&second)), "{}", ran.out);

    let drilled = stage.validate(&["--drill", stage.record.to_str().unwrap()]);
    assert_eq!(drilled.code, 0, "{}", drilled.err);
    stage.validate(&[&usual[..], &report].concat()).exits(1);
    let text = fs::read_to_string(stage.server.home().join("m.prom")).unwrap();
    let of_data = |metric: &str| {
        text.lines()
            .filter(|l| l.starts_with(&format!("{metric}{{")) && l.contains("kind=\"volumes\""))
            .count()
    };
    assert_eq!((of_data("pgkeep_backup_size_bytes"), of_data("pgkeep_backups")), (2, 2), "{text}");
    assert_eq!(of_data("pgkeep_backup_drillable"), 1, "{text}");
    assert_eq!((of_data("pgkeep_drill_success"), of_data("pgkeep_backup_rows")), (1, 0), "{text}");
    let page = fs::read_to_string(stage.server.home().join("r.html")).unwrap();
    for name in [&first, &short(&third)] {
        assert!(page.contains(name.as_str()), "{page}");
    }
    assert!(page.contains("restored in a drill"), "{page}");
    assert!(page.contains("by <code>--keep-last 10</code>"), "{page}");
    // what they take counts
    let quota = stage.validate(&["--quota", "10K"]).exits(1);
    assert!(quota.line().starts_with("quota"), "{}", quota.out);
    // an archive, and a record, that somebody took away
    let third = stage.server.home().join(&third);
    fs::remove_file(stage.archive()).unwrap();
    assert!(stage.validate(&["--max-age", "1h"]).exits(1).line().contains("is missing"));
    fs::remove_file(&third).unwrap();
    let told = || stage.validate(&["--max-age", "1h"]).exits(1).out.matches("its record is missing").count();
    assert_eq!(told(), 1);
    assert!(stage.validate(&["--max-age", "1h"]).out.contains("unproven\tdata\t"));
    // and all of it: the list of digests remembers
    let stamp = third.file_stem().unwrap().to_str().unwrap();
    fs::remove_file(third.with_file_name(format!("{stamp}_data.tar.gz"))).unwrap();
    assert_eq!(told(), 1);
}

#[test]
fn a_smaller_snapshot_is_an_alarm_until_somebody_accepts_it() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("up")).unwrap();
    let snap = |bytes: usize, options: &[&str]| {
        fs::write(home.path().join("up/file"), vec![7; bytes]).unwrap();
        run(lab::tool("volsnap", home.path()).args(["-q", "dir:up"]).args(options)).exits(0);
    };
    let watch = || run(lab::tool("backup-validate", home.path()).arg("--watch"));
    snap(1_000_000, &[]);
    watch().exits(0);
    for _ in 0..2 {
        snap(100_000, &[]);
        assert!(watch().exits(1).line().starts_with("shrunken\tup\t"));
    }
    snap(100_000, &["--allow-shrink"]);
    watch().exits(0);
    snap(99_000, &[]);
    watch().exits(0);
}

#[test]
fn a_hot_snapshot_is_no_smaller_cold_one() {
    let settings = "wal_level = replica\nmax_wal_senders = 2\narchive_mode = on\narchive_command = 'true'\n";
    let mut server = Server::start_with(settings);
    server.make("shop");
    server.sql("shop", "CREATE TABLE much AS SELECT repeat('x', 900) AS x FROM generate_series(1, 40000)");
    server.sql("shop", "CHECKPOINT");
    let data = format!("data=dir:{}", server.data().display());
    let take = |server: &Server, how: &[&str]| {
        run(server.tool("volsnap").args(["-q", &data]).args(how)).exits(0).line().to_owned()
    };
    let watch = |server: &Server| server.run("backup-validate", ["--watch"]);
    // that it runs is in nobody's way
    for (how, says) in [("--hot", "in production"), ("--keep-last=1", "runs on it")] {
        let told = run(server.tool("volsnap").args([&data, how, "--dry-run"])).exits(0);
        assert!(told.line().contains(says), "{}", told.out);
    }
    take(&server, &["--hot"]);
    server.stop_in_order();
    take(&server, &[]);
    server.start_again();
    take(&server, &["--hot"]);
    watch(&server).exits(0);
    let before = take(&server, &["--hot", "--with-wal"]);
    watch(&server).exits(0);
    // what is gone is seen all the same
    server.sql("shop", "DROP TABLE much; CHECKPOINT");
    take(&server, &["--hot"]);
    let ran = watch(&server).exits(1);
    let of = before.rsplit('/').next().unwrap();
    assert!(ran.line().starts_with("shrunken\tdata\t") && ran.out.contains(of), "{}", ran.out);
}
