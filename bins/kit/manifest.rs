//! The manifest beside each backup: `<artifact>.json`, written last. No manifest, no backup.
//!
//! `docs/formats.md` describes it field by field. Its head is small and always read whole; the
//! table of contents may have a million lines, so it is written and read as a stream.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use tempfile::SpooledTempFile;

use crate::codec::{Frame, Kind as Codec};
use crate::dump::scan;
use crate::exit::{Error, Result};
use crate::place::{self, Part};
use crate::stamp::Stamp;

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
}

/// How a dump is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// SQL for psql.
    Plain,
    /// pg_dump's custom archive, for pg_restore.
    Custom,
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
    /// Databases in the dump.
    pub databases: Vec<String>,
    /// Roles that the dump creates.
    pub roles: Vec<String>,
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

/// A line of the table of contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The database; null where a single-database dump names none.
    pub database: Option<String>,
    /// The schema; null where the dump names none.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
    /// `TABLE` (its definition) or `TABLE DATA`.
    pub kind: String,
    /// Raw offset.
    pub offset: u64,
    /// Raw bytes.
    pub bytes: u64,
    /// Rows, of data.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    /// Row hash, of COPY data: 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub row_hash: Option<String>,
}

impl Item {
    /// From what a scan found, and the name of its database.
    pub fn new(item: &scan::Item, database: Option<String>) -> Self {
        Item {
            database,
            schema: item.table.schema.as_deref().map(scan::text_of),
            name: scan::text_of(&item.table.name),
            kind: if item.data.is_some() { "TABLE DATA" } else { "TABLE" }.into(),
            offset: item.offset,
            bytes: item.bytes,
            rows: item.data.map(|d| d.0),
            row_hash: item.data.and_then(|d| d.1).map(|h| format!("{h:032x}")),
        }
    }
}

/// A table of contents being collected: in memory while it is small, then in an unnamed file.
pub struct Toc {
    spool: BufWriter<SpooledTempFile>,
    any: bool,
}

impl Toc {
    /// An empty one, which may spill into `dir`.
    pub fn new(dir: &Path) -> Self {
        Toc { spool: BufWriter::new(tempfile::spooled_tempfile_in(1 << 20, dir)), any: false }
    }

    /// Adds a line.
    pub fn add(&mut self, item: &Item) -> Result<()> {
        let separator: &[u8] = if self.any { b",\n    " } else { b"\n    " };
        self.any = true;
        let fail = |e| Error::io("write", "the table of contents", &e);
        self.spool.write_all(separator).map_err(fail)?;
        serde_json::to_writer(&mut self.spool, item).map_err(|e| fail(e.into()))
    }
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
        let mut spool = toc.spool.into_inner().map_err(|e| fail(e.into_error()))?;
        spool.rewind().map_err(fail)?;
        let mut part = Part::create(&path)?;
        let mut out = BufWriter::new(&mut part);
        // the head's closing brace makes room for the two long lists
        let head = head.strip_suffix("\n}").unwrap_or(&head);
        write!(out, "{head},\n  \"frames\": {frames},\n  \"toc\": [").map_err(fail)?;
        std::io::copy(&mut spool, &mut out).map_err(fail)?;
        out.write_all(b"\n  ]\n}\n").and_then(|()| out.flush()).map_err(fail)?;
        drop(out);
        part.place()
    }

    /// Reads the manifest of `artifact`, without its table of contents, though that is checked to
    /// be there whole. `Ok(None)`: there is none.
    ///
    /// # Errors
    /// One that cannot be read, is no manifest, or is of a newer format.
    pub fn of(artifact: &Path) -> Result<Option<Self>> {
        let path = path_of(artifact);
        let file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| Error::io("read", path.display(), &e))?,
        };
        let mut input = serde_json::Deserializer::from_reader(BufReader::new(file));
        let manifest = Self::deserialize(&mut input).and_then(|m| input.end().map(|()| m));
        let manifest = manifest.map_err(|e| Error::no(format!("cannot read '{}': {e}", path.display())))?;
        if manifest.format_version > FORMAT_VERSION {
            let newer = format!(
                "cannot read '{}': its format {} is newer than {FORMAT_VERSION}",
                path.display(),
                manifest.format_version
            );
            return Err(Error::refused(newer).hint("Use a newer release of these programs."));
        }
        Ok(Some(manifest))
    }
}

