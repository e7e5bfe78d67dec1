//! The bytes of an archive, in order, with their place: integers, strings, and what is skipped.
//!
//! A length is never believed: memory grows with what is really there.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crate::child::interrupted;
use crate::exit::{Error, Result};
use crate::medium::Onward;

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

pub(super) enum Raw<'a> {
    /// What can be sought, at its beginning.
    Onward(Onward<'a>, u64),
    Stream(Box<dyn Read + 'a>),
}

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Raw::Onward(onward, _) => onward.read(buffer),
            Raw::Stream(stream) => stream.read(buffer),
        }
    }
}

impl Seek for Raw<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Raw::Onward(onward, _) => onward.seek(to),
            Raw::Stream(_) => Err(io::ErrorKind::NotSeekable.into()),
        }
    }
}

pub(super) struct Source<'a> {
    reader: BufReader<Raw<'a>>,
    name: String,
    /// Where the next byte is.
    at: u64,
    /// Reading ends here as it would at the end of the file: the end of a tar's member.
    limit: u64,
    /// The size of a file that can be sought.
    size: Option<u64>,
    /// Bytes of an integer, without its sign.
    pub(super) int_bytes: u8,
    /// Whether a byte for the sign stands before each integer: all versions above 1.0.
    pub(super) signed: bool,
}

/// The error of a failed read. A decoder's words come through, and so does one of our own errors.
pub(super) fn failed(name: &str, e: &io::Error) -> Error {
    interrupted().err().unwrap_or_else(|| Error::io("read", name, e))
}

impl<'a> Source<'a> {
    pub(super) fn new(raw: Raw<'a>, name: &str) -> Result<Self> {
        let size = match &raw {
            Raw::Onward(_, size) => Some(*size),
            Raw::Stream(_) => None,
        };
        Ok(Source {
            reader: BufReader::with_capacity(BUFFER, raw),
            name: name.to_owned(),
            at: 0,
            limit: u64::MAX,
            size,
            int_bytes: 4,
            signed: true,
        })
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn seeks(&self) -> bool {
        self.size.is_some()
    }

    pub(super) fn damaged(&self, why: impl std::fmt::Display) -> Error {
        Error::no(format!("'{}' is damaged at byte {}: {why}", self.name, self.at))
    }

    fn cut(&self) -> Error {
        self.damaged("it is cut short")
    }

    /// Sets the end of what may be read, counted from here; `None`: the end of the file.
    pub(super) fn limit(&mut self, bytes: Option<u64>) {
        self.limit = bytes.map_or(u64::MAX, |bytes| self.at.saturating_add(bytes));
    }

    /// The next bytes, none of them taken; empty at the end.
    pub(super) fn peek(&mut self) -> Result<&[u8]> {
        interrupted()?;
        let left = usize::try_from(self.limit - self.at).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(&[]);
        }
        match self.reader.fill_buf() {
            Ok(bytes) => Ok(&bytes[..bytes.len().min(left)]),
            Err(e) => Err(failed(&self.name, &e)),
        }
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.at += bytes as u64;
    }

    /// Gives the next `bytes` bytes as they come.
    pub(super) fn exactly(&mut self, bytes: u64, give: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            let next = self.peek()?;
            let n = next.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if n == 0 {
                return Err(self.cut());
            }
            give(&next[..n])?;
            self.take(n);
            left -= n as u64;
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, bytes: u64) -> Result<()> {
        let end =
            self.at.checked_add(bytes).filter(|end| *end <= self.limit.min(self.size.unwrap_or(u64::MAX)));
        match (end, i64::try_from(bytes)) {
            (Some(end), Ok(step)) if self.seeks() => {
                interrupted()?;
                self.reader.seek_relative(step).map_err(|e| failed(&self.name, &e))?;
                self.at = end;
                Ok(())
            }
            _ => self.exactly(bytes, &mut |_| Ok(())),
        }
    }

    /// Goes to a place in a file that [`seeks`](Self::seeks).
    pub(super) fn seek(&mut self, to: u64) -> Result<()> {
        if to > self.size.unwrap_or(0) {
            return Err(self.damaged(format!("it points to byte {to}, which is behind its end")));
        }
        if to != self.at {
            self.reader.seek(SeekFrom::Start(to)).map_err(|e| failed(&self.name, &e))?;
            self.at = to;
        }
        Ok(())
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.peek()?.is_empty() { Ok(()) } else { Err(self.damaged("other bytes follow its end")) }
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        let byte = self.peek()?.first().copied().ok_or(());
        let byte = byte.map_err(|()| self.cut())?;
        self.take(1);
        Ok(byte)
    }

    /// `ReadInt`: sign, then bytes, the lowest first. Magnitudes that no `int` and no OID holds are
    /// refused.
    pub(super) fn int(&mut self) -> Result<i64> {
        let negative = self.signed && self.byte()? != 0;
        let mut value = 0_i64;
        for place in 0..self.int_bytes {
            let byte = i64::from(self.byte()?);
            match place {
                0..4 => value |= byte << (8 * place),
                _ if byte != 0 => return Err(self.damaged("a number is too large")),
                _ => {}
            }
        }
        match value {
            _ if negative => Ok(-value),
            // without a byte for the sign, the highest bit is it
            _ if !self.signed => Ok(i64::from(value as u32 as i32)),
            _ => Ok(value),
        }
    }

    /// A length or a count.
    pub(super) fn length(&mut self) -> Result<u32> {
        let value = self.int()?;
        let length = i32::try_from(value).ok().and_then(|v| u32::try_from(v).ok());
        length.ok_or_else(|| self.damaged(format!("{value} is no length")))
    }

    /// `ReadStr`: a length and so many bytes, in the archive's encoding; a negative length is none.
    pub(super) fn string(&mut self) -> Result<Option<Vec<u8>>> {
        let length = self.int()?;
        if length < 0 {
            return Ok(None);
        }
        if i32::try_from(length).is_err() {
            return Err(self.damaged(format!("{length} is no length")));
        }
        let mut text = Vec::new();
        self.exactly(length.unsigned_abs(), &mut |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        // no text of PostgreSQL has a NUL, and pg_restore would stop at it
        if memchr::memchr(0, &text).is_some() {
            return Err(self.damaged("a text holds a NUL"));
        }
        text.shrink_to_fit();
        Ok(Some(text))
    }

    /// A number that is written as a string.
    pub(super) fn number(&mut self) -> Result<Option<u32>> {
        let length = self.int()?;
        if length < 0 {
            return Ok(None);
        }
        if length > 10 {
            return Err(self.damaged("a number is too long"));
        }
        let mut digits = String::new();
        for _ in 0..length {
            digits.push(char::from(self.byte()?));
        }
        digits.parse().map(Some).map_err(|_| self.damaged("a number is none"))
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.take(n);
        Ok(n)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek().map_err(io::Error::other)
    }

    fn consume(&mut self, bytes: usize) {
        self.take(bytes);
    }
}
