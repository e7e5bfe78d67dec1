//! `push` by hand: what is stored, what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::lab::{self, names};
use crate::stage::{Stage, flip};

#[test]
fn stores_with_every_codec_what_ordinary_programs_read() {
    let stage = Stage::hoarding();
    stage.fill(3);
    let ready = stage.ready();
    for (segment, codec, suffix, program) in [
        (&ready[0], "none", "", "cat"),
        (&ready[1], "gzip", ".gz", "zcat"),
        (&ready[2], "zstd:3", ".zst", "zstdcat"),
    ] {
        stage.push(segment, &["--compress", codec]).exits(0);
        let stored = stage.folder().join(format!("{segment}{suffix}"));
        let inflated = std::process::Command::new(program).arg(&stored).output().unwrap().stdout;
        assert!(inflated == fs::read(stage.server.data().join("pg_wal").join(segment)).unwrap(), "{codec}");
        assert_eq!(fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!names(&stage.folder()).iter().any(|n| n.ends_with(".part")));
    assert_eq!(stage.ready(), ready, "archive_status is the server's");
}

#[test]
fn the_same_again_is_fine_and_other_content_is_refused_whatever_the_codec() {
    let stage = Stage::hoarding();
    stage.fill(1);
    let segment = &stage.ready()[0];
    for codecs in [["none", "none"], ["gzip", "none"], ["zstd", "gzip"]] {
        let _ = fs::remove_dir_all(stage.folder());
        stage.push(segment, &["--compress", codecs[0]]).exits(0);
        let before = names(&stage.folder());
        stage.push(segment, &["--compress", codecs[1]]).exits(0);
        assert_eq!(names(&stage.folder()), before);
        let path = stage.server.data().join("pg_wal").join(segment);
        let whole = fs::read(&path).unwrap();
        // beyond the header, so that only the content differs
        flip(&path, 500_000);
        stage.push(segment, &["--compress", codecs[1]]).exits(4).says("other content").says("hint: ");
        fs::write(&path, whole).unwrap();
        stage.push(segment, &[]).exits(0);
    }
}

#[test]
fn what_is_damaged_there_is_told_as_that() {
    let stage = Stage::hoarding();
    stage.fill(1);
    let segment = &stage.ready()[0];
    stage.push(segment, &[]).exits(0);
    flip(&stage.folder().join(segment), 500_000);
    let ran = stage.push(segment, &[]).exits(4).says("is damaged");
    assert!(!ran.err.contains("cloned"), "{}", ran.err);
}

#[test]
fn histories_labels_and_partials_are_never_overwritten_either() {
    let stage = Stage::hoarding();
    stage.fill(1);
    let segment = stage.ready()[0].clone();
    let wal = stage.server.data().join("pg_wal");
    let partial = format!("{segment}.partial");
    fs::copy(wal.join(&segment), wal.join(&partial)).unwrap();
    fs::write(wal.join("00000002.history"), "1\t0/1000000\tno recovery target specified\n").unwrap();
    let label = format!("{segment}.00000028.backup");
    fs::write(wal.join(&label), "LABEL: x\n").unwrap();
    for name in [&partial, "00000002.history", &label] {
        stage.push(name, &["--compress", "gzip"]).exits(0);
        stage.push(name, &["--compress", "gzip"]).exits(0);
        let mut other = fs::read(wal.join(name)).unwrap();
        let last = other.len() - 1;
        other[last] ^= 1;
        fs::write(wal.join(name), other).unwrap();
        stage.push(name, &["--compress", "gzip"]).exits(4).says("other content");
    }
    assert!(stage.archive().join("00000002/00000002.history").exists(), "as plain text");
}

#[test]
fn what_is_no_segment_of_that_name_is_refused() {
    let stage = Stage::hoarding();
    stage.fill(2);
    let ready = stage.ready();
    let wal = stage.server.data().join("pg_wal");
    let whole = fs::read(wal.join(&ready[0])).unwrap();
    let pushed = |content: &[u8], says: &str| {
        fs::write(wal.join(&ready[0]), content).unwrap();
        stage.push(&ready[0], &[]).exits(4).says(says);
    };
    pushed(&fs::read(wal.join(&ready[1])).unwrap(), "its name does not");
    pushed(&whole[..whole.len() - 1], "bytes");
    pushed(&[0; 1 << 20], "magic");
    pushed(b"", "cut short");
    let mut other = whole.clone();
    other[4] = 9;
    pushed(&other, "timeline 9");
    fs::write(wal.join(&ready[0]), &whole).unwrap();
    fs::remove_file(wal.join(&ready[1])).unwrap();
    stage.push(&ready[1], &[]).exits(1).says("no such file");
    assert!(!stage.folder().exists());
}

/// What a leader asks for that followed another timeline than the one it made segments for.
#[test]
fn a_segment_that_was_made_in_advance_and_left_does_not_stop_the_archiver() {
    let stage = Stage::hoarding();
    stage.fill(3);
    let ready = stage.ready();
    let wal = stage.server.data().join("pg_wal");
    let older = fs::read(wal.join(&ready[0])).unwrap();
    let history = |timeline: u32, at: &str| {
        fs::write(wal.join(format!("{timeline:08X}.history")), format!("1\t{at}\tno recovery target\n"))
            .unwrap();
    };
    let left = format!("0/{}00800", &ready[1][21..]);
    for made in [older.clone(), vec![0; older.len()]] {
        fs::write(wal.join(&ready[1]), &made).unwrap();
        // this server may be on that timeline yet
        stage.push(&ready[1], &[]).exits(4).says("cannot archive");
        history(2, &left);
        let ran = stage.push(&ready[1], &["--ahead", "1"]).exits(0);
        ran.says(&format!("nothing to archive: {} was made in advance and never written to", ready[1]));
        // the newest history speaks, and it may have left further on
        history(3, &format!("0/{}00000", &ready[2][21..]));
        stage.push(&ready[1], &[]).exits(4);
        // what is written to is damaged where it says that it stands elsewhere
        let elsewhere = wal.join("elsewhere");
        fs::write(&elsewhere, &made).unwrap();
        fs::remove_file(wal.join("00000003.history")).unwrap();
        let args = ["push", "-a", &stage.archive_text(), "pg_wal/elsewhere", &ready[1]];
        stage.wal(&args).exits(4);
        fs::remove_file(wal.join("00000002.history")).unwrap();
    }
    assert!(!stage.folder().join(&ready[1]).exists());
    let newer = fs::read(wal.join(&ready[2])).unwrap();
    history(2, &left);
    fs::write(wal.join(&ready[1]), newer).unwrap();
    stage.push(&ready[1], &[]).exits(4).says("its name does not");
}

#[test]
fn several_archives_have_it_all_or_the_answer_is_not_zero() {
    let stage = Stage::hoarding();
    stage.fill(1);
    let segment = &stage.ready()[0];
    let other = stage.server.home().join("other");
    let other_text = other.to_str().unwrap();
    let push = || stage.push(segment, &["-a", other_text]);
    // an archive that is away: its mount point is there, and empty
    fs::create_dir(&other).unwrap();
    push().exits(3).says("mounted");
    assert!(names(&other).is_empty(), "nothing is written beside the mount");
    stage.wal(&["init", "-a", other_text]).exits(0);
    push().exits(0);
    assert_eq!(names(&other.join("00000001")), names(&stage.folder()));
    fs::remove_file(other.join("archive.json")).unwrap();
    fs::rename(stage.archive().join("archive.json"), stage.archive().join("away")).unwrap();
    push().exits(5);
}

#[test]
fn two_who_push_the_same_at_once_both_succeed() {
    let stage = Stage::hoarding();
    stage.fill(1);
    let segment = &stage.ready()[0];
    let codecs = ["none", "gzip", "zstd", "none", "gzip", "zstd"];
    std::thread::scope(|scope| {
        for codec in codecs {
            scope.spawn(|| stage.push(segment, &["--compress", codec]).exits(0));
        }
    });
    let stored: Vec<String> =
        names(&stage.folder()).into_iter().filter(|n| n.starts_with(segment.as_str())).collect();
    assert_eq!(stored.len(), 1, "{stored:?}");
}

#[test]
fn init_makes_an_archive_once_and_changes_none() {
    let dir = tempfile::tempdir().unwrap();
    let init = || lab::run(lab::tool("wal-archive", dir.path()).args(["init", "-a", "deep/wal"]));
    init().exits(0);
    let before = fs::read(dir.path().join("deep/wal/archive.json")).unwrap();
    init().exits(0);
    assert_eq!(fs::read(dir.path().join("deep/wal/archive.json")).unwrap(), before);
    fs::write(dir.path().join("deep/wal/archive.json"), "{\"format_version\": 2}").unwrap();
    assert_ne!(init().code, 0);
}
