//! The table of contents (`ReadToc`): every object with the SQL that makes it, and where its data are.

use std::collections::HashSet;

use super::Layout;
use super::header::Header;
use super::source::Source;
use crate::exit::Result;

/// The part of a restore to which an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Comments, grants: anywhere.
    None,
    /// Before the data.
    PreData,
    /// Data.
    Data,
    /// After the data: indexes, constraints, triggers.
    PostData,
}

/// Where an entry's data are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has none.
    None,
    /// Somewhere: the archive was written into a pipe.
    Unset,
    /// At this byte of the file.
    At(u64),
    /// In the tar's member or the folder's file of this name, which may still get an ending.
    File(Vec<u8>),
}

/// An entry of the table of contents. Texts are bytes in the archive's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Above 0, one of its kind.
    pub dump_id: u32,
    /// OID of the catalog that the object is in; 0 before 1.8.
    pub table_oid: u32,
    /// OID of the object.
    pub oid: u32,
    /// The object's name, not quoted.
    pub tag: Vec<u8>,
    /// What it is: `TABLE`, `TABLE DATA`, `ACL` …
    pub desc: Vec<u8>,
    /// Written since 1.11, before that told from `desc`.
    pub section: Section,
    /// SQL that makes it.
    pub defn: Option<Vec<u8>>,
    /// SQL that drops it.
    pub drop_stmt: Option<Vec<u8>>,
    /// The COPY line of its data, since 1.3; without one the data are INSERTs.
    pub copy_stmt: Option<Vec<u8>>,
    /// Its schema, since 1.6.
    pub namespace: Option<Vec<u8>>,
    /// Since 1.10; empty is the database's own.
    pub tablespace: Option<Vec<u8>>,
    /// Table access method, since 1.14.
    pub tableam: Option<Vec<u8>>,
    /// `pg_class.relkind` as a character, since 1.16; 0 for what is no relation.
    pub relkind: u8,
    /// Its owner's name.
    pub owner: Option<Vec<u8>>,
    /// A table with OIDs, as PostgreSQL had them before 12.
    pub with_oids: bool,
    /// Dump ids (OIDs before 1.8) of what must be there before, since 1.5.
    pub dependencies: Vec<u32>,
    /// Where its data are.
    pub offset: Place,
    /// Whether it has data.
    pub had_data: bool,
}

pub(super) fn read_all(source: &mut Source<'_>, header: &Header) -> Result<Vec<Entry>> {
    // the count is not believed either: no memory is set aside for it
    let count = source.length()?;
    let (mut entries, mut ids) = (Vec::new(), HashSet::new());
    for _ in 0..count {
        let entry = read(source, header)?;
        if !ids.insert(entry.dump_id) {
            return Err(source.damaged(format!("entry {} is there twice", entry.dump_id)));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn read(source: &mut Source<'_>, header: &Header) -> Result<Entry> {
    let dump_id = source.length()?;
    if dump_id == 0 {
        return Err(source.damaged("an entry has no id"));
    }
    let had_data = source.int()? != 0;
    let table_oid = if header.since(8) { number(source)? } else { 0 };
    let oid = number(source)?;
    let tag = text(source, "a name")?;
    let desc = text(source, "a kind")?;
    let section = if header.since(11) { section(source)? } else { section_of(&desc) };
    let defn = source.string()?;
    let drop_stmt = source.string()?;
    let since = |minor, source: &mut Source<'_>| -> Result<Option<Vec<u8>>> {
        if header.since(minor) { source.string() } else { Ok(None) }
    };
    let copy_stmt = since(3, source)?;
    let namespace = since(6, source)?;
    let tablespace = since(10, source)?;
    let tableam = since(14, source)?;
    let relkind = if header.since(16) { source.int()? } else { 0 };
    let relkind = u8::try_from(relkind).map_err(|_| source.damaged(format!("relkind {relkind}")))?;
    let owner = source.string()?;
    let with_oids = header.since(9) && text(source, "WITH OIDS, or not")? == b"true";
    let mut dependencies = Vec::new();
    if header.since(5) {
        while let Some(id) = source.number()? {
            dependencies.push(id);
        }
    }
    let offset = place(source, header)?;
    if had_data && offset == Place::None {
        return Err(source.damaged(format!("entry {dump_id} has data, and has none")));
    }
    Ok(Entry {
        dump_id,
        table_oid,
        oid,
        tag,
        desc,
        section,
        defn,
        drop_stmt,
        copy_stmt,
        namespace,
        tablespace,
        tableam,
        relkind,
        owner,
        with_oids,
        dependencies,
        offset,
        had_data,
    })
}

fn number(source: &mut Source<'_>) -> Result<u32> {
    source.number()?.ok_or_else(|| source.damaged("a number is missing"))
}

fn text(source: &mut Source<'_>, what: &str) -> Result<Vec<u8>> {
    source.string()?.ok_or_else(|| source.damaged(format!("{what} is missing")))
}

fn section(source: &mut Source<'_>) -> Result<Section> {
    match source.int()? {
        1 => Ok(Section::None),
        2 => Ok(Section::PreData),
        3 => Ok(Section::Data),
        4 => Ok(Section::PostData),
        other => Err(source.damaged(format!("section {other} is not known"))),
    }
}

fn section_of(desc: &[u8]) -> Section {
    match desc {
        b"COMMENT" | b"ACL" | b"ACL LANGUAGE" => Section::None,
        b"TABLE DATA" | b"BLOBS" | b"BLOB COMMENTS" => Section::Data,
        b"CONSTRAINT" | b"CHECK CONSTRAINT" | b"FK CONSTRAINT" | b"INDEX" | b"RULE" | b"TRIGGER" => {
            Section::PostData
        }
        _ => Section::PreData,
    }
}

/// `ReadExtraToc` of each layout.
fn place(source: &mut Source<'_>, header: &Header) -> Result<Place> {
    if header.layout != Layout::Custom {
        let name = source.string()?.filter(|name| !name.is_empty());
        return Ok(name.map_or(Place::None, Place::File));
    }
    if !header.since(7) {
        let place = match source.int()? {
            0 => Place::None,
            value => u64::try_from(value).map_or(Place::Unset, Place::At),
        };
        // the size of the data, which nobody reads
        source.int()?;
        return Ok(place);
    }
    let state = source.byte()?;
    let mut value = 0_u64;
    for n in 0..header.offset_bytes {
        match (n, u64::from(source.byte()?)) {
            (0..8, byte) => value |= byte << (8 * n),
            (_, 0) => {}
            _ => return Err(source.damaged("a place in the file is too large")),
        }
    }
    match state {
        1 => Ok(Place::Unset),
        2 => Ok(Place::At(value)),
        3 => Ok(Place::None),
        other => Err(source.damaged(format!("a place in state {other}"))),
    }
}
