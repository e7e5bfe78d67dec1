//! `cat --salvage`: what is whole of a damaged dump, and what exactly is lost.
//!
//! A statement is given whole or not at all. Of rows those are given that stand whole between two
//! damaged places; where the COPY statement before them is damaged, it is made anew from the table's
//! columns. Where each statement is comes from the manifest; without one, from what can be read
//! before the first damage.

use std::ops::Range;

use kit::digest::Depth;
use kit::dump::columns::Columns;
use kit::dump::scan::{Scan, text_of};
use kit::exit::{Code, Error, Result};
use kit::manifest::{Item, each_item};
use kit::out::{Output, Speech, count};
use kit::source::Dump;

/// Writes what is whole; 3 when something was lost.
pub(crate) fn salvage(dump: &Dump, speech: &Speech) -> Result<Code> {
    let (items, good) = match dump.intact()? {
        Some(good) => (indexed(dump)?, good),
        None => prefix(dump)?,
    };
    let mut writer = Writer { out: Output::new(), speech, lost: 0 };
    // whether the statement before is a COPY, and whether it is whole
    let mut copy = None;
    for item in &items {
        let range = item.offset..item.end();
        let kept = overlaps(&range, &good);
        let whole = kept == [range];
        match copy.filter(|_| item.kind == "TABLE DATA") {
            Some(true) => writer.rows(dump, item, &kept, None)?,
            Some(false) => match columns(dump, &items, &good, item)? {
                Some(columns) => writer.rows(dump, item, &kept, Some(columns))?,
                None => writer.rows_without_columns(item),
            },
            None if whole => {
                dump.ranges(&kept, |_, bytes| writer.out.write(bytes))?;
                writer.out.write(b"\n")?;
            }
            None => writer.statement(item),
        }
        copy = (item.kind == "COPY").then_some(whole);
    }
    let lost = writer.lost;
    writer.out.finish()?;
    if lost == 0 {
        speech.say("nothing is lost");
        return Ok(Code::Done);
    }
    speech.warn(&format!("lost: {lost} of {} parts, in whole or in part", items.len()));
    Ok(Code::Part)
}

/// The parts that the manifest knows of.
fn indexed(dump: &Dump) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let path = dump.path.as_deref().ok_or_else(|| Error::no("a manifest stands beside a file"))?;
    each_item(path, &mut |item| {
        items.push(item);
        Ok(())
    })?;
    Ok(items)
}

/// What can be read before the first damage, and how far that is.
fn prefix(dump: &Dump) -> Result<(Vec<Item>, Vec<Range<u64>>)> {
    let (mut scan, mut items, mut end) = (Scan::new(Depth::Skip), Vec::new(), 0);
    let item = |items: &mut Vec<Item>, i: &kit::dump::scan::Item| {
        items.push(Item::new(i, (!i.database.is_empty()).then(|| text_of(&i.database))));
    };
    let read = dump.whole(|bytes| {
        end += bytes.len() as u64;
        scan.feed(bytes, &mut |i| item(&mut items, &i));
        Ok(())
    });
    if let Err(error) = read {
        kit::child::interrupted()?;
        items.push(Item {
            kind: "END".into(),
            name: error.to_string(),
            offset: end,
            bytes: 1,
            ..Item::default()
        });
    }
    let facts = scan.finish(&mut |i| item(&mut items, &i));
    if let Some(fault) = facts.fault(&dump.name).filter(|_| facts.is_no_dump()) {
        return Err(Error::no(fault));
    }
    items.sort_by_key(|i| i.offset);
    // rows that nothing ends
    if let Some(copy) = items.iter().rev().find(|i| i.kind != "END").filter(|i| i.kind == "COPY").cloned() {
        // the rows begin on the line after the statement
        let offset = copy.end() + 1;
        let bytes = end.saturating_sub(offset) + 1;
        items.push(Item { kind: "TABLE DATA".into(), offset, bytes, rows: None, ..copy });
        items.sort_by_key(|i| i.offset);
    }
    if let Some(why) = facts.incomplete.filter(|_| items.last().is_none_or(|i| i.kind != "END")) {
        items.push(Item { kind: "END".into(), name: why, offset: end, bytes: 1, ..Item::default() });
    }
    if items.is_empty() {
        return Err(Error::no(format!("nothing of '{}' can be read", dump.name)));
    }
    Ok((items, std::iter::once(0..end).collect()))
}

