//! Rotation in real folders: what is kept, what goes, and what is never touched.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{Server, names, run, tool};
use crate::stage::{back_up, beside, dumps, edit, snapshot};

/// A server with a small database, and one backup of it.
fn with_a_backup() -> (Server, PathBuf) {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    (server, backup)
}

/// A backup like `original` of another series and time, as it would stand there had it been made then.
fn forge(original: &Path, series: &str, stamp: &str) -> PathBuf {
    let name = format!("{series}_{stamp}.sql.gz");
    let path = original.with_file_name(&name);
    fs::copy(original, &path).unwrap();
    fs::copy(beside(original), beside(&path)).unwrap();
    let (date, time) = stamp.split_once('_').unwrap();
    let created = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    edit(&path, |m| {
        m["file"]["name"] = name.into();
        m["created"] = created.into();
        m["source"]["databases"] = serde_json::json!([series]);
    });
    path
}

/// `pgdump-rotate ARGS` where no server can be reached.
fn alone(server: &Server, args: &[&str]) -> crate::lab::Ran {
    run(tool("pgdump-rotate", &server.home()).env("PGHOST", "/nowhere").args(args))
}

#[test]
fn the_last_two_stay_and_the_sums_fit() {
    let (server, first) = with_a_backup();
    let dir = server.home().join("backups");
    let mut made = vec![first];
    for _ in 0..3 {
        let ran = server.rotate(&["-d", "shop", "--keep-last", "2"]).exits(0);
        made.push(server.home().join(ran.line()));
        let kept: Vec<PathBuf> = dumps(&dir).iter().map(|n| dir.join(n)).collect();
        assert_eq!(kept, made[made.len() - 2..]);
        if made.len() > 2 {
            let gone = made[made.len() - 3].file_name().unwrap().to_str().unwrap();
            assert!(ran.err.contains(&format!("removed {gone}: no rule keeps it")), "{}", ran.err);
        }
    }
    let mut want: Vec<String> = vec![".pgkeep.lock".into(), "SHA256SUMS".into()];
    for kept in dumps(&dir) {
        want.extend([kept.clone(), format!("{kept}.json")]);
    }
    want.sort();
    assert_eq!(names(&dir), want, "a manifest goes with its backup");
    let sums = run(Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(&dir)).exits(0);
    assert_eq!(sums.lines().len(), 2);
}

#[test]
fn ten_stay_when_nothing_is_said() {
    let (server, original) = with_a_backup();
    for day in 10..22 {
        forge(&original, "shop", &format!("202501{day}_000000"));
    }
    server.rotate(&["-d", "shop"]).exits(0);
    let dir = original.parent().unwrap();
    assert_eq!(dumps(dir).len(), 10);
    assert!(dumps(dir)[0].starts_with("shop_20250114"), "{:?}", dumps(dir));
    forge(&original, "shop", "20250101_000000");
    server.rotate(&["-d", "shop", "--no-rotate"]).exits(0);
    assert_eq!(dumps(dir).len(), 12);
}

#[test]
fn nothing_but_proven_backups_is_removed_or_counted() {
    let (server, original) = with_a_backup();
    let dir = original.parent().unwrap();
    // what others keep here, and what looks like ours
    let foreign = [
        "notes.txt",
        "foreign.sql",
        "shop.sql.gz",
        "shop_latest.sql",
        "shop_20250101.sql",
        "film.part",
        "shop_20250230_000000.sql.gz",
        "shop_20240101_000000.sql.json",
        "shop_20240102_000000.tar",
        "shop_20240103_000000.sql.gz",
    ];
    for name in foreign {
        fs::write(dir.join(name), name).unwrap();
    }
    fs::create_dir(dir.join("shop_20240104_000000.sql.gz")).unwrap();
    std::os::unix::fs::symlink("notes.txt", dir.join("shop_20240105_000000.sql")).unwrap();
    // each of these has a fault: newer than the real ones or older
    for (i, year) in ["2024", "2026"].into_iter().enumerate() {
        let at = |day: u32| format!("{year}02{day:02}_00000{i}");
        fs::remove_file(beside(&forge(&original, "shop", &at(1)))).unwrap();
        let whole = fs::read(beside(&original)).unwrap();
        fs::write(beside(&forge(&original, "shop", &at(2))), &whole[..whole.len() / 2]).unwrap();
        fs::write(beside(&forge(&original, "shop", &at(3))), "").unwrap();
        edit(&forge(&original, "shop", &at(4)), |m| m["verified"]["ok"] = false.into());
        edit(&forge(&original, "shop", &at(5)), |m| m["verified"] = serde_json::Value::Null);
        edit(&forge(&original, "shop", &at(6)), |m| m["file"]["name"] = "other.sql.gz".into());
        edit(&forge(&original, "shop", &at(7)), |m| m["format_version"] = 99.into());
        let cut = forge(&original, "shop", &at(8));
        fs::File::options().write(true).open(&cut).unwrap().set_len(100).unwrap();
        let path = forge(&original, "shop", &at(9));
        fs::remove_file(beside(&path)).unwrap();
        fs::create_dir(beside(&path)).unwrap();
    }
    let before = snapshot(dir);
    let older = forge(&original, "shop", "20250301_000000");
    let oldest = forge(&original, "shop", "20250201_000000");

    server.rotate(&["-d", "shop", "--keep-last", "2"]).exits(0);
    let mut after = snapshot(dir);
    assert!(!older.exists() && !beside(&older).exists() && !oldest.exists());
    assert!(original.exists(), "the two that count are the new one and the one before it");
    after.retain(|name, _| before.contains_key(name) && name != "SHA256SUMS" && name != ".pgkeep.lock");
    let untouched: Vec<_> = before.keys().filter(|n| *n != "SHA256SUMS" && *n != ".pgkeep.lock").collect();
    assert_eq!(after.keys().collect::<Vec<_>>(), untouched);
    assert!(after.iter().all(|(name, contents)| before[name] == *contents));
}

