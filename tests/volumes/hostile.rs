//! Archives that somebody made to do harm: refused before anything stops, and nothing is written.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::stage::Stage;

/// An entry: type, path, link or content.
type Entry<'a> = (u8, &'a str, &'a str);

/// A tar archive of these entries, whatever they say.
fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, path, text) in entries {
        let mut header = Header::new_gnu();
        let data = if matches!(kind, b'0' | b'x' | b'L') { text.as_bytes() } else { b"" };
        let old = header.as_old_mut();
        old.name[..path.len().min(100)].copy_from_slice(&path.as_bytes()[..path.len().min(100)]);
        if data.is_empty() {
            old.linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_entry_type(EntryType::new(*kind));
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Puts `raw` in place of a snapshot's archive, with a record that fits.
fn forge(stage: &Stage, raw: &[u8], claim: u64, counted: (usize, usize), links: &[Entry<'_>]) -> String {
    let stamp = stage.stamp();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(raw).unwrap();
    let packed = packed.finish().unwrap();
    fs::write(stage.path(&format!("backups/snapshots/{stamp}_data.tar.gz")), &packed).unwrap();
    let path = stage.path(&format!("backups/snapshots/{stamp}.json"));
    let mut record: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let volume = &mut record["volumes"][0];
    let sha: String = Sha256::digest(&packed).iter().map(|b| format!("{b:02x}")).collect();
    volume["file"]["bytes"] = packed.len().into();
    volume["file"]["sha256"] = sha.into();
    volume["raw_bytes"] = claim.into();
    volume["frames"] = serde_json::json!([]);
    volume["entries"] = counted.0.into();
    volume["content_bytes"] = counted.1.into();
    let link = |(_, path, target): &Entry<'_>| serde_json::json!({"path": path, "target": target});
    volume["links"] = links.iter().map(link).collect();
    fs::write(&path, record.to_string()).unwrap();
    stamp
}

#[test]
fn what_may_not_be_written_is_refused_before_anything_stops() {
    let long = "x".repeat(300);
    let record = |key: &str, value: &str| {
        let rest = key.len() + value.len() + 3;
        let length = rest + 4;
        format!("{length:04} {key}={value}\n")
    };
    let path = |p: &str| record("path", p);
    let (up, deep, four_kilobytes) = (path("../x"), path(&long), path(&"y/".repeat(2048)));
    let cases: &[(&[Entry<'_>], &str)] = &[
        (&[(b'0', "../evil", "x")], "its path holds '..'"),
        (&[(b'0', "a/../../evil", "x")], "its path holds '..'"),
        (&[(b'x', "pax", &up), (b'0', "fine", "x")], "its path holds '..'"),
        (&[(b'L', "././@LongLink", "a/../../x\0"), (b'0', "fine", "x")], "its path holds '..'"),
        (&[(b'0', "/tmp/evil", "x")], "its path is absolute"),
        (&[(b'x', "pax", &deep), (b'0', "fine", "x")], "a name is longer than 255 bytes"),
        (&[(b'x', "pax", &four_kilobytes), (b'0', "fine", "x")], "its path is longer than"),
        (&[(b'3', "null", "")], "a device"),
        (&[(b'4', "sda", "")], "a device"),
        (&[(b'6', "pipe", "")], "a device"),
        (&[(b'V', "label", "")], "a device"),
        (&[(b'2', "l", "/etc"), (b'0', "l/evil", "x")], "below something that is no directory"),
        (&[(b'2', "l", "."), (b'0', "l/evil", "x")], "below something that is no directory"),
        (&[(b'0', "f", "x"), (b'0', "f/g", "x")], "below something that is no directory"),
        (&[(b'0', "d/f", "x"), (b'2', "d", "/etc")], "it is there twice"),
        (&[(b'5', "d", ""), (b'2', "d", "/etc"), (b'0', "d/f", "x")], "it is there twice"),
        (&[(b'0', "f", "x"), (b'0', "./f", "y")], "it is there twice"),
        (&[(b'1', "h", "/etc/passwd")], "its path is absolute"),
        (&[(b'1', "h", "../../etc/passwd")], "its path holds '..'"),
        (&[(b'1', "h", "nothing")], "a hard link to no file"),
        (&[(b'2', "l", "/etc/passwd"), (b'1', "h", "l")], "a hard link to no file"),
        (&[(b'2', "l", "/etc/passwd")], "leads out of the volume"),
        (&[(b'2', "l", "../../../etc/passwd")], "leads out of the volume"),
        (&[(b'2', "d", "."), (b'2', "l", "d/../x")], "leads out of the volume"),
        (&[(b'0', ".", "x")], "must be a directory"),
        (&[(b'g', "global", "12 path=evil\n")], "not understood"),
    ];
    for (entries, words) in cases {
        let stage = Stage::with_data();
        let raw = archive(entries);
        let real: Vec<&Entry<'_>> = entries.iter().filter(|e| !b"xLg".contains(&e.0)).collect();
        let content = real.iter().filter(|e| e.0 == b'0').map(|e| e.2.len()).sum();
        let out = if *words == "leads out of the volume" { &entries[entries.len() - 1..] } else { &[] };
        let stamp = forge(&stage, &raw, raw.len() as u64, (real.len(), content), out);
        let before = (stage.tree("data"), stage.names(""), stage.names("backups/snapshots"));
        let ran = stage.restore(&[&stamp, "--yes", "--stop", "touch stopped"]);
        assert!(ran.code == 4 || (ran.code == 1 && *words == "not understood"), "{entries:?}: {}", ran.err);
        assert!(ran.err.contains(words), "{entries:?}: {}", ran.err);
        let after = (stage.tree("data"), stage.names(""), stage.names("backups/snapshots"));
        assert_eq!(after, before, "{entries:?}");
        let ran = stage.restore(&[&stamp, "--into", "out"]);
        assert!(ran.code != 0 && !stage.there("out"), "{entries:?}");
    }
}

#[test]
fn links_that_lead_out_are_let_through_when_that_is_said() {
    let stage = Stage::with_data();
    std::os::unix::fs::symlink("/etc/hostname", stage.path("data/link")).unwrap();
    let stamp = stage.stamp();
    stage.restore(&[&stamp, "--into", "out"]).exits(4).says("--allow-links");
    stage.restore(&[&stamp, "--into", "out", "--allow-links"]).exits(0);
    assert_eq!(fs::read_link(stage.path("out/data/link")).unwrap().to_str(), Some("/etc/hostname"));
}

#[test]
fn links_like_postgresqls_need_a_data_directory_and_are_told_as_the_archive_has_them() {
    let link: &[Entry<'_>] = &[(b'2', "d/pg_wal", "/etc"), (b'2', "d/pg_tblspc/1", "/srv")];
    let marks: &[Entry<'_>] = &[(b'0', "d/PG_VERSION", "1"), (b'0', "d/global/pg_control", "x")];
    let elsewhere: &[Entry<'_>] = &[(b'0', "PG_VERSION", "1"), (b'0', "global/pg_control", "x")];
    for (others, code) in [(&[][..], 4), (&marks[..1], 4), (elsewhere, 4), (marks, 0)] {
        let stage = Stage::with_data();
        let entries = [link, others].concat();
        let raw = archive(&entries);
        let content = others.iter().map(|e| e.2.len()).sum();
        let stamp = forge(&stage, &raw, raw.len() as u64, (entries.len(), content), link);
        let ran = stage.restore(&[&stamp, "--dry-run"]).exits(code);
        if code == 0 {
            assert!(ran.out.contains("link d/pg_wal leads to /etc"), "{}", ran.out);
            assert!(ran.out.contains("link d/pg_tblspc/1 leads to /srv"), "{}", ran.out);
        } else {
            ran.says("--allow-links");
        }
    }
}

#[test]
fn links_that_the_record_does_not_tell_are_found_out() {
    let stage = Stage::with_data();
    let entries: &[Entry<'_>] =
        &[(b'2', "pg_wal", "/etc"), (b'0', "PG_VERSION", "1"), (b'0', "global/pg_control", "x")];
    let raw = archive(entries);
    for told in [&[][..], &[(b'2', "pg_wal", "/srv")], &[(b'2', "pg_tblspc/1", "/etc")]] {
        let stamp = forge(&stage, &raw, raw.len() as u64, (3, 2), told);
        stage.restore(&[&stamp, "--dry-run"]).exits(1).says("other links that lead out");
    }
}

#[test]
fn a_bomb_is_no_larger_than_its_record() {
    let stage = Stage::with_data();
    let mut raw = archive(&[(b'0', "f", "x")]);
    raw.resize(200 << 20, 0);
    let stamp = forge(&stage, &raw, 4096, (1, 1), &[]);
    stage.restore(&[&stamp, "--yes", "--stop", "touch stopped"]).exits(1).says("more than its record says");
    assert!(!stage.there("stopped"));
}

#[test]
fn archives_that_are_none_are_refused() {
    for raw in [
        b"".to_vec(),
        vec![b'x'; 2048],
        archive(&[(b'0', "f", "x")])[..700].to_vec(),
        archive(&[(b'0', "f", "x")])[..512].to_vec(),
        [archive(&[(b'0', "f", "x")]), vec![b'x'; 512]].concat(),
    ] {
        let stage = Stage::with_data();
        let stamp = forge(&stage, &raw, raw.len() as u64, (1, 1), &[]);
        let ran = stage.restore(&[&stamp, "--yes", "--stop", "touch stopped"]);
        assert_eq!(ran.code, 1, "{} bytes: {}", raw.len(), ran.err);
        assert!(!stage.there("stopped"));
    }
}

#[test]
fn a_record_that_names_other_files_is_not_believed() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    let path = stage.path(&format!("backups/snapshots/{stamp}.json"));
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        (format!("{stamp}_data.tar.gz"), "../../data/a".to_owned()),
        ("\"label\":\"data\"".into(), "\"label\":\"../data\"".into()),
        ("\"format_version\":1".into(), "\"format_version\":2".into()),
        ("dir:/".into(), "dir:".into()),
    ] {
        assert!(text.contains(&from), "{from}");
        fs::write(&path, text.replace(&from, &to)).unwrap();
        let ran = stage.restore(&["--latest", "--yes"]);
        assert!(ran.code != 0 || to == "dir:", "{to}: {}", ran.err);
    }
}

#[test]
fn a_record_that_calls_two_volumes_the_same_is_not_believed() {
    let stage = Stage::with_data();
    let stamp = stage.stamp();
    let path = format!("backups/snapshots/{stamp}.json");
    let mut record: serde_json::Value = serde_json::from_str(&stage.read(&path)).unwrap();
    let volumes = record["volumes"].as_array_mut().unwrap();
    volumes.push(volumes[0].clone());
    fs::write(stage.path(&path), record.to_string()).unwrap();
    stage.restore(&[&stamp, "--into", "out"]).exits(1).says("two volumes of it are 'data'");
    assert!(!stage.there("out"));
}
