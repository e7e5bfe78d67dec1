//! What may stand in an archive that is to be put back: an archive is untrusted input.
//!
//! Refused are paths that are absolute or hold `..`, names that no file system takes, devices and
//! pipes, links that lead out of the volume, entries below something that is no directory, two entries
//! of one name, and more bytes than the record of the snapshot told. All of that is known before
//! anything is stopped or written.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::control::FILE;
use super::set::Link;
use super::tar::{Entry, Kind, Sink};
use crate::exit::{Error, Result};
use crate::out::plain;

/// `NAME_MAX` and `PATH_MAX` of Linux, the latter without its terminating zero.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 4095;
/// Names are remembered by their hash, 17 bytes each at worst.
pub const MOST_ENTRIES: u64 = 2_000_000;
/// Files that stand in every data directory.
const MARKS: [&str; 2] = ["PG_VERSION", FILE];
/// Links that lead out are listed; more of them are nobody's tablespaces.
const MOST_LINKS: usize = 1000;

/// What was found of an archive that passed.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Entries, the volume itself included.
    pub entries: u64,
    /// Bytes of all files, without holes.
    pub content_bytes: u64,
    /// Those of them that are WAL: below a `pg_wal`, or with the name of a segment, as in an archive.
    pub log_bytes: u64,
    /// Bytes on the disk, in blocks of 4 KiB, for every file and directory.
    pub room: u64,
    /// Symbolic links that lead out of the volume.
    pub links: Vec<Link>,
    /// The first of them by which no data directory of PostgreSQL in the archive keeps data elsewhere.
    pub strange: Option<Link>,
}

/// Checks each entry of one archive.
#[derive(Default)]
pub struct Check {
    seen: HashMap<u64, Kind>,
    found: Found,
}

impl Check {
    /// What was found, once the archive has ended.
    pub fn found(mut self) -> Found {
        self.found.strange = self.found.links.iter().find(|link| !self.is_postgresqls(link)).cloned();
        self.found
    }

    /// Whether a link is one by which PostgreSQL keeps data elsewhere, and a data directory is there
    /// that has it.
    fn is_postgresqls(&self, link: &Link) -> bool {
        let is_file =
            |path: PathBuf| self.seen.get(&xxh3_64(path.as_os_str().as_bytes())) == Some(&Kind::File);
        data_directory(link).is_some_and(|data| MARKS.iter().all(|mark| is_file(data.join(mark))))
    }

    fn admit(&mut self, entry: &Entry) -> std::result::Result<(), String> {
        self.found.entries += 1;
        if self.found.entries > MOST_ENTRIES {
            return Err(format!("there are more than {MOST_ENTRIES} entries"));
        }
        let path = relative(&entry.path)?;
        let path = path.as_os_str().as_bytes();
        if let Kind::Other(kind) = entry.kind {
            return Err(format!(
                "it is a device, a pipe or the like (type '{}')",
                plain(&char::from(kind).to_string())
            ));
        }
        if path.is_empty() && entry.kind != Kind::Dir {
            return Err("the volume itself must be a directory".into());
        }
        for end in path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at) {
            if self.seen.get(&xxh3_64(&path[..end])).is_some_and(|kind| *kind != Kind::Dir) {
                return Err("it stands below something that is no directory".into());
            }
            // a directory that no entry made is made by the way, and no link may follow in its place
            self.seen.entry(xxh3_64(&path[..end])).or_insert(Kind::Dir);
        }
        match entry.kind {
            Kind::Symlink => self.symlink(path, &entry.link)?,
            Kind::HardLink => {
                let target = relative(&entry.link)?;
                match self.seen.get(&xxh3_64(target.as_os_str().as_bytes())) {
                    Some(Kind::File | Kind::HardLink) => {}
                    _ => return Err("it is a hard link to no file before it".into()),
                }
            }
            _ => {}
        }
        match self.seen.insert(xxh3_64(path), entry.kind) {
            Some(Kind::Dir) if entry.kind == Kind::Dir => {}
            Some(_) => return Err("it is there twice".into()),
            None => {}
        }
        self.found.content_bytes += entry.stored;
        if is_log(path) {
            self.found.log_bytes += entry.stored;
        }
        self.found.room += entry.stored.next_multiple_of(4096) + 4096 * u64::from(entry.kind == Kind::Dir);
        Ok(())
    }

    fn symlink(&mut self, path: &[u8], target: &[u8]) -> std::result::Result<(), String> {
        if target.is_empty() || target.len() > LONGEST_PATH {
            return Err("it is a link to nowhere".into());
        }
        if leads_out(path, target) {
            if self.found.links.len() == MOST_LINKS {
                return Err(format!("more than {MOST_LINKS} links lead out of the volume"));
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.found.links.push(Link { path: text(path), target: text(target) });
        }
        Ok(())
    }
}

