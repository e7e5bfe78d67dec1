//! Going through a foreign file once and noting where each of its members or frames begins.

use std::io::{self, BufRead, Read};

use super::{Frame, Kind};
use crate::buffer::Buffered;
use crate::child::interrupted;
use crate::digest::Sha;
use crate::exit::{Error, Result};
use crate::medium::Medium;

const CHUNK: usize = 256 << 10;

/// What was found on the way.
#[derive(Clone, Debug)]
pub struct Walked {
    /// How the file is compressed, by its content.
    pub kind: Kind,
    /// Where each member or frame begins; empty where nothing is compressed.
    pub frames: Vec<Frame>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes it inflates to.
    pub raw_bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// Hands every raw byte of `file` to `sink`, in order, on this thread.
///
/// # Errors
/// When the file is damaged or cut short; what `sink` answers; a signal.
pub fn walk(file: &dyn Medium, name: &str, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<Walked> {
    let fail = |e: io::Error| Error::io("read", name, &e);
    let mut input = Counted { inner: Buffered::new(CHUNK, file.all()), sha: Sha::default(), bytes: 0 };
    let kind = Kind::detect(input.fill_buf().map_err(fail)?);
    let (mut frames, mut raw_bytes) = (Vec::new(), 0);
    loop {
        if kind != Kind::None {
            if input.fill_buf().map_err(fail)?.is_empty() {
                break;
            }
            frames.push(Frame(input.bytes, raw_bytes));
        }
        let damaged = |e: io::Error, at: u64| match (kind, e.kind()) {
            (Kind::None, _) => fail(e),
            _ if Error::within_io(&e).is_some() => fail(e),
            (_, io::ErrorKind::UnexpectedEof) => {
                Error::no(format!("'{name}' is cut short: the {kind} data at byte {at} has no end"))
            }
            _ => Error::no(format!("cannot read '{name}': the {kind} data is damaged at byte {at}")),
        };
        let at = input.bytes;
        let n = match kind {
            Kind::None => pour(&mut input, &mut sink, |e| damaged(e, at))?,
            Kind::Gzip => pour(flate2::bufread::GzDecoder::new(&mut input), &mut sink, |e| damaged(e, at))?,
            Kind::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&mut input).map_err(fail)?;
                pour(decoder.single_frame(), &mut sink, |e| damaged(e, at))?
            }
        };
        raw_bytes += n;
        if kind == Kind::None {
            break;
        }
    }
    Ok(Walked { kind, frames, bytes: input.bytes, raw_bytes, sha256: input.sha.hex() })
}

/// Pours `from` into `sink` to its end; how many bytes that were.
fn pour(
    mut from: impl Read,
    sink: &mut impl FnMut(&[u8]) -> Result<()>,
    error: impl Fn(io::Error) -> Error,
) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut all = 0;
    loop {
        interrupted()?;
        let n = from.read(&mut buffer).map_err(&error)?;
        if n == 0 {
            return Ok(all);
        }
        all += n as u64;
        sink(&buffer[..n])?;
    }
}

/// A reader that counts and digests what is taken from it.
struct Counted<R> {
    inner: R,
    sha: Sha,
    bytes: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buffer.len());
        buffer[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        // what is consumed stands in the buffer still
        if let Ok(buffer) = self.inner.fill_buf() {
            self.sha.update(&buffer[..n.min(buffer.len())]);
        }
        self.inner.consume(n);
        self.bytes += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn members_and_frames_are_found() {
        let gzip = |text: &[u8]| {
            let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            e.write_all(text).unwrap();
            e.finish().unwrap()
        };
        let zstd = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        for pack in [&gzip as &dyn Fn(&[u8]) -> Vec<u8>, &zstd] {
            let (a, b) = (pack(b"first"), pack(b"second!"));
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[a.as_slice(), &b].concat()).unwrap();
            let mut raw = Vec::new();
            let walked = walk(&file, "x", |bytes| {
                raw.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
            assert_eq!(raw, b"firstsecond!");
            assert_eq!(walked.frames, [Frame(0, 0), Frame(a.len() as u64, 5)]);
            assert_eq!((walked.bytes, walked.raw_bytes), ((a.len() + b.len()) as u64, 12));
            file.set_len((a.len() + b.len() - 1) as u64).unwrap();
            assert!(walk(&file, "x", |_| Ok(())).is_err());
        }
    }
}
