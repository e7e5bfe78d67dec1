//! Buffers that a file is read into at full speed.
//!
//! On AMD's Zen 3 the kernel copies two to four times slower to an address that lies 1 to 31 bytes behind the
//! beginning of a page, and that is where an allocator puts large buffers: into pages of their own, behind its
//! 16 bytes of notes. So these begin a little further on. What no kernel writes into need not be one.

use std::io::{self, BufRead, Read};
use std::ops::{Deref, DerefMut};

/// Where a buffer may begin, in bytes: a line of the processor's cache.
const LINE: usize = 64;

/// Bytes, as a `Vec` has them, which begin at a line of the cache.
#[derive(Debug, Default)]
pub struct Buffer {
    /// What is skipped, the bytes, and zeros or what was there once: all that there is room for.
    all: Vec<u8>,
    skipped: usize,
    length: usize,
}

impl Buffer {
    /// No bytes yet, and room for so many.
    fn with_room(bytes: usize) -> Self {
        let all = vec![0; bytes + LINE];
        let skipped = all.as_ptr().align_offset(LINE).min(LINE);
        Buffer { all, skipped, length: 0 }
    }

    /// So many zeros.
    pub fn zeros(bytes: usize) -> Self {
        Buffer { length: bytes, ..Self::with_room(bytes) }
    }

    /// A copy.
    pub fn of(bytes: &[u8]) -> Self {
        let mut buffer = Self::zeros(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer
    }

    /// Reads until so many bytes have been added, or until the end; how many were.
    ///
    /// # Errors
    /// Those of `from`; what came before stays.
    pub fn add(&mut self, mut from: impl Read, bytes: usize) -> io::Result<usize> {
        let old = self.length;
        self.reserve(old + bytes);
        let end = self.skipped + old + bytes;
        while self.length < old + bytes {
            match from.read(&mut self.all[self.skipped + self.length..end]) {
                Ok(0) => break,
                Ok(n) => self.length += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.length - old)
    }

    /// Keeps the first `bytes`.
    pub fn truncate(&mut self, bytes: usize) {
        self.length = self.length.min(bytes);
    }

    /// Takes the first `bytes` away.
    pub fn drop_first(&mut self, bytes: usize) {
        self.copy_within(bytes.., 0);
        self.length -= bytes;
    }

    /// Makes sure of room for so many in all.
    pub fn reserve(&mut self, bytes: usize) {
        if self.all.len() < self.skipped + bytes {
            let mut larger = Self::with_room(bytes);
            larger.length = self.length;
            larger.copy_from_slice(self);
            *self = larger;
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.all[self.skipped..self.skipped + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.all[self.skipped..self.skipped + self.length]
    }
}

/// A reader with such a buffer, otherwise as the standard library's `BufReader`.
pub struct Buffered<R> {
    inner: R,
    buffer: Buffer,
    /// What is in the buffer and has not been taken.
    waiting: std::ops::Range<usize>,
}

impl<R: Read> Buffered<R> {
    /// Reads from `inner`, so many bytes at a time.
    pub fn new(bytes: usize, inner: R) -> Self {
        Buffered { inner, buffer: Buffer::zeros(bytes), waiting: 0..0 }
    }
}

impl<R: Read> Read for Buffered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // what is as large as the buffer need not go through it
        if self.waiting.is_empty() && into.len() >= self.buffer.len() {
            return self.inner.read(into);
        }
        let available = self.fill_buf()?;
        let n = available.len().min(into.len());
        into[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for Buffered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.waiting.is_empty() {
            self.waiting = 0..self.inner.read(&mut self.buffer)?;
        }
        Ok(&self.buffer[self.waiting.clone()])
    }

    fn consume(&mut self, bytes: usize) {
        self.waiting.start = (self.waiting.start + bytes).min(self.waiting.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_at_a_line_of_the_cache_whatever_becomes_of_them() {
        let begins = |buffer: &Buffer| assert_eq!(buffer.as_ptr().align_offset(LINE), 0);
        for bytes in [0, 1, 63, 4096, 256 << 10, 1 << 20] {
            let mut buffer = Buffer::zeros(bytes);
            assert_eq!(buffer.len(), bytes);
            begins(&buffer);
            buffer.reserve(3 * bytes + 9);
            begins(&buffer);
            assert_eq!(buffer.len(), bytes);
        }
        let mut buffer = Buffer::with_room(8);
        assert_eq!(buffer.add(&b"restored"[..], 4).unwrap(), 4);
        assert_eq!(buffer.add(&b"red"[..], 4).unwrap(), 3);
        buffer.drop_first(2);
        buffer.truncate(4);
        assert_eq!(&*buffer, b"stre");
        begins(&buffer);
    }

    #[test]
    fn a_buffered_reader_gives_what_is_there() {
        let text: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for (room, step) in [(1, 1), (7, 3), (7, 7), (64, 200), (8192, 100)] {
            let mut reader = Buffered::new(room, &text[..]);
            let (mut all, mut part) = (Vec::new(), vec![0; step]);
            loop {
                let n = reader.read(&mut part).unwrap();
                if n == 0 {
                    break;
                }
                all.extend_from_slice(&part[..n]);
                let next = reader.fill_buf().unwrap().first().copied();
                all.extend(next);
                reader.consume(usize::from(next.is_some()));
            }
            assert_eq!(all, text, "{room} {step}");
        }
    }
}
