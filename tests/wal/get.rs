//! `get` by hand: what it hands over, and what it answers when it cannot.

use std::fs;

use crate::lab::{Ran, names, run};
use crate::stage::{Stage, flip};

fn get(stage: &Stage, name: &str, options: &[&str]) -> Ran {
    let args = ["get", "-a", &stage.archive_text(), "--retry-for", "0s", name, "pg_wal/RECOVERYXLOG"];
    stage.wal(&[&args[..], options].concat())
}

/// A stage with one segment pushed with each codec, and their names.
///
/// A `recovery.signal` stands there: the answers are those that a targeted recovery gets.
fn stocked() -> (Stage, Vec<String>) {
    let stage = Stage::hoarding();
    fs::write(stage.server.data().join("recovery.signal"), "").unwrap();
    stage.fill(3);
    let ready = stage.ready();
    for (segment, codec) in ready.iter().zip(["none", "gzip", "zstd"]) {
        stage.push(segment, &["--compress", codec]).exits(0);
    }
    (stage, ready)
}

#[test]
fn hands_over_what_was_pushed_in_place_of_what_stands_there() {
    let (stage, segments) = stocked();
    let wal = stage.server.data().join("pg_wal");
    fs::write(wal.join("RECOVERYXLOG"), "half").unwrap();
    // what a get that was killed left
    fs::write(wal.join("RECOVERYXLOG.part"), "half").unwrap();
    for segment in &segments {
        get(&stage, segment, &[]).exits(0);
        assert!(fs::read(wal.join("RECOVERYXLOG")).unwrap() == fs::read(wal.join(segment)).unwrap());
    }
    assert!(!names(&wal).iter().any(|n| n.ends_with(".part")));
}

#[test]
fn a_pipe_in_the_place_of_the_file_is_not_replaced() {
    let (stage, segments) = stocked();
    let wal = stage.server.data().join("pg_wal");
    run(std::process::Command::new("mkfifo").arg(wal.join("RECOVERYXLOG"))).exits(0);
    get(&stage, &segments[0], &[]).exits(200).says("RECOVERYXLOG': it is no file");
    assert!(!fs::metadata(wal.join("RECOVERYXLOG")).unwrap().is_file());
    assert!(!names(&wal).iter().any(|n| n.ends_with(".part")));
}

#[test]
fn absent_is_said_only_when_it_is_proven() {
    let (stage, segments) = stocked();
    let absent = "0000000100000000000000EE";
    let ran = get(&stage, absent, &[]).exits(1);
    assert_eq!(ran.err, "", "servers ask for files that are not there all the time");
    get(&stage, "00000002.history", &[]).exits(1);

    let wal = stage.server.data();
    let [standby, recovery] = ["standby.signal", "recovery.signal"].map(|signal| wal.join(signal));
    let refuses = |why: &str| {
        for name in [absent, &segments[0]] {
            get(&stage, name, &[]).exits(200).says(why);
            fs::write(&standby, "").unwrap();
            get(&stage, name, &[]).exits(5).says(why);
            fs::remove_file(&standby).unwrap();
            // the recovery is over: neither stopped nor kept waiting
            fs::remove_file(&recovery).unwrap();
            get(&stage, name, &["--retry-for", "1h"]).exits(5).says(why);
            fs::write(&recovery, "").unwrap();
        }
    };
    // an empty mount point, then none at all
    let away = stage.archive().with_extension("away");
    fs::rename(stage.archive(), &away).unwrap();
    fs::create_dir(stage.archive()).unwrap();
    refuses("mounted");
    fs::remove_dir(stage.archive()).unwrap();
    refuses("archive.json");
    // one of two archives is proof of nothing
    stage.wal(&["init", "-a", &stage.archive_text()]).exits(0);
    get(&stage, absent, &["-a", "/nowhere"]).exits(200);
    get(&stage, &segments[0], &["-a", away.to_str().unwrap()]).exits(0);
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let (stage, segments) = stocked();
    let output = stage.server.data().join("pg_wal/RECOVERYXLOG");
    for (segment, suffix) in segments.iter().zip(["", ".gz", ".zst"]) {
        let stored = stage.folder().join(format!("{segment}{suffix}"));
        let whole = fs::read(&stored).unwrap();
        let length = whole.len() as u64;
        // in the header, in the first page, in the middle, in the last byte but eight
        for at in [30, 100, length / 2, length - 9] {
            flip(&stored, at);
            let ran = get(&stage, segment, &[]);
            // a gzip header's own fields say nothing of the content
            if ran.code == 0 {
                assert!(
                    fs::read(&output).unwrap()
                        == fs::read(stage.server.data().join("pg_wal").join(segment)).unwrap()
                );
                assert_eq!(suffix, ".gz", "{at}");
            } else {
                ran.exits(200).says("damaged");
                assert!(!output.exists(), "{segment}{suffix} at {at}");
            }
            fs::write(&stored, &whole).unwrap();
            let _ = fs::remove_file(&output);
        }
        fs::write(&stored, &whole[..whole.len() / 2]).unwrap();
        get(&stage, segment, &[]).exits(200).says("damaged");
        fs::write(&stored, b"").unwrap();
        get(&stage, segment, &[]).exits(200).says("damaged");
        fs::write(&stored, &whole).unwrap();
    }
}

