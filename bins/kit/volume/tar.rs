//! Reading a tar stream as it comes, in chunks of any size: entries, their data, and nothing believed.
//!
//! Understood: ustar and GNU headers, GNU long names, GNU sparse files (old ones, and 0.1 of PAX), PAX records for paths,
//! sizes, owners, times and extended attributes (`SCHILY.xattr`). What is not understood is an error, never
//! passed over: an archive is read to be put back whole.

use records::Records;
use rustix::fs::Timespec;

use crate::exit::{Error, Result};

mod records;
#[cfg(test)]
mod tests;

/// Everything in a tar is a multiple of this, in bytes.
pub const BLOCK: usize = 512;
/// Names and attributes of one entry are held in memory, up to this.
const MOST_RECORDS: u64 = 1 << 20;
/// Parts of a sparse file: GNU tar writes no more than the file has.
const MOST_PARTS: usize = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file with data.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Another name of an entry before it.
    HardLink,
    /// A device, a pipe or something else, by its type in the header.
    Other(u8),
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path as it stands in the archive: bytes, not to be trusted.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id bits and the sticky bit.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Time of the last change, since the epoch.
    pub mtime: Timespec,
    /// Bytes of the file, holes included.
    pub size: u64,
    /// Bytes of its data in the archive.
    pub stored: u64,
    /// Where a link leads: bytes, not to be trusted.
    pub link: Vec<u8>,
    /// Extended attributes: name and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Offset and length of each part of a sparse file; `None`: all of it is there.
    pub parts: Option<Vec<(u64, u64)>>,
}

/// What is done with the entries of an archive.
pub trait Sink {
    /// An entry begins; its data follow.
    fn begin(&mut self, entry: &Entry) -> Result<()>;
    /// Some bytes of its data, which belong at `offset` of the file.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// The entry is whole.
    fn end(&mut self) -> Result<()>;
}

/// Reads an archive piece by piece.
pub struct Reader {
    state: State,
    block: Vec<u8>,
    /// What GNU long names and PAX records say of the entry to come.
    coming: Records,
    /// Raw bytes so far, for messages.
    at: u64,
}

enum State {
    Header,
    /// The value of a long name or of PAX records.
    Records {
        kind: u8,
        left: u64,
        padding: u64,
        text: Vec<u8>,
    },
    /// A further block of a sparse file's parts.
    Parts {
        entry: Box<Entry>,
    },
    Data {
        left: u64,
        padding: u64,
        parts: Parts,
    },
    Padding {
        left: u64,
    },
    /// One block of zeros was there; the next is another.
    Ending,
    End,
}

/// Where the data of the present file go: the parts of it that are still to come.
struct Parts {
    list: std::vec::IntoIter<(u64, u64)>,
    offset: u64,
    left: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Reader { state: State::Header, block: Vec::with_capacity(BLOCK), coming: Records::default(), at: 0 }
    }
}

impl Reader {
    /// Takes the next bytes of the archive.
    ///
    /// # Errors
    /// [`crate::exit::Code::No`] when it is no tar archive; what `sink` answers.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<()> {
        while !bytes.is_empty() {
            let before = bytes.len();
            self.step(&mut bytes, sink)?;
            self.at += (before - bytes.len()) as u64;
        }
        Ok(())
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// It was cut short.
    pub fn finish(self) -> Result<()> {
        match self.state {
            State::End | State::Ending if self.block.is_empty() => Ok(()),
            _ => Err(Error::no(format!("the archive is cut short at raw byte {}", self.at))),
        }
    }

