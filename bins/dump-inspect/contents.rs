//! What is in a dump: from its manifest where it has one, else from one pass over it.

use std::cell::RefCell;
use std::sync::Arc;

use kit::child::interrupted;
use kit::digest::Depth;
use kit::dump::scan::{Facts, Kind, Scan, text_of};
use kit::exit::{Code, Error, Result};
use kit::manifest::{Item, Text, Toc};
use kit::progress::Progress;
use kit::source::Dump;

/// The facts of a dump, and its table of contents.
pub(crate) struct Contents {
    pub(crate) kind: Option<&'static str>,
    pub(crate) server_version: Option<String>,
    pub(crate) dump_version: Option<String>,
    pub(crate) databases: Vec<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) tables: u64,
    pub(crate) rows: Option<u64>,
    pub(crate) large_objects: u64,
    pub(crate) raw_bytes: u64,
    /// What is wrong with it, as a sentence, where it is not whole.
    pub(crate) incomplete: Option<String>,
    items: Items,
}

enum Items {
    Manifest(Arc<Text>),
    Scanned(RefCell<Toc>),
}

/// Goes through the dump once; tells of damage that it ends with. `depth`: how closely to look at rows.
fn scan(dump: &Dump, depth: Depth, quiet: bool) -> Result<(Facts, Toc, Option<String>)> {
    let mut scan = Scan::new(depth);
    let mut toc = Toc::new(&std::env::temp_dir(), None);
    let progress = Progress::start("reading", dump.index().map(|i| i.raw_bytes), quiet);
    let read = dump.whole(|bytes| {
        progress.advance(bytes.len() as u64);
        scan.feed(bytes, &mut |item| toc.note(&item));
        Ok(())
    });
    interrupted()?;
    let facts = scan.finish(&mut |item| toc.note(&item));
    if let Err(error) = read {
        // what came before the damage is told first
        let nothing = facts.bytes == 0 || facts.is_no_dump() || error.code() != Code::No;
        return if nothing { Err(error) } else { Ok((facts, toc, Some(error.to_string()))) };
    }
    match facts.fault(&dump.name).filter(|_| facts.is_no_dump()) {
        Some(fault) => Err(Error::no(fault)),
        None => Ok((facts, toc, None)),
    }
}

impl Contents {
    /// Of a dump; `depth` says what must be known of its rows, unless its manifest knows.
    pub(crate) fn of(dump: &Dump, depth: Depth, quiet: bool) -> Result<Self> {
        if let (Some(m), Some(text)) = (dump.believed(), &dump.text) {
            return Ok(Contents {
                kind: Some(m.kind.word()),
                server_version: m.source.server_version.clone(),
                dump_version: m.source.dump_version.clone(),
                databases: m.source.databases.clone(),
                roles: m.source.roles.clone(),
                tables: m.tables,
                rows: Some(m.rows),
                large_objects: m.large_objects,
                raw_bytes: m.raw_bytes,
                incomplete: None,
                items: Items::Manifest(text.clone()),
            });
        }
        let (facts, toc, damage) = scan(dump, depth, quiet)?;
        let named = facts.databases.iter().filter(|d| !d.name.is_empty()).map(|d| text_of(&d.name));
        Ok(Contents {
            kind: facts.kind.map(|kind| match kind {
                Kind::Cluster => "cluster",
                Kind::Database => "database",
            }),
            databases: named.collect(),
            roles: facts.roles.iter().map(|r| text_of(r)).collect(),
            tables: facts.tables,
            rows: (depth != Depth::Skip).then_some(facts.rows),
            large_objects: facts.large_objects,
            raw_bytes: facts.bytes,
            incomplete: damage.or_else(|| facts.fault(&dump.name).filter(|_| !facts.is_handmade())),
            server_version: facts.server_version,
            dump_version: facts.dump_version,
            items: Items::Scanned(RefCell::new(toc)),
        })
    }

    /// Hands each item of the table of contents to `each`, in the order of the dump; may be done
    /// again, but not from within.
    pub(crate) fn each(&self, each: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        match &self.items {
            Items::Manifest(text) => text.each_item(each),
            Items::Scanned(toc) => toc.borrow_mut().each(each),
        }
    }

    /// The error of a dump that is not whole, after what was found of it has been told.
    pub(crate) fn is_whole(&self) -> Result<()> {
        match &self.incomplete {
            None => Ok(()),
            Some(fault) => Err(Error::no(fault).hint("What was told is what there is of it.")),
        }
    }
}
