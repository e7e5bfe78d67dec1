//! Archives that others made, of many versions. Found as `tests/corpus` finds its dumps; without
//! them there is nothing to read, and one line says so.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use kit::archive::{Archive, Input};
use kit::dump::scan::Scan;

use crate::told::{KNOWN_TO_15, by_pg_restore, by_us, same};

fn corpus() -> PathBuf {
    let beside = || {
        let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent()?).ok()?;
        folders.flatten().map(|f| f.path().join("corpus")).find(|c| c.join("INDEX.tsv").is_file())
    };
    std::env::var_os("PGKEEP_CORPUS").map(PathBuf::from).or_else(beside).unwrap_or("corpus".into())
}

/// The archives: path, and what INDEX.tsv says of each.
fn archives() -> Vec<(PathBuf, HashMap<String, String>)> {
    let dir = corpus();
    let Ok(index) = fs::read(dir.join("INDEX.tsv")) else {
        println!("no archives in {}", dir.display());
        return Vec::new();
    };
    let index = String::from_utf8_lossy(&index).into_owned();
    let mut lines = index.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let rows = lines.map(|line| header.iter().cloned().zip(line).collect::<HashMap<_, _>>());
    let archives = rows.filter(|row| ["custom", "tar", "dir"].contains(&row["kind"].as_str()));
    archives.map(|row| (dir.join(&row["name"]), row)).collect()
}

fn minor(path: &Path) -> Option<u8> {
    let file;
    let input = if path.is_dir() {
        Input::Directory(path)
    } else {
        file = File::open(path).unwrap();
        Input::File(&file)
    };
    Archive::open(input, "sample").ok().map(|archive| archive.header().version.minor)
}

#[test]
fn whole_archives_are_told_as_pg_restore_tells_them() {
    for (path, row) in archives().iter().filter(|(_, row)| row["complete"] == "yes") {
        println!("{}", path.display());
        let sql = by_us(path).unwrap();
        if minor(path).unwrap() <= KNOWN_TO_15 {
            same(&sql, &by_pg_restore(path).unwrap());
        }
        let mut scan = Scan::default();
        scan.feed(&sql, &mut |_| ());
        let facts = scan.finish(&mut |_| ());
        let number = |name: &str| row[name].parse::<u64>().unwrap();
        assert_eq!(facts.incomplete, None, "{}", path.display());
        assert_eq!(facts.suspicious, [], "{}", path.display());
        assert_eq!(facts.tables, number("create_tables") + number("foreign_tables"), "{}", path.display());
        assert_eq!(facts.rows, number("copy_rows") + number("insert_rows"), "{}", path.display());
        assert_eq!(facts.large_objects, number("large_objects"), "{}", path.display());
    }
}

#[test]
fn broken_archives_are_refused() {
    for (path, _) in archives().iter().filter(|(_, row)| row["complete"].starts_with("NO")) {
        let error = by_us(path).unwrap_err();
        println!("{}: {error}", path.display());
    }
}

/// What pg_restore is too old for is held against the plain dump of the same database, which the
/// same pg_dump wrote.
#[test]
fn newer_archives_are_told_as_pg_dump_tells_them() {
    for (archive, dump) in [
        ("regress18/regress18.custom-zstd.dump", "regress18/regress18.dumpall.sql"),
        ("joins-chinook.backup", "joins-chinook.sql"),
    ] {
        let [archive, dump] = [archive, dump].map(|name| corpus().join(name));
        if !archive.exists() || !dump.exists() {
            println!("no {}", archive.display());
            continue;
        }
        let ours = by_us(&archive).unwrap();
        let begin = memchr::memmem::find(&ours, b"SET row_security = off;").unwrap();
        let end = memchr::memmem::rfind(&ours, b"--\n-- PostgreSQL database dump complete").unwrap();
        // made with --verbose
        let verbose = ["-- TOC entry ", "-- Dependencies: ", "-- Completed on "].map(str::as_bytes);
        let text = fs::read(&dump).unwrap();
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let theirs: Vec<u8> =
            lines.filter(|l| !verbose.iter().any(|v| l.starts_with(v))).flatten().copied().collect();
        let found = memchr::memmem::find(&theirs, &ours[begin..end]);
        assert!(found.is_some(), "{} is told otherwise than {}", archive.display(), dump.display());
    }
}
