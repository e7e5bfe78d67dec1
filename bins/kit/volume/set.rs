//! The record of a snapshot: `YYYYMMDD_HHMMSS.json` beside its archives, written last. No record, no
//! snapshot.
//!
//! `docs/formats.md` describes it field by field. A set is whole or it is nothing: one archive that is
//! missing or has another size is a [`fault`](super::snapshot::Snapshot::fault) of all.

use std::io::{BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Place;
use super::control::{Control, Lsn};
use crate::codec::{Frame, Kind as Codec};
use crate::exit::{Error, Result};
use crate::manifest::{Sealing, Verified};
use crate::place::{self, Part};
use crate::stamp::Stamp;

mod names;

pub use names::{archive_name, name, parse, parse_record, places, series, stem};

/// The version of the format that is written, and the newest that is understood.
pub const FORMAT_VERSION: u32 = 1;
/// What `kind` says of every set.
pub const KIND: &str = "snapshot";

/// A snapshot of several volumes that belong together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Set {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// [`KIND`].
    pub kind: String,
    /// When the snapshot began, RFC 3339, UTC.
    pub created: String,
    /// To the end of the proof, milliseconds.
    pub duration_ms: u64,
    /// How long services were down for it, milliseconds; `None`: none were stopped.
    pub downtime_ms: Option<u64>,
    /// Name and version of the program that made it.
    pub tool: String,
    /// The reason for this snapshot, such as `pre-upgrade`.
    pub tag: Option<String>,
    /// It may be much smaller than those before it: somebody said so.
    #[serde(default)]
    pub shrink_allowed: bool,
    /// The rules of retention that the run went by, as in a [`Rotation`](crate::manifest::Rotation).
    #[serde(default)]
    pub rules: Option<Vec<String>>,
    /// Whether the server stood still.
    pub mode: Mode,
    /// Label of the volume whose data lead: it has every row. `None` where no volume holds a
    /// PostgreSQL, or it is not known which of several leads.
    pub leader: Option<String>,
    /// The leader's cluster.
    pub system_identifier: Option<String>,
    /// The leader's timeline.
    pub timeline: Option<u32>,
    /// The WAL without which a hot snapshot is of no use; `None` for a cold one, which needs none.
    #[serde(default)]
    pub wal: Option<WalRange>,
    /// The archives, in the order in which they were made.
    pub volumes: Vec<Archive>,
    /// The latest proof.
    pub verified: Option<Verified>,
}

/// Whether the server stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing ran: the files are all there is.
    Cold,
    /// It ran, in backup mode: the files are nothing without the WAL of that time.
    Hot,
}

/// The WAL that a hot snapshot needs: from the start to the end of the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRange {
    /// The timeline of the backup.
    pub timeline: u32,
    /// Where replay begins.
    pub start: Lsn,
    /// Where the files are consistent.
    pub stop: Lsn,
    /// Name of the first segment that is needed.
    pub first: String,
    /// Name of the last segment that is needed.
    pub last: String,
    /// Whether the archive of the data directory holds these segments: then it starts by itself.
    #[serde(default)]
    pub included: bool,
}

/// What a volume holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A data directory of PostgreSQL.
    Postgresql,
    /// An archive of WAL.
    WalArchive,
    /// Anything else.
    Other,
}

/// The archive of one volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Archive {
    /// The volume's short name.
    pub label: String,
    /// Whether somebody gave it that name; else it is that of its place. `None` in records that do not tell.
    #[serde(default)]
    pub is_named: Option<bool>,
    /// Where the volume was: `dir:/path`, `docker:NAME`, `podman:NAME`.
    pub place: String,
    /// The services of Compose that use it.
    #[serde(default)]
    pub services: Vec<String>,
    /// What it holds.
    pub content: Content,
    /// The data directories in it.
    #[serde(default)]
    pub data: Vec<Data>,
    /// The archive.
    pub file: Artifact,
    /// Bytes of the archive before compression.
    pub raw_bytes: u64,
    /// Files, directories and links in it.
    pub entries: u64,
    /// Bytes that the files take once they are put back, without holes.
    pub content_bytes: u64,
    /// Those of them that are WAL, of which there is now more and now less; `None` in records that do not tell.
    #[serde(default)]
    pub log_bytes: Option<u64>,
    /// Symbolic links in it that lead out of the volume, as tablespaces do.
    #[serde(default)]
    pub links: Vec<Link>,
    /// What was left out, by kind: sockets, `postmaster.pid`.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Where independent pieces begin: `[offset, raw offset]`.
    pub frames: Vec<Frame>,
}

