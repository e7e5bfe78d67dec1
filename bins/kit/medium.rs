//! What is read at any place: a file, or something that stands for one.
//!
//! Whoever reads says beforehand which stretches come next, so that a medium that is far away can fetch
//! them ahead.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

/// A skip of so many bytes is not worth asking anew.
const SMALL: u64 = 256 << 10;

/// Bytes that can be read at any place, by several at the same time.
///
/// An error may carry one of [`crate::exit::Error`] within, which [`crate::exit::Error::io`] gives back.
pub trait Medium: Send + Sync {
    /// Its length, bytes.
    ///
    /// # Errors
    /// When that cannot be told.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads at a place; how many bytes were read, none at the end only.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;

    /// Reads stretches, one behind the other, up to the end where one reaches beyond it.
    fn stretches(&self, stretches: &[Range<u64>]) -> Box<dyn Read + '_>;

    /// When it was written; `None` where that is not known.
    fn modified(&self) -> Option<SystemTime>;

    /// Fills `into` from a place.
    ///
    /// # Errors
    /// When it cannot be read, or ends before.
    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        let mut done = 0;
        while done < into.len() {
            match self.read_at(&mut into[done..], at + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// All from a place to the end.
    fn from(&self, at: u64) -> Box<dyn Read + '_> {
        self.stretches(std::slice::from_ref(&(at..u64::MAX)))
    }

    /// All of it, from its beginning.
    fn all(&self) -> Box<dyn Read + '_> {
        self.from(0)
    }
}

impl Medium for File {
    fn bytes(&self) -> io::Result<u64> {
        self.metadata().map(|m| m.len())
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, at)
    }

    fn stretches(&self, stretches: &[Range<u64>]) -> Box<dyn Read + '_> {
        Box::new(Run { file: self, now: 0..0, left: VecDeque::from(stretches.to_vec()) })
    }

    fn modified(&self) -> Option<SystemTime> {
        self.metadata().and_then(|m| m.modified()).ok()
    }
}

/// Stretches of a file, wherever others who read it stand.
struct Run<'a> {
    file: &'a File,
    now: Range<u64>,
    left: VecDeque<Range<u64>>,
}

impl Read for Run<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.left.pop_front() {
                Some(next) => self.now = next,
                None => return Ok(0),
            }
        }
        let most = usize::try_from(self.now.end - self.now.start).unwrap_or(usize::MAX).min(into.len());
        let n = FileExt::read_at(self.file, &mut into[..most], self.now.start)?;
        self.now.start += n as u64;
        Ok(n)
    }
}

/// A place in a medium from which is read on. What is read is not fetched ahead.
pub struct At<'a> {
    medium: &'a dyn Medium,
    at: u64,
}

impl<'a> At<'a> {
    /// Its beginning.
    pub fn start(medium: &'a dyn Medium) -> Self {
        At { medium, at: 0 }
    }

    /// How far it was read.
    pub fn at(&self) -> u64 {
        self.at
    }
}

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.medium.read_at(into, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// The same, of what is read from there to the end, mostly.
pub struct Onward<'a> {
    medium: &'a dyn Medium,
    at: u64,
    reader: Option<Box<dyn Read + 'a>>,
}

impl<'a> Onward<'a> {
    /// Its beginning.
    pub fn start(medium: &'a dyn Medium) -> Self {
        Onward { medium, at: 0, reader: None }
    }
}

impl Read for Onward<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let reader = self.reader.get_or_insert_with(|| self.medium.from(self.at));
        let n = reader.read(into)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Onward<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let before = || io::Error::from(io::ErrorKind::InvalidInput);
        let to = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).ok_or_else(before)?,
            SeekFrom::End(by) => self.medium.bytes()?.checked_add_signed(by).ok_or_else(before)?,
        };
        let skip = to.checked_sub(self.at).filter(|n| *n <= SMALL && self.reader.is_some());
        if let Some(n) = skip {
            io::copy(&mut self.take(n), &mut io::sink())?;
        }
        // … which may have met the end
        if self.at != to {
            (self.at, self.reader) = (to, None);
        }
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_read_in_any_order() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut text = String::new();
        file.stretches(&[1..3, 5..5, 8..20]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "1289");
        let mut onward = Onward::start(&file);
        let mut two = [0; 2];
        for (to, found) in [
            (SeekFrom::Start(0), b"01"),
            (SeekFrom::Current(3), b"56"),
            (SeekFrom::Current(-6), b"12"),
            (SeekFrom::End(-2), b"89"),
        ] {
            onward.seek(to).unwrap();
            onward.read_exact(&mut two).unwrap();
            assert_eq!(&two, found, "{to:?}");
        }
        assert_eq!(onward.seek(SeekFrom::Start(30)).unwrap(), 30);
        assert_eq!(onward.read(&mut two).unwrap(), 0);
        assert!(Medium::read_exact_at(&file, &mut two, 9).is_err());
    }
}
