//! What retention does with snapshots of volumes: the report foretells it, a dry run tells it, a run does it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{self, Ran, Server, names, run};

/// A folder with a volume of some bytes.
struct Stage(TempDir);

impl Stage {
    fn new() -> Stage {
        let stage = Stage(tempfile::tempdir().unwrap());
        stage.fill("up/file", 1_000_000);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn fill(&self, name: &str, bytes: usize) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), vec![7; bytes]).unwrap();
    }

    fn snap(&self, options: &[&str]) -> Ran {
        run(lab::tool("volsnap", self.0.path()).args(options))
    }

    /// Makes one, and tells its name.
    fn made(&self, options: &[&str]) -> String {
        let ran = self.snap(&[&["-q"], options].concat()).exits(0);
        Path::new(ran.line()).file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn validate(&self, options: &[&str]) -> Ran {
        run(lab::tool("backup-validate", self.0.path()).args(options))
    }

    fn page(&self) -> String {
        self.validate(&["--report", "html", "r.html"]);
        fs::read_to_string(self.path("r.html")).unwrap()
    }

    /// The group of a series, as the report has it.
    fn group(&self, series: &str) -> Value {
        self.validate(&["--report", "json", "r.json"]);
        let json: Value = serde_json::from_slice(&fs::read(self.path("r.json")).unwrap()).unwrap();
        let mut groups = json["groups"].as_array().unwrap().clone();
        groups.retain(|g| g["series"] == series);
        assert_eq!(groups.len(), 1, "{json}");
        groups.remove(0)
    }

    /// Those that the report says will go.
    fn foretold(&self, series: &str) -> Vec<String> {
        let group = self.group(series);
        let backups = group["backups"].as_array().unwrap().iter();
        let goes = backups.filter(|b| b["next"]["removed"] == true);
        goes.map(|b| b["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Those that a dry run says would go.
    fn told(&self, options: &[&str]) -> Vec<String> {
        let ran = self.snap(&[options, &["--dry-run"]].concat()).exits(0);
        let rows = ran.lines().into_iter().filter_map(|l| l.strip_prefix("remove\t")?.split('\t').next());
        rows.map(|name| format!("{name}.json")).collect()
    }

    /// Changes a record.
    fn edit(&self, name: &str, change: impl Fn(&mut Value)) {
        let path = self.path("backups/snapshots").join(name);
        let mut record = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut record);
        fs::write(&path, record.to_string()).unwrap();
    }

    fn records(&self) -> Vec<String> {
        names(&self.path("backups/snapshots")).into_iter().filter(|n| n.ends_with(".json")).collect()
    }
}

#[test]
fn what_the_report_foretells_of_snapshots_is_what_happens() {
    let stage = Stage::new();
    stage.fill("more/file", 10);
    let rules = ["dir:up", "--keep-last", "2", "--keep-tag", "release"];
    let tagged = stage.made(&[&rules[..], &["--tag", "release"]].concat());
    let other = [stage.made(&["dir:more", "--no-rotate"]), stage.made(&["dir:more", "--no-rotate"])];
    let (second, third) = (stage.made(&rules), stage.made(&rules));
    assert_eq!(stage.group("up")["rules"], serde_json::json!(["--keep-last 2", "--keep-tag release"]));
    assert_eq!(stage.foretold("up"), [second.as_str()]);
    assert_eq!(stage.told(&rules), [second.as_str()]);
    let page = stage.page();
    assert!(
        page.contains(&format!("The next one removes <bdi>{second}</bdi>, by <code>--keep-last 2</code>"))
    );
    assert!(page.contains("Nothing is ever removed: they are made with <code>--no-rotate</code>."), "{page}");
    let fourth = stage.made(&rules);
    assert_eq!(stage.records(), [tagged, other[0].clone(), other[1].clone(), third, fourth]);
    // the rules of one series are none of another's
    let last = stage.made(&["dir:more", "--keep-last", "1"]);
    assert_eq!((stage.records().len(), stage.foretold("more")), (4, vec![last]));
}

#[test]
fn what_is_elsewhere_is_another_thing_although_its_name_is_the_same() {
    let stage = Stage::new();
    stage.fill("other/up/file", 10);
    let rules = ["--keep-last", "1", "--metrics", "m.prom"];
    let first = stage.made(&[&["dir:up"], &rules[..]].concat());
    assert_eq!(stage.told(&[&["dir:other/up"], &rules[..2]].concat()), [""; 0]);
    let second = stage.made(&[&["dir:other/up"], &rules[..]].concat());
    assert_eq!(stage.records(), [first.as_str(), second.as_str()]);
    stage.validate(&["--watch"]).exits(0);
    let page = stage.page();
    assert!(page.contains(&format!("in dir:{}", stage.path("other/up").display())), "{page}");
    let numbers = fs::read_to_string(stage.path("m.prom")).unwrap();
    let sizes: Vec<&str> = numbers.lines().filter(|l| l.starts_with("pgkeep_backup_size_bytes{")).collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|l| l.contains("place=\"dir:/")), "{sizes:?}");
    let restore = |options: &[&str]| run(lab::tool("volrestore", stage.0.path()).args(options));
    restore(&["--latest", "--dry-run"]).exits(4).says("snapshots of different volumes");
    // one that somebody gives its name has it wherever it is: dated copies, say
    let named = [
        stage.made(&["dated=dir:up", "--keep-last", "1"]),
        stage.made(&["dated=dir:other/up", "--no-rotate"]),
    ];
    stage.made(&["dated=dir:up", "--keep-last", "1", "--allow-shrink"]);
    assert!(named.iter().all(|name| !stage.records().contains(name)));
    let dated = stage.records().pop().unwrap();
    fs::remove_file(stage.path("backups/snapshots").join(dated)).unwrap();
    // its own it does remove, and it is told
    assert_eq!(stage.told(&[&["dir:up"], &rules[..2]].concat()), [first]);
    let third = stage.made(&[&["dir:up"], &rules[..]].concat());
    assert_eq!(stage.records(), [second, third]);
}

