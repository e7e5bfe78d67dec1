//! What comes out on standard output, and readers that take it, or leave.

use std::fs;
use std::process::Stdio;

use crate::{Place, lab};

#[test]
fn paths_flow_one_a_line() {
    let place = Place::new();
    let sums = place.sh("\"$ROTATE\" -q -- cat dump.sql | xargs -n1 sha256sum").exits(0);
    let own = fs::read_to_string(place.path("backups/SHA256SUMS")).unwrap();
    assert_eq!(sums.out.replace("backups/", ""), own);
    assert_eq!(sums.err, "");
    place.sh("\"$ROTATE\" -q --stdin <dump.sql | xargs -n1 zcat | cmp - dump.sql").exits(0);
    let zstd = place.sh("\"$ROTATE\" -q --compress zstd --stdin <dump.sql").exits(0);
    let packed = fs::read(place.path(zstd.line())).unwrap();
    assert_eq!(zstd::decode_all(packed.as_slice()).unwrap(), fs::read(place.path("dump.sql")).unwrap());
    let script = "\"$ROTATE\" -q --compress none --stdin <dump.sql | xargs -n1 cmp dump.sql";
    place.sh(script).exits(0);
    assert_eq!(place.dumps().len(), 4);
}

#[test]
fn names_with_blanks_and_unicode_flow_too() {
    let place = Place::new();
    let script = "\"$ROTATE\" -q --name 'mein Läden 店' --dir 'a b/ü' -- cat dump.sql | \
        while IFS= read -r path; do zcat \"$path\" | cmp - dump.sql || exit; echo \"$path\"; done";
    let ran = place.sh(script).exits(0);
    assert!(ran.line().starts_with("a b/ü/mein Läden 店_"), "{}", ran.out);
    place.sh("cd 'a b/ü' && sha256sum --strict -c SHA256SUMS").exits(0);
}

#[test]
fn the_list_is_newest_first_in_fields() {
    let place = Place::new();
    for tag in ["one", "two", "three"] {
        place.rotate(&["-q", "--tag", tag, "--", "cat", "dump.sql"]).exits(0);
    }
    place.holds(3);
    let ran = place.sh("\"$ROTATE\" --list | cut -f1,4-").exits(0);
    let rows: Vec<Vec<&str>> = ran.lines().iter().map(|l| l.split('\t').collect()).collect();
    let tags: Vec<&str> = rows.iter().map(|r| r[3]).collect();
    assert_eq!(tags, ["three", "two", "one"]);
    assert_eq!(rows[0], [place.dumps()[0].as_str(), "1", "5000", "three", "proven"]);
    assert_eq!(place.sh("\"$ROTATE\" --list | head -n1").exits(0).lines().len(), 1);
    let newest = "zcat backups/\"$(\"$ROTATE\" --list | head -n1 | cut -f1)\" | cmp - dump.sql";
    place.sh(newest).exits(0);
}

#[test]
fn json_is_one_object_a_line() {
    let place = Place::new();
    let made = place.rotate(&["--json", "--tag", "x\ty", "--", "cat", "dump.sql"]).exits(0);
    let made: serde_json::Value = serde_json::from_str(made.line()).unwrap();
    assert_eq!(made["rows"], 5000);
    assert_eq!(made["tag"], "x\ty");
    assert!(place.path(made["path"].as_str().unwrap()).is_file());
    let listed = place.rotate(&["--list", "--json"]).exits(0);
    let listed: serde_json::Value = serde_json::from_str(listed.line()).unwrap();
    assert_eq!((&listed["path"], &listed["proven"]), (&made["path"], &true.into()));
}

#[test]
fn quiet_says_the_path_and_nothing_else() {
    let place = Place::new();
    let ran = place.rotate(&["-q", "--", "cat", "dump.sql"]).exits(0);
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        (format!("backups/{}\n", place.dumps()[0]).as_str(), "")
    );
}

/// The backup is what counts: who was to be told of it may be gone.
#[test]
fn a_backup_stays_whoever_listens() {
    let place = Place::new();
    for script in ["\"$ROTATE\" -- cat dump.sql >&-", "\"$ROTATE\" -- cat dump.sql 2>&-"] {
        place.sh(script).exits(0);
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let gone = place.tool().args(["--", "cat", "dump.sql"]).stdout(writer).stderr(Stdio::piped()).spawn();
    lab::end(gone.unwrap()).exits(0);
    place.sh("\"$ROTATE\" -- cat dump.sql >/dev/full").exits(5).says("cannot write 'standard output'");
    place.sh("\"$ROTATE\" -- cat dump.sql 2>/dev/full").exits(0);
    place.holds(5);
}

#[test]
fn a_pipeline_of_backups_ends_with_the_last() {
    let place = Place::new();
    let script = "for i in 1 2 3 4 5; do \"$ROTATE\" -q --keep-last 3 -- cat dump.sql; done | wc -l";
    assert_eq!(place.sh(script).exits(0).out.trim(), "5");
    place.holds(3);
}