/// A data directory of PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Its path in the volume; empty for the volume itself.
    pub path: String,
    /// What it said of itself when it was read.
    pub control: Control,
}

/// An archive's own facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name, without a folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// How it is compressed.
    pub codec: Codec,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its path in the volume.
    pub path: String,
    /// Where it leads.
    pub target: String,
}

impl Archive {
    /// Whether somebody gave the volume its name, as far as that can be told.
    fn is_named(&self) -> bool {
        let differs =
            || Place::parse(&self.place, Path::new("/")).is_ok_and(|place| place.name() != self.label);
        self.is_named.unwrap_or_else(differs)
    }
}

impl Set {
    /// When the snapshot began.
    pub fn created(&self) -> Option<Stamp> {
        Stamp::parse_rfc3339(&self.created)
    }

    /// The archive of a volume.
    pub fn archive(&self, label: &str) -> Option<&Archive> {
        self.volumes.iter().find(|a| a.label == label)
    }

    /// The services that follow the leader: those of other data directories.
    pub fn followers(&self) -> Vec<String> {
        let leads = |a: &&Archive| Some(&a.label) == self.leader.as_ref();
        let leader: Vec<&String> = self.volumes.iter().filter(leads).flat_map(|a| &a.services).collect();
        let others = self.volumes.iter().filter(|a| a.content == Content::Postgresql && !leads(a));
        let all = others.flat_map(|a| &a.services).filter(|s| !leader.contains(s));
        if self.leader.is_some() { all.cloned().collect() } else { Vec::new() }
    }

    /// How many data directories of PostgreSQL are in it beside the leader's, as far as one led.
    pub fn standbys(&self) -> usize {
        if self.leader.is_none() {
            return 0;
        }
        self.volumes.iter().filter(|a| a.content == Content::Postgresql).count().saturating_sub(1)
    }

    /// Whether it is nothing without log that it does not hold.
    pub fn needs_log(&self) -> bool {
        self.mode == Mode::Hot && self.wal.as_ref().is_some_and(|wal| !wal.included)
    }

    /// The series that it is one of: the names of its volumes.
    pub fn series(&self) -> String {
        series(self.volumes.iter().map(|a| a.label.as_str()))
    }

    /// Where the volumes are that have no name of their own, by which those of no server are told from others.
    pub fn place(&self) -> Option<String> {
        let unnamed = self.volumes.iter().filter(|a| !a.is_named() && self.system_identifier.is_none());
        places(unnamed.map(|a| (a.label.as_str(), a.place.as_str())))
    }

    /// Starts the record of the snapshot at `path`, whole and durable, but not under its name yet:
    /// [`Part::place`] is the snapshot's last act.
    pub fn begin(&self, path: &Path) -> Result<Part> {
        let text = serde_json::to_string(self)
            .map_err(|e| Error::no(format!("cannot write '{}': {e}", path.display())))?;
        let mut part = Part::create(path)?;
        let mut out = Sealing::new(&mut part);
        // its last brace comes with the seal
        out.write_all(text.strip_suffix('}').unwrap_or(&text).as_bytes())
            .and_then(|()| out.finish())
            .map_err(|e| Error::io("write", path.display(), &e))?;
        part.sync()?;
        Ok(part)
    }