#[test]
fn a_snapshot_that_has_lost_most_removes_nothing() {
    let stage = Stage::new();
    let rules = ["dir:up", "--keep-last", "1"];
    let full = stage.made(&rules);
    stage.fill("up/file", 100_000);
    let ran = stage.snap(&rules).exits(3);
    ran.says("warning: nothing older is removed: ")
        .says("smaller by more than 50% than")
        .says("--allow-shrink");
    assert_eq!(stage.records().len(), 2);
    assert_eq!((stage.foretold("up").len(), stage.told(&rules).len()), (0, 0));
    let held = |b: &Value| b["next"]["why"] == "held back: the newest is much smaller";
    assert_eq!(stage.group("up")["backups"].as_array().unwrap().iter().filter(|b| held(b)).count(), 2);
    assert!(stage.page().contains("would remove 2 of them"), "{}", stage.page());
    // it stays, night after night, until somebody says that it is right
    stage.snap(&rules).exits(3);
    assert!(stage.records().contains(&full));
    let last = stage.made(&[&rules[..], &["--allow-shrink"]].concat());
    assert_eq!(stage.records(), [last]);
}

#[test]
fn what_somebody_has_accepted_is_not_asked_again() {
    let stage = Stage::new();
    let rules = ["dir:up", "--keep-last", "1", "--keep-tag", "release"];
    let full = stage.made(&[&rules[..], &["--tag", "release"]].concat());
    stage.fill("up/file", 100_000);
    let accepted = stage.made(&[&rules[..], &["--allow-shrink"]].concat());
    // the word stays as long as what is larger
    for _ in 0..2 {
        let next = stage.made(&rules);
        assert_eq!(stage.records(), [full.as_str(), accepted.as_str(), next.as_str()]);
        assert_eq!(stage.foretold("up"), [next]);
    }
    // another word takes its place, as a dry run tells
    let again = [&rules[..], &["--allow-shrink"]].concat();
    let gone = [accepted, stage.records().pop().unwrap()];
    let mut told = stage.told(&again);
    told.sort();
    assert_eq!(told, gone);
    let next = stage.made(&again);
    assert_eq!(stage.records(), [full, next]);
    let last = stage.made(&rules[..3]);
    assert_eq!(stage.records(), [last]);
}

