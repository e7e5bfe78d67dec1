//! What a dump was like when it was checked, so that what is fed can be held against it although only
//! parts of it are read again, each by somebody else.
//!
//! The rows of a large table are hashed in stretches of some megabytes that begin and end with a row;
//! everything else that psql is given is hashed as one text. The hash is quick, not one for secrets,
//! but it begins with a number that nobody else knows: who changes the file meanwhile cannot aim.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use kit::dump::lex::Event;
use xxhash_rust::xxh3::Xxh3;

/// A table with fewer bytes of rows is a part of the text.
const LARGE: u64 = 4 << 20;
/// How long a stretch of rows is, at least.
const STRETCH: u64 = 16 << 20;

/// Rows of a large table, from the beginning of one to the end of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Raw offsets.
    pub(crate) range: Range<u64>,
    pub(crate) hash: u128,
}

/// The fingerprint of a dump as it passes by.
pub(crate) struct Fingerprint {
    seed: u64,
    text: Xxh3,
    /// The large tables' rows, in the order of the dump.
    runs: Vec<Vec<Rows>>,
    open: Option<Open>,
}

/// Rows that pass by.
struct Open {
    /// The text before them.
    before: Box<Xxh3>,
    begin: u64,
    rows: Vec<Rows>,
    /// The stretch that is not full.
    from: u64,
    to: u64,
    hash: Box<Xxh3>,
}

impl Fingerprint {
    pub(crate) fn new() -> Self {
        Self::with(RandomState::new().hash_one(0))
    }

    /// One of the same kind, for what is to be the same dump.
    pub(crate) fn again(&self) -> Self {
        Self::with(self.seed)
    }

    fn with(seed: u64) -> Self {
        Fingerprint { seed, text: Xxh3::with_seed(seed), runs: Vec::new(), open: None }
    }

    /// A hash of the kind that the stretches have.
    pub(crate) fn hasher(&self) -> Xxh3 {
        Xxh3::with_seed(self.seed)
    }

    /// The large tables' rows, in the order of the dump.
    pub(crate) fn runs(&self) -> &[Vec<Rows>] {
        &self.runs
    }

    /// Whether what passes by are rows.
    pub(crate) fn is_within_rows(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the text, of which small tables are a part, is the same.
    pub(crate) fn is_same_text(&self, other: &Self) -> bool {
        self.text.digest128() == other.text.digest128()
    }

    /// Takes what the lexer finds. Of a large table, the rows may be missing.
    pub(crate) fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Sql { bytes, .. } | Event::Meta { bytes, .. } => self.text.update(bytes),
            Event::SqlEnd { .. } | Event::MetaEnd { .. } => self.text.update(b"\0"),
            Event::DataBegin { at } => {
                let (before, hash) = (Box::new(self.text.clone()), Box::new(self.hasher()));
                let rows = Vec::new();
                self.open = Some(Open { before, begin: at, rows, from: at, to: at, hash });
            }
            Event::Data { bytes, .. } => {
                let Some(open) = &mut self.open else { return };
                if open.to - open.begin < LARGE {
                    self.text.update(bytes);
                }
                open.add(bytes, self.seed);
            }
            Event::DataEnd { .. } => {
                if let Some(mut open) = self.open.take().filter(|open| open.to - open.begin >= LARGE) {
                    open.cut(self.seed);
                    self.text = *open.before;
                    self.runs.push(open.rows);
                }
                self.text.update(b"\\.");
            }
            Event::Comment { .. } | Event::CommentEnd => {}
        }
    }
}

impl Open {
    fn add(&mut self, mut bytes: &[u8], seed: u64) {
        while !bytes.is_empty() {
            let room = STRETCH.saturating_sub(self.to - self.from) as usize;
            // every newline of COPY's text ends a row: those within values are written as `\n`
            let end = bytes.get(room..).and_then(|rest| memchr::memchr(b'\n', rest)).map(|i| room + i + 1);
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.hash.update(part);
            self.to += part.len() as u64;
            if end.is_some() {
                self.cut(seed);
            }
            bytes = rest;
        }
    }

    fn cut(&mut self, seed: u64) {
        if self.from < self.to {
            self.rows.push(Rows { range: self.from..self.to, hash: self.hash.digest128() });
            self.from = self.to;
            *self.hash = Xxh3::with_seed(seed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::dump::lex::Lexer;

    fn of(mut print: Fingerprint, dump: &[u8], piece: usize) -> Fingerprint {
        let mut lexer = Lexer::default();
        for chunk in dump.chunks(piece) {
            lexer.feed(chunk, &mut |event| print.event(event));
        }
        lexer.finish(&mut |event| print.event(event));
        print
    }

    #[test]
    fn stretches_begin_and_end_with_rows_however_the_dump_is_cut() {
        let row = format!("{}\n", "x".repeat(99));
        let large = row.repeat(400_000);
        let dump =
            format!("SELECT 1;\nCOPY t FROM stdin;\n{large}\\.\nCOPY s FROM stdin;\n{row}\\.\nSELECT 2;\n");
        let first = of(Fingerprint::new(), dump.as_bytes(), 1 << 20);
        let [run] = first.runs() else { panic!("{:?}", first.runs()) };
        assert_eq!(run.len(), 3);
        let begin = dump.find('x').unwrap() as u64;
        assert_eq!((run[0].range.start, run[2].range.end), (begin, begin + 40_000_000));
        for rows in run {
            assert_eq!((rows.range.start - begin) % 100, 0);
            let bytes = &dump.as_bytes()[rows.range.start as usize..rows.range.end as usize];
            let mut hash = first.hasher();
            hash.update(bytes);
            assert_eq!(hash.digest128(), rows.hash);
        }
        let second = of(first.again(), dump.as_bytes(), 70_001);
        assert_eq!(second.runs(), first.runs());
        assert!(second.is_same_text(&first));
        // without the rows of the large table the text is the same, and without others it is not
        let without = dump.replace(&large, "");
        assert!(of(first.again(), without.as_bytes(), 100).is_same_text(&first));
        let other = without.replace(&row, "");
        assert!(!of(first.again(), other.as_bytes(), 100).is_same_text(&first));
    }
}