#[test]
fn without_its_digest_the_records_speak_for_a_segment() {
    let (stage, segments) = stocked();
    fs::remove_file(stage.folder().join("0000000100000000.xxh128")).unwrap();
    get(&stage, &segments[0], &[]).exits(0);
    flip(&stage.folder().join(&segments[0]), 300_000);
    get(&stage, &segments[0], &[]).exits(200).says("damaged");
}

#[test]
fn a_good_copy_elsewhere_is_taken() {
    let (stage, segments) = stocked();
    let other = stage.server.home().join("other");
    let other = other.to_str().unwrap();
    stage.wal(&["init", "-a", other]).exits(0);
    stage.wal(&["push", "-a", other, &format!("pg_wal/{}", segments[0]), &segments[0]]).exits(0);
    flip(&stage.folder().join(&segments[0]), 300_000);
    get(&stage, &segments[0], &["-a", other]).exits(0).says("taken from");
}

#[test]
fn a_mistake_in_the_command_does_not_open_the_database() {
    let (stage, segments) = stocked();
    let args = ["get", "--nonsense", &segments[0], "pg_wal/RECOVERYXLOG"];
    stage.wal(&args).exits(200);
    let signal = stage.server.data().join("recovery.signal");
    fs::remove_file(&signal).unwrap();
    stage.wal(&args).exits(2);
    fs::write(&signal, "").unwrap();
    fs::write(stage.server.data().join("standby.signal"), "").unwrap();
    stage.wal(&args).exits(2);
}

