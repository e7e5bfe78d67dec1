//! The backups in a directory: names, manifests, and whether they count.

use std::path::{Path, PathBuf};

use crate::exit::{Error, Result};
use crate::manifest::{Kin, Manifest};
use crate::out;
use crate::place;
use crate::retention::{self, Candidate};
use crate::stamp::Stamp;

mod sums;

pub use sums::{SUMS, entries, listed, odd_line, sums, update_sums};

/// The endings of dumps, longest first.
pub const ENDINGS: [&str; 4] = [".sql.gz", ".sql.zst", ".sql", ".dump"];

/// The name of a backup of series `prefix`: `PREFIX_YYYYMMDD_HHMMSS` and an ending.
pub fn name(prefix: &str, stamp: Stamp, ending: &str) -> String {
    format!("{prefix}_{}{ending}", stamp.compact())
}

/// The folder of snapshots of volumes, below that of backups.
pub const SNAPSHOTS: &str = "snapshots";

/// Series and time of a backup's name; `None` for a name that is not ours.
pub fn parse(name: &str) -> Option<(&str, Stamp)> {
    let stem = ENDINGS.iter().find_map(|e| name.strip_suffix(e))?;
    let (prefix, stamp) = stem.split_at_checked(stem.len().checked_sub(16)?)?;
    Some((prefix, Stamp::parse_compact(stamp.strip_prefix('_')?)?))
}

/// A name is a path; a bare one may also stand in the directory of backups.
pub fn located(name: &str, dir: &Path) -> PathBuf {
    let path = Path::new(name);
    let there = dir.join(name);
    if !path.exists() && !name.contains('/') && there.exists() { there } else { path.to_owned() }
}

/// The [`fault`](Backup::fault) of a file that is nobody's backup: it may be foreign.
pub const NO_MANIFEST: &str = "no manifest";

/// A dump in the directory.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Its path.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// The series that its name says; `None` for a name that is not ours.
    pub series: Option<String>,
    /// When it was made: the later of what its manifest and its name say, else the file's time.
    pub time: Stamp,
    /// Bytes.
    pub bytes: u64,
    /// Its manifest, when that can be read.
    pub manifest: Option<Manifest>,
    /// Why it does not count; `None` when it is proven.
    pub fault: Option<String>,
    /// How it was taken, where that changes how much is in it.
    pub way: &'static str,
    /// How many of its bytes, inflated, are WAL, of which there is now more and now less; `None`: not known.
    pub log_bytes: Option<u64>,
}

impl Backup {
    /// Looks at one file.
    ///
    /// # Errors
    /// The file cannot be looked at. A broken manifest is a [`fault`](Self::fault), no error.
    pub fn at(path: &Path) -> Result<Self> {
        let meta = path.metadata().map_err(|e| Error::io("read", path.display(), &e))?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let (series, named) = parse(&name).map_or((None, None), |(s, t)| (Some(s.to_owned()), Some(t)));
        let (manifest, fault) = match Manifest::of(path) {
            Ok(Some(mut m)) => {
                // of no use in a list, and large for large backups
                m.frames = Vec::new();
                let fault = fault(&m, &name, meta.len());
                (Some(m), fault)
            }
            Ok(None) => (None, Some(NO_MANIFEST.to_owned())),
            Err(e) => (None, Some(e.to_string())),
        };
        let modified = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        let time = manifest.as_ref().and_then(Manifest::created).max(named);
        let time = time.unwrap_or(Stamp::from_unix(modified.map_or(0, |d| d.as_secs() as i64)));
        Ok(Backup {
            path: path.to_owned(),
            name,
            series,
            time,
            bytes: meta.len(),
            manifest,
            fault,
            way: "",
            log_bytes: None,
        })
    }

    /// As retention sees it.
    pub fn candidate(&self) -> Candidate {
        let tag = self.manifest.as_ref().and_then(|m| m.tag.clone());
        let kin = self.kin();
        Candidate { name: self.name.clone(), time: self.time, tag, kin, fault: self.fault.clone() }
    }

    /// What it is a backup of, by its manifest.
    pub fn kin(&self) -> Option<Kin> {
        self.manifest.as_ref().map(Manifest::kin)
    }

    /// Name, size, age, tables, rows, tag and whether it is proven, for a listing.
    pub fn row(&self, now: Stamp) -> Vec<String> {
        let of = |f: fn(&Manifest) -> String| self.manifest.as_ref().map_or("-".into(), f);
        vec![
            self.name.clone(),
            out::bytes(self.bytes),
            self.time.age(now),
            of(|m| m.tables.to_string()),
            of(|m| m.rows.to_string()),
            of(|m| m.tag.clone().unwrap_or("-".into())),
            match (&self.fault, self.kin().filter(|k| !k.is_whole())) {
                (Some(fault), _) => format!("no: {fault}"),
                (None, Some(part)) => format!("proven, {}", part.partial.join(" ")),
                (None, None) => "proven".into(),
            },
        ]
    }

    /// The same as one JSON object.
    fn json(&self) -> String {
        let manifest = self.manifest.as_ref();
        serde_json::json!({
            "path": self.path.display().to_string(),
            "name": self.name,
            "bytes": self.bytes,
            "created": self.time.to_string(),
            "tables": manifest.map(|m| m.tables),
            "rows": manifest.map(|m| m.rows),
            "tag": manifest.and_then(|m| m.tag.clone()),
            "partial": manifest.map(|m| &m.source.partial),
            "proven": self.fault.is_none(),
            "fault": self.fault,
        })
        .to_string()
    }