    /// Reads the record at `path`.
    ///
    /// # Errors
    /// One that cannot be read, is no record of a snapshot, names files outside of its folder or those of another
    /// set, calls two volumes the same, or is of a newer format.
    pub fn read(path: &Path) -> Result<Self> {
        let file = place::open_regular(path).map_err(|e| Error::io("read", path.display(), &e))?;
        let wrong = |cause: &str| Error::no(format!("cannot read '{}': {cause}", path.display()));
        let set: Set = serde_json::from_reader(BufReader::new(file)).map_err(|e| wrong(&e.to_string()))?;
        if set.format_version > FORMAT_VERSION {
            return Err(Error::refused(format!(
                "cannot read '{}': its format {} is newer than {FORMAT_VERSION}",
                path.display(),
                set.format_version
            ))
            .hint("Use a newer release of these programs."));
        }
        if set.kind != KIND || set.volumes.is_empty() {
            return Err(wrong("it is no record of a snapshot"));
        }
        let outside = |a: &&Archive| !super::is_label(&a.label) || parse(&a.file.name).is_none();
        if let Some(a) = set.volumes.iter().find(outside) {
            return Err(wrong(&format!("'{}' is no name of an archive", a.file.name)));
        }
        // whoever removed a copy of a record would remove the archives of the other
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let named = parse_record(name.strip_suffix(place::PART).unwrap_or(name));
        let other = |a: &&Archive| named.is_some() && parse(&a.file.name).map(|(stamp, _)| stamp) != named;
        if let Some(a) = set.volumes.iter().find(other) {
            return Err(wrong(&format!("'{}' is an archive of another", a.file.name)));
        }
        let twice = |(i, a): &(usize, &Archive)| set.volumes[..*i].iter().any(|b| b.label == a.label);
        if let Some((_, a)) = set.volumes.iter().enumerate().find(twice) {
            return Err(wrong(&format!("two volumes of it are '{}'", a.label)));
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::scan;
    use super::*;

    fn sample() -> Set {
        let file = Artifact {
            name: "20260126_120000_one.tar.gz".into(),
            bytes: 3,
            sha256: "00".into(),
            codec: Codec::Gzip,
        };
        let archive = Archive {
            label: "one".into(),
            is_named: None,
            place: "dir:/srv/one".into(),
            services: Vec::new(),
            content: Content::Other,
            data: Vec::new(),
            file,
            raw_bytes: 20,
            entries: 1,
            content_bytes: 0,
            log_bytes: Some(0),
            links: Vec::new(),
            left_out: Vec::new(),
            frames: vec![Frame(0, 0)],
        };
        Set {
            format_version: FORMAT_VERSION,
            kind: KIND.into(),
            created: "2026-01-26T12:00:00Z".into(),
            duration_ms: 1,
            downtime_ms: None,
            tool: "test 1".into(),
            tag: None,
            shrink_allowed: false,
            rules: None,
            mode: Mode::Cold,
            leader: None,
            system_identifier: None,
            timeline: None,
            wal: None,
            volumes: vec![archive],
            verified: Some(Verified { at: "2026-01-26T12:00:01Z".into(), how: "read-back".into(), ok: true }),
        }
    }

    #[test]
    fn a_set_is_whole_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("20260126_120000.json");
        sample().begin(&path).unwrap().place().unwrap();
        let fault = || scan(dir.path()).unwrap()[0].fault.clone();
        assert_eq!(fault().as_deref(), Some("20260126_120000_one.tar.gz is missing"));
        std::fs::write(dir.path().join("20260126_120000_one.tar.gz"), "abc").unwrap();
        assert_eq!(fault(), None);
        std::fs::write(dir.path().join("20260126_120000_one.tar.gz"), "ab").unwrap();
        assert!(fault().is_some());
        let text = std::fs::read(&path).unwrap();
        for cut in 0..text.len() - 2 {
            std::fs::write(&path, &text[..cut]).unwrap();
            assert!(Set::read(&path).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_record_that_names_files_elsewhere_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["../20260126_120000_one.tar.gz", "/etc/passwd", "20260126_120000_../x.tar.gz"] {
            let mut set = sample();
            set.volumes[0].file.name = name.into();
            let path = dir.path().join("20260126_120000.json");
            let _ = std::fs::remove_file(&path);
            set.begin(&path).unwrap().place().unwrap();
            assert!(Set::read(&path).is_err(), "{name}");
        }
    }
}
