//! The filter: which backups are looked at, what becomes of them, and what is written down.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::damage::dump;
use crate::lab::{self, Ran, Server, feed, names, run, tool};

/// A folder with a dump in it, of which backups are made.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("dump.sql"), dump()).unwrap();
        Place(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[track_caller]
    fn back_up(&self, args: &[&str]) -> String {
        let mut rotate = tool("pgdump-rotate", self.0.path());
        run(rotate.arg("-q").args(args).args(["--", "cat", "dump.sql"])).exits(0).line().to_owned()
    }

    fn validate(&self, args: &[&str]) -> Ran {
        run(tool("backup-validate", self.0.path()).args(args))
    }

    fn manifest(&self, backup: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(&format!("{backup}.json"))).unwrap()).unwrap()
    }

    fn spoil(&self, backup: &str) {
        let mut bytes = fs::read(self.path(backup)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(self.path(backup), bytes).unwrap();
    }
}

#[test]
fn it_stands_in_a_pipe_between_programs() {
    let place = Place::new();
    let bins = [("ROTATE", "pgdump-rotate"), ("VALIDATE", "backup-validate"), ("INSPECT", "dump-inspect")];
    let mut shell = std::process::Command::new("sh");
    for (name, program) in bins {
        shell.env(name, tool(program, Path::new("/")).get_program());
    }
    let script = "\"$ROTATE\" -q -- cat dump.sql | \"$VALIDATE\" | xargs -n1 \"$INSPECT\" tables";
    shell.args(["-c", script]).current_dir(place.0.path());
    assert_eq!(run(&mut shell).exits(0).lines().len(), 4, "a line for each table");
}

#[test]
fn those_that_pass_are_let_through_and_the_status_counts() {
    let place = Place::new();
    let (good, bad) = (place.back_up(&[]), place.back_up(&["--compress", "zstd"]));
    place.spoil(&bad);
    let ran = place.validate(&[&good]).exits(0).says(&format!("ok {good}: "));
    assert_eq!(ran.line(), good);
    let ran = place.validate(&[&bad]).exits(1).says(&format!("bad {bad}: "));
    assert_eq!(ran.out, "");
    let list = format!("{bad}\n\n{good}\nnowhere\n");
    let ran =
        feed(&mut tool("backup-validate", place.0.path()), list).exits(3).says("bad nowhere: cannot open");
    assert_eq!(ran.line(), good);
    // an object for each, whatever became of it
    let ran = place.validate(&["--json", "-q", &good, &bad, "nowhere"]).exits(3);
    let verdicts: Vec<Value> = ran.lines().iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let words: Vec<&str> = verdicts.iter().map(|v| v["verdict"].as_str().unwrap()).collect();
    assert_eq!(words, ["ok", "bad", "bad"]);
    assert_eq!((&verdicts[0]["rows"], &verdicts[0]["tables"]), (&3600.into(), &4.into()));
    // what is quiet says what is wrong, and nothing else
    assert_eq!(place.validate(&["-q", &good]).exits(0).err, "");
    place.validate(&["-q", &bad]).exits(1).says("bad ");
}

#[test]
fn the_latest_of_each_series_and_all_of_a_time() {
    let place = Place::new();
    let (old, new, other) =
        (place.back_up(&[]), place.back_up(&["--compress", "none"]), place.back_up(&["--name", "other"]));
    let sorted = |args: &[&str]| {
        let mut lines: Vec<String> =
            place.validate(args).exits(0).lines().iter().map(|l| (*l).to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&["--latest"]), [new.as_str(), &other]);
    assert_eq!(place.validate(&["--latest", "--name", "backup"]).exits(0).line(), new);
    assert_eq!(sorted(&["--all"]), [old.as_str(), &new, &other]);
    let stamp = &old["backups/backup_".len()..][..15];
    assert!(sorted(&[stamp]).contains(&old));
    place.validate(&["20200101_000000"]).exits(1).says("holds no backup of 20200101_000000");
    // a bare name, a link, a folder
    let name = Path::new(&old).file_name().unwrap().to_str().unwrap();
    assert_eq!(place.validate(&[name]).exits(0).line(), old);
    symlink(name, place.path("backups/latest.sql")).unwrap();
    place.validate(&["backups/latest.sql"]).exits(0).says("as its manifest says");
    assert_eq!(place.validate(&["backups"]).exits(0).lines().len(), 3);
    // the newest that is not what it should be is not passed over
    place.spoil(&new);
    place.validate(&["--latest", "--name", "backup"]).exits(1);
}

