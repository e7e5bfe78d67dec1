//! Memory stays under 64 MiB, whatever the size and the shape of the dump.

use std::fs;
use std::io::{BufWriter, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::{FOOT, HEAD, Place, lab};

const MOST: u64 = 64 << 10;

/// Runs a program to its end, which must be good; its peak memory in KiB.
fn watched(child: Child) -> u64 {
    let (status, mut most) = (format!("/proc/{}/status", child.id()), 0);
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| lab::end(child).exits(0));
        // VmHWM is the peak so far, and the peak is not in the last two milliseconds
        while !ended.is_finished() {
            let status = fs::read_to_string(&status).unwrap_or_default();
            let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse().ok());
            most = most.max(kib.unwrap_or(0));
            std::thread::sleep(Duration::from_millis(2));
        }
        ended.join().unwrap();
    });
    assert!(most > 0, "no peak was seen in {status}");
    most
}

/// Feeds a dump through the program; its peak memory in KiB, and the manifest of what it made.
fn peak(words: &[&str], write: impl FnOnce(&mut dyn Write) + Send) -> (u64, serde_json::Value) {
    let place = Place::new();
    let mut tool = place.tool();
    tool.args(["-q", "--stdin"]).args(words);
    tool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tool.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let most = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut out = BufWriter::with_capacity(1 << 20, stdin);
            write(&mut out);
            out.flush().unwrap();
        });
        watched(child)
    });
    (most, place.manifest(&place.dumps()[0]))
}

#[test]
fn many_rows() {
    let row = "12345\tsome text that goes on for a while, as rows do\t2026-01-26 12:00:00\n".repeat(1000);
    let (kib, manifest) = peak(&[], move |out| {
        out.write_all(HEAD.as_bytes()).unwrap();
        for _ in 0..(300_000_000 / row.len()) {
            out.write_all(row.as_bytes()).unwrap();
        }
        out.write_all(FOOT.as_bytes()).unwrap();
    });
    assert!(kib < MOST, "{kib} KiB");
    assert!(manifest["raw_bytes"].as_u64().unwrap() > 299_000_000);
    assert_eq!(manifest["rows"].as_u64().unwrap() % 1000, 0);
}

fn one_line(out: &mut dyn Write, megabytes: u8, begin: &str, end: &str) {
    out.write_all(begin.as_bytes()).unwrap();
    let mut bytes = *b"abcdefgh";
    let mut chunk = Vec::with_capacity(1 << 20);
    for n in 0..megabytes {
        bytes[0] = b'a' + n % 26;
        chunk.clear();
        chunk.extend(bytes.iter().cycle().take(1 << 20));
        out.write_all(&chunk).unwrap();
    }
    out.write_all(end.as_bytes()).unwrap();
}

#[test]
fn one_row_of_200_megabytes() {
    for words in [&[][..], &["--compress", "none"], &["--compress", "zstd:19"]] {
        let (kib, manifest) =
            peak(words, |out| one_line(out, 200, &format!("{HEAD}1\t"), &format!("\n{FOOT}")));
        assert!(kib < MOST, "{words:?}: {kib} KiB");
        assert_eq!(manifest["rows"], 1, "{words:?}");
    }
}

#[test]
fn one_statement_one_comment_one_command_of_80_megabytes() {
    let head = HEAD.split("COPY").next().unwrap();
    let foot = FOOT.trim_start_matches("\\.\n");
    for (begin, end, rows) in [
        ("INSERT INTO numbers VALUES (1, '", "');\n", 1),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$", "$_$;\n", 0),
        ("-- ", "\n", 0),
        ("/* ", " */\n", 0),
        ("SELECT \"", "\";\n", 0),
        ("CREATE TABLE ", " ();\n", 0),
        ("\\", "\n", 0),
    ] {
        let (kib, manifest) = peak(&["--compress", "zstd"], |out| {
            one_line(out, 80, &format!("{head}{begin}"), &format!("{end}{foot}"));
        });
        assert!(kib < MOST, "{begin}: {kib} KiB");
        assert_eq!(manifest["rows"], rows, "{begin}");
    }
}

/// As many tables as nobody has; what is told of them goes into the manifest, not into memory.
#[test]
fn a_hundred_thousand_tables() {
    let (kib, manifest) = peak(&[], |out| {
        out.write_all(HEAD.split("CREATE").next().unwrap().as_bytes()).unwrap();
        for n in 0..100_000 {
            let table = format!("public.\"table {n} {}\"", "x".repeat(40));
            write!(out, "CREATE TABLE {table} (a int);\nCOPY {table} (a) FROM stdin;\n1\n2\n\\.\n").unwrap();
        }
        out.write_all(FOOT.trim_start_matches("\\.\n").as_bytes()).unwrap();
    });
    assert!(kib < MOST, "{kib} KiB");
    assert_eq!((manifest["tables"].as_u64(), manifest["rows"].as_u64()), (Some(100_000), Some(200_000)));
    let is_table = |i: &&serde_json::Value| ["TABLE", "TABLE DATA"].contains(&i["kind"].as_str().unwrap());
    assert_eq!(manifest["toc"].as_array().unwrap().iter().filter(is_table).count(), 200_000);
}

/// A dump of half a terabyte has half a million pieces, and a list is of many.
#[test]
fn a_list_of_large_backups() {
    let place = Place::with_backup();
    let name = place.dumps()[0].clone();
    let mut manifest = place.manifest(&name);
    let pieces: Vec<[u64; 2]> = (0..400_000).map(|n| [n << 19, n << 20]).collect();
    manifest["frames"] = serde_json::to_value(pieces).unwrap();
    for day in 10..22 {
        let name = format!("backup_202511{day}_143022.sql.gz");
        manifest["file"]["name"] = name.as_str().into();
        fs::write(place.path("backups").join(format!("{name}.json")), manifest.to_string()).unwrap();
        fs::copy(place.path("backups").join(place.dumps()[0].as_str()), place.path("backups").join(name))
            .unwrap();
    }
    let mut tool = place.tool();
    let list = tool.arg("--list").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let kib = watched(list);
    assert!(kib < MOST, "{kib} KiB");
}