    fn step(&mut self, bytes: &mut &[u8], sink: &mut impl Sink) -> Result<()> {
        match &mut self.state {
            State::Header | State::Ending | State::End | State::Parts { .. } => {
                let Some(block) = self.block(bytes) else { return Ok(()) };
                let state = self.whole_block(&block, sink)?;
                self.state = state;
            }
            State::Records { left, padding, text, kind } => {
                let n = take(bytes, left);
                text.extend_from_slice(n);
                if *left == 0 {
                    let (kind, padding, text) = (*kind, *padding, std::mem::take(text));
                    self.coming.take(kind, text).map_err(|cause| self.wrong(&cause))?;
                    self.state = State::padding(padding);
                }
            }
            State::Data { left, padding, parts } => {
                let mut data = take(bytes, left);
                while !data.is_empty() {
                    let (offset, n) = parts.next(data.len());
                    sink.data(offset, &data[..n])?;
                    data = &data[n..];
                }
                if *left == 0 {
                    let padding = *padding;
                    sink.end()?;
                    self.state = State::padding(padding);
                }
            }
            State::Padding { left } => {
                take(bytes, left);
                if *left == 0 {
                    self.state = State::Header;
                }
            }
        }
        Ok(())
    }

    /// The next block, once it is whole.
    fn block(&mut self, bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let mut missing = (BLOCK - self.block.len()) as u64;
        self.block.extend_from_slice(take(bytes, &mut missing));
        (missing == 0).then(|| std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK)))
    }

    fn whole_block(&mut self, block: &[u8], sink: &mut impl Sink) -> Result<State> {
        let zeros = block.iter().all(|b| *b == 0);
        match std::mem::replace(&mut self.state, State::Header) {
            State::Parts { mut entry } => {
                let more = more_parts(block, &mut entry).map_err(|cause| self.wrong(&cause))?;
                if more { Ok(State::Parts { entry }) } else { self.begin(*entry, sink) }
            }
            State::Header if zeros => Ok(State::Ending),
            State::Ending | State::End if zeros => Ok(State::End),
            // tar fills its last record with zeros, and nothing else belongs there
            State::Ending | State::End => Err(self.wrong("something follows its end")),
            _ => self.header(block, sink),
        }
    }

    fn header(&mut self, block: &[u8], sink: &mut impl Sink) -> Result<State> {
        let header = ::tar::Header::from_byte_slice(block);
        let wrong = |cause: &str| Error::no(format!("no tar archive at raw byte {}: {cause}", self.at));
        let field = |e: std::io::Error| wrong(&e.to_string());
        let sum = |b: &[u8]| b.iter().map(|b| u32::from(*b)).sum::<u32>();
        let expected = sum(&block[..148]) + sum(&[b' '; 8]) + sum(&block[156..]);
        if header.cksum().map_err(field)? != expected {
            return Err(wrong("a header's checksum is wrong"));
        }
        let size = header.entry_size().map_err(field)?;
        let padding = size.next_multiple_of(BLOCK as u64).checked_sub(size).ok_or_else(|| wrong("a size"))?;
        let kind = match header.as_bytes()[156] {
            kind @ (b'L' | b'K' | b'x') => {
                if size > MOST_RECORDS || size == 0 {
                    return Err(wrong("a name or an attribute is too long"));
                }
                return Ok(State::Records { kind, left: size, padding, text: Vec::new() });
            }
            b'g' => return Err(wrong("records for all entries are not understood")),
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Dir,
            other => Kind::Other(other),
        };
        let coming = std::mem::take(&mut self.coming);
        let number = |n: u64| u32::try_from(n).map_err(|_| wrong("a number of an owner is too large"));
        let path = coming.sparse.name.or(coming.path).unwrap_or_else(|| header.path_bytes().into_owned());
        // before POSIX a directory was a file whose name ends with a slash
        let kind = if kind == Kind::File && path.ends_with(b"/") { Kind::Dir } else { kind };
        let stored = if kind == Kind::File { coming.size.unwrap_or(size) } else { 0 };
        let mut entry = Entry {
            path,
            kind,
            mode: header.mode().map_err(field)? & 0o7777,
            uid: number(coming.uid.map_or_else(|| header.uid().map_err(field), Ok)?)?,
            gid: number(coming.gid.map_or_else(|| header.gid().map_err(field), Ok)?)?,
            mtime: coming.mtime.map_or_else(|| header.mtime().map_err(field).map(whole), Ok)?,
            size: coming.sparse.size.unwrap_or(stored),
            stored,
            link: coming
                .link
                .or_else(|| header.link_name_bytes().map(|l| l.into_owned()))
                .unwrap_or_default(),
            xattrs: coming.xattrs,
            parts: coming.sparse.parts,
        };
        if block[156] == b'S' {
            let gnu = header.as_gnu().ok_or_else(|| wrong("a sparse file without GNU's header"))?;
            entry.size = gnu.real_size().map_err(field)?;
            let parts = entry.parts.insert(Vec::new());
            add_parts(&gnu.sparse, parts).map_err(|cause| wrong(&cause))?;
            if gnu.is_extended() {
                return Ok(State::Parts { entry: Box::new(entry) });
            }
        }
        self.begin(entry, sink)
    }

    fn begin(&mut self, entry: Entry, sink: &mut impl Sink) -> Result<State> {
        let parts = entry.parts.clone().unwrap_or_else(|| vec![(0, entry.stored)]);
        let mut end = 0;
        for (offset, length) in &parts {
            if *offset < end {
                return Err(self.wrong("the parts of a sparse file overlap"));
            }
            end = offset.checked_add(*length).ok_or_else(|| self.wrong("a size that no file has"))?;
        }
        let stored = parts.iter().map(|p| p.1).sum::<u64>();
        if end > entry.size || stored != entry.stored || entry.stored > i64::MAX as u64 {
            return Err(self.wrong("the parts of a file do not make up its size"));
        }
        sink.begin(&entry)?;
        let padding = entry.stored.next_multiple_of(BLOCK as u64) - entry.stored;
        if entry.stored == 0 {
            sink.end()?;
            return Ok(State::padding(padding));
        }
        let parts = Parts { list: parts.into_iter(), offset: 0, left: 0 };
        Ok(State::Data { left: entry.stored, padding, parts })
    }

    fn wrong(&self, cause: &str) -> Error {
        Error::no(format!("no tar archive at raw byte {}: {cause}", self.at))
    }
}