#[test]
fn what_is_dated_in_the_future_crowds_out_nothing() {
    let (server, original) = with_a_backup();
    let named = forge(&original, "shop", "20990101_000000");
    // a clock that jumped: only the name, or only the manifest, tells
    let name_only = forge(&original, "shop", "20980101_000000");
    edit(&name_only, |m| m["created"] = "2025-01-01T00:00:00Z".into());
    let manifest_only = forge(&original, "shop", "20250102_000000");
    edit(&manifest_only, |m| m["created"] = "2097-01-01T00:00:00Z".into());
    let old = forge(&original, "shop", "20250103_000000");
    let ran = alone(&server, &["--rotate-only", "-d", "shop", "--keep-last", "1", "--dry-run"]).exits(0);
    assert_eq!(ran.lines().iter().filter(|l| l.ends_with("not counted: dated in the future")).count(), 3);
    alone(&server, &["--rotate-only", "-d", "shop", "--keep-last", "1"]).exits(0);
    assert!(!old.exists());
    assert!([original, named, name_only, manifest_only].iter().all(|p| p.exists() && beside(p).exists()));
}

#[test]
fn a_run_never_removes_what_it_has_just_made() {
    let (server, original) = with_a_backup();
    // a clock that was put back by two minutes: what is there seems newer than what comes
    let ahead = kit::stamp::Stamp::now().plus(120).compact();
    forge(&original, "shop", &ahead);
    let made = back_up(&server, &["-d", "shop", "--keep-last", "1"]);
    let left = dumps(original.parent().unwrap());
    assert!(made.exists() && beside(&made).exists(), "{made:?} is gone, there are {left:?}");
}

#[test]
fn the_newest_proven_backup_stays_whatever_is_asked() {
    let (server, original) = with_a_backup();
    let dir = original.parent().unwrap();
    for stamp in ["20250101_000000", "20250102_000000"] {
        forge(&original, "shop", stamp);
    }
    // newer, and not proven
    edit(&forge(&original, "shop", "20260101_000000"), |m| m["verified"]["ok"] = false.into());
    fs::remove_file(&original).unwrap();
    fs::remove_file(beside(&original)).unwrap();
    for args in [["--keep-last", "0"], ["--keep-within", "0s"], ["--keep-daily", "0"]] {
        let all = [&["--rotate-only", "-d", "shop"][..], &args].concat();
        alone(&server, &all).exits(0);
        let left = dumps(dir);
        assert_eq!(left, ["shop_20250102_000000.sql.gz", "shop_20260101_000000.sql.gz"], "{args:?}");
        forge(&dir.join(&left[0]), "shop", "20250101_000000");
    }
    // of a new backup, even the one before it goes
    let ran = server.rotate(&["-d", "shop", "--keep-last", "0"]).exits(0);
    let made = ran.line().trim_start_matches("backups/").to_owned();
    assert_eq!(dumps(dir), ["shop_20260101_000000.sql.gz".to_owned(), made]);
}

