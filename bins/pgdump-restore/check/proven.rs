//! The check of a dump that was proven when it was made, and has not changed since.
//!
//! A file that has the SHA-256 of its manifest is to the last byte the one that was inflated, read and
//! counted then. It is digested, and all but the rows of large tables is read as of any dump: what it
//! needs, and what is dangerous about it, stands there. The manifest says where the rows are; it may lie,
//! so whoever loads them takes nothing for rows that psql would not.

use std::ops::Range;

use kit::codec::read::{Index, Seen, sums};
use kit::codec::seek::Stretches;
use kit::dump::lex::Event;
use kit::exit::Result;
use kit::progress::Progress;
use kit::source::Dump;

use super::Reading;
use crate::feed::runs::{LARGE, cut};

/// What was learnt, and the large tables' rows, in stretches.
type Proven = (Reading, Seen, Vec<Vec<Range<u64>>>);

/// Reads it; `None` where that does not do: it must be read as a whole.
pub(super) fn read(
    chosen: &Dump,
    stretches: &Stretches,
    only: Option<String>,
    progress: &Progress,
) -> Result<Option<Proven>> {
    let (Some(manifest), Some(text)) = (chosen.believed().filter(|m| m.is_proven()), &chosen.text) else {
        return Ok(None);
    };
    // what is not compressed costs little to read
    let index = Index { frames: &manifest.frames, raw_bytes: manifest.raw_bytes };
    if index.frames.is_empty() {
        return Ok(None);
    }
    let mut tables: Vec<(Range<u64>, u64)> = Vec::new();
    text.each_item(&mut |item| {
        // rows that came by INSERT have no hash
        if let (Some(rows), Some(_), true) = (item.rows, &item.row_hash, item.bytes >= LARGE) {
            tables.push((item.offset..item.end(), rows));
        }
        Ok(())
    })?;
    let behind = |two: &[(Range<u64>, u64)]| two[0].0.end <= two[1].0.start;
    let within = tables.last().is_none_or(|(rows, _)| rows.end <= stretches.raw_bytes());
    if tables.is_empty() || !within || !tables.windows(2).all(behind) {
        return Ok(None);
    }
    let seen = sums(&*chosen.file, &chosen.name, chosen.kind()?, index)?;
    if seen.sha256 != manifest.file.sha256 {
        return Ok(None);
    }
    let known = stretches.clone().known_by(seen.pieces.clone());
    let mut reader = known.reader();
    let (mut reading, mut place, mut at, mut runs) =
        (Reading::new(only, false), Place::default(), 0, Vec::new());
    for (rows, count) in tables {
        reader.read(&(at..rows.start), &mut |bytes| {
            progress.advance(bytes.len() as u64);
            reading.feed_with(bytes, &mut |event| place.event(event));
            Ok(())
        })?;
        if place.begun != Some(rows.start - reading.skipped.0) {
            return Ok(None);
        }
        reading.skip(&rows, count);
        progress.advance(rows.end - rows.start);
        runs.push(cut(&mut reader, &rows)?);
        at = rows.end;
        place.is_skipping = true;
    }
    reader.read(&(at..known.raw_bytes()), &mut |bytes| {
        progress.advance(bytes.len() as u64);
        reading.feed_with(bytes, &mut |event| place.event(event));
        Ok(())
    })?;
    let as_told = !place.is_skipping && !place.is_wrong;
    Ok(as_told.then_some((reading, seen, runs)))
}

/// Where in the dump we are, as the lexer sees it.
#[derive(Default)]
struct Place {
    /// Rows begin here, and none has been seen yet.
    begun: Option<u64>,
    /// They were passed over: the next must be their end.
    is_skipping: bool,
    is_wrong: bool,
}

impl Place {
    fn event(&mut self, event: Event<'_>) {
        let is_end = matches!(event, Event::DataEnd { .. });
        self.is_wrong |= std::mem::take(&mut self.is_skipping) && !is_end;
        self.begun = if let Event::DataBegin { at } = event { Some(at) } else { None };
    }
}
