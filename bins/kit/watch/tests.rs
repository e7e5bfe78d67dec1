//! The judging, as a table.

use super::*;
use crate::codec::Kind as Codec;
use crate::manifest::{Artifact, Format, Kind, Rotation, Source, Verified};

const NOW: &str = "20251130_120000";

fn now() -> Stamp {
    Stamp::parse_compact(NOW).unwrap()
}

/// A proven backup of `series`, `hours` old, with so many rows of ten bytes each.
fn made(series: &str, hours: i64, rows: u64) -> Backup {
    let time = now().plus(-hours * 3600);
    let name = format!("{series}_{}.sql.gz", time.compact());
    let bytes = rows * 5;
    let manifest = Manifest {
        format_version: 1,
        kind: Kind::Cluster,
        created: time.to_string(),
        duration_ms: 1,
        tool: "test 1".into(),
        tag: None,
        source: Source::default(),
        file: Artifact {
            name: name.clone(),
            bytes,
            sha256: String::new(),
            codec: Codec::Gzip,
            format: Format::Plain,
        },
        raw_bytes: rows * 10,
        tables: 1,
        rows,
        large_objects: 0,
        verified: Some(Verified { at: time.to_string(), how: "read-back".into(), ok: true }),
        rotation: Rotation::default(),
        frames: Vec::new(),
    };
    let series = Some(series.to_owned());
    Backup {
        path: name.clone().into(),
        name,
        series,
        time,
        bytes,
        manifest: Some(manifest),
        fault: None,
        way: "",
        log_bytes: None,
    }
}

fn with(mut backup: Backup, change: impl FnMut(&mut Manifest)) -> Backup {
    backup.manifest.as_mut().into_iter().for_each(change);
    backup
}

/// What is found, in words.
fn found(rules: &Rules, mut backups: Vec<Backup>, used: u64) -> Vec<String> {
    backups.sort_by_key(|b| std::cmp::Reverse(b.time));
    let findings = judge(rules, now(), &backups, used, |_, _, _| Ok(Vec::new())).unwrap();
    let word =
        |f: &Finding| f.series.as_ref().map_or(f.what.word().into(), |s| format!("{} {s}", f.what.word()));
    findings.iter().map(word).collect()
}

fn hours(n: i64) -> Option<i64> {
    Some(n * 3600)
}

#[test]
fn age_and_size_as_a_table() {
    let age = Rules { max_age: hours(26), ..Rules::default() };
    let size = Rules { min_size: Some(1000), ..Rules::default() };
    let schema_only = |b| with(b, |m: &mut Manifest| m.source.partial = vec!["--schema-only".into()]);
    let other = |b| with(b, |m: &mut Manifest| m.source.system_identifier = Some("7".into()));
    let unproven = |mut b: Backup, why: &str| {
        b.fault = Some(why.into());
        b
    };
    for (what, rules, backups, want) in [
        ("nothing at all", &age, vec![], vec!["missing"]),
        ("young enough", &age, vec![made("a", 26, 9), made("a", 50, 9)], vec![]),
        ("too old", &age, vec![made("a", 27, 9)], vec!["stale a"]),
        ("each series by itself", &age, vec![made("a", 1, 9), made("b", 30, 9)], vec!["stale b"]),
        ("each server by itself", &age, vec![made("a", 1, 9), other(made("a", 30, 9))], vec!["stale a"]),
        ("a part that was made once", &age, vec![made("a", 1, 9), schema_only(made("a", 99, 9))], vec![]),
        ("a series of parts", &age, vec![schema_only(made("a", 99, 9))], vec!["stale a"]),
        ("a foreign file is no backup", &age, vec![unproven(made("a", 1, 9), NO_MANIFEST)], vec!["missing"]),
        (
            "a damaged one is no backup, and is told",
            &age,
            vec![unproven(made("a", 1, 9), "cut"), made("a", 30, 9)],
            vec!["unproven a", "stale a"],
        ),
        ("dated in the future", &age, vec![made("a", -9, 9)], vec!["missing"]),
        ("large enough", &size, vec![made("a", 1, 200)], vec![]),
        ("too small", &size, vec![made("a", 1, 199), made("a", 2, 900)], vec!["small a"]),
    ] {
        assert_eq!(found(rules, backups, 0), want, "{what}");
    }
}

