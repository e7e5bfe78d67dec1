//! `cat --salvage`: what is whole of a damaged dump, and what exactly is lost.
//!
//! A statement is given whole or not at all. Of rows those are given that stand whole between two
//! damaged places; where the COPY statement before them is damaged, it is made anew from the table's
//! columns. Where each statement is comes from the manifest; without one, from what can be read
//! before the first damage.

use std::ops::Range;

use kit::codec::Kind;
use kit::digest::Depth;
use kit::dump::columns::Columns;
use kit::dump::scan::{Scan, text_of};
use kit::exit::{Code, Error, Result};
use kit::manifest::Item;
use kit::out::Speech;
use kit::source::Dump;

mod kept;

use kept::{How, Step, Writer};

/// Writes what is whole; 3 when something was lost.
pub(crate) fn salvage(dump: &Dump, speech: &Speech) -> Result<Code> {
    let (items, good) = match dump.intact()? {
        Some(good) => (indexed(dump)?, good),
        None => prefix(dump, speech)?,
    };
    let unfinished = items.last().is_some_and(|i| i.kind == UNFINISHED);
    let items = &items[..items.len() - usize::from(unfinished)];
    let mut steps: Vec<Step> = Vec::new();
    // whether the statement before is a COPY, and whether it is whole
    let mut copy = None;
    for item in items {
        let range = item.offset..item.end();
        let kept = overlaps(&range, &good);
        let whole = kept == [range];
        let (kept, how) = match copy.filter(|_| item.kind == "TABLE DATA") {
            Some(true) => (kept, How::Rows(None)),
            Some(false) => match columns(dump, items, &good, item)? {
                Some(columns) => (kept, How::Rows(Some(columns))),
                None => (Vec::new(), How::NoColumns),
            },
            None if whole => (kept, How::Statement),
            None => (Vec::new(), How::Lost),
        };
        steps.push(Step { item, kept, how });
        copy = (item.kind == "COPY").then_some(whole);
    }
    // one pass: without an index each begins at the first byte
    let place = |i: usize| steps[i].kept.iter().map(move |range| (i, range.clone()));
    let (places, ranges): (Vec<usize>, Vec<Range<u64>>) = (0..steps.len()).flat_map(place).unzip();
    let mut writer = Writer::new(&steps, speech);
    dump.ranges(&ranges, |i, bytes| writer.take(places[i], &ranges[i], bytes))?;
    let lost = writer.finish()?;
    if unfinished {
        speech.warn(&format!(
            "all of it is whole, but it does not end with pg_dump's completeness footer: '{}' may have been longer",
            dump.name
        ));
        return Ok(Code::Part);
    }
    if lost == 0 {
        speech.say("nothing is lost");
        return Ok(Code::Done);
    }
    speech.warn(&format!("lost: {lost} of {} parts, in whole or in part", items.len()));
    Ok(Code::Part)
}

/// What stands at the end of a dump that is whole but for its footer.
const UNFINISHED: &str = "UNFINISHED";

/// The parts that the manifest knows of.
fn indexed(dump: &Dump) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let text = dump.text.as_ref().ok_or_else(|| Error::no("a manifest stands beside a file"))?;
    text.each_item(&mut |item| {
        items.push(item);
        Ok(())
    })?;
    Ok(items)
}

/// What can be read before the first damage, and how far that is.
fn prefix(dump: &Dump, speech: &Speech) -> Result<(Vec<Item>, Vec<Range<u64>>)> {
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
        // what a store that is away does not give is not damaged
        if error.code() == Code::Temporary {
            return Err(error);
        }
        if dump.kind()? != Kind::None {
            speech.warn(
                "not proven: what is given of the compressed piece that is damaged or cut, in a file of one \
                piece all of it; its checksum stands at its end, and rows of it may be wrong",
            );
        }
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
    let handmade = facts.is_handmade();
    let whole = facts.lacks_footer_only() && items.iter().all(|i| i.kind != "END");
    if whole && !handmade {
        items.push(Item { kind: UNFINISHED.into(), ..Item::default() });
    }
    if let Some(why) =
        facts.incomplete.filter(|_| !whole).filter(|_| items.last().is_none_or(|i| i.kind != "END"))
    {
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
