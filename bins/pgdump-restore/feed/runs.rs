//! Where the rows of large tables stand in a dump, so that each session can read those that it loads by
//! itself.
//!
//! A run of rows is cut into stretches of some megabytes that begin and end with a row.

use std::ops::Range;

use kit::codec::seek::{Reader, Stretches};
use kit::dump::lex::Event;
use kit::exit::Result;

/// A table with fewer bytes of rows is read with the text around it.
pub(crate) const LARGE: u64 = 4 << 20;
/// How long a stretch of rows is, at least.
const STRETCH: u64 = 16 << 20;

/// A dump that is read in parts.
pub(crate) struct Parts {
    pub(crate) stretches: Stretches,
    /// The large tables' rows, in the order of the dump: raw offsets.
    pub(crate) runs: Vec<Vec<Range<u64>>>,
}

/// The runs of a dump as it passes by.
#[derive(Default)]
pub(crate) struct Runs {
    found: Vec<Vec<Range<u64>>>,
    /// The stretches of those that pass by.
    open: Option<Vec<Range<u64>>>,
}

impl Runs {
    /// The large tables' rows, in the order of the dump.
    pub(crate) fn found(self) -> Vec<Vec<Range<u64>>> {
        self.found
    }

    /// Takes what the lexer finds.
    pub(crate) fn event(&mut self, event: Event<'_>) {
        match (event, &mut self.open) {
            (Event::DataBegin { at }, _) => self.open = Some(std::iter::once(at..at).collect()),
            (Event::Data { bytes, .. }, Some(stretches)) => add(stretches, bytes),
            (Event::DataEnd { .. }, _) => {
                let large = |run: &Vec<Range<u64>>| run.iter().map(|r| r.end - r.start).sum::<u64>() >= LARGE;
                let run = self.open.take().map(|mut run| {
                    run.retain(|r| !r.is_empty());
                    run
                });
                self.found.extend(run.filter(large));
            }
            _ => {}
        }
    }
}

/// The last of `stretches` grows by `bytes`; where it is long enough, another begins behind the next row.
fn add(stretches: &mut Vec<Range<u64>>, mut bytes: &[u8]) {
    while let (Some(last), false) = (stretches.last_mut(), bytes.is_empty()) {
        let room = STRETCH.saturating_sub(last.end - last.start) as usize;
        // every newline of COPY's text ends a row: those within values are written as `\n`
        let end = bytes.get(room..).and_then(|rest| memchr::memchr(b'\n', rest)).map(|i| room + i + 1);
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        last.end += part.len() as u64;
        if end.is_some() {
            let at = last.end;
            stretches.push(at..at);
        }
        bytes = rest;
    }
}

/// Cuts rows that nobody has read into stretches: `reader` reads where they may end, and no more.
pub(crate) fn cut(reader: &mut Reader, rows: &Range<u64>) -> Result<Vec<Range<u64>>> {
    let (mut stretches, mut from) = (Vec::new(), rows.start);
    while from < rows.end {
        let end = row_end(reader, from.saturating_add(STRETCH), rows.end)?;
        stretches.push(from..end);
        from = end;
    }
    Ok(stretches)
}

/// Behind the first newline at or after `at`, or `end`.
fn row_end(reader: &mut Reader, mut at: u64, end: u64) -> Result<u64> {
    const STEP: u64 = 64 << 10;
    while at < end {
        let (mut found, mut seen) = (None, at);
        reader.read(&(at..end.min(at + STEP)), &mut |bytes| {
            found = found.or(memchr::memchr(b'\n', bytes).map(|i| seen + i as u64 + 1));
            seen += bytes.len() as u64;
            Ok(())
        })?;
        if let Some(found) = found {
            return Ok(found);
        }
        at = seen;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::dump::lex::Lexer;
    use kit::source::Dump;

    #[test]
    fn stretches_begin_and_end_with_rows_however_the_dump_is_cut() {
        let row = format!("{}\n", "x".repeat(99));
        let large = row.repeat(400_000);
        let dump =
            format!("SELECT 1;\nCOPY t FROM stdin;\n{large}\\.\nCOPY s FROM stdin;\n{row}\\.\nSELECT 2;\n");
        let runs = |piece: usize| {
            let (mut runs, mut lexer) = (Runs::default(), Lexer::default());
            for chunk in dump.as_bytes().chunks(piece) {
                lexer.feed(chunk, &mut |event| runs.event(event));
            }
            lexer.finish(&mut |event| runs.event(event));
            runs.found()
        };
        let found = runs(1 << 20);
        let [run] = &found[..] else { panic!("{found:?}") };
        assert_eq!(run.len(), 3);
        let begin = dump.find('x').unwrap() as u64;
        assert_eq!((run[0].start, run[2].end), (begin, begin + 40_000_000));
        assert!(run.iter().all(|rows| (rows.end - begin).is_multiple_of(100)));
        assert!(run.windows(2).all(|two| two[0].end == two[1].start));
        assert_eq!(runs(70_001), found);
        // and whoever knows where the rows are cuts them alike
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, dump.as_bytes()).unwrap();
        let stretches = Dump::open(file.path()).unwrap().stretches().unwrap().unwrap();
        assert_eq!(cut(&mut stretches.reader(), &(begin..begin + 40_000_000)).unwrap(), *run);
    }
}
