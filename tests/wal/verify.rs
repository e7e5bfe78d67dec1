//! `verify`: what is whole, what is missing, what is damaged.

use std::fs;

use crate::lab::{self, Ran};
use crate::stage::{Stage, flip};

fn verify(stage: &Stage, options: &[&str]) -> Ran {
    stage.wal(&[&["verify", "-a", &stage.archive_text()], options].concat())
}

fn stocked(codec: &str) -> Stage {
    let stage = Stage::archiving(&["--compress", codec]);
    stage.fill(2);
    stage.base("base");
    stage.fill(4);
    stage.settle();
    stage
}

#[test]
fn a_whole_archive_tells_the_times_that_it_covers() {
    let stage = stocked("zstd");
    let before = stage.server.sql("postgres", "SELECT now()");
    stage.server.sql("postgres", "CREATE TABLE last ()");
    let after = stage.server.sql("postgres", "SELECT now()");
    stage.settle();
    let ran = verify(&stage, &[]).exits(0);
    assert_eq!(ran.err, "");
    let timeline = ran.out.lines().next().unwrap().split('\t').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(timeline[..2], ["timeline", "1"]);
    assert_eq!(timeline[4], stage.archived(1).len().to_string());
    assert!(timeline[8] >= before && timeline[8] <= after, "{before} {} {after}", timeline[8]);
    let base = ran.out.lines().nth(1).unwrap();
    assert!(base.starts_with("base\t") && base.ends_with("\twhole"), "{base}");
}

#[test]
fn a_gap_is_told_with_what_it_cuts_off_and_can_be_accepted() {
    let stage = stocked("none");
    let segments = stage.archived(1);
    let missing = &segments[segments.len() - 2];
    fs::remove_file(stage.folder().join(missing)).unwrap();
    let ran = verify(&stage, &[]).exits(1).says(&format!("missing: {missing} to {missing}, 1 segments"));
    assert!(ran.out.lines().any(|l| l.starts_with("base") && l.ends_with("up to a gap")), "{}", ran.out);
    verify(&stage, &["--accept-gap", missing]).exits(0).says("(accepted)");
    verify(&stage, &["--accept-gap", &segments[0]]).exits(1);
    let json = verify(&stage, &["--json"]).exits(1).out;
    assert!(json.lines().next().unwrap().contains(&format!("\"first\":\"{missing}\"")), "{json}");
}

#[test]
fn a_base_backup_whose_own_log_is_cut_is_broken() {
    let stage = Stage::archiving(&[]);
    stage.fill(1);
    stage.base("base");
    stage.fill(3);
    stage.settle();
    let label = lab::names(&stage.folder()).into_iter().find(|n| n.ends_with(".backup")).unwrap();
    fs::remove_file(stage.folder().join(&label[..24])).unwrap();
    let ran = verify(&stage, &["--accept-gap", &label[..24]]).exits(1).says("cannot be recovered");
    assert!(ran.out.contains("broken"), "{}", ran.out);
}

#[test]
fn a_flipped_bit_is_found_in_every_kind_of_file() {
    for (codec, suffix) in [("none", ""), ("gzip", ".gz"), ("zstd", ".zst")] {
        let stage = stocked(codec);
        let segment = &stage.archived(1)[3];
        let stored = stage.folder().join(format!("{segment}{suffix}"));
        let whole = fs::read(&stored).unwrap();
        flip(&stored, whole.len() as u64 / 2);
        verify(&stage, &[]).exits(1).says(segment).says("damaged");
        fs::write(&stored, whole).unwrap();
        verify(&stage, &[]).exits(0);
    }
    let stage = stocked("none");
    let label = lab::names(&stage.folder()).into_iter().find(|n| n.ends_with(".backup")).unwrap();
    flip(&stage.folder().join(&label), 30);
    verify(&stage, &[]).exits(1).says(&label);
}

#[test]
fn a_timeline_without_its_history_is_told() {
    let stage = stocked("none");
    let two = stage.archive().join("00000002");
    fs::create_dir(&two).unwrap();
    let segment = &stage.archived(1)[0];
    fs::copy(stage.folder().join(segment), two.join(segment.replacen('1', "2", 1))).unwrap();
    verify(&stage, &[]).exits(1).says("'00000002.history' is missing");
}

#[test]
fn an_archive_that_is_away_is_no_empty_one() {
    let stage = stocked("none");
    fs::rename(stage.archive().join("archive.json"), stage.archive().join("other.json")).unwrap();
    assert_eq!(verify(&stage, &[]).exits(5).out, "");
}

#[test]
fn an_archive_into_which_nothing_came_is_not_whole() {
    let stage = Stage::hoarding();
    verify(&stage, &[]).exits(1).says("nothing was ever archived in");
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other() {
    let stage = stocked("none");
    let segments = stage.archived(1);
    let unreadable = stage.folder().join(&segments[1]);
    fs::remove_file(&unreadable).unwrap();
    // whoever runs the tests may be allowed to read every file
    fs::create_dir(&unreadable).unwrap();
    let alone = verify(&stage, &[]).exits(5).says(&segments[1]);
    assert!(alone.out.contains("timeline\t1"), "{}", alone.out);
    let damaged = &segments[segments.len() - 1];
    flip(&stage.folder().join(damaged), 300_000);
    verify(&stage, &[]).exits(1).says(&segments[1]).says(&format!("{damaged}' is damaged"));
}
