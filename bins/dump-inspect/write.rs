//! Writing parts of a dump: statements that are at hand, and rows that are read on the way.

use std::ops::Range;

use kit::digest::Rows;
use kit::dump::columns::Columns;
use kit::exit::{Error, Result};
use kit::manifest::Item;
use kit::out::Output;
use kit::source::Dump;

use crate::contents::Contents;
use crate::csv::{Csv, reorder};
use crate::extract::{Part, is_copied, range};

/// `MaxHeapAttributeNumber`.
const MOST_COLUMNS: usize = 1600;

/// Ends an output that is not whole. The end of its input is for psql the end of the rows, which it would
/// commit, and no failure. So there is one more row, of more columns than a table can have, which elsewhere is
/// white space, and an exception: with `psql -1` nothing stays, else no rows of a table that was begun.
pub(crate) fn spoil() {
    let row = "\t".repeat(MOST_COLUMNS);
    let exception = "DO $pgkeep$BEGIN RAISE EXCEPTION 'the dump could not be read to its end'; END$pgkeep$;";
    let mut out = Output::new();
    // the reason is what counts
    let _ = out.write(format!("\n{row}\n\\.\n{exception}\n").as_bytes()).and_then(|()| out.finish());
}

/// Writes the parts in the order of the dump, rows with them.
pub(crate) fn write(dump: &Dump, contents: &Contents, parts: &[Part], out: &mut Output) -> Result<()> {
    let streamed: Vec<usize> = (0..parts.len()).filter(|i| parts[*i].text.is_empty()).collect();
    let ranges: Vec<Range<u64>> = streamed.iter().map(|i| range(&parts[*i].item)).collect();
    let mut writer = Writer { out, parts, next: 0, open: None };
    dump.ranges(&ranges, |i, bytes| writer.rows(streamed[i], bytes))?;
    writer.up_to(parts.len())?;
    // rows that are cut are no part: the statement before them stands last, and is not ended
    match parts.last() {
        Some(part) if part.item.kind == "COPY" => contents.is_whole(),
        _ => Ok(()),
    }
}

/// Writes the rows among the parts as CSV behind a line of `header`, the columns of their table, whatever
/// the order in which a partition has them.
pub(crate) fn write_csv(dump: &Dump, header: &[Vec<u8>], parts: &[Part], out: &mut Output) -> Result<()> {
    let rows: Vec<usize> = (0..parts.len()).filter(|i| parts[*i].item.kind == "TABLE DATA").collect();
    let mut orders = Vec::new();
    for i in &rows {
        let name = &parts[*i].item.name;
        if !is_copied(parts, *i) {
            return Err(Error::refused(format!("the rows of {name} are INSERT statements"))
                .hint("Only rows of COPY become CSV."));
        }
        let columns = Columns::of_copy(&parts[i - 1].text).map_or(Vec::new(), |c| c.names);
        let place = |name| columns.iter().position(|column| column == name);
        match header.iter().map(place).collect::<Option<Vec<usize>>>() {
            Some(order) if order.len() == columns.len() => orders.push(order),
            _ => return Err(Error::refused(format!("the columns of {name} are not those of its table"))),
        }
    }
    let ranges: Vec<Range<u64>> = rows.iter().map(|i| range(&parts[*i].item)).collect();
    let (mut csv, mut lines, mut turned, mut cut) = (Csv::default(), Vec::new(), Vec::new(), Vec::new());
    out.write(&Csv::header(header))?;
    let mut proof: Vec<Rows> = rows.iter().map(|_| Rows::default()).collect();
    dump.ranges(&ranges, |i, bytes| {
        if parts[rows[i]].item.row_hash.is_some() {
            proof[i].update(bytes);
        }
        if orders[i].is_empty() {
            // a table without columns: each row is an empty line
            lines.extend_from_slice(bytes);
        } else if orders[i].is_sorted() {
            csv.feed(bytes, &mut lines);
        } else {
            reorder(&orders[i], bytes, &mut cut, &mut turned);
            csv.feed(&turned, &mut lines);
            turned.clear();
        }
        out.write(&lines)?;
        lines.clear();
        Ok(())
    })?;
    rows.iter().zip(proof).try_for_each(|(i, rows)| hold(&parts[*i].item, rows))
}

/// Holds the rows that were written against the row hash of their manifest.
fn hold(item: &Item, rows: Rows) -> Result<()> {
    let (count, hash) = rows.finish();
    let hash = hash.map(|h| format!("{h:032x}"));
    if item.row_hash.is_some() && (Some(count), &hash) != (item.rows, &item.row_hash) {
        return Err(Error::no(format!("the rows of {} are not those of the manifest", item.name))
            .hint("The dump was changed after its manifest had been written."));
    }
    Ok(())
}

struct Writer<'a> {
    out: &'a mut Output,
    parts: &'a [Part],
    /// The next part that has not been begun.
    next: usize,
    /// The part whose bytes are being written, and its rows.
    open: Option<(usize, Rows)>,
}

impl Writer<'_> {
    /// Takes bytes of a part that is not at hand.
    fn rows(&mut self, i: usize, bytes: &[u8]) -> Result<()> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != i) {
            self.up_to(i)?;
            self.next = i + 1;
            self.open = Some((i, Rows::default()));
        }
        if let Some((_, rows)) = &mut self.open
            && self.parts[i].item.row_hash.is_some()
        {
            rows.update(bytes);
        }
        self.out.write(bytes)
    }

    /// Writes what stands before part `end`.
    fn up_to(&mut self, end: usize) -> Result<()> {
        if let Some((i, rows)) = self.open.take() {
            self.close(i, rows)?;
        }
        while self.next < end {
            let part = &self.parts[self.next];
            if part.text.is_empty() {
                // rows of an empty table, of which no byte came
                self.close(self.next, Rows::default())?;
            } else {
                self.out.write(&part.text)?;
                self.out.write(b"\n")?;
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Ends a part whose bytes have been written, and holds its rows against its manifest.
    fn close(&mut self, i: usize, rows: Rows) -> Result<()> {
        let item = &self.parts[i].item;
        if item.kind == "TABLE DATA" && item.row_hash.is_some() && !is_copied(self.parts, i) {
            return Err(Error::no(format!("no COPY statement stands before the rows of {}", item.name))
                .hint("The manifest is wrong: remove it; the dump can be read without."));
        }
        if item.kind != "TABLE DATA" || !is_copied(self.parts, i) {
            return self.out.write(b"\n");
        }
        hold(item, rows)?;
        self.out.write(b"\\.\n")
    }
}