/// The columns of the table that `rows` are of, where its definition is whole and lists them all.
fn columns(dump: &Dump, items: &[Item], good: &[Range<u64>], rows: &Item) -> Result<Option<Columns>> {
    let own = |i: &Item| (i.database.clone(), i.schema.clone(), i.name.clone());
    let Some(table) = items.iter().find(|i| i.kind == "TABLE" && own(i) == own(rows)) else {
        return Ok(None);
    };
    let range = table.offset..table.end();
    if overlaps(&range, good) != [range.clone()] {
        return Ok(None);
    }
    let mut text = Vec::new();
    dump.ranges(&[range], |_, bytes| {
        text.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(Columns::of_table(&text))
}

/// The parts of `range` that are good.
fn overlaps(range: &Range<u64>, good: &[Range<u64>]) -> Vec<Range<u64>> {
    let cut = good.iter().map(|g| g.start.max(range.start)..g.end.min(range.end));
    let mut kept: Vec<Range<u64>> = cut.filter(|r| r.start < r.end).collect();
    if range.is_empty() && good.iter().any(|g| g.contains(&range.start) || g.end == range.start) {
        kept.push(range.clone());
    }
    kept
}

struct Writer<'a> {
    out: Output,
    speech: &'a Speech,
    lost: usize,
}

impl Writer<'_> {
    /// A statement that is lost.
    fn statement(&mut self, item: &Item) {
        self.lost += 1;
        let what = match item.kind.as_str() {
            "END" => format!("all behind byte {}: {}", item.offset, item.name),
            "COPY" => format!("the statement before the rows of {}", item.full_name()),
            kind => format!("{} {} (byte {})", kind.to_lowercase(), item.full_name(), item.offset),
        };
        self.speech.warn(&format!("lost: {what}"));
    }

    /// Rows whose COPY statement is lost, and cannot be made anew.
    fn rows_without_columns(&mut self, item: &Item) {
        if item.bytes > 0 {
            self.lost += 1;
            let of = item.rows.map_or(String::new(), |n| format!("{} ", count(n)));
            self.speech.warn(&format!(
                "lost: all {of}rows of {}: the statement before them is damaged, and the columns of the \
                table are not certain",
                item.full_name()
            ));
        }
    }

    /// Rows that stand whole in what is kept of a table. `columns`: where the COPY statement is lost.
    fn rows(
        &mut self,
        dump: &Dump,
        item: &Item,
        kept: &[Range<u64>],
        columns: Option<Columns>,
    ) -> Result<()> {
        let all = item.offset..item.end();
        let whole = kept == [all.clone()];
        let mut rows = 0_u64;
        let mut cut = Vec::new();
        // a stretch behind damage begins within a row
        let mut skipping: Vec<bool> = kept.iter().map(|r| r.start != all.start).collect();
        let (out, mut last) = (&mut self.out, 0);
        let (anew, mut before, mut fits) = (columns.is_some(), columns, true);
        dump.ranges(kept, |i, bytes| {
            if i != last {
                cut.clear();
                last = i;
            }
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                let ends = line.ends_with(b"\n");
                if skipping[i] {
                    skipping[i] = !ends;
                    continue;
                }
                cut.extend_from_slice(line);
                if !ends {
                    continue;
                }
                if let Some(columns) = before.take() {
                    let fields = 1 + memchr::memchr_iter(b'\t', &cut).count();
                    fits = fields == columns.names.len().max(1);
                    if fits {
                        out.write(&columns.copy())?;
                        out.write(b"\n")?;
                    }
                }
                if fits {
                    rows += 1;
                    out.write(&cut)?;
                }
                cut.clear();
            }
            Ok(())
        })?;
        if !fits {
            self.rows_without_columns(item);
            return Ok(());
        }
        if before.is_none() {
            self.out.write(b"\\.\n")?;
        }
        if anew && rows > 0 {
            let name = item.full_name();
            self.speech.warn(&format!(
                "made anew from the table's columns: the statement before the rows of {name}"
            ));
        }
        if !whole {
            self.lost += 1;
            let of = item.rows.map_or(String::new(), |n| format!(" of {}", count(n)));
            self.speech.warn(&format!("lost: rows of {}; {}{of} are kept", item.full_name(), count(rows)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_good_of_a_stretch() {
        let good = [0..10, 20..30];
        assert_eq!(overlaps(&(5..25), &good), [5..10, 20..25]);
        assert_eq!(overlaps(&(12..15), &good), []);
        assert_eq!(overlaps(&(22..22), &good).first(), Some(&(22..22)));
        assert_eq!(overlaps(&(15..15), &good), []);
    }
}