    /// The heads of [`row`](Self::row)'s columns.
    pub const HEADER: [&'static str; 7] = ["NAME", "SIZE", "AGE", "TABLES", "ROWS", "TAG", "PROVEN"];
}

fn fault(manifest: &Manifest, name: &str, bytes: u64) -> Option<String> {
    if manifest.file.name != name {
        return Some(format!("its manifest is that of {}", manifest.file.name));
    }
    if manifest.file.bytes != bytes {
        return Some(format!("it has {bytes} bytes, its manifest says {}", manifest.file.bytes));
    }
    (!manifest.is_proven()).then(|| "its proof failed".to_owned())
}

/// The dumps in `dir`, newest first; all, or those of one series.
pub fn scan(dir: &Path, series: Option<&str>) -> Result<Vec<Backup>> {
    let mut backups = Vec::new();
    for name in place::names(dir)? {
        let path = dir.join(&name);
        let wanted = series.is_none_or(|s| parse(&name).is_some_and(|(prefix, _)| prefix == s));
        // a link such as latest_backup.sql is another name of a backup, not another backup
        let is_file = || path.symlink_metadata().is_ok_and(|m| m.is_file());
        if wanted && ENDINGS.iter().any(|e| name.ends_with(e)) && is_file() {
            backups.push(Backup::at(&path)?);
        }
    }
    backups.sort_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
    Ok(backups)
}

/// Backups in `dir` of which only the manifest is there, or no more than a line in the list of digests:
/// somebody took the file away. What rotation removes leaves neither.
pub fn vanished(dir: &Path) -> Result<Vec<Backup>> {
    let names = place::names(dir)?;
    let sums = listed(dir);
    let mut files: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".json")).collect();
    files.extend(entries(&sums).map(|(_, name)| name));
    files.sort_unstable();
    files.dedup();
    let mut backups = Vec::new();
    for file in files {
        let Some((series, named)) = parse(file) else { continue };
        let path = dir.join(file);
        if path.is_file() {
            continue;
        }
        let manifest = Manifest::of(&path).ok().flatten();
        let time = manifest.as_ref().and_then(Manifest::created).max(Some(named)).unwrap_or(named);
        backups.push(Backup {
            name: file.to_owned(),
            series: Some(series.to_owned()),
            time,
            bytes: 0,
            manifest,
            fault: Some("its file is missing".into()),
            way: "",
            log_bytes: None,
            path,
        });
    }
    Ok(backups)
}

/// Prints the dumps in `dir` that are `wanted`, newest first: columns, or JSON objects a line.
pub fn list(dir: &Path, json: bool, wanted: impl Fn(&Backup) -> bool) -> Result<()> {
    let mut backups = scan(dir, None)?;
    backups.retain(wanted);
    if json {
        for backup in &backups {
            if !out::record(&backup.json())? {
                break;
            }
        }
        return Ok(());
    }
    let now = Stamp::now();
    let rows: Vec<Vec<String>> = backups.iter().map(|b| b.row(now)).collect();
    out::table(&Backup::HEADER, &rows)
}

/// The time of a new backup's name: `now`, or the second after the newest of its series where that
/// is not older. A second backup within a second, or one after a clock was put back a little, is
/// still the newest by name. Names of a far future are passed over.
pub fn free_stamp(dir: &Path, prefix: &str, now: Stamp) -> Result<Stamp> {
    // a manifest whose file somebody took away holds the name too
    let taken: Vec<Stamp> = place::names(dir)?
        .iter()
        .filter_map(|n| parse(n.strip_suffix(".json").unwrap_or(n)))
        .filter(|(p, _)| *p == prefix)
        .map(|(_, s)| s)
        .collect();
    let newest = taken.iter().filter(|s| **s >= now && !retention::is_future(**s, now)).max();
    let mut stamp = newest.map_or(now, |s| s.plus(1));
    while taken.contains(&stamp) {
        stamp = stamp.plus(1);
    }
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_series_and_time() {
        let t = Stamp::parse_compact("20251127_143022").unwrap();
        for (name, want) in [
            ("backup_20251127_143022.sql", Some("backup")),
            ("shop_eu_20251127_143022.sql.gz", Some("shop_eu")),
            ("mein Laden_20251127_143022.dump", Some("mein Laden")),
            ("backup_20251327_143022.sql", None),
            ("20251127_143022.sql", None),
            ("backup_20251127_143022.sql.json", None),
            ("backup_20251127_143022.sql.gz.part", None),
            ("ü20251127_143022.sql", None),
        ] {
            assert_eq!(parse(name).map(|p| p.0), want, "{name}");
            assert!(parse(name).is_none_or(|p| p.1 == t));
        }
    }

    #[test]
    fn two_backups_in_one_second_get_two_names() {
        let dir = tempfile::tempdir().unwrap();
        let now = Stamp::parse_compact("20251127_143059").unwrap();
        for ending in [".sql", ".sql.gz"] {
            let stamp = free_stamp(dir.path(), "b", now).unwrap();
            std::fs::write(dir.path().join(name("b", stamp, ending)), "").unwrap();
        }
        assert_eq!(place::names(dir.path()).unwrap(), ["b_20251127_143059.sql", "b_20251127_143100.sql.gz"]);
    }
}
