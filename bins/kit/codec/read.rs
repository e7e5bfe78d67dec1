//! Reading a file of any codec from its first byte to its last: raw bytes in order, digest on the way.
//!
//! With an index, pieces are inflated on all cores; a foreign file is one stream. Either way each
//! piece's own checksum (CRC-32 of gzip, XXH64 of zstd) is verified, and the SHA-256 of the whole
//! file comes back for the caller to compare.

use std::cell::Cell;
use std::io::{self, Read};

use super::ordered::{ordered, workers};
use super::{Frame, Kind};
use crate::buffer::{Buffer, Buffered};
use crate::child::interrupted;
use crate::digest::{self, Sha};
use crate::exit::{Error, Result};
use crate::medium::{At, Medium};

/// How much is handed on at a time where the file has no pieces of its own.
pub(crate) const CHUNK: usize = 1 << 20;
/// An index that claims larger pieces is not ours, and not believed: a piece is held in memory.
const LARGEST: u64 = 8 << 20;

/// What a manifest says of a file's pieces.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a> {
    /// Where each piece begins.
    pub frames: &'a [Frame],
    /// What the whole inflates to, bytes.
    pub raw_bytes: u64,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How the file is compressed, by its content.
    pub kind: Kind,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes it inflates to.
    pub raw_bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Of each piece of the file its [`digest::quick`]: those of the index, or each MiB of a file that is not
    /// compressed; empty where neither is so.
    pub pieces: Vec<u64>,
}

/// Reads `file` from its beginning and hands every raw byte to `sink`, in order.
///
/// # Errors
/// [`crate::exit::Code::No`] when the file is damaged or cut short; what `sink` answers; a signal.
pub fn read(
    file: &dyn Medium,
    name: &str,
    index: Option<Index<'_>>,
    sink: impl FnMut(&[u8]) -> Result<()> + Send,
) -> Result<Seen> {
    let fail = |e: io::Error| Error::io("read", name, &e);
    let bytes = file.bytes().map_err(fail)?;
    let kind = detect(file).map_err(fail)?;
    let index = index.filter(|i| kind != Kind::None && i.fits(bytes));
    match index {
        Some(index) => pieces(file, name, kind, index, sink),
        None => stream(file, name, kind, sink),
    }
}

impl Index<'_> {
    /// Whether the pieces cover a file of `bytes`, in order, none of them too large to hold.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        let ends = self.frames.iter().skip(1).copied().chain([Frame(bytes, self.raw_bytes)]);
        self.frames.first() == Some(&Frame(0, 0))
            && self.frames.iter().zip(ends).all(|(a, b)| {
                a.0 < b.0 && a.1 <= b.1 && b.1 - a.1 <= LARGEST && b.0 - a.0 <= LARGEST + LARGEST / 8
            })
    }
}

/// A piece to inflate: where it begins in the file, its bytes, and how many it must give.
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) packed: Buffer,
    pub(super) raw_bytes: usize,
}

/// Reads `file` from its beginning to its end as it is: nothing is inflated.
///
/// # Errors
/// When it cannot be read; a signal.
pub fn sums(file: &dyn Medium, name: &str, kind: Kind, index: Index<'_>) -> Result<Seen> {
    let (mut packed, mut sha) = (Packed::of(file, name, index)?, Sha::default());
    // the digest takes longest, so that nothing else is to wait for it
    let digest = |piece: Piece| {
        sha.update(&piece.packed);
        Ok(())
    };
    ordered(1, || packed.next(), || Ok, digest)?;
    Ok(packed.seen(kind, sha))
}

fn pieces(
    file: &dyn Medium,
    name: &str,
    kind: Kind,
    index: Index<'_>,
    mut sink: impl FnMut(&[u8]) -> Result<()> + Send,
) -> Result<Seen> {
    let (mut packed, mut sha) = (Packed::of(file, name, index)?, Sha::default());
    let next = || packed.next().inspect(|piece| piece.iter().for_each(|p| sha.update(&p.packed)));
    ordered(workers(), next, || inflater(kind, name), |raw: Buffer| sink(&raw))?;
    Ok(packed.seen(kind, sha))
}

