//! The check that stands before everything: the dump is read from its first byte to its last.

mod proven;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

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

use crate::cli::{Args, Way};
use crate::feed::runs::{Parts, Runs};
use crate::prove::schema::Schema;

/// A table of the dump and the rows it must have afterwards.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
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
    /// Raw bytes of each database.
    pub(crate) sizes: BTreeMap<Name, u64>,
    /// What it needs of a server.
    pub(crate) needs: Needs,
    /// What a person must judge; the first few.
    pub(crate) findings: Vec<Finding>,
    /// Statements other than rows, by their hash.
    pub(crate) schema: Schema,
    /// Digest of the file as it was checked.
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    /// Its parts, for several sessions that are to read it; what they read must be what was checked.
    pub(crate) parts: Option<Parts>,
}

/// Reads the dump to its end and refuses what must not be restored. `only`: what the dump needs is that
/// of this part, see [`Look::at`].
pub(crate) fn check(chosen: &Dump, only: Option<String>, args: &Args) -> Result<Checked> {
    chosen.readable("| pgdump-restore --yes -")?;
    let stretches = if args.jobs > 1 { chosen.stretches()? } else { None };
    let raw_bytes = chosen.manifest.as_ref().map(|m| m.raw_bytes);
    let progress = Progress::start("checking", raw_bytes, args.quiet);
    // rows that are hashed are read; and where something is dropped before the proof, nothing is believed
    let quick = !args.hash && args.way == Way::Swap;
    let (reading, seen, parts) = match stretches {
        Some(stretches) => {
            let proven =
                if quick { proven::read(chosen, &stretches, only.clone(), &progress)? } else { None };
            let (reading, mut seen, runs) = match proven {
                Some(proven) => proven,
                None => {
                    let (mut reading, seen) = whole(chosen, Reading::new(only, args.hash), &progress)?;
                    let runs = std::mem::take(&mut reading.runs).found();
                    (reading, seen, runs)
                }
            };
            let stretches = stretches.known_by(std::mem::take(&mut seen.pieces));
            (reading, seen, Some(Parts { stretches, runs }))
        }
        None => {
            let (reading, seen) = whole(chosen, Reading::new(only, args.hash), &progress)?;
            (reading, seen, None)
        }
    };
    drop(progress);
    let checked = reading.end(seen.sha256.clone(), seen.bytes, parts);
    against_manifest(chosen, &seen, &checked.facts)?;
    if let Some(why) = &checked.facts.incomplete {
        return Err(Error::no(format!("cannot restore '{}': it is not whole: {why}", chosen.name))
            .hint("Nothing was changed. --list shows the other backups."));
    }
    Ok(checked)
}

/// Reads all of it.
fn whole(chosen: &Dump, mut reading: Reading, progress: &Progress) -> Result<(Reading, read::Seen)> {
    let seen = proof::read(chosen, |bytes| {
        progress.advance(bytes.len() as u64);
        reading.feed(bytes);
        Ok(())
    })
    .map_err(|e| e.hint("Nothing was changed."))?;
    Ok((reading, seen))
}

/// What is learnt of a dump as it passes by.
struct Reading {
    scan: Scan,
    tables: Tables,
    look: Look,
    guard: Guard,
    findings: Vec<Finding>,
    /// Where statements are taken down.
    schema: Option<Schema>,
    runs: Runs,
    /// Raw bytes that were passed over, and the rows that were in them.
    skipped: (u64, u64),
    /// Of these, what is not counted to its table yet.
    owed: (u64, u64),
}

impl Reading {
    fn new(only: Option<String>, hash: bool) -> Self {
        Reading {
            scan: Scan::new(if hash { Depth::Hash } else { Depth::Count }),
            tables: Tables::default(),
            look: Look::at(only),
            guard: Guard::default(),
            findings: Vec::new(),
            schema: hash.then(Schema::default),
            runs: Runs::default(),
            skipped: (0, 0),
            owed: (0, 0),
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.feed_with(bytes, &mut |_| {});
    }

    /// `also` is told what the lexer finds.
    fn feed_with(&mut self, bytes: &[u8], also: &mut dyn FnMut(Event<'_>)) {
        let Reading { scan, tables, look, guard, findings, schema, runs, skipped, owed } = self;
        let mut keep = |finding: Finding| keep(findings, finding, skipped.0);
        scan.feed_with(bytes, &mut |item| tables.add(item, owed), &mut |event| {
            also(event);
            runs.event(event);
            // rows concern none of these
            if !matches!(event, Event::Data { .. }) {
                look.event(event);
                guard.event(event, &mut keep);
                if let Some(schema) = schema {
                    schema.event(event);
                }
            }
        });
    }

    /// Passes over rows of the table whose rows have just begun.
    fn skip(&mut self, range: &Range<u64>, rows: u64) {
        self.owed = (range.end - range.start, rows);
        self.skipped = (self.skipped.0 + self.owed.0, self.skipped.1 + self.owed.1);
    }

    fn end(self, sha256: String, bytes: u64, parts: Option<Parts>) -> Checked {
        let Reading { scan, mut tables, look, mut guard, mut findings, schema, skipped, mut owed, .. } = self;
        let mut facts = scan.finish_with(&mut |item| tables.add(item, &mut owed), &mut |event| {
            guard.event(event, &mut |finding| keep(&mut findings, finding, skipped.0));
        });
        guard.finish(&mut |finding| keep(&mut findings, finding, 0));
        facts.bytes += skipped.0;
        facts.rows += skipped.1;
        let (Tables { list: tables, sizes, .. }, needs) = (tables, look.finish());
        let schema = schema.unwrap_or_default();
        Checked { facts, tables, sizes, needs, findings, schema, sha256, bytes, parts }
    }
}

/// Keeps the first few. `skipped`: how many bytes stand before it that it does not know of.
fn keep(findings: &mut Vec<Finding>, finding: Finding, skipped: u64) {
    if findings.len() < FINDINGS {
        findings.push(Finding { at: finding.at + skipped, ..finding });
    }
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
    sizes: BTreeMap<Name, u64>,
    list: Vec<Table>,
    places: HashMap<(Name, Qualified), usize>,
}

impl Tables {
    /// `owed`: bytes and rows that were passed over of the data that come next.
    fn add(&mut self, item: Item, owed: &mut (u64, u64)) {
        *self.sizes.entry(item.database.clone()).or_default() += item.bytes;
        let Some((rows, hash)) = item.data else { return };
        let (bytes, more) = std::mem::take(owed);
        *self.sizes.entry(item.database.clone()).or_default() += bytes;
        let rows = rows + more;
        let place = *self.places.entry((item.database.clone(), item.name.clone())).or_insert_with(|| {
            self.list.push(Table { database: item.database, table: item.name, rows: 0, hash: Some(0) });
            self.list.len() - 1
        });
        let table = &mut self.list[place];
        table.rows += rows;
        table.hash = table.hash.zip(hash).map(|(sum, hash)| sum.wrapping_add(hash));
    }
}
