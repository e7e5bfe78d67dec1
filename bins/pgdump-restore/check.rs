//! The check that stands before everything: the dump is read from its first byte to its last.

use std::collections::HashMap;

use kit::codec::read;
use kit::digest::Depth;
use kit::dump::guard::{Finding, Guard};
use kit::dump::lex::Event;
use kit::dump::needs::{Look, Needs};
use kit::dump::scan::{Facts, Item, Scan};
use kit::dump::statement::{Name, Qualified};
use kit::exit::{Error, Result};
use kit::progress::Progress;
use kit::proof;
use kit::source::Dump;

use crate::feed::fingerprint::Fingerprint;
use crate::prove::schema::Schema;

/// A table of the dump and the rows it must have afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// Empty where a single-database dump names none.
    pub(crate) database: Name,
    pub(crate) table: Qualified,
    pub(crate) rows: u64,
    /// Their hash, where it was asked for and all of them came by COPY.
    pub(crate) hash: Option<u128>,
}

/// How many findings are kept.
const FINDINGS: usize = 5;

/// A dump that was read to its end and found whole.
pub(crate) struct Checked {
    pub(crate) facts: Facts,
    pub(crate) tables: Vec<Table>,
    /// What it needs of a server.
    pub(crate) needs: Needs,
    /// What a person must judge; the first few.
    pub(crate) findings: Vec<Finding>,
    /// Statements other than rows, by their hash.
    pub(crate) schema: Schema,
    /// Digest of the file as it was checked.
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    /// What to hold it against when its parts are read again, where several sessions are to read it.
    pub(crate) print: Option<Fingerprint>,
}

/// Reads the dump to its end and refuses what must not be restored. `hash`: rows are hashed, and
/// the schema is taken down. `only`: what the dump needs is that of this part, see [`Look::at`].
/// `jobs`: how many sessions are to load it.
pub(crate) fn check(
    chosen: &Dump,
    only: Option<String>,
    hash: bool,
    jobs: usize,
    quiet: bool,
) -> Result<Checked> {
    chosen.readable("pgdump-restore --yes -")?;
    let mut scan = Scan::new(if hash { Depth::Hash } else { Depth::Count });
    let (mut tables, mut look, mut guard) = (Tables::default(), Look::at(only), Guard::default());
    let mut schema = Schema::default();
    let seekable = jobs > 1 && chosen.stretches()?.is_some();
    let mut print = seekable.then(Fingerprint::new);
    let mut findings = Vec::new();
    let mut keep = |finding| {
        if findings.len() < FINDINGS {
            findings.push(finding);
        }
    };
    let raw_bytes = chosen.manifest.as_ref().map(|m| m.raw_bytes);
    let progress = Progress::start("checking", raw_bytes, quiet);
    let seen = proof::read(chosen, |bytes| {
        progress.advance(bytes.len() as u64);
        scan.feed_with(bytes, &mut |item| tables.add(item), &mut |event| {
            if let Some(print) = &mut print {
                print.event(event);
            }
            // rows concern none of these
            if !matches!(event, Event::Data { .. }) {
                look.event(event);
                guard.event(event, &mut keep);
                if hash {
                    schema.event(event);
                }
            }
        });
        Ok(())
    })?;
    let facts = scan.finish_with(&mut |item| tables.add(item), &mut |event| guard.event(event, &mut keep));
    drop(progress);
    against_manifest(chosen, &seen, &facts)?;
    if let Some(why) = &facts.incomplete {
        return Err(Error::no(format!("cannot restore '{}': it is not whole: {why}", chosen.name))
            .hint("Nothing was changed. --list shows the other backups."));
    }
    let (sha256, bytes, needs) = (seen.sha256, seen.bytes, look.finish());
    Ok(Checked { facts, tables: tables.list, needs, findings, schema, sha256, bytes, print })
}

/// The file must be the one that its manifest tells of.
fn against_manifest(chosen: &Dump, seen: &read::Seen, facts: &Facts) -> Result<()> {
    let differences = chosen.manifest.as_ref().map_or(Vec::new(), |m| proof::differences(m, seen, facts));
    let Some(first) = differences.first() else { return Ok(()) };
    Err(Error::no(format!("'{}' is not the file of its manifest: {first}", chosen.name))
        .hint("It was damaged or replaced after it had been proven; choose another backup."))
}

/// Rows by table; several runs of one table add up.
#[derive(Default)]
struct Tables {
    list: Vec<Table>,
    places: HashMap<(Name, Qualified), usize>,
}

impl Tables {
    fn add(&mut self, item: Item) {
        let Some((rows, hash)) = item.data else { return };
        let place = *self.places.entry((item.database.clone(), item.name.clone())).or_insert_with(|| {
            self.list.push(Table { database: item.database, table: item.name, rows: 0, hash: Some(0) });
            self.list.len() - 1
        });
        let table = &mut self.list[place];
        table.rows += rows;
        table.hash = table.hash.zip(hash).map(|(sum, hash)| sum.wrapping_add(hash));
    }
}
