//! The file for Prometheus: read by a parser of its format, whole at any moment, counted on across runs.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use prometheus_parse::{Sample, Scrape, Value};

use crate::Place;

/// The samples in the file of that name, all of which the parser must understand.
#[track_caller]
fn samples(place: &Place, name: &str) -> Vec<Sample> {
    let text = fs::read_to_string(place.path(name)).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with('#')).count();
    let scrape = Scrape::parse(text.lines().map(|l| Ok(l.to_owned()))).unwrap();
    assert_eq!(scrape.samples.len(), lines, "{text}");
    for sample in &scrape.samples {
        let told = |name: &str| scrape.docs.contains_key(name);
        let bare = sample.metric.trim_end_matches("_total");
        assert!(told(bare) || told(&sample.metric), "no HELP: {}", sample.metric);
        assert_eq!(sample.labels.get("file"), Some(name));
    }
    scrape.samples
}

/// Values by name, of those that have this label.
fn values(samples: &[Sample], label: &str, value: &str) -> HashMap<String, f64> {
    let of = |s: &&Sample| s.labels.get(label) == Some(value);
    let number = |s: &Sample| match s.value {
        Value::Counter(v) | Value::Gauge(v) | Value::Untyped(v) => (s.metric.clone(), v),
        _ => panic!("{s:?}"),
    };
    samples.iter().filter(of).map(number).collect()
}

#[test]
fn a_run_and_the_newest_backup_are_told() {
    let place = Place::new();
    let ran = place.rotate(&["--metrics", "pg.prom", "--json", "--", "cat", "dump.sql"]).exits(0);
    let made: serde_json::Value = serde_json::from_str(ran.line()).unwrap();
    let samples = samples(&place, "pg.prom");
    let of = values(&samples, "series", "backup");
    assert_eq!(of["pgkeep_backup_rows"], made["rows"].as_f64().unwrap());
    assert_eq!(of["pgkeep_backup_size_bytes"], made["file"]["bytes"].as_f64().unwrap());
    assert_eq!(of["pgkeep_backup_raw_size_bytes"], made["raw_bytes"].as_f64().unwrap());
    assert_eq!(of["pgkeep_backups"], 1.0);
    assert!(of["pgkeep_backup_timestamp_seconds"] > 1.7e9, "{of:?}");
    let run = values(&samples, "tool", "pgdump-rotate");
    assert_eq!(run["pgkeep_run_exit_code"], 0.0);
    assert!(run["pgkeep_run_success_timestamp_seconds"] >= of["pgkeep_backup_timestamp_seconds"]);
    let dir = place.path("backups").canonicalize().unwrap();
    let storage = values(&samples, "dir", dir.to_str().unwrap())["pgkeep_storage_bytes"];
    assert!(storage > of["pgkeep_backup_size_bytes"]);
    let mode = fs::metadata(place.path("pg.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the node exporter is another user");
}

#[test]
fn counters_and_the_last_success_outlive_failures() {
    let place = Place::new();
    let run = |script: &str| {
        place.rotate(&["--metrics", "pg.prom", "--", "sh", "-c", script]);
        let samples = samples(&place, "pg.prom");
        let count = |outcome| values(&samples, "outcome", outcome)["pgkeep_runs_total"];
        let run = values(&samples, "tool", "pgdump-rotate");
        let success = run.get("pgkeep_run_success_timestamp_seconds").copied();
        (count("success"), count("failure"), run["pgkeep_run_exit_code"], success)
    };
    assert_eq!(run("exit 1"), (0.0, 1.0, 1.0, None));
    let good = run("cat dump.sql");
    assert_eq!((good.0, good.1, good.2), (1.0, 1.0, 0.0));
    assert_eq!(run("head -n 99 dump.sql"), (1.0, 2.0, 1.0, good.3));
    fs::write(place.path("pg.prom"), "# HELP pgkeep_what is this\u{1b}\n").unwrap();
    assert_eq!(run("cat dump.sql").0, 1.0, "a file that is damaged is begun anew");
    assert_eq!(run("cat dump.sql").0, 2.0);
    let left = crate::lab::names(place.0.path());
    assert!(!left.iter().any(|n| n.ends_with(".part")), "{left:?}");
    fs::write(place.path("other"), "what is this\n").unwrap();
    place.rotate(&["--metrics", "other", "--", "cat", "dump.sql"]).exits(4).says("something else is there");
    assert_eq!(fs::read_to_string(place.path("other")).unwrap(), "what is this\n");
}

#[test]
fn no_name_breaks_the_file() {
    let place = Place::with_backup();
    let name = place.dumps().remove(0);
    let hostile = "a\"} 1\npgkeep_backups 99\n\\\u{1b}[2J\u{202e}ü,b=\"";
    let mut manifest = place.manifest(&name);
    manifest["kind"] = "database".into();
    manifest["source"]["databases"] = vec![hostile].into();
    fs::write(place.path("backups").join(format!("{name}.json")), manifest.to_string()).unwrap();
    place.rotate(&["--metrics", "pg.prom", "--rotate-only"]).exits(0);
    let text = fs::read_to_string(place.path("pg.prom")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    let labels: Vec<_> = lines.iter().map(|l| labels(l).unwrap_or_else(|| panic!("{l}"))).collect();
    let database: Vec<&String> =
        labels.iter().flatten().filter(|(k, _)| k == "database").map(|(_, v)| v).collect();
    assert_eq!(database.len(), 10, "{text}");
    let seen = hostile.replace('\u{1b}', "\u{fffd}");
    assert!(database.iter().all(|d| **d == seen), "{text}");
    assert_eq!(lines.iter().filter(|l| l.starts_with("pgkeep_backups{")).count(), 1, "{text}");
}

/// The labels of a line, by the rules of the format to the letter: the parser from outside knows no `}` in
/// a label. `None`: the line is none.
fn labels(line: &str) -> Option<Vec<(String, String)>> {
    let (name, mut rest) = line.split_once('{')?;
    name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_').then_some(())?;
    let mut labels = Vec::new();
    loop {
        let (label, value) = rest.split_once("=\"")?;
        let (mut text, mut chars) = (String::new(), value.chars());
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(match chars.next()? {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                c => text.push(c),
            }
        }
        labels.push((label.to_owned(), text));
        match chars.next()? {
            ',' => rest = chars.as_str(),
            '}' => break chars.as_str().strip_prefix(' ')?.parse::<f64>().ok().map(|_| labels),
            _ => return None,
        }
    }
}

#[test]
fn a_file_that_cannot_be_written_changes_nothing() {
    let place = Place::new();
    place
        .rotate(&["--metrics", "no/such/dir/x.prom", "--", "cat", "dump.sql"])
        .exits(0)
        .says("cannot write metrics: cannot create 'no/such/dir/x.prom.part'");
    place.holds(1);
}

#[test]
fn a_folder_in_its_place_costs_no_backup() {
    let place = Place::new();
    fs::create_dir(place.path("m.prom")).unwrap();
    place.rotate(&["--metrics", "m.prom", "--", "cat", "dump.sql"]).exits(0).says("cannot write metrics");
    place.holds(1);
}
