//! A backup that is much smaller than those before it holds back their removal, until somebody allows it.

use std::fs;

use crate::lab::hook::{Answer, Hook};
use crate::{Place, ROWS, dump, lab};

/// A backup of a dump with so many rows; two of them are to stay.
fn back_up(place: &Place, rows: usize, words: &[&str]) -> lab::Ran {
    fs::write(place.path("dump.sql"), dump(rows)).unwrap();
    let words = [words, &["--keep-last", "2", "--", "cat", "dump.sql"]].concat();
    place.rotate(&words)
}

#[test]
fn older_ones_stay_until_the_drop_is_allowed() {
    let place = Place::new();
    let names: Vec<String> = (0..2).map(|_| back_up(&place, ROWS, &[]).exits(0).line().to_owned()).collect();
    // it is made and proven all the same
    let hook = Hook::start(Answer::Status(200));
    let small = back_up(&place, ROWS / 3, &["--notify", &hook.url("/")]).exits(3);
    assert!(place.0.path().join(small.line()).is_file());
    assert!(small.err.contains("warning: nothing older is removed: backup_"), "{}", small.err);
    assert!(
        small.err.contains("1,666 rows, 5,000 before: fewer by more than 50% than backup_"),
        "{}",
        small.err
    );
    assert!(small.err.contains("hint: ") && small.err.contains("--allow-shrink"), "{}", small.err);
    assert_eq!((&hook.json()["outcome"], &hook.json()["exit_code"]), (&"partial".into(), &3.into()));
    assert!(hook.json()["message"].as_str().unwrap().contains("nothing older is removed"));
    // the next one is no better, although it is as large as the last
    back_up(&place, ROWS / 3, &[]).exits(3);
    assert_eq!(place.dumps().len(), 4);
    let plan = place.rotate(&["--rotate-only", "--dry-run", "--keep-last", "2"]).exits(0).out;
    assert_eq!(plan.matches("\theld back: the newest is much smaller").count(), 2, "{plan}");
    place.rotate(&["--rotate-only", "--keep-last", "2"]).exits(3);
    assert!(names.iter().all(|n| place.0.path().join(n).is_file()));

    // from the one that is allowed on, that is the measure
    back_up(&place, ROWS / 3, &["--allow-shrink"]).exits(0);
    assert_eq!(place.dumps().len(), 2);
    back_up(&place, ROWS / 3, &[]).exits(0);
    back_up(&place, 0, &[]).exits(3);
    assert_eq!(place.dumps().len(), 3);
    place.rotate(&["--rotate-only", "--allow-shrink", "--keep-last", "2"]).exits(0);
    assert_eq!(place.dumps().len(), 2);
}

#[test]
fn what_would_stay_anyway_is_no_news() {
    let place = Place::new();
    back_up(&place, ROWS, &[]).exits(0);
    let small = back_up(&place, ROWS / 3, &[]).exits(0);
    assert!(!small.err.contains("warning"), "{}", small.err);
    // and it is over when the rows are back
    back_up(&place, ROWS, &[]).exits(0);
    assert_eq!(place.dumps().len(), 2);
}

#[test]
fn what_one_server_may_lose_is_no_word_about_another() {
    let place = Place::new();
    let mut others = Vec::new();
    for rows in [ROWS, ROWS, ROWS / 3] {
        let path = place.path(back_up(&place, rows, &[]).line());
        let record = path.with_file_name(format!("{}.json", path.file_name().unwrap().display()));
        let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        manifest["source"]["system_identifier"] = "7".into();
        fs::write(&record, manifest.to_string()).unwrap();
        others.push(path);
    }
    back_up(&place, ROWS / 3, &["--allow-shrink"]).exits(0);
    assert!(others.iter().all(|path| path.exists()));
    // where nothing is made it is one about all
    place.rotate(&["--rotate-only", "--keep-last", "2"]).exits(3);
    place.rotate(&["--rotate-only", "--allow-shrink", "--keep-last", "2"]).exits(0);
    assert_eq!(others.iter().filter(|path| path.exists()).count(), 2);
}

#[test]
fn a_dry_run_of_a_dump_from_elsewhere_tells_what_the_run_does() {
    let place = Place::new();
    for _ in 0..3 {
        back_up(&place, ROWS, &["--no-rotate"]).exits(0);
    }
    // one that was made of a server is none of its like
    let of_server = place.path(back_up(&place, ROWS, &["--no-rotate"]).line());
    let record = of_server.with_file_name(format!("{}.json", of_server.file_name().unwrap().display()));
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    manifest["source"]["system_identifier"] = "7".into();
    fs::write(&record, manifest.to_string()).unwrap();
    let plan = back_up(&place, ROWS, &["--dry-run"]).exits(0);
    let goes = plan.lines().into_iter().filter_map(|l| l.strip_prefix("remove\t")?.split('\t').next());
    let goes: Vec<String> = goes.map(str::to_owned).collect();
    let before = place.dumps();
    let made = back_up(&place, ROWS, &[]).exits(0);
    let after = place.dumps();
    let gone: Vec<String> = before.into_iter().filter(|name| !after.contains(name)).collect();
    assert_eq!((goes.len(), &goes), (2, &gone), "{}", plan.out);
    assert!(of_server.exists() && place.path(made.line()).exists());
}

#[test]
fn a_dry_run_of_a_dumping_command_tells_its_parts_apart() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    fs::write(place.path("dump.sql"), dump(ROWS)).unwrap();
    fs::write(place.path("pg_dump"), "#!/bin/sh\nexec cat dump.sql\n").unwrap();
    fs::set_permissions(place.path("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
    let (whole, part) = (["--", "./pg_dump", "shop"], ["--", "./pg_dump", "-s", "shop"]);
    let run = |options: &[&str], command: &[&str]| place.rotate(&[options, command].concat()).exits(0);
    for command in [&whole[..], &part, &whole, &part] {
        run(&["--no-rotate"], command);
    }
    for command in [&whole[..], &part] {
        let plan = run(&["--keep-last", "1", "--dry-run"], command);
        let goes = plan.lines().into_iter().filter_map(|l| l.strip_prefix("remove\t")?.split('\t').next());
        let goes: Vec<String> = goes.map(str::to_owned).collect();
        let before = place.dumps();
        run(&["--keep-last", "1"], command);
        let after = place.dumps();
        let gone: Vec<String> = before.into_iter().filter(|name| !after.contains(name)).collect();
        assert_eq!((goes.len(), &goes), (2, &gone), "{}", plan.out);
    }
}