/// The pieces of a file, one after the other, each with a sum of its own.
struct Packed<'a> {
    file: Box<dyn Read + 'a>,
    name: &'a str,
    index: Index<'a>,
    bytes: u64,
    sums: Vec<u64>,
}

impl<'a> Packed<'a> {
    fn of(file: &'a dyn Medium, name: &'a str, index: Index<'a>) -> Result<Self> {
        let bytes = file.bytes().map_err(|e| Error::io("read", name, &e))?;
        Ok(Packed { file: file.all(), name, index, bytes, sums: Vec::new() })
    }

    fn next(&mut self) -> Result<Option<Piece>> {
        interrupted()?;
        let frame = |i: usize| self.index.frames.get(i).copied();
        let Some(begin) = frame(self.sums.len()) else { return Ok(None) };
        let end = frame(self.sums.len() + 1).unwrap_or(Frame(self.bytes, self.index.raw_bytes));
        let mut packed = Buffer::default();
        let read = packed.add(&mut self.file, (end.0 - begin.0) as usize);
        read.map_err(|e| Error::io("read", self.name, &e))?;
        self.sums.push(digest::quick(&packed));
        Ok(Some(Piece { offset: begin.0, packed, raw_bytes: (end.1 - begin.1) as usize }))
    }

    /// `sha`: what has been fed all of them.
    fn seen(self, kind: Kind, sha: Sha) -> Seen {
        let (bytes, raw_bytes) = (self.bytes, self.index.raw_bytes);
        Seen { kind, bytes, raw_bytes, sha256: sha.hex(), pieces: self.sums }
    }
}

/// Inflates pieces, each to exactly the bytes it must give.
pub(super) fn inflater(kind: Kind, name: &str) -> impl FnMut(Piece) -> Result<Buffer> + Send + use<> {
    let name = name.to_owned();
    let mut gzip = libdeflater::Decompressor::new();
    let mut zstd: Option<zstd::bulk::Decompressor<'static>> = None;
    move |piece| {
        if kind == Kind::None {
            return Ok(piece.packed);
        }
        let mut raw = Buffer::zeros(piece.raw_bytes);
        let broken = || {
            Error::no(format!("cannot read '{name}': the {kind} data is damaged at byte {}", piece.offset))
        };
        let n = match kind {
            Kind::Gzip => match gzip.gzip_decompress(&piece.packed, &mut raw) {
                Err(libdeflater::DecompressionError::InsufficientSpace) => {
                    return Err(damaged(&name, piece.offset, "it is longer than it should be"));
                }
                other => other.map_err(|_| broken())?,
            },
            _ => {
                let made = zstd.take().map_or_else(zstd::bulk::Decompressor::new, Ok);
                made.and_then(|d| zstd.insert(d).decompress_to_buffer(&piece.packed, &mut *raw))
                    .map_err(|_| broken())?
            }
        };
        if n == piece.raw_bytes {
            Ok(raw)
        } else {
            Err(damaged(&name, piece.offset, "it is shorter than it should be"))
        }
    }
}

/// The error of a file that is not what it should be.
fn damaged(name: &str, offset: u64, cause: &str) -> Error {
    Error::no(format!("'{name}' is damaged in the piece at byte {offset}: {cause}"))
}

