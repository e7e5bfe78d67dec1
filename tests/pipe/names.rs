//! Names that others chose: in a folder, in a manifest, in a dump. They must not break a record in
//! two, nor steer a terminal.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::{HEAD, Place};

/// What would move a cursor, end a line, or turn the reading direction.
const EVIL: &str = "a\nb\u{1b}[2Jc\rd\u{9b}e\u{202e}f";
const HARMLESS: &str = "a\\nb\\u{1b}[2Jc\\rd\\u{9b}e\\u{202e}f";

fn is_harmless(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || c == '\t' || !(c.is_control() || c == '\u{202e}'))
}

#[test]
fn files_with_hostile_names_are_listed_on_one_line_each() {
    let place = Place::with_backup();
    let dir = place.path("backups");
    for name in [format!("{EVIL}_20251127_143022.sql"), format!("{EVIL}.sql.gz"), "-rf.sql".into()] {
        fs::write(dir.join(name), "").unwrap();
    }
    // a name in no encoding is none of ours
    fs::write(dir.join(OsStr::from_bytes(b"\xff_20251127_143022.sql")), "").unwrap();
    let ran = place.rotate(&["--list"]).exits(0);
    assert!(is_harmless(&ran.out), "{:?}", ran.out);
    assert_eq!(ran.lines().len(), 4, "{}", ran.out);
    assert!(ran.lines().iter().all(|l| l.split('\t').count() == 7), "{}", ran.out);
    assert!(ran.out.contains(&format!("{HARMLESS}_20251127_143022.sql\t")), "{}", ran.out);
    let json = place.rotate(&["--list", "--json"]).exits(0);
    let names: Vec<String> = json
        .lines()
        .iter()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.contains(&format!("{EVIL}.sql.gz")), "{names:?}");
    // … and a run beside them removes none
    place.rotate(&["--keep-last", "1", "--", "cat", "dump.sql"]).exits(0);
    assert_eq!(place.dumps().len(), 5, "{:?}", place.dumps());
}

#[test]
fn what_a_manifest_says_is_made_harmless_too() {
    let place = Place::with_backup();
    let name = place.dumps()[0].clone();
    let mut manifest = place.manifest(&name);
    manifest["tag"] = EVIL.into();
    manifest["file"]["name"] = EVIL.into();
    fs::write(place.path("backups").join(format!("{name}.json")), manifest.to_string()).unwrap();
    let ran = place.rotate(&["--list"]).exits(0);
    assert!(is_harmless(&ran.out), "{:?}", ran.out);
    assert!(ran.line().ends_with(&format!("\tno: its manifest is that of {HARMLESS}")), "{}", ran.out);
    let ran = place.rotate(&["--dry-run", "--rotate-only"]).exits(0);
    assert!(is_harmless(&ran.out), "{:?}", ran.out);
}

#[test]
fn what_a_dump_names_cannot_steer_a_terminal() {
    let place = Place::new();
    let table = EVIL.replace('\u{9b}', "");
    let cut = HEAD.replace("COPY public.numbers", &format!("COPY public.\"{table}\""));
    fs::write(place.path("cut.sql"), cut + "1\tone\n").unwrap();
    let ran = place.sh("\"$ROTATE\" --stdin <cut.sql").exits(1).says("it ends within the rows of public.a");
    assert!(is_harmless(&ran.err), "{:?}", ran.err);
    assert!(ran.err.lines().all(|l| l.starts_with("pgdump-rotate: ")), "{:?}", ran.err);

    let meta = fs::read_to_string(place.path("dump.sql")).unwrap() + "\\! rm -rf \u{1b}[2J\n";
    fs::write(place.path("meta.sql"), meta).unwrap();
    let ran = place.sh("\"$ROTATE\" --stdin <meta.sql").exits(0).says("psql would run '\\! rm -rf");
    assert!(is_harmless(&ran.err), "{:?}", ran.err);
}

#[test]
fn what_a_producer_says_cannot_steer_a_terminal() {
    let place = Place::new();
    let script = "printf 'oops \\033[2J\\n' >&2; cat dump.sql; exit ";
    for code in [0, 1] {
        let ran = place.rotate(&["--", "sh", "-c", &format!("{script}{code}")]).exits(code).says("oops");
        assert!(is_harmless(&ran.err), "{:?}", ran.err);
    }
}

#[test]
fn words_of_the_command_line_cannot_steer_a_terminal() {
    let place = Place::new();
    for words in
        [&["--\u{1b}[2J"][..], &["--dir=\u{1b}[2J", "--list"], &["--name", "\u{1b}[2J"], &["--", "\u{1b}[2J"]]
    {
        let ran = place.rotate(words);
        assert!(ran.code != 0 && is_harmless(&ran.err), "{words:?}: {:?}", ran.err);
    }
}
