//! Where a file has holes.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// Files with more parts are read as if they had no holes: their list would have to be held.
const MOST: usize = 100_000;

/// Offset and length of what there is of a file with holes, the last of them at its end; `None`: it
/// has none, or the file system cannot tell.
pub(crate) fn parts(file: &File, meta: &Metadata) -> io::Result<Option<Vec<(u64, u64)>>> {
    let size = meta.len();
    // in units of 512 bytes, whatever the file system's blocks
    if meta.blocks().saturating_mul(512) >= size {
        return Ok(None);
    }
    let mut parts = Vec::new();
    let mut at = 0;
    while at < size {
        let begin = match seek(file, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            // nothing but a hole to the end
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let end = seek(file, SeekFrom::Hole(begin))?.min(size);
        if parts.len() == MOST || end <= begin {
            return Ok(None);
        }
        parts.push((begin, end - begin));
        at = end;
    }
    if parts == [(0, size)] {
        return Ok(None);
    }
    // GNU tar ends the list so where the file ends with a hole
    if parts.last().is_none_or(|(offset, length)| offset + length < size) {
        parts.push((size, 0));
    }
    Ok(Some(parts))
}
