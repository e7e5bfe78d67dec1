//! The manifest beside each backup: `<artifact>.json`, written last. No manifest, no backup.
//!
//! `docs/formats.md` describes it field by field. Its head is small and always read whole; the
//! table of contents may have a million lines, so it is written and read as a stream.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::codec::{Frame, Kind as Codec};
use crate::exit::{Error, Result};
use crate::medium::Medium;
use crate::place::{self, Part};
use crate::stamp::Stamp;

mod keys;
mod kin;
mod record;
mod seal;
mod toc;

pub use kin::Kin;
pub use record::{record, record_in};
pub use seal::{Seal, seal};
pub use toc::{Item, Toc, each_item};

pub(crate) use seal::Sealing;

/// The version of the format that is written, and the newest that is understood.
pub const FORMAT_VERSION: u32 = 1;

/// What a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// All databases, roles and tablespaces of a server.
    Cluster,
    /// One database.
    Database,
    /// What a Redis holds.
    Redis,
    /// Volumes that belong together: their record says it in more words.
    Volumes,
}

impl Kind {
    /// As it stands in a manifest.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Cluster => "cluster",
            Kind::Database => "database",
            Kind::Redis => "redis",
            Kind::Volumes => "volumes",
        }
    }

    /// Whether it has tables and rows.
    pub fn is_dump(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Database)
    }
}

/// How a dump is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// SQL for psql.
    Plain,
    /// pg_dump's custom archive, for pg_restore.
    Custom,
    /// Redis's RDB.
    Rdb,
    /// Archives of tar.
    Tar,
}

/// Everything but the table of contents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// What it is.
    pub kind: Kind,
    /// When the backup began, RFC 3339, UTC.
    pub created: String,
    /// From the producer's start to the end of the proof, milliseconds.
    pub duration_ms: u64,
    /// Name and version of the program that made it.
    pub tool: String,
    /// The reason for this backup, such as `pre-migrate`.
    pub tag: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// The artifact.
    pub file: Artifact,
    /// Bytes of the dump before compression.
    pub raw_bytes: u64,
    /// Tables that the dump creates.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Large objects.
    pub large_objects: u64,
    /// The latest proof.
    pub verified: Option<Verified>,
    /// What the run that made it had to keep. Where that is not known it is left out: releases that take `rules` for a
    /// list could not read `null`.
    #[serde(default, skip_serializing_if = "Rotation::is_unknown")]
    pub rotation: Rotation,
    /// Where independent pieces begin: `[offset, raw offset]`.
    #[serde(default, skip_serializing)]
    pub frames: Vec<Frame>,
}

/// Where a backup comes from. Holds no secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Source {
    /// The program that made the dump, without its arguments; `stdin` when that is unknown.
    pub producer: String,
    /// The server's version, by the dump or the server.
    pub server_version: Option<String>,
    /// The version of pg_dump, by the dump.
    pub dump_version: Option<String>,
    /// `pg_control`'s system identifier.
    pub system_identifier: Option<String>,
    /// Where the volumes are, of a snapshot; see [`Kin`].
    #[serde(skip)]
    pub place: Option<String>,
    /// Databases in the dump.
    pub databases: Vec<String>,
    /// Roles that the dump creates.
    pub roles: Vec<String>,
    /// The options by which the dump was told to leave rows or tables out, such as
    /// `--schema-only`; empty for a whole dump.
    #[serde(default)]
    pub partial: Vec<String>,
    /// Databases of the server that no dump of all holds, because they allow no connections.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// The artifact's own facts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name, without a folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Compression around it.
    pub codec: Codec,
    /// Layout within.
    pub format: Format,
}

/// The rules of retention that the run which made a backup went by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The rules, as options in their long form, such as `--keep-last 10`; empty where nothing was removed, `None`
    /// where that is not known.
    pub rules: Option<Vec<String>>,
    /// It may be much smaller than those before it: somebody said so.
    pub shrink_allowed: bool,
}

impl Rotation {
    fn is_unknown(&self) -> bool {
        *self == Rotation::default()
    }
}

/// A proof: when, how, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verified {
    /// RFC 3339, UTC.
    pub at: String,
    /// What was done, such as `read-back`; `footer` where no producer's status was to be had.
    pub how: String,
    /// Whether it held.
    pub ok: bool,
}

/// The manifest's path of an artifact.
pub fn path_of(artifact: &Path) -> PathBuf {
    place::with_suffix(artifact, ".json")
}

impl Manifest {
    /// When the backup began.
    pub fn created(&self) -> Option<Stamp> {
        Stamp::parse_rfc3339(&self.created)
    }

    /// Whether its latest proof held.
    pub fn is_proven(&self) -> bool {
        self.verified.as_ref().is_some_and(|v| v.ok)
    }