#[test]
fn a_damaged_identity_is_no_archive_and_no_end_of_the_log() {
    let (stage, segments) = stocked();
    let identity = stage.archive().join("archive.json");
    let sized = |bytes: u64| {
        format!(r#"{{"format_version": 1, "system_identifier": null, "segment_bytes": {bytes}}}"#)
    };
    let texts = [String::new(), "junk".into(), sized(0), sized(3 << 20), sized(1 << 19), sized(1 << 31)];
    for text in texts {
        fs::write(&identity, &text).unwrap();
        // at once: it does not come back
        get(&stage, &segments[0], &["--retry-for", "1h"]).exits(200).says("'archive.json' is damaged");
        for verb in ["verify", "prune"] {
            let options: &[&str] = if verb == "prune" { &["--keep", "1"] } else { &[] };
            let ran = stage.wal(&[&[verb, "-a", &stage.archive_text()], options].concat());
            ran.exits(1).says("'archive.json' is damaged");
        }
        stage.push(&segments[0], &[]).exits(1).says("'archive.json' is damaged");
    }
    fs::remove_file(&identity).unwrap();
    stage.wal(&["verify", "-a", &stage.archive_text()]).exits(5);
}

#[test]
fn what_was_fetched_ahead_is_handed_over_only_while_it_holds() {
    let (stage, segments) = stocked();
    let wal = stage.server.data().join("pg_wal");
    let ahead = wal.join(".pgkeep-ahead");
    fs::create_dir(&ahead).unwrap();
    let fetched = ahead.join(&segments[0]);
    let whole = fs::read(wal.join(&segments[0])).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let compressed = fs::read(stage.folder().join(format!("{}.gz", segments[1]))).unwrap();
    let other = fs::read(wal.join(&segments[1])).unwrap();
    let wrong =
        [vec![], whole[..8192].to_vec(), flipped(25), flipped(300_000), other, compressed, b"junk".to_vec()];
    for digests in ["there", "gone"] {
        if digests == "gone" {
            fs::remove_file(stage.folder().join("0000000100000000.xxh128")).unwrap();
        }
        for bytes in &wrong {
            fs::write(&fetched, bytes).unwrap();
            get(&stage, &segments[0], &[]).exits(0);
            assert!(fs::read(wal.join("RECOVERYXLOG")).unwrap() == whole);
            assert!(!fetched.exists(), "it is thrown away");
        }
    }
    // what holds is handed over: the very file
    fs::write(&fetched, &whole).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&fetched).unwrap());
    get(&stage, &segments[0], &[]).exits(0);
    let handed = fs::metadata(wal.join("RECOVERYXLOG")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&handed), inode);
}

#[test]
fn a_gap_is_no_end_of_the_log_unless_it_is_accepted() {
    let (stage, segments) = stocked();
    fs::remove_file(stage.folder().join(format!("{}.gz", segments[1]))).unwrap();
    // the server has it itself
    assert_eq!(get(&stage, &segments[1], &[]).exits(1).err, "");
    let there = stage.server.data().join("pg_wal").join(&segments[1]);
    fs::rename(&there, there.with_extension("away")).unwrap();
    let told = format!("{} is missing, but {} is there: a gap", segments[1], segments[2]);
    get(&stage, &segments[1], &[]).exits(200).says(&told).says(&format!("--accept-gap {}", segments[1]));
    get(&stage, &segments[1], &["--accept-gap", &segments[1]]).exits(1).says(&told);
    get(&stage, &segments[1], &["--accept-gap", &segments[0]]).exits(200);
    // a standby asks again, and past its recovery a server needs nothing
    let data = stage.server.data();
    fs::rename(data.join("recovery.signal"), data.join("standby.signal")).unwrap();
    get(&stage, &segments[1], &[]).exits(1).says(&told);
    fs::remove_file(data.join("standby.signal")).unwrap();
    get(&stage, &segments[1], &["--retry-for", "1h"]).exits(1);
    fs::write(data.join("recovery.signal"), "").unwrap();
    // it may come yet: whoever pushes several at a time stores one of them last
    let (archive, path) = (stage.archive_text(), there.with_extension("away"));
    let mut push = stage.server.tool("wal-archive");
    push.args(["push", "-a", &archive, path.to_str().unwrap(), &segments[1]]);
    let late = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        crate::lab::run(&mut push).exits(0);
    });
    get(&stage, &segments[1], &["--retry-for", "60s"]).exits(0).says("trying for 60 s");
    late.join().unwrap();
    assert_eq!(get(&stage, "0000000100000000000000EE", &[]).exits(1).err, "");
}