#[test]
fn a_record_that_does_not_tell_is_of_a_named_volume_if_its_name_says_so() {
    for (volume, is_named) in [("mine=dir:up", true), ("dir:up", false)] {
        let stage = Stage::new();
        let rules = [volume, "--keep-last", "1"];
        let old = stage.made(&rules);
        stage.edit(&old, |record| {
            record["volumes"][0].as_object_mut().unwrap().remove("is_named");
        });
        assert_eq!(stage.told(&rules), [old.as_str()], "{volume}");
        let new = stage.made(&rules);
        assert_eq!(stage.records(), [new.as_str()], "{volume}");
        let series = if is_named { "mine" } else { "up" };
        assert_eq!(stage.group(series)["place"].is_null(), is_named, "{volume}");
    }
}

#[test]
fn log_that_was_recycled_is_no_loss() {
    let stage = Stage::new();
    stage.fill("up/pg_wal/000000010000000000000001", 5_000_000);
    let rules = ["dir:up", "--keep-last", "1"];
    stage.made(&rules);
    fs::remove_file(stage.path("up/pg_wal/000000010000000000000001")).unwrap();
    stage.fill("up/pg_wal/000000010000000000000002", 200_000);
    let second = stage.made(&rules);
    assert_eq!(stage.records(), [second]);
    stage.validate(&["--watch"]).exits(0);
    // nor does much log hide one
    stage.fill("up/file", 100_000);
    stage.fill("up/pg_wal/000000010000000000000002", 5_000_000);
    stage.snap(&rules).exits(3).says("uncompressed, without WAL, ");
    assert!(stage.validate(&["--watch"]).exits(1).line().starts_with("shrunken\tup\t"));
    // but that there is none any more is one
    let stage = Stage::new();
    stage.fill("up/archive/000000010000000000000001.zst", 200_000);
    stage.made(&rules);
    fs::remove_file(stage.path("up/archive/000000010000000000000001.zst")).unwrap();
    stage.snap(&rules).exits(3).says("no WAL, 195.3 KiB before: it has less than 2");
    assert_eq!(stage.records().len(), 2);
}

#[test]
fn neither_rules_nor_a_word_are_for_another_cluster_of_the_same_name() {
    let mut server = Server::start();
    server.make("shop");
    server.sql("shop", "CREATE TABLE much AS SELECT repeat('x', 900) AS x FROM generate_series(1, 40000)");
    server.stop_in_order();
    let data = format!("data=dir:{}", server.data().display());
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("data")).unwrap();
    let elsewhere = format!("data=dir:{}", other.path().join("data").display());
    let snap = |words: &[&str]| run(server.tool("volsnap").arg("-q").args(words));
    let made = |words: &[&str]| snap(words).exits(0).line().rsplit('/').next().unwrap().to_owned();
    let records = || {
        let mut names = names(&server.home().join("backups/snapshots"));
        names.retain(|name| name.ends_with(".json"));
        names
    };
    let theirs: Vec<String> = (0..3).map(|_| made(&[&data, "--keep-last", "3"])).collect();
    let ours = made(&[&elsewhere, "--keep-last", "1", "--allow-shrink"]);
    assert_eq!(records(), [theirs, vec![ours]].concat());
    let told = snap(&[&elsewhere, "--keep-last", "1", "--dry-run"]).exits(0);
    assert_eq!(told.out.matches("counted by itself: the volumes of server ").count(), 3, "{}", told.out);
    assert_eq!(told.out.matches("remove\t").count(), 1, "{}", told.out);
}

#[test]
fn what_cannot_be_read_stays_and_is_told() {
    let stage = Stage::new();
    let first = stage.made(&["dir:up"]);
    fs::write(stage.path("backups/snapshots").join(&first), "{").unwrap();
    let ran = stage.snap(&["dir:up", "--keep-last", "1", "--dry-run"]).exits(0);
    assert!(ran.out.contains("not counted: cannot read"), "{}", ran.out);
    let (second, third) =
        (stage.made(&["dir:up", "--keep-last", "1"]), stage.made(&["dir:up", "--keep-last", "1"]));
    assert_ne!(second, third);
    assert_eq!(stage.records(), [first, third]);
}