#[test]
fn storage_has_a_limit() {
    let rules = Rules { quota: Some(1000), ..Rules::default() };
    assert_eq!(found(&rules, vec![made("a", 1, 9)], 1000), [""; 0]);
    assert_eq!(found(&rules, vec![made("a", 1, 9)], 1001), ["quota"]);
}

#[test]
fn a_drop_stays_one_until_somebody_allows_it() {
    let of = |rows: &[u64]| -> Vec<Backup> {
        // newest first
        rows.iter().zip(1..).map(|(rows, hours)| made("a", hours, *rows)).collect()
    };
    let drops = |backups: &[Backup]| drop_of(&backups.iter().collect::<Vec<_>>(), 30).is_some();
    for (rows, want) in [
        (&[1000][..], false),
        (&[700, 1000], false),
        (&[699, 1000], true),
        (&[1000, 700], false),
        // the second night after a drop is no better than the first
        (&[690, 690, 1000], true),
        (&[690, 690, 690, 1000, 900], true),
        // it came back
        (&[1000, 100, 1000], false),
        // little by little
        (&[400, 500, 700, 1000], false),
        // of few rows only the loss of all
        (&[1, 99], false),
        (&[0, 99], true),
        (&[0, 0], false),
    ] {
        assert_eq!(drops(&of(rows)), want, "{rows:?}");
    }
    for allowed in [1, 0] {
        let mut backups = of(&[690, 690, 1000]);
        backups[allowed] = with(backups[allowed].clone(), |m| m.rotation.shrink_allowed = true);
        assert!(!drops(&backups), "{allowed}");
    }
    // bytes count by themselves: large objects are no rows
    let of_bytes = |raw: u64| with(made("a", 1, 690), |m| m.raw_bytes = raw);
    assert!(drops(&[of_bytes(70 << 10), of_bytes(200 << 10)]));
    assert!(!drops(&[of_bytes(7 << 10), of_bytes(20 << 10)]));
}

#[test]
fn tables_are_held_against_all_back_to_an_allowed_drop() {
    let allowed = with(made("a", 3, 1000), |m| m.rotation.shrink_allowed = true);
    let mut backups = vec![made("a", 1, 900), made("a", 2, 10), allowed, made("a", 4, 5000)];
    let judged = |backups: &[Backup]| {
        let mut asked = Vec::new();
        let rules = Rules { shrink: Some(30), tables_lost: true, ..Rules::default() };
        let table = || Table { name: "d.s.t\u{1b}".into(), before: 200, now: 100 };
        let some = || Tables { tables: vec![table()], count: 3 };
        let findings = judge(&rules, now(), backups, 0, |before, now, losses| {
            let before: Vec<String> = before.iter().map(|b| b.name.clone()).collect();
            asked.push((before, now.name.clone(), losses));
            Ok(vec![Changed::default(), Changed { lost: some(), fewer: some() }])
        });
        let why = findings.unwrap().into_iter().map(|f| format!("{} {}", f.what.word(), f.why));
        (asked, why.collect::<Vec<_>>())
    };
    let name = |i: usize| backups[i].name.clone();
    let (asked, why) = judged(&backups);
    let losses = Losses { percent: Some(30), least: LEAST_ROWS, tables: true };
    assert_eq!(asked, [(vec![name(1), name(2)], name(0), losses)]);
    let list = "d.s.t\u{1b} (200 rows before, 100 now) and 2 more";
    let base = name(2);
    assert_eq!(
        why,
        [
            format!("shrunken fewer rows than in {base}: {list}"),
            format!("tables-lost tables of {base} are gone: {list}")
        ]
    );
    // where the total fell, small tables count as well
    backups[0] = made("a", 1, 600);
    let (asked, why) = judged(&backups);
    assert_eq!((asked[0].2.least, why.len()), (1, 3));
}