#[test]
fn what_was_proven_goes_into_the_manifest_and_nothing_else_changes() {
    let place = Place::new();
    let backup = place.back_up(&[]);
    let manifest = place.path(&format!("{backup}.json"));
    fs::set_permissions(&manifest, fs::Permissions::from_mode(0o640)).unwrap();
    let (before, folder) = (place.manifest(&backup), names(&place.path("backups")));
    place.validate(&["--quick", &backup]).exits(0).says("from outside only");
    assert_eq!(place.manifest(&backup), before);
    place.validate(&[&backup]).exits(0);
    let mut after = place.manifest(&backup);
    assert_eq!((&after["verified"]["how"], &after["verified"]["ok"]), (&"check".into(), &true.into()));
    for field in ["verified", "seal"] {
        after[field] = before[field].clone();
    }
    assert_eq!(after, before);
    assert_eq!(fs::metadata(&manifest).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(names(&place.path("backups")), folder);
    // damage makes it uncounted, and mended it counts again
    let good = fs::read(place.path(&backup)).unwrap();
    place.spoil(&backup);
    place.validate(&[&backup]).exits(1);
    let proven =
        || run(tool("pgdump-rotate", place.0.path()).arg("--list")).exits(0).line().ends_with("\tproven");
    assert!(!proven());
    fs::write(place.path(&backup), &good).unwrap();
    place.validate(&[&backup]).exits(0).says("an earlier proof failed");
    assert!(proven());
    // also where not even the beginning can be read
    let mut bad = good;
    bad[..20].fill(0x1f);
    fs::write(place.path(&backup), bad).unwrap();
    place.validate(&[&backup]).exits(1);
    assert!(!proven());
}

#[test]
fn that_nobody_saw_how_its_producer_ended_stays_written() {
    let place = Place::new();
    let mut rotate = tool("pgdump-rotate", place.0.path());
    let backup = feed(rotate.args(["-q", "--stdin"]), dump()).exits(0).line().to_owned();
    for _ in 0..2 {
        place.validate(&[&backup]).exits(0);
        assert_eq!(place.manifest(&backup)["verified"]["how"], "check, footer");
    }
}

#[test]
fn a_manifest_that_was_changed_is_not_made_right_by_a_proof() {
    let place = Place::new();
    let backup = place.back_up(&["--tag", "release"]);
    let path = place.path(&format!("{backup}.json"));
    let text = fs::read_to_string(&path).unwrap();
    // of no consequence for the dump, but what is kept depends on it
    fs::write(&path, text.replace("\"tag\": \"release\"", "\"tag\": \"whatever\"")).unwrap();
    for _ in 0..2 {
        place.validate(&[&backup]).exits(1).says("its manifest was changed after it was written");
        place.validate(&["--quick", &backup]).exits(1).says("its manifest was changed");
    }
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    place.validate(&[&backup]).exits(1).says("cannot read");
}

#[test]
fn files_without_a_manifest_pass_with_a_warning() {
    let place = Place::new();
    place.validate(&["dump.sql"]).exits(0).says("warn dump.sql: it has no manifest");
    // a list of digests knows them nevertheless
    fs::write(place.path("SHA256SUMS"), format!("{}  dump.sql\n", "0".repeat(64))).unwrap();
    place.validate(&["dump.sql"]).exits(1).says("SHA256SUMS tells of another digest");
}

#[test]
fn what_is_no_backup_does_not_pass() {
    let place = Place::new();
    let text = dump();
    let empty = "--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
    let cluster = "--\n-- PostgreSQL database cluster dump\n--\n\nSET a = 1;\n\n-- PostgreSQL database dump complete\n--\n\n";
    let torn = "--\n-- PostgreSQL database cluster dump\n--\n\n\\connect a\n\n--\n-- PostgreSQL database dump\n--\n\n\
                SET a = 1;\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";
    let open = empty.replace("\n\nSET", "\n\n\\restrict key\n\nSET");
    for (name, content, code, says) in [
        ("torn.sql", torn, 1, "one of its databases has no completeness footer"),
        ("open.sql", &open, 1, "ends before the \\unrestrict"),
        ("empty.sql", "", 1, "it is empty"),
        ("short.sql", &text[..text.len() / 2], 1, "it ends within the rows of"),
        ("page.sql", "<html>\n<body>502 Bad Gateway</body>\n</html>\n", 1, "is no PostgreSQL dump"),
        ("hand.sql", "CREATE TABLE t (id int);\n", 1, "does not end with pg_dump's completeness footer"),
        ("half.sql", cluster, 1, "ends after one of its databases"),
        ("none.sql", empty, 0, "warn none.sql: it has no manifest"),
        ("none.sql", empty, 0, "it holds no rows: was the database empty?"),
        (
            "meta.sql",
            &text.replacen("SET statement_timeout", "\\! reboot\nSET statement_timeout", 1),
            0,
            "psql would run",
        ),
        ("a.xz", "\u{fd}7zXZ", 1, "a.xz"),
    ] {
        fs::write(place.path(name), content).unwrap();
        place.validate(&[name]).exits(code).says(says);
    }
    fs::write(place.path("open.sql"), format!("{open}\\unrestrict key\n\n")).unwrap();
    place.validate(&["open.sql"]).exits(0);
    fs::write(place.path("none.rdb"), b"REDIS0011\xfa\x05ctime\xc0\x01\xff\0\0\0\0\0\0\0\0").unwrap();
    place.validate(&["none.rdb"]).exits(0).says("it holds no keys: was the server empty?");
    fs::write(place.path("real.xz"), b"\xfd7zXZ\0whatever").unwrap();
    place.validate(&["real.xz"]).exits(4).says("hint: Turn it into SQL on the way: xz -dc FILE >NEW.sql &&");
    fs::create_dir(place.path("folder")).unwrap();
    place.validate(&["folder"]).exits(1).says("is a folder");
    place.validate(&["/dev/null"]).exits(1).says("it is no file");
}

#[test]
fn what_is_not_found_is_said_with_what_was_looked_for() {
    let place = Place::new();
    place.back_up(&[]);
    place.validate(&["--all", "--name", "zzz"]).exits(1).says("no backup by the name of 'zzz'");
    place.validate(&["-o", "backups"]).exits(1).says("no path came").says("--all or --latest");
    // dated ahead it is no newest backup
    fs::create_dir(place.path("ahead")).unwrap();
    fs::write(place.path("ahead/redis_21991231_000000.rdb"), b"REDIS0011\xfe\0\xff\0\0\0\0\0\0\0\0").unwrap();
    let ran = place.validate(&["--watch", "-o", "ahead"]).exits(1);
    assert!(ran.out.contains("the date of redis_21991231_000000.rdb lies in the future"), "{}", ran.out);
}

#[test]
fn a_name_that_is_no_utf8_is_passed_over_nowhere() {
    let place = Place::new();
    let good = place.back_up(&[]);
    let odd = OsStr::from_bytes(b"backups/caf\xe9_20251127_143022.sql");
    fs::copy(place.path("dump.sql"), place.0.path().join(odd)).unwrap();
    let ran = place.validate(&["--all"]).exits(3).says("its name is no UTF-8");
    assert_eq!(ran.line(), good);
    run(tool("backup-validate", place.0.path()).arg(odd)).exits(1).says("its name is no UTF-8");
    let ran = place.validate(&["--watch"]).exits(1);
    assert!(ran.line().starts_with("unproven\tcaf\u{fffd}\t") && ran.out.contains("UTF-8"), "{}", ran.out);
}

#[test]
fn who_may_not_read_a_backup_is_told_whose_it_is() {
    let place = Place::new();
    let backup = place.back_up(&[]);
    let program = place.path("backup-validate");
    fs::copy(tool("backup-validate", place.0.path()).get_program(), &program).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (path, of) in
        [("", 0o755), ("backups", 0o755), (&format!("{backup}.json"), 0o644), ("backups/SHA256SUMS", 0o644)]
    {
        mode(&place.path(path), of);
    }
    mode(&place.path(&backup), 0o000);
    // root may read everything
    let ran = |words: &[&str]| run(lab::as_runner(program.clone()).current_dir(place.0.path()).args(words));
    ran(&[&backup])
        .exits(4)
        .says("unproven ")
        .says("permission denied")
        .says("and has mode 0000; this is user ");
    let ran = ran(&["--watch"]).exits(1);
    assert!(ran.out.contains("unproven\tbackup\t") && ran.out.contains("it cannot be read"), "{}", ran.out);
}

#[test]
fn hostile_names_steer_no_terminal_and_break_no_line() {
    let place = Place::new();
    for name in ["a\nb.sql", "\u{1b}[2J.sql", "<b>&\"'.sql"] {
        fs::write(place.path(name), dump()).unwrap();
    }
    let ran = place.validate(&["a\nb.sql"]).exits(1).says("bad a\\nb.sql: ");
    assert_eq!(ran.out, "", "it would be two paths");
    place.validate(&["\u{1b}[2J.sql"]).exits(1).says("\\u{1b}[2J.sql");
    assert_eq!(place.validate(&["<b>&\"'.sql"]).exits(0).line(), "<b>&\"'.sql");
    let ran = place.validate(&["--json", "a\nb.sql"]).exits(0);
    assert_eq!(serde_json::from_str::<Value>(ran.line()).unwrap()["path"], "a\nb.sql");
    // and a table with such a name is told in one line
    let text = dump().replacen("'x' $$", "'y' $$", 1);
    fs::write(place.path("dump.sql"), &text).unwrap();
    let backup = place.back_up(&["--compress", "none"]);
    let path = place.path(&backup);
    let changed = fs::read_to_string(&path).unwrap();
    let row = changed.find("COPY public.\"a\nb").unwrap() + 200;
    let mut bytes = changed.into_bytes();
    bytes[row] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ran = place.validate(&[&backup]).exits(1).says("a\\nb; -- <b>");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn whatever_json_tells_is_in_the_manual() {
    let server = Server::start();
    server.make("shop");
    let backup = server.rotate(&["-d", "shop"]).exits(0).line().to_owned();
    fs::write(server.home().join("bad.sql.xz"), b"\xfd7zXZ\0\0").unwrap();
    let ran = server.run("backup-validate", ["--drill", "--json", &backup, "bad.sql.xz"]).exits(3);
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/backup-validate.1");
    let manual = fs::read_to_string(manual).unwrap();
    let told = manual.split(".It Fl -json\n").nth(1).unwrap().split("\n.It ").next().unwrap().to_owned();
    let words: Vec<&str> = told.split([' ', '\n']).collect();
    let mut keys = Vec::new();
    for line in ran.lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        keys.extend(object.as_object().unwrap().keys().cloned());
        keys.extend(object["drill"].as_object().into_iter().flat_map(|drill| drill.keys().cloned()));
    }
    assert!(keys.iter().any(|key| key == "hints") && keys.iter().any(|key| key == "queries"), "{keys:?}");
    keys.retain(|key| !words.contains(&key.as_str()));
    assert_eq!(keys, [""; 0]);
}