    /// Places the manifest beside `artifact`, durably, as the last act of a backup.
    pub fn place(&self, artifact: &Path, toc: Toc) -> Result<()> {
        let path = path_of(artifact);
        let fail = |e| Error::io("write", path.display(), &e);
        let head = serde_json::to_string_pretty(self).map_err(|e| fail(e.into()))?;
        let frames = serde_json::to_string(&self.frames).map_err(|e| fail(e.into()))?;
        let mut toc = toc.into_reader()?;
        let mut part = Part::create(&path)?;
        let mut out = Sealing::new(BufWriter::new(&mut part));
        // the head's closing brace makes room for the two long lists
        let head = head.strip_suffix("\n}").unwrap_or(&head);
        write!(out, "{head},\n  \"frames\": {frames},\n  \"toc\": [").map_err(fail)?;
        std::io::copy(&mut toc, &mut out).map_err(fail)?;
        out.write_all(b"\n  ]").and_then(|()| out.finish()).map_err(fail)?;
        part.place()
    }

    /// Reads the manifest of `artifact`, without its table of contents, though that is checked to
    /// be there whole. `Ok(None)`: there is none.
    ///
    /// # Errors
    /// One that cannot be read, is no manifest, or is of a newer format.
    pub fn of(artifact: &Path) -> Result<Option<Self>> {
        Text::beside(artifact)?.map(|text| text.manifest()).transpose()
    }
}

/// The text of a manifest, opened once: whatever stands in its place meanwhile, the same is read again.
pub struct Text {
    file: File,
    name: String,
}

impl Text {
    /// Of a file; `name` is what messages call it.
    pub fn new(file: File, name: String) -> Self {
        Text { file, name }
    }

    /// That of `artifact`. `Ok(None)`: there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn beside(artifact: &Path) -> Result<Option<Self>> {
        let path = path_of(artifact);
        match place::open_regular(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", path.display(), &e)),
            Ok(file) => Ok(Some(Self::new(file, path.display().to_string()))),
        }
    }

    /// All but the table of contents, though that is checked to be there whole.
    ///
    /// # Errors
    /// Those of [`Manifest::of`].
    pub fn manifest(&self) -> Result<Manifest> {
        let name = &self.name;
        let mut input = serde_json::Deserializer::from_reader(BufReader::new(self.file.all()));
        let manifest = Manifest::deserialize(&mut input).and_then(|m| input.end().map(|()| m));
        let manifest = manifest.map_err(|e| Error::no(format!("cannot read '{name}': {e}")))?;
        if manifest.format_version > FORMAT_VERSION {
            let format = manifest.format_version;
            let newer = format!("cannot read '{name}': its format {format} is newer than {FORMAT_VERSION}");
            return Err(Error::refused(newer).hint("Use a newer release of these programs."));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample() -> Manifest {
        Manifest {
            format_version: FORMAT_VERSION,
            kind: Kind::Cluster,
            created: "2026-01-26T12:00:00Z".into(),
            duration_ms: 12,
            tool: "test 1".into(),
            tag: None,
            source: Source::default(),
            file: Artifact {
                name: "a.sql".into(),
                bytes: 3,
                sha256: "00".into(),
                codec: Codec::None,
                format: Format::Plain,
            },
            raw_bytes: 3,
            tables: 1,
            rows: 2,
            large_objects: 0,
            verified: Some(Verified { at: "2026-01-26T12:00:01Z".into(), how: "read-back".into(), ok: true }),
            rotation: Rotation::default(),
            frames: vec![Frame(0, 0), Frame(10, 20)],
        }
    }

    fn item(name: &str) -> Item {
        Item { database: Some("d".into()), name: name.into(), kind: "TABLE".into(), ..Item::default() }
    }

    #[test]
    fn what_is_placed_is_read_and_nothing_less() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = dir.path().join("a.sql");
        let mut toc = Toc::new(dir.path(), None);
        for name in ["t", "a\"\n\u{1b}b"] {
            toc.add(&item(name)).unwrap();
        }
        sample().place(&artifact, toc).unwrap();
        let back = Manifest::of(&artifact).unwrap().unwrap();
        assert_eq!((back.rows, back.frames), (2, sample().frames));
        let mut names = Vec::new();
        each_item(&artifact, &mut |i| {
            names.push(i.name);
            Ok(())
        })
        .unwrap();
        assert_eq!(names, ["t", "a\"\n\u{1b}b"]);

        let text = std::fs::read(path_of(&artifact)).unwrap();
        for cut in 0..text.len() - 2 {
            std::fs::write(path_of(&artifact), &text[..cut]).unwrap();
            assert!(Manifest::of(&artifact).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_manifest_without_any_table_is_json_too() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = dir.path().join("a.sql");
        sample().place(&artifact, Toc::new(dir.path(), None)).unwrap();
        assert!(Manifest::of(&artifact).unwrap().is_some());
        assert!(Manifest::of(&dir.path().join("b.sql")).unwrap().is_none());
    }
}
