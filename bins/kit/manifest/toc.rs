//! The table of contents: a line for each table's definition and data, streamed in and out.

use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use tempfile::SpooledTempFile;

use super::{Text, path_of};
use crate::dump::scan;
use crate::dump::statement::Qualified;
use crate::exit::{Error, Result};
use crate::medium::Medium;

/// A line of the table of contents: a statement and what it makes, or the data of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The database; null where a single-database dump names none.
    pub database: Option<String>,
    /// The schema; null where the dump names none.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// Its kind, as pg_dump's own table of contents calls it; see `docs/formats.md`.
    pub kind: String,
    /// Schema and name of the table, view or sequence it belongs to; absent where that is itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of: Option<(Option<String>, String)>,
    /// Its owner, where the dump says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<String>,
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
    /// `schema.name`, for people.
    pub fn full_name(&self) -> String {
        self.schema.as_ref().map_or(self.name.clone(), |s| format!("{s}.{}", self.name))
    }

    /// Where it ends, raw; a manifest that claims too much is found out where that is read.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }

    /// From what a scan found, and the name of its database.
    pub fn new(item: &scan::Item, database: Option<String>) -> Self {
        let texts = |q: &Qualified| (q.schema.as_deref().map(scan::text_of), scan::text_of(&q.name));
        let (schema, name) = texts(&item.name);
        Item {
            database,
            schema,
            name,
            kind: item.kind.into(),
            of: item.of.as_ref().filter(|of| **of != item.name).map(texts),
            owner: item.owner.as_deref().map(scan::text_of),
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
    /// The database that was asked for: a dump of one does not name it.
    database: Option<String>,
    /// The first failure to write a line, kept until the lines are asked for.
    failed: Option<Error>,
}

impl Toc {
    /// An empty one, which may spill into `dir`; of `database`, where the dump is known to be of one.
    pub fn new(dir: &Path, database: Option<String>) -> Self {
        let spool = BufWriter::new(tempfile::spooled_tempfile_in(1 << 20, dir));
        Toc { spool, any: false, database, failed: None }
    }

    /// Adds what a scan found. A failure is told by whoever asks for the lines.
    pub fn note(&mut self, item: &scan::Item) {
        let named = (!item.database.is_empty()).then(|| scan::text_of(&item.database));
        let item = Item::new(item, self.database.clone().or(named));
        if self.failed.is_none() {
            self.failed = self.add(&item).err();
        }
    }

    /// Adds a line.
    pub fn add(&mut self, item: &Item) -> Result<()> {
        let separator: &[u8] = if self.any { b",\n    " } else { b"\n    " };
        self.any = true;
        let fail = |e| Error::io("write", "the table of contents", &e);
        self.spool.write_all(separator).map_err(fail)?;
        serde_json::to_writer(&mut self.spool, item).map_err(|e| fail(e.into()))
    }

    /// Hands each line to `each`, in order; may be done again.
    pub fn each(&mut self, each: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)?;
        let fail = |e| Error::io("read", "the table of contents", &e);
        self.spool.flush().map_err(fail)?;
        let spool = self.spool.get_mut();
        spool.rewind().map_err(fail)?;
        let (mut spool, mut line) = (BufReader::new(spool), Vec::new());
        // each stands on a line of its own, as it was added; to look for its end byte by byte takes longer
        while spool.read_until(b'\n', &mut line).map_err(fail)? > 0 {
            let text = line.trim_ascii();
            let text = text.strip_suffix(b",").unwrap_or(text);
            if !text.is_empty() {
                each(serde_json::from_slice(text).map_err(|e| fail(e.into()))?)?;
            }
            line.clear();
        }
        Ok(())
    }

    /// All lines from the first, for the manifest.
    pub(super) fn into_reader(self) -> Result<SpooledTempFile> {
        self.failed.map_or(Ok(()), Err)?;
        let fail = |e| Error::io("read", "the table of contents", &e);
        let mut spool = self.spool.into_inner().map_err(|e| fail(e.into_error()))?;
        spool.rewind().map_err(fail)?;
        Ok(spool)
    }
}

/// Hands each line of the table of contents beside `artifact` to `each`, in order.
pub fn each_item(artifact: &Path, each: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
    let none = || Error::io("read", path_of(artifact).display(), &std::io::ErrorKind::NotFound.into());
    Text::beside(artifact)?.ok_or_else(none)?.each_item(each)
}

impl Text {
    /// Hands each line of the table of contents to `each`, in order; may be done again, from within too.
    ///
    /// # Errors
    /// When it cannot be read; what `each` answers.
    pub fn each_item(&self, each: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        let mut outcome = Ok(());
        let seed = TocOf { each, outcome: &mut outcome };
        let mut input = serde_json::Deserializer::from_reader(BufReader::new(self.file.all()));
        let read = seed.deserialize(&mut input);
        outcome?;
        read.map_err(|e| Error::no(format!("cannot read '{}': {e}", self.name)))
    }
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