impl State {
    fn padding(left: u64) -> State {
        if left == 0 { State::Header } else { State::Padding { left } }
    }
}

impl Parts {
    /// Where the next bytes of the data belong, and how many of at most `n` do.
    fn next(&mut self, n: usize) -> (u64, usize) {
        while self.left == 0 {
            // their sum was checked: there is one as long as there are data
            let Some((offset, length)) = self.list.next() else { return (self.offset, n) };
            (self.offset, self.left) = (offset, length);
        }
        let (offset, n) = (self.offset, (n as u64).min(self.left));
        self.offset += n;
        self.left -= n;
        (offset, n as usize)
    }
}

/// A time of a header, which has no fractions.
fn whole(seconds: u64) -> Timespec {
    Timespec { tv_sec: seconds as i64, tv_nsec: 0 }
}

fn add_parts(
    sparse: &[::tar::GnuSparseHeader],
    parts: &mut Vec<(u64, u64)>,
) -> std::result::Result<(), String> {
    for part in sparse.iter().filter(|p| !p.is_empty()) {
        let offset = part.offset().map_err(|e| e.to_string())?;
        let length = part.length().map_err(|e| e.to_string())?;
        parts.push((offset, length));
    }
    if parts.len() > MOST_PARTS { Err("a sparse file has too many parts".into()) } else { Ok(()) }
}

/// The parts in a block behind the header; whether another follows.
fn more_parts(block: &[u8], entry: &mut Entry) -> std::result::Result<bool, String> {
    let mut extended = ::tar::GnuExtSparseHeader::new();
    extended.as_mut_bytes().copy_from_slice(block);
    add_parts(extended.sparse(), entry.parts.get_or_insert_default())?;
    Ok(extended.is_extended())
}

/// Takes up to `left` bytes off the front of `bytes`.
fn take<'a>(bytes: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let (taken, rest) = bytes.split_at(n);
    *bytes = rest;
    *left -= n as u64;
    taken
}
