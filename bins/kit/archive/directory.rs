//! The directory format: `toc.dat` and a file for each entry's data (`pg_backup_directory.c`).
//!
//! What names itself in there is a file of that folder, nothing else: no path, no pipe.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::entry::{Entry, Place};
use super::header::Header;
use super::source::failed;
use super::unpack::{Packing, unpack};
use super::{Give, Piece};
use crate::child::interrupted;
use crate::exit::{Error, Result};

const BUFFER: usize = 256 << 10;
/// The longest line in a list of large objects (MAXPGPATH).
const LINE: u64 = 1024;

pub(super) struct Folder {
    path: PathBuf,
    name: String,
}

/// The file that is called `name`, as it is or compressed, as `InitDiscoverCompressFileHandle` looks.
pub(super) fn find(folder: &Path, name: &str) -> Option<(PathBuf, Packing)> {
    let endings =
        [("", Packing::None), (".gz", Packing::Gzip), (".lz4", Packing::Lz4), (".zst", Packing::Zstd)];
    let mut all =
        endings.into_iter().map(|(ending, packing)| (folder.join(format!("{name}{ending}")), packing));
    all.find(|(path, _)| std::fs::metadata(path).is_ok_and(|m| m.is_file()))
}

impl Folder {
    pub(super) fn new(path: &Path, name: &str) -> Self {
        Folder { path: path.to_owned(), name: name.to_owned() }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::no(format!("'{}' is damaged: {why}", self.name))
    }

    fn opened(&self, name: &str) -> Result<(BufReader<File>, Packing)> {
        let Some((path, packing)) = find(&self.path, name) else {
            return Err(self.damaged(&format!("'{name}' is missing")));
        };
        let file = File::open(&path).map_err(|e| failed(&path.display().to_string(), &e))?;
        Ok((BufReader::with_capacity(BUFFER, file), packing))
    }

    /// The contents of a file, inflated.
    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Read>> {
        let (reader, packing) = self.opened(name)?;
        Ok(match packing {
            Packing::None | Packing::Zlib => Box::new(reader),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            Packing::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(reader)),
            Packing::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(reader);
                Box::new(decoder.map_err(|e| failed(&self.name, &e))?)
            }
        })
    }

    pub(super) fn of(&self, header: &Header, entry: &Entry, give: &mut Give<'_>) -> Result<()> {
        let Place::File(name) = &entry.offset else {
            return Err(self.damaged(&format!("entry {} names no file", entry.dump_id)));
        };
        if entry.desc != b"BLOBS" {
            return self.bytes(&self.plain_name(name)?, give);
        }
        // the names that older ones wrote into their table of contents were wrong
        let list = if header.since(16) { self.plain_name(name)? } else { "blobs.toc".into() };
        let mut lines = BufReader::new(self.open(&list)?);
        let mut line = Vec::new();
        loop {
            interrupted()?;
            line.clear();
            let read = lines.by_ref().take(LINE).read_until(b'\n', &mut line);
            if read.map_err(|e| failed(&self.name, &e))? == 0 {
                return Ok(());
            }
            let (oid, file) = object(&line)
                .ok_or_else(|| self.damaged(&format!("'{list}' holds a line that is no large object's")))?;
            give(Piece::Object(oid))?;
            self.bytes(&self.plain_name(file)?, give)?;
            give(Piece::ObjectEnd)?;
        }
    }

    fn bytes(&self, name: &str, give: &mut Give<'_>) -> Result<()> {
        let (mut reader, packing) = self.opened(name)?;
        let outcome = unpack(packing, &mut reader, &mut |bytes| {
            interrupted()?;
            give(Piece::Bytes(bytes))
        });
        outcome.map_err(|fault| fault.told(&self.name, |why| self.damaged(&format!("'{name}': {why}"))))
    }

    /// A name that leads nowhere else: pg_dump writes letters, digits, `_` and `.` only.
    fn plain_name(&self, name: &[u8]) -> Result<String> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        match std::str::from_utf8(name) {
            Ok(text) if name.iter().all(plain) && !name.starts_with(b".") => Ok(text.to_owned()),
            _ => {
                Err(self.damaged(&format!("'{}' is no name of a file in it", String::from_utf8_lossy(name))))
            }
        }
    }
}

/// `OID NAME`, with its newline: a list may be cut short too.
fn object(line: &[u8]) -> Option<(u32, &[u8])> {
    let line = line.strip_suffix(b"\n")?;
    let space = line.iter().position(|byte| *byte == b' ')?;
    let oid = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((oid, &line[space + 1..]))
}
