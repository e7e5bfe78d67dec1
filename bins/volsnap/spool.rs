//! Where the tar of a volume waits, as it is, until services run again: in a file without a name, which goes with
//! its process however that ends.
//!
//! The file holds pieces of the tar in their order, before each its length. Files of some size are not read for
//! that but copied by the kernel, to where a block begins: file systems that can share blocks then copy nothing
//! (`copy_file_range(2)`). What has been read back is given up piece by piece, so that the archive takes the
//! room of what it is made from.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kit::buffer::Buffer;
use kit::child::{interrupted, pause};
use kit::exit::{Error, Result};
use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, seek, sendfile};
use rustix::io::Errno;

/// Where a file system may share blocks, a copy begins at a multiple of this, in bytes.
const BLOCK: u64 = 4096;
/// Parts of files below this are not worth a block of their own.
pub(crate) const LARGE: u64 = 64 << 10;
/// How much is read at a time.
const CHUNK: usize = 256 << 10;
/// How much the kernel copies at a time: signals wait for it.
const COPIED: u64 = 8 << 20;
/// How much is given up at a time.
const GIVEN_UP: u64 = 32 << 20;
/// What a call says that is not for these files, or not of this kernel.
const UNABLE: [Errno; 5] = [Errno::XDEV, Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM];
/// In a length: the piece begins where the next block does.
const ALIGNED: u64 = 1 << 63;

/// A tar that is being put into the file.
pub(crate) struct Spool {
    file: File,
    dir: PathBuf,
    /// Where the next piece goes.
    at: u64,
    /// Small pieces, which go there as one.
    waiting: Vec<u8>,
    pace: Pace,
    full: bool,
}

/// A tar that is read from the file.
pub(crate) struct Spooled {
    file: File,
    /// What is read next, and how much there is of this piece.
    at: u64,
    left: u64,
    end: u64,
    /// Up to where it has been given up.
    gone: u64,
}

/// So many bytes a second and no more.
pub(crate) struct Pace {
    /// `None`: as fast as it goes.
    rate: Option<u64>,
    begun: Instant,
    done: u64,
}

impl Pace {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Pace { rate: rate.filter(|rate| *rate > 0), begun: Instant::now(), done: 0 }
    }

    /// Waits until more may be read.
    pub(crate) fn wait(&self) -> Result<()> {
        let Some(rate) = self.rate else { return interrupted() };
        let due = Duration::from_secs_f64(self.done as f64 / rate as f64);
        due.checked_sub(self.begun.elapsed()).map_or_else(interrupted, pause)
    }

    /// So many have been read.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.done += bytes;
    }
}

/// Bytes of the disk that are needed to put aside what takes `bytes` in `dir`, at most: where nothing can be given up
/// early, the archive comes on top.
pub(crate) fn needed(dir: &Path, bytes: u64) -> Result<u64> {
    let file = nameless(dir)?;
    let gives_up = give_up(&file, 0, BLOCK).is_ok();
    // what is written until services are down is not known yet
    Ok((if gives_up { bytes } else { bytes.saturating_mul(2) }).saturating_add(bytes / 16 + (64 << 20)))
}

fn nameless(dir: &Path) -> Result<File> {
    tempfile::tempfile_in(dir).map_err(|e| Error::io("create a file in", dir.display(), &e))
}

fn give_up(file: &File, from: u64, to: u64) -> rustix::io::Result<()> {
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, to - from)
}

impl Spool {
    /// An empty one on the disk of `dir`; `rate`: bytes a second that may be read into it.
    pub(crate) fn create(dir: &Path, rate: Option<u64>) -> Result<Self> {
        let file = nameless(dir)?;
        Ok(Spool {
            file,
            dir: dir.to_owned(),
            at: 0,
            waiting: Vec::new(),
            pace: Pace::new(rate),
            full: false,
        })
    }

    /// Whether it failed because no more may be written.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Puts all that there is to read behind what is there.
    pub(crate) fn add_all(&mut self, mut from: impl Read) -> Result<()> {
        let mut buffer = Buffer::zeros(CHUNK);
        while self.add_some(&mut from, &mut buffer)? {}
        Ok(())
    }

    /// Reads once into `buffer`, and puts that behind what is there; whether there was something.
    pub(crate) fn add_some(&mut self, from: &mut impl Read, buffer: &mut [u8]) -> Result<bool> {
        self.pace.wait()?;
        // a source that knows its own errors hands them through
        let failed = |e: io::Error| e.downcast().unwrap_or_else(|e| Error::io("read", "the volume", &e));
        let n = from.read(buffer).map_err(failed)?;
        self.pace.add(n as u64);
        self.add(&buffer[..n])?;
        Ok(n > 0)
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() < LARGE as usize {
            self.waiting.extend_from_slice(bytes);
            return if self.waiting.len() < CHUNK { Ok(()) } else { self.flush() };
        }
        self.flush()?;
        self.write(self.at + 8, bytes)?;
        self.end_piece(0, self.at + 8, bytes.len() as u64)
    }

