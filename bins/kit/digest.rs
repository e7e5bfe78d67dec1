//! Digests: SHA-256 of files, and the order-free hash of a table's rows.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed, xxh3_128};

/// SHA-256 of a stream, in lower-case hexadecimal as `sha256sum` prints it.
#[derive(Default)]
pub struct Sha(Sha256);

impl Sha {
    /// Takes the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// 64 hexadecimal digits.
    pub fn hex(self) -> String {
        let mut hex = String::with_capacity(64);
        for byte in self.0.finalize() {
            // writing into a String cannot fail
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

/// A quick hash by which this process knows bytes again that it reads twice. It is not one for secrets, but
/// it begins with a number that nobody else knows: who changes the bytes meanwhile cannot aim.
pub fn quick(bytes: &[u8]) -> u64 {
    static KEY: OnceLock<u64> = OnceLock::new();
    xxh3_64_with_seed(bytes, *KEY.get_or_init(|| RandomState::new().hash_one(0)))
}

/// The row hash of a table: the sum modulo 2^128 of XXH3-128 over each row's COPY line, without
/// its newline. Independent of the order of the rows, so the dump of a restored table can be held
/// against the dump it was restored from.
///
/// Rows arrive as arbitrary pieces of the COPY data; a row cut in two hashes like a whole one.
#[derive(Default)]
pub struct Rows {
    how: Depth,
    rows: u64,
    sum: u128,
    // boxed: its 576 bytes are only touched where a piece ends within a row
    cut: Option<Box<Xxh3>>,
    /// Only counted: a last row without its newline.
    open: bool,
}

/// How closely rows are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Counted and hashed.
    #[default]
    Hash,
    /// Counted.
    Count,
    /// Passed over.
    Skip,
}

impl Rows {
    /// Rows that are looked at in this way.
    pub fn new(how: Depth) -> Self {
        Rows { how, ..Rows::default() }
    }

    /// Takes the next piece of COPY data, newlines included.
    pub fn update(&mut self, mut data: &[u8]) {
        match self.how {
            Depth::Hash => {}
            Depth::Count => {
                self.rows += memchr::memchr_iter(b'\n', data).count() as u64;
                self.open = data.last().map_or(self.open, |last| *last != b'\n');
                return;
            }
            Depth::Skip => return,
        }
        if self.cut.is_some() {
            let Some(end) = memchr::memchr(b'\n', data) else { return self.keep(data) };
            self.keep(&data[..end]);
            self.end_cut();
            data = &data[end + 1..];
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', data) {
            self.add(xxh3_128(&data[start..end]));
            start = end + 1;
        }
        if start < data.len() {
            self.keep(&data[start..]);
        }
    }

    /// Ends the table; a last row without a newline counts too. Number of rows and their hash, where
    /// they were hashed.
    pub fn finish(mut self) -> (u64, Option<u128>) {
        self.end_cut();
        (self.rows + u64::from(self.open), (self.how == Depth::Hash).then_some(self.sum))
    }

    fn keep(&mut self, part: &[u8]) {
        self.cut.get_or_insert_with(Box::default).update(part);
    }

    fn end_cut(&mut self) {
        if let Some(cut) = self.cut.take() {
            self.add(cut.digest128());
        }
    }

    fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(pieces: &[&[u8]]) -> (u64, Option<u128>) {
        let mut rows = Rows::default();
        pieces.iter().for_each(|p| rows.update(p));
        rows.finish()
    }

    #[test]
    fn sha256_of_nothing() {
        assert_eq!(Sha::default().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn pieces_and_order_do_not_matter_but_rows_do() {
        let whole = hash(&[b"1\ta\n2\tb\n\n"]);
        assert_eq!(whole.0, 3);
        for cut in 0..9 {
            let (a, b) = b"1\ta\n2\tb\n\n".split_at(cut);
            assert_eq!(hash(&[a, b]), whole, "{cut}");
        }
        assert_eq!(hash(&[b"\n2\tb\n1\ta\n"]), whole);
        assert_ne!(hash(&[b"1\ta\n2\tc\n\n"]).1, whole.1);
        assert_eq!(hash(&[]).0, 0);
    }

    #[test]
    fn counting_alone_counts_the_same() {
        for text in [&b""[..], b"\n", b"a\nb", b"a\nb\n", b"a"] {
            for cut in 0..=text.len() {
                let mut rows = Rows::new(Depth::Count);
                rows.update(&text[..cut]);
                rows.update(&text[cut..]);
                assert_eq!(rows.finish(), (hash(&[text]).0, None), "{text:?} at {cut}");
            }
        }
    }
}
