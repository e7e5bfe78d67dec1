//! One pass from a producer to a proven file: look at the raw bytes, compress on all cores, write,
//! read back.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::mpsc::sync_channel;

use libdeflater::{CompressionLvl, Compressor};

use super::ordered::{ordered, workers};
use super::prove::{Receipt, prove};
use super::{Codec, Frame, Kind};
use crate::buffer::Buffer;
use crate::child::interrupted;
use crate::exit::{Error, Result};

/// Raw bytes of a piece, unless a table ends sooner. Smaller pieces cost size, larger ones seeks.
const PIECE: usize = 1 << 20;
/// A break for a table's sake leaves at least this much before it: pieces of a few kilobytes would
/// cost more in size than the seek they save.
const LEAST: u64 = 64 << 10;
/// How much is looked at at a time: what fits the cache.
const LOOK: usize = 256 << 10;

/// libdeflate's lowest level that writes no more than `gzip -6` and `pigz` do; it takes less than
/// half of their time.
const GZIP_LEVEL: i32 = 5;
/// Twice as fast as level 3, and no larger on COPY text.
const ZSTD_LEVEL: i32 = 1;

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Where each piece begins; empty when nothing is compressed.
    pub frames: Vec<Frame>,
}

/// Streams `source` to `file`, and proves it. `look` sees all raw bytes in order and names the raw
/// offsets where a new piece should begin; `name` is the file's, for messages.
///
/// # Errors
/// A failed read, write, compression or proof, or a signal. What was written until then is no file.
pub fn write(
    codec: Codec,
    source: impl Read,
    look: impl FnMut(&[u8], &mut Vec<u64>),
    mut file: &File,
    name: &str,
) -> Result<Written> {
    let mut pieces = Pieces {
        source,
        look,
        buffer: Buffer::default(),
        start: 0,
        read: 0,
        breaks: VecDeque::new(),
        last: 0,
    };
    let mut written = Written { bytes: 0, raw_bytes: 0, sha256: String::new(), frames: Vec::new() };
    let (proven, done) = std::thread::scope(|scope| {
        let (receipts, to_prove) = sync_channel(64);
        let prover = scope.spawn(move || prove(file, name, codec.kind, &to_prove));
        let sink = |(raw_bytes, packed): (usize, Buffer)| {
            let receipt = Receipt::of(&packed, written.bytes, raw_bytes);
            file.write_all(&packed).map_err(|e| Error::io("write", name, &e))?;
            if codec.kind != Kind::None {
                written.frames.push(Frame(written.bytes, written.raw_bytes));
            }
            written.bytes += packed.len() as u64;
            written.raw_bytes += raw_bytes as u64;
            receipts.send(receipt).map_err(|_| Error::no("the proof has ended"))
        };
        let done = ordered(memory_bound(codec), || pieces.next(), || packer(codec), sink);
        // the end of the receipts is the end of the proof
        drop(receipts);
        (prover.join().unwrap_or_else(|_| Err(Error::no("the proof panicked"))), done)
    });
    // what the proof complains of is why writing ended, except where nothing came to prove
    written.sha256 = match (proven, done) {
        (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
        (Ok(sha256), Ok(())) => sha256,
    };
    Ok(written)
}

/// As many workers as memory allows: beyond level 6 zstd takes some 10 MiB for each.
fn memory_bound(codec: Codec) -> usize {
    match (codec.kind, codec.level) {
        (Kind::Zstd, Some(13..)) => workers().min(2),
        (Kind::Zstd, Some(7..)) => workers().min(3),
        _ => workers(),
    }
}

/// The bytes of a piece before compression, and what became of them.
pub type Packed = Result<(usize, Buffer)>;

/// Compresses pieces, each to one that can be inflated by itself.
pub fn packer(codec: Codec) -> Box<dyn FnMut(Buffer) -> Packed + Send> {
    let failed = |what: &str| Error::no(format!("cannot compress: {what}"));
    match codec.kind {
        Kind::None => Box::new(|raw| Ok((raw.len(), raw))),
        Kind::Gzip => {
            // the level was checked when it was parsed
            let level = CompressionLvl::new(codec.level.unwrap_or(GZIP_LEVEL)).unwrap_or_default();
            let mut compressor = Compressor::new(level);
            Box::new(move |raw| {
                let mut packed = Buffer::zeros(compressor.gzip_compress_bound(raw.len()));
                let n = compressor.gzip_compress(&raw, &mut packed).map_err(|e| failed(&e.to_string()))?;
                packed.truncate(n);
                Ok((raw.len(), packed))
            })
        }
        Kind::Zstd => {
            let mut made: Option<zstd::bulk::Compressor<'static>> = None;
            Box::new(move |raw| {
                let compressor = match &mut made {
                    Some(compressor) => compressor,
                    None => {
                        let mut fresh = zstd::bulk::Compressor::new(codec.level.unwrap_or(ZSTD_LEVEL))
                            .map_err(|e| failed(&e.to_string()))?;
                        // the checksum makes each frame provable by itself
                        fresh.include_checksum(true).map_err(|e| failed(&e.to_string()))?;
                        made.insert(fresh)
                    }
                };
                let mut packed = Buffer::zeros(zstd::zstd_safe::compress_bound(raw.len()));
                let n =
                    compressor.compress_to_buffer(&raw, &mut *packed).map_err(|e| failed(&e.to_string()))?;
                packed.truncate(n);
                Ok((raw.len(), packed))
            })
        }
    }
}

/// Cuts the producer's stream into pieces.
struct Pieces<R, L> {
    source: R,
    look: L,
    buffer: Buffer,
    /// Where the next piece begins in `buffer`.
    start: usize,
    /// Raw bytes read so far: the offset of `buffer`'s end.
    read: u64,
    /// Raw offsets of wanted breaks beyond `start`, far enough apart.
    breaks: VecDeque<u64>,
    /// The latest break, of either kind.
    last: u64,
}

impl<R: Read, L: FnMut(&[u8], &mut Vec<u64>)> Pieces<R, L> {
    fn next(&mut self) -> Result<Option<Buffer>> {
        loop {
            let waiting = self.buffer.len() - self.start;
            if let Some(end) = self.breaks.pop_front() {
                return Ok(Some(self.take(waiting - (self.read - end) as usize)));
            }
            if waiting >= PIECE {
                self.last = self.read - (waiting - PIECE) as u64;
                return Ok(Some(self.take(PIECE)));
            }
            if !self.fill()? {
                return Ok((waiting > 0).then(|| self.take(waiting)));
            }
        }
    }

    /// The next `n` bytes as a piece of their own.
    fn take(&mut self, n: usize) -> Buffer {
        if self.start == 0 && n == self.buffer.len() {
            return std::mem::take(&mut self.buffer);
        }
        let piece = Buffer::of(&self.buffer[self.start..self.start + n]);
        self.start += n;
        if self.start == self.buffer.len() {
            self.buffer.truncate(0);
            self.start = 0;
        }
        piece
    }

    fn fill(&mut self) -> Result<bool> {
        if self.start > 0 {
            self.buffer.drop_first(self.start);
            self.start = 0;
        }
        self.buffer.reserve(PIECE + LOOK);
        let old = self.buffer.len();
        let n = self
            .buffer
            .add(&mut self.source, LOOK)
            .map_err(|e| interrupted().err().unwrap_or_else(|| unreadable(e)))?;
        self.read += n as u64;
        let mut wanted = Vec::new();
        (self.look)(&self.buffer[old..], &mut wanted);
        for at in wanted {
            // a break can only be made in what is still here, and not at once after another
            if at <= self.read && at >= self.last + LEAST {
                self.breaks.push_back(at);
                self.last = at;
            }
        }
        Ok(n > 0)
    }
}

/// A source that knows its own errors hands them through `io::Error`.
fn unreadable(e: std::io::Error) -> Error {
    e.downcast::<Error>().unwrap_or_else(|e| Error::io("read", "the dump", &e))
}