    /// Has the kernel copy `length` bytes of `from`, from `offset`; how many were. None, or fewer: `from` is shorter,
    /// or what has to be read.
    pub(crate) fn copy(&mut self, from: &File, mut offset: u64, length: u64) -> Result<u64> {
        self.flush()?;
        let begin = (self.at + 8).next_multiple_of(BLOCK);
        let mut at = begin;
        while at - begin < length {
            self.pace.wait()?;
            let most = (length - (at - begin)).min(COPIED).min(self.pace.rate.unwrap_or(COPIED));
            let copied = copy_file_range(from, Some(&mut offset), &self.file, Some(&mut at), most as usize);
            let copied = match copied {
                Err(e) if UNABLE.contains(&e) => self.send(from, &mut offset, &mut at, most as usize),
                other => other,
            };
            match copied {
                Ok(0) => break,
                Ok(n) => self.pace.add(n as u64),
                Err(Errno::INTR) => {}
                Err(e) if UNABLE.contains(&e) => break,
                Err(e) => return Err(self.failed(&e.into())),
            }
        }
        let n = at - begin;
        if n > 0 {
            self.end_piece(ALIGNED, begin, n)?;
        }
        Ok(n)
    }

    /// The same from another file system: from page to page, without a buffer of ours between them.
    fn send(&self, from: &File, offset: &mut u64, at: &mut u64, most: usize) -> rustix::io::Result<usize> {
        seek(&self.file, SeekFrom::Start(*at))?;
        let n = sendfile(&self.file, from, Some(offset), most)?;
        *at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            self.write(self.at + 8, &waiting)?;
            self.end_piece(0, self.at + 8, waiting.len() as u64)?;
        }
        Ok(())
    }

    /// Tells of the piece that is there by now.
    fn end_piece(&mut self, flag: u64, begin: u64, length: u64) -> Result<()> {
        self.write(self.at, &(flag | length).to_le_bytes())?;
        self.at = begin + length;
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, at).map_err(|e| self.failed(&e))
    }

    fn failed(&mut self, cause: &io::Error) -> Error {
        // a copy is larger than its archive, and so may be what one file or one user can have
        self.full |= matches!(
            cause.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        Error::io("copy a volume to", self.dir.display(), cause)
    }

    /// Ends it: now it can be read.
    pub(crate) fn end(&mut self) -> Result<Spooled> {
        self.flush()?;
        let file = self.file.try_clone().map_err(|e| self.failed(&e))?;
        Ok(Spooled { file, at: 0, left: 0, end: self.at, gone: 0 })
    }
}

impl Read for Spooled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            if self.at == self.end {
                return Ok(0);
            }
            let mut length = [0; 8];
            self.file.read_exact_at(&mut length, self.at)?;
            let length = u64::from_le_bytes(length);
            let begin = self.at + 8;
            self.at = if length & ALIGNED > 0 { begin.next_multiple_of(BLOCK) } else { begin };
            self.left = length & !ALIGNED;
        }
        if self.at - self.gone > GIVEN_UP {
            let until = self.at - self.at % BLOCK;
            // where it cannot be, room was found for that
            let _ = give_up(&self.file, self.gone, until);
            self.gone = until;
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buffer[..most], self.at)?;
        if n == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_went_in_comes_out() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..40_000_000_u32).map(|n| (n >> 7) as u8).collect();
        let mut file = tempfile::tempfile_in(dir.path()).unwrap();
        file.write_all(&bytes).unwrap();
        let mut spool = Spool::create(dir.path(), None).unwrap();
        let mut want = Vec::new();
        for n in [1, 700, 70_000, 300_000, 3] {
            spool.add_all(&bytes[..n]).unwrap();
            want.extend_from_slice(&bytes[..n]);
            let (offset, length) = (n as u64, 29_000_000);
            assert_eq!(spool.copy(&file, offset, length).unwrap(), length);
            want.extend_from_slice(&bytes[n..n + length as usize]);
        }
        assert_eq!(spool.copy(&file, bytes.len() as u64, 1).unwrap(), 0, "there is no more");
        assert_eq!(spool.copy(&file, bytes.len() as u64 - 9, 50).unwrap(), 9);
        want.extend_from_slice(&bytes[bytes.len() - 9..]);
        let mut spooled = spool.end().unwrap();
        let mut got = Vec::new();
        spooled.read_to_end(&mut got).unwrap();
        assert!(got == want);
        assert!(spooled.gone > 100_000_000 && kit::place::names(dir.path()).unwrap().is_empty());
    }
}
