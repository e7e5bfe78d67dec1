//! The data of the custom format: blocks, each of one entry (`pg_backup_custom.c`).
//!
//! A block is its type (since 1.3), the entry's dump id, and chunks `[length][bytes]`, where length 0
//! ends; a block of large objects has an OID before each one's chunks, and OID 0 ends it.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use super::entry::{Entry, Place};
use super::header::{Compression, Header};
use super::source::Source;
use super::unpack::{Packing, unpack};
use super::{Give, Piece};
use crate::exit::{Error, Result};

const DATA: u8 = 1;
const LARGE_OBJECTS: u8 = 3;

pub(super) struct Blocks<'a> {
    source: Source<'a>,
    packing: Packing,
    /// Whether each block tells its type.
    typed: bool,
    /// Where the part of the file ends that was gone through from the beginning of the data.
    scanned: u64,
    /// Where blocks begin that were passed over.
    passed: HashMap<u32, u64>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(source: Source<'a>, header: &Header) -> Self {
        let packing = match header.compression {
            Compression::None => Packing::None,
            Compression::Gzip => Packing::Zlib,
            Compression::Lz4 => Packing::Lz4,
            Compression::Zstd => Packing::Zstd,
        };
        let scanned = source.at();
        Blocks { source, packing, typed: header.since(3), scanned, passed: HashMap::new() }
    }

    pub(super) fn of(&mut self, entry: &Entry, give: &mut Give<'_>) -> Result<()> {
        let kind = self.find(entry)?;
        let expected = if entry.desc == b"BLOBS" { LARGE_OBJECTS } else { DATA };
        if kind != expected {
            let text = format!("a block of type {kind} for entry {}", entry.dump_id);
            return Err(self.source.damaged(text));
        }
        if kind == LARGE_OBJECTS {
            while let Some(oid) = self.oid()? {
                give(Piece::Object(oid))?;
                self.chunks(give)?;
                give(Piece::ObjectEnd)?;
            }
        } else {
            self.chunks(give)?;
        }
        self.scanned = self.scanned.max(self.source.at());
        Ok(())
    }

    /// Goes behind the head of the entry's block, and gives its type.
    fn find(&mut self, entry: &Entry) -> Result<u8> {
        let id = entry.dump_id;
        let known = match entry.offset {
            Place::At(place) => Some(place),
            _ => self.passed.get(&id).copied(),
        };
        if self.source.seeks() {
            self.source.seek(known.unwrap_or(self.scanned))?;
            if known.is_some() {
                return match self.head()? {
                    Some((kind, found)) if found == id => Ok(kind),
                    _ => Err(self.source.damaged(format!("there should be the data of entry {id}"))),
                };
            }
        }
        loop {
            let place = self.source.at();
            match self.head()? {
                Some((kind, found)) if found == id => return Ok(kind),
                Some((kind, found)) => {
                    self.passed.insert(found, place);
                    self.pass(kind)?;
                }
                None if self.passed.contains_key(&id) => {
                    let text = format!("the data of entry {id} are not in order");
                    return Err(self.source.damaged(text).hint("Give it as a file, not through a pipe."));
                }
                None => return Err(self.source.damaged(format!("the data of entry {id} are missing"))),
            }
        }
    }

    /// Type and dump id of the next block; `None` at the end of the file.
    fn head(&mut self) -> Result<Option<(u8, u32)>> {
        if self.source.peek()?.is_empty() {
            return Ok(None);
        }
        let kind = if self.typed { self.source.byte()? } else { DATA };
        if !matches!(kind, DATA | LARGE_OBJECTS) {
            return Err(self.source.damaged(format!("{kind} is no type of a block")));
        }
        Ok(Some((kind, self.source.length()?)))
    }

    fn pass(&mut self, kind: u8) -> Result<()> {
        if kind == LARGE_OBJECTS {
            while self.oid()?.is_some() {
                self.pass_chunks()?;
            }
            return Ok(());
        }
        self.pass_chunks()
    }

    fn pass_chunks(&mut self) -> Result<()> {
        loop {
            match self.source.length()? {
                0 => return Ok(()),
                bytes => self.source.skip(bytes.into())?,
            }
        }
    }

    /// The next large object's OID, which was written as an `int`: those above 2^31 are negative.
    fn oid(&mut self) -> Result<Option<u32>> {
        let oid = self.source.int()? as u32;
        Ok((oid != 0).then_some(oid))
    }

    fn chunks(&mut self, give: &mut Give<'_>) -> Result<()> {
        let mut chunks = Chunks { source: &mut self.source, left: 0, ended: false };
        let outcome = unpack(self.packing, &mut chunks, &mut |bytes| give(Piece::Bytes(bytes)));
        outcome.map_err(|fault| fault.told(self.source.name(), |why| self.source.damaged(why)))
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        if self.source.seeks() {
            self.source.seek(self.scanned)?;
        }
        // what no entry asked for must at least be blocks
        while let Some((kind, _)) = self.head()? {
            self.pass(kind)?;
        }
        Ok(())
    }
}

/// The bytes of chunks, without their lengths.
struct Chunks<'s, 'a> {
    source: &'s mut Source<'a>,
    left: u64,
    ended: bool,
}

impl Chunks<'_, '_> {
    fn next(&mut self) -> Result<&[u8]> {
        if self.left == 0 && !self.ended {
            self.left = self.source.length()?.into();
            self.ended = self.left == 0;
        }
        if self.ended {
            return Ok(&[]);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if self.source.peek()?.is_empty() {
            return Err(self.source.damaged("it is cut short"));
        }
        let bytes = self.source.peek()?;
        Ok(&bytes[..bytes.len().min(left)])
    }
}

impl Read for Chunks<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Chunks<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.next().map_err(|e: Error| io::Error::other(e))
    }

    fn consume(&mut self, bytes: usize) {
        self.source.take(bytes);
        self.left -= bytes as u64;
    }
}
