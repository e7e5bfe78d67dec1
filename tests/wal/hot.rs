//! Hot snapshots: with the log that they need, or with an archive that has it.

use std::fs;

use crate::lab::{self, Server};
use crate::moment::{WHOLE, new_folder, recover, snap, started};
use crate::stage::{Stage, rows};

#[test]
fn a_snapshot_with_its_log_starts_by_itself() {
    let mut stage = Stage::hoarding();
    let bench = stage.bench(4);
    snap(&stage, &["--with-wal", "--limit", "200M"]).exits(0);
    lab::end(bench).exits(0);
    let into = new_folder(&stage);
    lab::run(stage.server.tool("volrestore").args(["--latest", "--into", &into])).exits(0);
    stage.server.stop();
    let server = started(&into, "");
    assert_eq!(server.sql("postgres", WHOLE), "t");
}

#[test]
fn a_hot_snapshot_does_not_wait_for_ever_for_an_archive_that_fails() {
    let stage = Stage::hoarding();
    let ran = snap(&stage, &["--within", "3s"]).exits(5);
    ran.says("the log is not archived after 3 s").says("waits, the archiver failed with").says("--within");
    let kept = lab::names(&stage.server.home().join("backups/snapshots"));
    assert!(kept.iter().all(|name| name.starts_with('.')), "{kept:?}");
    let ran = snap(&stage, &["--with-wal"]).exits(0);
    assert!(!ran.err.contains("archive"), "{}", ran.err);
    // mended, it is archived in time
    let config = stage.config(&[]);
    let command = config.lines().find_map(|l| l.strip_prefix("archive_command = ")).unwrap();
    stage.server.sql("postgres", &format!("ALTER SYSTEM SET archive_command = {command}"));
    stage.server.sql("postgres", "SELECT pg_reload_conf()");
    let record = snap(&stage, &["--within", "2m"]).exits(0).line().to_owned();
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(stage.server.home().join(record)).unwrap()).unwrap();
    for end in ["first", "last"] {
        assert!(stage.archived(1).contains(&record["wal"][end].as_str().unwrap().to_owned()), "{end}");
    }
}

#[test]
fn a_hot_snapshot_without_its_log_is_not_restored_alone() {
    let stage = Stage::archiving(&[]);
    lab::end(stage.bench(1)).exits(0);
    snap(&stage, &[]).exits(0);
    let into = new_folder(&stage);
    lab::run(stage.server.tool("volrestore").args(["--latest", "--into", &into]))
        .exits(4)
        .says("--until-immediate");
    recover(&stage, &["--latest", "--until-immediate", "--into", &into]).exits(0);
    assert_eq!(rows(&started(&into, "")), rows(&stage.server));
}

#[test]
fn a_hot_snapshot_whose_log_is_gone_counts_no_longer() {
    let stage = Stage::archiving(&[]);
    lab::end(stage.bench(1)).exits(0);
    let path = snap(&stage, &[]).exits(0).line().to_owned();
    let archive = stage.archive_text();
    let validate = |words: &[&str]| lab::run(stage.server.tool("backup-validate").args(words));
    let watch = ["--watch", "--wal", &archive];
    // alone it is looked at with a warning
    validate(&[&path]).exits(0).says("warn").says("--wal").says("volsnap --with-wal");
    validate(&[&path, "--wal", &archive]).exits(0).says("ok ").says("its log is in");
    validate(&watch).exits(0);

    // all up to the first segment that it needs, so that no gap is left behind
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(stage.server.home().join(&path)).unwrap()).unwrap();
    let first = record["wal"]["first"].as_str().unwrap().to_owned();
    let files = || lab::names(&stage.folder()).into_iter().map(|name| (stage.folder().join(&name), name));
    for (file, _) in files().filter(|(_, name)| name.len() >= 24 && name[..24] <= first[..]) {
        fs::remove_file(file).unwrap();
    }
    for quick in [&[][..], &["--quick"]] {
        let ran = validate(&[&[&path, "--wal", archive.as_str()][..], quick].concat()).exits(1);
        ran.says("does not hold").says(&first);
    }
    let page = || {
        let report = ["--report", "html", "page.html"];
        let ran = validate(&[&watch[..], &report].concat()).exits(1);
        let page = fs::read_to_string(stage.server.home().join("page.html")).unwrap();
        assert!(page.contains("There is no proven backup here"), "{page}");
        assert!(page.contains("<dt>Lost at worst</dt><dd>everything"), "{page}");
        (ran.out, page)
    };
    let (found, _) = page();
    let gap = found.lines().find(|line| line.starts_with("gap\tdata\t")).unwrap();
    assert!(gap.contains(&first), "{gap}");
    // nothing is left
    for (file, _) in files() {
        fs::remove_file(file).unwrap();
    }
    let (found, page) = page();
    assert!(found.contains("missing\t-\t-\tthe log's archive '"), "{found}");
    assert!(page.contains("no moment can be recovered") && !page.contains("any moment can"), "{page}");
}

#[test]
fn a_gap_may_be_known() {
    let stage = Stage::archiving(&[]);
    lab::end(stage.bench(1)).exits(0);
    stage.server.rotate(&["-q"]).exits(0);
    let archived = || stage.archived(1).into_iter().filter(|n| n.len() == 24).collect::<Vec<_>>();
    let switch = "SELECT pg_switch_wal() FROM (SELECT pg_logical_emit_message(true, '', 'x')) AS s";
    lab::wait_until("three are archived", || {
        stage.server.sql("postgres", switch);
        archived().len() >= 3
    });
    let second = archived()[1].clone();
    for name in lab::names(&stage.folder()).iter().filter(|name| name.starts_with(&second)) {
        fs::remove_file(stage.folder().join(name)).unwrap();
    }
    let archive = stage.archive_text();
    let validate = |words: &[&str]| {
        lab::run(stage.server.tool("backup-validate").args(["--watch", "--wal", &archive]).args(words))
    };
    assert!(validate(&[]).exits(1).line().starts_with("gap\t-\t-\t"));
    validate(&["--accept-gap", &second]).exits(0);
    validate(&["--accept-gap", &archived()[0]]).exits(1);
    validate(&["--accept-gap", "x"]).exits(2);
    lab::run(stage.server.tool("backup-validate").args(["--watch", "--accept-gap", &second])).exits(2);
}

#[test]
fn a_server_that_keeps_no_log_or_is_another_is_refused() {
    let stage = Stage::hoarding();
    let other = Server::start();
    let data = format!("data=dir:{}", stage.server.data().display());
    lab::run(other.tool("volsnap").args(["--hot", &data])).exits(4).says("does not run on");
    let own = format!("data=dir:{}", other.data().display());
    lab::run(other.tool("volsnap").args(["--hot", &own])).exits(4).says("archives no log");
    assert_eq!(lab::names(&other.home()), [""; 0], "nothing is left of what failed");
    let none = ["--until-latest", "--wal", "/nowhere", "--into", "/nowhere"];
    lab::run(other.tool("volrestore").args(none)).exits(1).says("there are no snapshots");
    lab::run(other.tool("volrestore").args(["--latest", "--yes"])).exits(1).says("there are no snapshots");
    assert_eq!(lab::names(&other.home()), [""; 0]);
}