#[test]
fn a_standby_is_not_led_past_the_place_where_the_next_timeline_began() {
    let (stage, segments) = stocked();
    let data = stage.server.data();
    let begins = |segment: &str| u64::from_str_radix(&segment[16..], 16).unwrap() << 20;
    let branch = |timeline: u32, parent: u32, at: u64| {
        let name = format!("{timeline:08X}.history");
        let text = format!("{parent}\t0/{at:X}\tno recovery target specified\n");
        fs::write(data.join("pg_wal").join(&name), text).unwrap();
        stage.push(&name, &[]).exits(0);
    };
    branch(2, 1, begins(&segments[1]) + 0x2000);
    // a recovery may want to go there
    segments.iter().for_each(|segment| drop(get(&stage, segment, &[]).exits(0)));
    fs::rename(data.join("recovery.signal"), data.join("standby.signal")).unwrap();
    get(&stage, &segments[0], &[]).exits(0);
    // another archive that is away changes nothing about either
    let away = ["-a", "/nowhere"];
    get(&stage, &segments[0], &away).exits(0);
    get(&stage, &segments[1], &away).exits(1).says("held back");
    for held in &segments[1..] {
        let ran = get(&stage, held, &["--ahead", "2"]).exits(1);
        ran.says(&format!("{held} is held back: timeline 2 left its log at 0/"));
    }
    get(&stage, "00000002.history", &[]).exits(0);
    // it ended just before: that segment is whole
    branch(3, 1, begins(&segments[1]));
    get(&stage, &segments[0], &[]).exits(0);
    get(&stage, &segments[1], &[]).exits(1).says("timeline 3 left");
    // where timelines are missing, PostgreSQL does not look further
    branch(5, 1, begins(&segments[0]));
    get(&stage, &segments[0], &[]).exits(0);
    // and a latest that is no child is not followed
    branch(4, 2, begins(&segments[2]));
    branch(6, 4, begins(&segments[2]));
    get(&stage, &segments[2], &[]).exits(0);
}

#[test]
fn another_servers_archive_is_not_asked() {
    let (stage, segments) = stocked();
    let control = stage.server.data().join("global/pg_control");
    let whole = fs::read(&control).unwrap();
    let mut other = whole.clone();
    other[0] ^= 1;
    fs::write(&control, &other).unwrap();
    for name in [&segments[0], "00000002.history", "0000000100000000000000EE"] {
        // at once: it does not become this server's
        get(&stage, name, &["--retry-for", "1h"]).exits(200).says("is of system");
    }
    assert!(!stage.server.data().join("pg_wal/RECOVERYXLOG").exists());
    // elsewhere nobody asks for a server
    let out = stage.server.home().join("out");
    stage.wal(&["get", "-a", &stage.archive_text(), &segments[0], out.to_str().unwrap()]).exits(0);
    fs::write(&control, whole).unwrap();
    get(&stage, &segments[0], &[]).exits(0);
}

#[test]
fn an_archive_that_was_never_used_is_no_end_of_the_log() {
    let (stage, segments) = stocked();
    let fresh = stage.server.home().join("fresh");
    let fresh = fresh.to_str().unwrap();
    stage.wal(&["init", "-a", fresh]).exits(0);
    let ask = |name: &str, more: &[&str]| {
        stage.wal(&[&["get", "-a", fresh, "--retry-for", "1h", name, "pg_wal/RECOVERYXLOG"], more].concat())
    };
    for name in [&segments[0], "00000002.history"] {
        ask(name, &[]).exits(200).says("no log was ever archived in");
    }
    // beside one that holds the log it is no harm
    ask(&segments[0], &["-a", &stage.archive_text()]).exits(0);
    ask("00000002.history", &["-a", &stage.archive_text()]).exits(1);
    // a standby may be there before the first segment is
    let data = stage.server.data();
    fs::rename(data.join("recovery.signal"), data.join("standby.signal")).unwrap();
    assert_eq!(ask(&segments[0], &[]).exits(1).err, "");
}

#[test]
fn a_full_disk_of_the_server_is_not_blamed_on_the_archive() {
    let (stage, segments) = stocked();
    let script = "ulimit -f 512; exec \"$0\" get -a \"$1\" \"$2\" pg_wal/RECOVERYXLOG";
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &format!("trap '' XFSZ; {script}")]).arg(stage.program());
    command.args([&stage.archive_text(), &segments[0]]).current_dir(stage.server.data());
    let ran = crate::lab::run(&mut command).exits(200).says("cannot write 'pg_wal/RECOVERYXLOG.part'");
    assert!(!ran.err.contains("archive and start"), "{}", ran.err);
}
