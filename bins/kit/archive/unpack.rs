//! Inflating one table's or one large object's data, from first byte to last.

use std::io::{self, BufRead, Read};

use crate::exit::Error;

/// The largest window of zstd that we hold, as a power of two: 32 MiB, as levels up to 20 use it.
const LARGEST_WINDOW: u32 = 25;
/// Bytes handed on at a time.
const CHUNK: usize = 128 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    /// RFC 1950, as in the custom format.
    Zlib,
    /// RFC 1952, as in a folder's `.gz`.
    Gzip,
    Lz4,
    Zstd,
}

/// Why data did not come to their end.
pub(super) enum Fault {
    /// They are damaged, or could not be read.
    Data(io::Error),
    /// Whoever took them refused.
    Taker(Error),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Fault::Data(e)
    }
}

impl Fault {
    /// The error, given what the archive is called and how damage is told.
    pub(super) fn told(self, name: &str, damaged: impl FnOnce(String) -> Error) -> Error {
        let e = match self {
            Fault::Taker(error) => return error,
            Fault::Data(e) => e,
        };
        if let Some(ours) = e.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return ours.clone();
        }
        match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged("its data are cut short".into()),
            _ if e.to_string().contains("too much memory") => {
                Error::refused(format!("'{name}' takes more than 32 MiB of memory to inflate"))
                    .hint("Data compressed with zstd:long, or a level above 20, are for pg_restore.")
            }
            _ => damaged(e.to_string()),
        }
    }
}

type Give<'g> = dyn FnMut(&[u8]) -> crate::exit::Result<()> + 'g;

/// Gives all that `input` inflates to. The stream within must end where `input` does.
pub(super) fn unpack(packing: Packing, input: &mut dyn BufRead, give: &mut Give<'_>) -> Result<(), Fault> {
    if packing == Packing::None {
        return plain(input, give);
    }
    if input.fill_buf()?.is_empty() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    match packing {
        Packing::None => {}
        Packing::Zlib => pump(flate2::bufread::ZlibDecoder::new(&mut *input), give)?,
        Packing::Gzip => pump(flate2::bufread::MultiGzDecoder::new(&mut *input), give)?,
        Packing::Lz4 => pump(lz4_flex::frame::FrameDecoder::new(Endless(&mut *input)), give)?,
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut *input)?.single_frame();
            decoder.window_log_max(LARGEST_WINDOW)?;
            pump(decoder, give)?;
        }
    }
    if !input.fill_buf()?.is_empty() {
        return Err(io::Error::other("other bytes follow the compressed data").into());
    }
    Ok(())
}

fn plain(input: &mut dyn BufRead, give: &mut Give<'_>) -> Result<(), Fault> {
    loop {
        let bytes = input.fill_buf()?;
        let n = bytes.len();
        if n == 0 {
            return Ok(());
        }
        give(bytes).map_err(Fault::Taker)?;
        input.consume(n);
    }
}

fn pump(mut decoder: impl Read, give: &mut Give<'_>) -> Result<(), Fault> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = decoder.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        give(&buffer[..n]).map_err(Fault::Taker)?;
    }
}

/// A reader whose end is an error: the decoder of LZ4 takes an end between two blocks for the
/// frame's, and reads nothing after the frame's real end.
struct Endless<R>(R);

impl<R: Read> Read for Endless<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(io::Error::other("its data are cut short")),
            n => Ok(n),
        }
    }
}