#[test]
fn a_record_without_rules_foretells_nothing() {
    let stage = Stage::new();
    let name = stage.made(&["dir:up"]);
    let path = stage.path("backups/snapshots").join(&name);
    let record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(record["rules"], serde_json::json!(["--keep-last 10"]));
    // as an older release wrote it
    stage.edit(&name, |record| {
        let fields = record.as_object_mut().unwrap();
        fields.remove("seal");
        fields.remove("rules");
        fields["volumes"][0].as_object_mut().unwrap().remove("log_bytes");
    });
    stage.validate(&["--all"]).exits(0).says("has no seal");
    assert_eq!(stage.group("up")["rules"], Value::Null);
    assert!(stage.page().contains("not known: the record of the newest holds no rules"), "{}", stage.page());
    // what a newer release makes is held against it all the same
    stage.fill("up/file", 100);
    stage.snap(&["dir:up", "--keep-last", "1"]).exits(3).says("KiB uncompressed, 98");
    assert_eq!(stage.records().len(), 2);
}

#[test]
fn a_dry_run_knows_that_the_cluster_is_gone() {
    for volume in ["dir:up", "up=dir:up"] {
        let stage = Stage::new();
        let rules = [volume, "--keep-last", "1"];
        let name = stage.made(&rules);
        stage.edit(&name, |record| record["system_identifier"] = "7".into());
        assert!(stage.told(&rules).is_empty(), "{volume}");
        stage.snap(&rules).exits(0);
        assert_eq!(stage.records().len(), 2, "{volume}");
    }
}

#[test]
fn a_dry_run_is_not_told_of_who_will_be_stopped() {
    let stage = Stage::new();
    let program = stage.path("redis-server");
    fs::copy("/bin/sleep", &program).unwrap();
    let mut server =
        std::process::Command::new(program).arg("60").current_dir(stage.path("up")).spawn().unwrap();
    let plan = |options: &[&str]| stage.snap(&[&["dir:up", "--dry-run"], options].concat());
    let (alone, stopped) = (plan(&[]), plan(&["--stop", "true"]));
    server.kill().unwrap();
    server.wait().unwrap();
    let (alone, stopped) = (alone.exits(0).out, stopped.exits(0).out);
    assert!(alone.contains("runs on it"), "{alone}");
    assert!(stopped.ends_with(": files\n"), "{stopped}");
}

#[test]
fn a_record_under_another_name_is_none() {
    let stage = Stage::new();
    let name = stage.made(&["dir:up"]);
    let folder = stage.path("backups/snapshots");
    fs::copy(folder.join(&name), folder.join("20200101_000000.json")).unwrap();
    let found = stage.validate(&["--watch"]).exits(1);
    assert!(found.line().starts_with("unproven\tsnapshots\t20200101_000000.json\t"), "{}", found.out);
    assert!(found.line().ends_with("_up.tar.gz' is an archive of another"), "{}", found.out);
    // whoever removed it would remove the archive of the other
    stage.snap(&["dir:up", "--keep-last", "2"]).exits(0);
    stage.validate(&["--all", "-q"]).exits(3);
    assert!(folder.join(name.replace(".json", "_up.tar.gz")).exists());
}

#[test]
fn what_cannot_be_removed_does_not_keep_a_snapshot_from_being_made() {
    let stage = Stage::new();
    let name = stage.made(&["dir:up"]);
    let folder = stage.path("backups/snapshots");
    let record = fs::read_to_string(folder.join(&name)).unwrap();
    // a kill left it in the midst of its removal, and its archive does not go
    let gone = record.replace(name.trim_end_matches(".json"), "20200101_000000");
    fs::write(folder.join("20200101_000000.json.part"), gone).unwrap();
    fs::create_dir(folder.join("20200101_000000_up.tar.gz")).unwrap();
    stage.snap(&["dir:up"]).exits(1).says("cannot remove").says("20200101_000000_up.tar.gz");
    assert_eq!(stage.records().len(), 2);
    fs::remove_dir(folder.join("20200101_000000_up.tar.gz")).unwrap();
    stage.snap(&["dir:up"]).exits(0);
    assert!(!folder.join("20200101_000000.json.part").exists());
}
