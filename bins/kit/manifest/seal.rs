//! The seal of a manifest: a digest of itself, so that a change in it is seen.
//!
//! What stands in a backup is held against its manifest; what only the manifest knows (whose it is,
//! when it was made, what was left out) could change unseen. The seal is the last line: SHA-256 of all
//! bytes before it. It tells of damage and careless editing, not of malice.

use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::os::unix::fs::FileExt;

use super::keys::Place;
use crate::digest::Sha;

/// What stands before and behind the digest at a manifest's end.
const BEFORE: &[u8] = b",\n  \"seal\": \"";
const BEHIND: &[u8] = b"\"\n}\n";
/// Bytes of the last line, and what comes before and behind it.
pub(super) const LENGTH: u64 = (BEFORE.len() + 64 + BEHIND.len()) as u64;

/// What a manifest's seal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Nothing was changed.
    Holds,
    /// Something was changed after it was written.
    Broken,
    /// There is none, as in what other programs wrote.
    None,
}

/// Looks at the seal of a manifest.
///
/// # Errors
/// When it cannot be read.
pub fn seal(manifest: &File) -> io::Result<Seal> {
    let length = manifest.metadata()?.len();
    let sealed = length.saturating_sub(LENGTH);
    let mut end = vec![0; (length - sealed) as usize];
    manifest.read_exact_at(&mut end, sealed)?;
    let digest = end.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(BEHIND));
    let Some(digest) = digest else {
        // one that stands elsewhere was moved by whoever wrote the rest anew
        let mut text = BufReader::new(manifest);
        text.rewind()?;
        let moved = Place::find(text, "seal")?.is_some_and(|place| place.is_there);
        return Ok(if moved { Seal::Broken } else { Seal::None });
    };
    let (mut sha, mut at, mut buffer) = (Sha::default(), 0, vec![0; 64 << 10]);
    while at < sealed {
        let n = buffer.len().min((sealed - at) as usize);
        manifest.read_exact_at(&mut buffer[..n], at)?;
        sha.update(&buffer[..n]);
        at += n as u64;
    }
    Ok(if sha.hex().as_bytes() == digest { Seal::Holds } else { Seal::Broken })
}

/// Writes a manifest, whose last line will be its seal.
pub(crate) struct Sealing<W> {
    inner: W,
    sha: Sha,
}

impl<W: Write> Sealing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Sealing { inner, sha: Sha::default() }
    }

    /// Ends the manifest's object with the seal.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.inner.write_all(BEFORE)?;
        self.inner.write_all(self.sha.hex().as_bytes())?;
        self.inner.write_all(BEHIND)?;
        self.inner.flush()
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