fn stream(
    file: &dyn Medium,
    name: &str,
    kind: Kind,
    mut sink: impl FnMut(&[u8]) -> Result<()> + Send,
) -> Result<Seen> {
    let at = Cell::new(0);
    let mut digested = Digested { inner: file.all(), sha: Sha::default(), bytes: &at };
    let (mut raw_bytes, mut sums) = (0, Vec::new());
    {
        let buffered = Buffered::new(CHUNK, &mut digested);
        let mut raw: Box<dyn Read + '_> = match kind {
            Kind::None => Box::new(buffered),
            Kind::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
            Kind::Zstd => Box::new(
                zstd::stream::read::Decoder::with_buffer(buffered)
                    .map_err(|e| Error::io("read", name, &e))?,
            ),
        };
        // what came before the damage is handed on first
        let mut failed = None;
        let next = || {
            interrupted()?;
            failed.take().map_or(Ok(()), Err)?;
            let mut chunk = Buffer::default();
            let read = chunk.add(&mut raw, CHUNK);
            failed = read.err().map(|e| unreadable(name, kind, at.get(), &e));
            if chunk.is_empty() {
                failed.take().map_or(Ok(()), Err)?;
            } else if kind == Kind::None {
                sums.push(digest::quick(&chunk));
            }
            Ok((!chunk.is_empty()).then_some(chunk))
        };
        ordered(
            1,
            next,
            || Ok,
            |chunk: Buffer| {
                raw_bytes += chunk.len() as u64;
                sink(&chunk)
            },
        )?;
    }
    Ok(Seen { kind, bytes: at.get(), raw_bytes, sha256: digested.sha.hex(), pieces: sums })
}

/// What is wrong with a stream of which so many bytes were read.
fn unreadable(name: &str, kind: Kind, at: u64, e: &io::Error) -> Error {
    match (kind, e.kind()) {
        (Kind::None, _) => Error::io("read", name, e),
        _ if Error::within_io(e).is_some() => Error::io("read", name, e),
        (_, io::ErrorKind::UnexpectedEof) => Error::no(format!(
            "'{name}' is cut short, or other bytes follow its end: the {kind} stream has no end"
        )),
        // made with zstd --long
        _ if e.to_string().contains("too much memory") => {
            Error::refused(format!("'{name}' takes more than 128 MiB of memory to inflate"))
                .hint("Inflate it first: zstd -d --long=31 FILE")
        }
        _ => {
            Error::no(format!("cannot read '{name}': the {kind} data is damaged, at byte {at} or before it"))
        }
    }
}

/// A reader that digests what passes through it.
struct Digested<'a, R> {
    inner: R,
    sha: Sha,
    bytes: &'a Cell<u64>,
}

impl<R: Read> Read for Digested<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.sha.update(&buffer[..n]);
        self.bytes.set(self.bytes.get() + n as u64);
        Ok(n)
    }
}

/// A compressed file from its beginning, inflated as it is read.
pub fn inflated<'a>(file: &'a dyn Medium, name: &str, kind: Kind) -> Result<Box<dyn Read + 'a>> {
    let fail = |e: io::Error| Error::io("read", name, &e);
    let buffered = Buffered::new(CHUNK, file.all());
    Ok(match kind {
        Kind::None => Box::new(buffered),
        Kind::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        Kind::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(buffered).map_err(fail)?),
    })
}

/// The first bytes of a file's content, inflated: enough to tell what it is.
///
/// # Errors
/// When the file cannot be read, or not even its beginning inflates.
pub fn peek(file: &dyn Medium, name: &str, n: u64) -> Result<Vec<u8>> {
    let kind = detect(file).map_err(|e| Error::io("read", name, &e))?;
    let (mut head, mut at) = (Vec::new(), At::start(file));
    let outcome = match kind {
        Kind::None => at.by_ref().take(n).read_to_end(&mut head),
        Kind::Gzip => flate2::read::MultiGzDecoder::new(&mut at).take(n).read_to_end(&mut head),
        Kind::Zstd => {
            zstd::stream::read::Decoder::new(&mut at).and_then(|d| d.take(n).read_to_end(&mut head))
        }
    };
    // a file may be cut within them
    if head.is_empty() {
        outcome.map_err(|e| unreadable(name, kind, at.at(), &e))?;
    }
    Ok(head)
}

/// How it is compressed, by its content.
pub(crate) fn detect(file: &dyn Medium) -> io::Result<Kind> {
    let mut first = Vec::with_capacity(4);
    At::start(file).take(4).read_to_end(&mut first)?;
    Ok(Kind::detect(&first))
}
