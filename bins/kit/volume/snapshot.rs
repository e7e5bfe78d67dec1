//! The snapshots in a directory: which there are, and whether they count.

use std::path::{Path, PathBuf};

use super::set::{Artifact, Set, parse, parse_record, stem};
use crate::exit::Result;
use crate::place;
use crate::retention;
use crate::stamp::Stamp;

/// A snapshot in a directory.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The record's path.
    pub path: PathBuf,
    /// When it was made: the later of what its record and its name say.
    pub time: Stamp,
    /// Its record, where that can be read; without the frames.
    pub set: Option<Set>,
    /// Why it does not count; `None` when it is proven.
    pub fault: Option<String>,
}

impl Snapshot {
    /// Looks at one record and at the archives that it names.
    pub fn at(path: &Path) -> Self {
        let named = path.file_name().and_then(|n| n.to_str()).and_then(parse_record);
        let (set, fault) = match Set::read(path) {
            Ok(mut set) => {
                set.volumes.iter_mut().for_each(|a| a.frames = Vec::new());
                let fault = fault(&set, place::parent(path));
                (Some(set), fault)
            }
            Err(e) => (None, Some(e.to_string())),
        };
        let time = set.as_ref().and_then(Set::created).max(named).unwrap_or(Stamp::from_unix(0));
        Snapshot { path: path.to_owned(), time, set, fault }
    }

    /// `YYYYMMDD_HHMMSS`, as the record is named.
    pub fn stem(&self) -> String {
        stem(&self.path.file_name().unwrap_or_default().to_string_lossy()).to_owned()
    }

    /// Bytes of all archives.
    pub fn bytes(&self) -> u64 {
        self.set.as_ref().map_or(0, |s| s.volumes.iter().map(|a| a.file.bytes).sum())
    }
}

fn fault(set: &Set, dir: &Path) -> Option<String> {
    for archive in &set.volumes {
        let Artifact { name, bytes, .. } = &archive.file;
        match dir.join(name).symlink_metadata() {
            Err(_) => return Some(format!("{name} is missing")),
            Ok(meta) if !meta.is_file() => return Some(format!("{name} is no file")),
            Ok(meta) if meta.len() != *bytes => {
                return Some(format!("{name} has {} bytes, its record says {bytes}", meta.len()));
            }
            Ok(_) => {}
        }
    }
    let proven = set.verified.as_ref().is_some_and(|v| v.ok);
    (!proven).then(|| "its proof failed".to_owned())
}

/// The snapshots in `dir`, newest first.
pub fn scan(dir: &Path) -> Result<Vec<Snapshot>> {
    let mut found: Vec<Snapshot> = place::names(dir)?
        .iter()
        .filter(|name| parse_record(name).is_some())
        .map(|name| Snapshot::at(&dir.join(name)))
        .collect();
    found.sort_by(|a, b| (b.time, &b.path).cmp(&(a.time, &a.path)));
    Ok(found)
}

/// The time of a new snapshot's names: `now`, or the second after the newest where that is not older.
/// Names of a far future are passed over.
pub fn free_stamp(dir: &Path, now: Stamp) -> Result<Stamp> {
    let of = |name: &String| {
        let name = name.strip_suffix(place::PART).unwrap_or(name);
        parse_record(name).or(parse(name).map(|(stamp, _)| stamp))
    };
    let taken: Vec<Stamp> = place::names(dir)?.iter().filter_map(of).collect();
    let newest = taken.iter().filter(|s| **s >= now && !retention::is_future(**s, now)).max();
    let mut stamp = newest.map_or(now, |s| s.plus(1));
    while taken.contains(&stamp) {
        stamp = stamp.plus(1);
    }
    Ok(stamp)
}