#[test]
fn rules_add_up_over_days_and_months_and_tags() {
    let (server, original) = with_a_backup();
    let dir = original.parent().unwrap();
    for day in 1..=28 {
        for month in ["01", "02", "03"] {
            forge(&original, "shop", &format!("2025{month}{day:02}_020000"));
        }
    }
    let early = forge(&original, "shop", "20250328_010000");
    let tagged = forge(&original, "shop", "20250110_120000");
    edit(&tagged, |m| m["tag"] = "release".into());
    fs::remove_file(&original).unwrap();
    let rules = ["--keep-daily", "3", "--keep-monthly", "2", "--keep-weekly", "2", "--keep-tag", "release"];
    alone(&server, &[&["--rotate-only", "-d", "shop"][..], &rules].concat()).exits(0);
    // weeks end on Sunday, 23 March 2025; of two on one day the later counts
    let want = ["20250110_12", "20250228_02", "20250323_02", "20250326_02", "20250327_02", "20250328_02"];
    assert_eq!(dumps(dir), want.map(|s| format!("shop_{s}0000.sql.gz")));
    assert!(!early.exists());
    alone(&server, &["--rotate-only", "-d", "shop", "--keep-within", "26h"]).exits(0);
    assert_eq!(dumps(dir), ["shop_20250327_020000.sql.gz", "shop_20250328_020000.sql.gz"]);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_the_real_one_does() {
    let (server, original) = with_a_backup();
    let dir = original.parent().unwrap();
    for stamp in ["20250101_000000", "20250102_000000", "20250103_000000"] {
        forge(&original, "shop", stamp);
    }
    fs::remove_file(beside(&forge(&original, "shop", "20250104_000000"))).unwrap();
    for rest in [&["--rotate-only"][..], &[]] {
        let args = [&["-d", "shop", "--keep-last", "3"][..], rest].concat();
        let before = snapshot(dir);
        let dry = server.rotate(&[&args[..], &["--dry-run"]].concat()).exits(0);
        assert_eq!(snapshot(dir), before);
        let real = server.rotate(&args).exits(0);
        let plan: Vec<Vec<&str>> = dry.lines().iter().map(|l| l.split('\t').collect()).collect();
        let told =
            |what: &str| plan.iter().filter(|row| row[0] == what).map(|row| row[1]).collect::<Vec<_>>();
        assert_eq!(told("make").len(), usize::from(rest.is_empty()), "{plan:?}");
        assert!(!told("remove").is_empty(), "{plan:?}");
        let after = names(dir);
        for name in told("keep") {
            assert!(after.iter().any(|n| n == name), "{name}: {plan:?}");
        }
        for name in before.keys().filter(|n| n.ends_with(".sql.gz")) {
            let gone = told("remove").contains(&name.as_str());
            assert_eq!(gone, !after.contains(name), "{name}: {plan:?}");
            assert!(gone || told("keep").contains(&name.as_str()), "{name}: {plan:?}");
        }
        for row in plan.iter().filter(|row| row[0] == "remove") {
            assert!(real.err.contains(&format!("removed {}: {}", row[1], row[2])), "{}", real.err);
        }
    }
    // where there is no folder, it makes none
    server.rotate(&["-d", "shop", "-o", "nowhere/yet", "--dry-run"]).exits(0);
    assert!(!server.home().join("nowhere").exists());
}

#[test]
fn series_do_not_touch_each_other() {
    let (server, original) = with_a_backup();
    let dir = original.parent().unwrap();
    server.make("shop_eu");
    for series in ["shop", "shop_eu", "shop_20250101_000000", "backup"] {
        for day in 1..4 {
            forge(&original, series, &format!("2025020{day}_000000"));
        }
    }
    let of = |series: &str| {
        let all = dumps(dir);
        all.into_iter().filter(|n| n.len() == series.len() + 23 && n.starts_with(series)).count()
    };
    assert_eq!((of("shop"), of("shop_eu"), of("shop_20250101_000000"), of("backup")), (4, 3, 3, 3));
    server.rotate(&["-d", "shop", "--keep-last", "1"]).exits(0);
    assert_eq!((of("shop"), of("shop_eu"), of("shop_20250101_000000"), of("backup")), (1, 3, 3, 3));
    server.rotate(&["-d", "shop", "-d", "shop_eu", "--keep-last", "2"]).exits(0);
    assert_eq!((of("shop"), of("shop_eu"), of("backup")), (2, 2, 3));
    alone(&server, &["--rotate-only", "--keep-last", "1"]).exits(0);
    assert_eq!((of("shop"), of("shop_eu"), of("backup")), (2, 2, 1));
}

#[test]
fn a_failed_backup_removes_nothing() {
    let (server, original) = with_a_backup();
    let old = forge(&original, "shop", "20250101_000000");
    server.rotate(&["--name", "shop", "--keep-last", "1", "--", "false"]).exits(1);
    server.sql("postgres", "DROP DATABASE shop");
    server.rotate(&["-d", "shop", "--keep-last", "1"]).exits(1);
    assert!(old.exists() && original.exists());
}