impl Sink for Check {
    fn begin(&mut self, entry: &Entry) -> Result<()> {
        self.admit(entry).map_err(|cause| {
            let path = String::from_utf8_lossy(&entry.path[..entry.path.len().min(200)]).into_owned();
            Error::refused(format!("entry '{}': {cause}", plain(&path)))
        })
    }

    fn data(&mut self, _: u64, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The path of an entry below the volume, without `.`; empty for the volume itself.
///
/// # Errors
/// Why no such path may be written to.
pub fn relative(path: &[u8]) -> std::result::Result<PathBuf, String> {
    if path.starts_with(b"/") {
        return Err("its path is absolute".into());
    }
    if path.is_empty() || path.contains(&0) {
        return Err("it has no name".into());
    }
    if path.len() > LONGEST_PATH {
        return Err(format!("its path is longer than {LONGEST_PATH} bytes"));
    }
    let mut relative = PathBuf::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its path holds '..'".into()),
            _ if part.len() > LONGEST_NAME => {
                return Err(format!("a name is longer than {LONGEST_NAME} bytes"));
            }
            _ => relative.push(OsStr::from_bytes(part)),
        }
    }
    Ok(relative)
}

/// Whether a symbolic link at `path` (relative to the volume) leads out of the volume. `..` counts
/// where it stands first: there it goes through directories that are known. Behind a name, which may
/// be a link itself, nobody can tell, so it counts as leading out.
pub fn leads_out(path: &[u8], target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    let mut depth = Path::new(OsStr::from_bytes(path)).components().count().saturating_sub(1);
    let mut named = false;
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if named || depth == 0 => return true,
            b".." => depth -= 1,
            _ => named = true,
        }
    }
    false
}

/// Whether a file is WAL, by its path.
fn is_log(path: &[u8]) -> bool {
    let mut parts = path.split(|b| *b == b'/');
    parts.clone().next_back().is_some_and(is_segment) || parts.any(|part| part == b"pg_wal")
}

/// Whether a file's name is that of a segment of WAL, with any ending.
pub fn is_segment(name: &[u8]) -> bool {
    let Some((segment, rest)) = name.split_at_checked(24) else { return false };
    let is_digit = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b);
    segment.iter().all(is_digit) && (rest.is_empty() || rest.starts_with(b"."))
}

/// The data directory that would keep its WAL or a tablespace elsewhere by such a link.
fn data_directory(link: &Link) -> Option<&Path> {
    let path = Path::new(&link.path);
    let (above, name) = (path.parent()?, path.file_name()?);
    match above.file_name() {
        _ if name == "pg_wal" => Some(above),
        Some(folder) if folder == "pg_tblspc" && name.as_bytes().iter().all(u8::is_ascii_digit) => {
            above.parent()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within() {
        for (path, want) in
            [("a", Some("a")), ("./", Some("")), ("./a//b/.", Some("a/b")), (".a/..b", Some(".a/..b"))]
        {
            assert_eq!(relative(path.as_bytes()).ok().as_deref(), want.map(Path::new), "{path}");
        }
        let long = "a".repeat(256);
        let deep = "a/".repeat(2048);
        for path in ["", "/", "/a", "..", "a/../b", "a/..", "\0", long.as_str(), deep.as_str()] {
            assert!(relative(path.as_bytes()).is_err(), "{path:?}");
        }
    }

    #[test]
    fn what_is_log() {
        for (path, log) in [
            ("d/pg_wal/archive_status/x", true),
            ("000000010000000000000001", true),
            ("archive/000000010000000000000001.gz", true),
            ("base/5/16384", false),
            ("pg_wal_old/x", false),
            ("00000001000000000000000g", false),
        ] {
            assert_eq!(is_log(path.as_bytes()), log, "{path}");
        }
    }

    #[test]
    fn links_that_lead_out() {
        for (path, target, out) in [
            ("a", "b", false),
            ("a", "b/c", false),
            ("d/a", "../b", false),
            ("d/a", "../../b", true),
            ("a", "..", true),
            ("a", "/etc", true),
            // through a link, 'up' may be anywhere
            ("a", "b/..", true),
            ("d/e/a", "../x/../y", true),
            ("d/e/a", ".././../x", false),
        ] {
            assert_eq!(leads_out(path.as_bytes(), target.as_bytes()), out, "{path} -> {target}");
        }
        for (path, data) in [
            ("pg_tblspc/16385", Some("")),
            ("d/pg_tblspc/1", Some("d")),
            ("d/pg_wal", Some("d")),
            ("pg_tblspc/x", None),
            ("a", None),
            ("pg_tblspc/1/x", None),
        ] {
            let link = Link { path: path.into(), target: "/x".into() };
            assert_eq!(data_directory(&link), data.map(Path::new), "{path}");
        }
    }
}