/// Hands each line of the table of contents beside `artifact` to `each`, in order.
pub fn each_item(artifact: &Path, each: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
    let path = path_of(artifact);
    let file = File::open(&path).map_err(|e| Error::io("read", path.display(), &e))?;
    let mut outcome = Ok(());
    let seed = TocOf { each, outcome: &mut outcome };
    let mut input = serde_json::Deserializer::from_reader(BufReader::new(file));
    let read = seed.deserialize(&mut input);
    outcome?;
    read.map_err(|e| Error::no(format!("cannot read '{}': {e}", path.display())))
}

/// Walks a manifest, handing on the lines of `toc` and passing over the rest.
struct TocOf<'a> {
    each: &'a mut dyn FnMut(Item) -> Result<()>,
    outcome: &'a mut Result<()>,
}

impl<'de> DeserializeSeed<'de> for TocOf<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> std::result::Result<(), D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TocOf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a manifest")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> std::result::Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "toc" {
                map.next_value_seed(Lines { each: &mut self.each, outcome: self.outcome })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Lines<'a, 'b> {
    each: &'a mut &'b mut dyn FnMut(Item) -> Result<()>,
    outcome: &'a mut Result<()>,
}

impl<'de> DeserializeSeed<'de> for Lines<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> std::result::Result<(), D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Lines<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut lines: S) -> std::result::Result<(), S::Error> {
        while let Some(item) = lines.next_element::<Item>()? {
            if self.outcome.is_ok() {
                *self.outcome = (self.each)(item);
            }
        }
        Ok(())
    }
}

/// The digests of a folder's artifacts, for `sha256sum -c SHA256SUMS`.
pub mod sums {
    use super::*;

    /// The file's name.
    pub const NAME: &str = "SHA256SUMS";

    /// Rewrites `dir`'s list: without the names in `gone`, with `new` (name, digest) at its end.
    /// The caller holds the directory's lock.
    pub fn update(dir: &Path, gone: &[&str], new: Option<(&str, &str)>) -> Result<()> {
        let path = dir.join(NAME);
        let mut lines = String::new();
        match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("read", path.display(), &e)),
            Ok(file) => {
                for line in BufReader::new(file).lines() {
                    let line = line.map_err(|e| Error::io("read", path.display(), &e))?;
                    let name = line.get(66..).unwrap_or_default();
                    if !gone.contains(&name) && new.is_none_or(|(n, _)| n != name) {
                        lines.push_str(&line);
                        lines.push('\n');
                    }
                }
            }
        }
        if let Some((name, sha256)) = new {
            lines.push_str(&format!("{sha256}  {name}\n"));
        }
        place::replace(&path, lines.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
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
            frames: vec![Frame(0, 0), Frame(10, 20)],
        }
    }

    fn item(name: &str) -> Item {
        let (database, schema) = (Some("d".into()), None);
        Item {
            database,
            schema,
            name: name.into(),
            kind: "TABLE".into(),
            offset: 1,
            bytes: 2,
            rows: None,
            row_hash: None,
        }
    }

    #[test]
    fn what_is_placed_is_read_and_nothing_less() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = dir.path().join("a.sql");
        let mut toc = Toc::new(dir.path());
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
        sample().place(&artifact, Toc::new(dir.path())).unwrap();
        assert!(Manifest::of(&artifact).unwrap().is_some());
        assert!(Manifest::of(&dir.path().join("b.sql")).unwrap().is_none());
    }

    #[test]
    fn sums_follow_what_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        sums::update(dir.path(), &[], Some(("my file.sql", &a))).unwrap();
        sums::update(dir.path(), &[], Some(("b.sql", &b))).unwrap();
        sums::update(dir.path(), &["my file.sql"], None).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(sums::NAME)).unwrap(), format!("{b}  b.sql\n"));
    }
}
