//! SQL on its way out, in pieces, and large objects as SQL.

use crate::child::interrupted;
use crate::exit::Result;

/// The largest piece that is handed on, bytes.
const PIECE: usize = 1 << 20;
/// Bytes of a large object in one statement (LOBBUFSIZE).
const OBJECT_PIECE: usize = 16384;
/// INV_WRITE of `libpq-fs.h`.
const WRITE: u32 = 0x20000;
const HEX: &[u8; 16] = b"0123456789abcdef";

pub(super) struct Script<'s> {
    sink: &'s mut dyn FnMut(&[u8]) -> Result<()>,
    waiting: Vec<u8>,
    /// What was not yet written of the large object that is open.
    object: Vec<u8>,
    /// Whether a backslash in a string is itself.
    pub(super) standard_strings: bool,
}

impl<'s> Script<'s> {
    pub(super) fn new(sink: &'s mut dyn FnMut(&[u8]) -> Result<()>) -> Self {
        Script { sink, waiting: Vec::with_capacity(PIECE), object: Vec::new(), standard_strings: false }
    }

    /// Writes texts one behind the other.
    pub(super) fn text(&mut self, texts: &[&[u8]]) -> Result<()> {
        texts.iter().try_for_each(|text| self.bytes(text))
    }

    pub(super) fn bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.waiting.len() == PIECE {
                self.flush()?;
            }
            let n = bytes.len().min(PIECE - self.waiting.len());
            self.waiting.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        interrupted()?;
        if !self.waiting.is_empty() {
            (self.sink)(&self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// `StartRestoreLO`. Before 1.12 no entry of its own made the object.
    pub(super) fn object(&mut self, oid: u32, create: bool) -> Result<()> {
        let text = if create {
            format!("SELECT pg_catalog.lo_open(pg_catalog.lo_create('{oid}'), {WRITE});\n")
        } else {
            format!("SELECT pg_catalog.lo_open('{oid}', {WRITE});\n")
        };
        self.bytes(text.as_bytes())
    }

    pub(super) fn object_bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.object.len() == OBJECT_PIECE {
                self.object_piece()?;
            }
            let n = bytes.len().min(OBJECT_PIECE - self.object.len());
            self.object.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// `dump_lo_buf`, with the literal of `appendByteaLiteral`.
    fn object_piece(&mut self) -> Result<()> {
        let digits = |byte: &u8| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        let hex: Vec<u8> = self.object.iter().flat_map(digits).collect();
        self.object.clear();
        let escape: &[u8] = if self.standard_strings { b"" } else { b"\\" };
        self.text(&[b"SELECT pg_catalog.lowrite(0, '", escape, b"\\x", &hex, b"');\n"])
    }

    pub(super) fn object_end(&mut self) -> Result<()> {
        if !self.object.is_empty() {
            self.object_piece()?;
        }
        self.bytes(b"SELECT pg_catalog.lo_close(0);\n\n")
    }
}
