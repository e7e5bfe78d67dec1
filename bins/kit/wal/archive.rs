//! An archive of WAL files: what is in it, and reading a file of it to its last byte, proven.
//!
//! `<archive>/<timeline>/<name>`, segments also with `.gz` or `.zst` behind. `archive.json` makes a
//! directory an archive and tells whose: without it an empty mount point would look like an archive
//! from which everything is missing. In an object store it is the same below `s3://BUCKET/KEY`, and each
//! object holds its own digest. Writing is not done here.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::header::{Header, LONG};
use super::history::History;
use super::name::{Name, Segment, is_segment_size};
use crate::codec::{Kind, read::inflated};
use crate::exit::{Code, Error, Result};
use crate::place::PART;
use crate::store::{Place, Store};

mod home;

use home::{Home, Open};

/// What makes a directory an archive.
pub const IDENTITY: &str = "archive.json";
/// How much is read at a time. A multiple of every page's size.
const CHUNK: usize = 256 << 10;
/// The longest of the small files: histories and backups' labels.
const LONGEST_TEXT: u64 = 1 << 20;

/// Whose archive it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// 1.
    pub format_version: u32,
    /// The system identifier of the server, in decimal; `None` until its first file comes.
    pub system_identifier: Option<String>,
    /// `wal_segment_size`, bytes; `None` until the first segment comes.
    pub segment_bytes: Option<u64>,
}

/// An archive that can be read.
#[derive(Clone)]
pub struct Archive {
    dir: PathBuf,
    home: Home,
    identity: Identity,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is.
    pub name: Name,
    /// Where it stands.
    pub path: PathBuf,
}

/// Why a file could not be read.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It could not be read now: the archive is away, the disk fails.
    Away(Error),
    /// It is not what was put there.
    Damaged(Error),
    /// What takes the bytes complains.
    Taker(Error),
}

impl Fault {
    /// The error in it.
    pub fn error(self) -> Error {
        match self {
            Fault::Away(error) | Fault::Damaged(error) | Fault::Taker(error) => error,
        }
    }
}

impl Identity {
    /// Of an archive into which nothing has come yet.
    pub fn fresh() -> Self {
        Identity { format_version: 1, system_identifier: None, segment_bytes: None }
    }
}

impl Archive {
    /// Opens the archive in `dir`.
    ///
    /// # Errors
    /// [`Code::Temporary`] when it cannot be read or is none: it may not be mounted.
    /// [`Code::No`] when what makes it an archive is damaged.
    /// [`Code::Refused`] when a later version of these programs made it.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::at(dir, None)
    }

    /// Opens the archive in `dir`, and makes the folder `copies` one of what is read from it, if it is in
    /// a store: a server may then read that where it reaches no store. Each file is fetched once.
    ///
    /// # Errors
    /// Those of [`Archive::open`]; what writing meets.
    pub fn copying(dir: &Path, copies: &Path) -> Result<Self> {
        let archive = Self::at(dir, Some(copies))?;
        let path = copies.join(IDENTITY);
        let text = serde_json::to_vec(&archive.identity).map_err(|e| Error::no(e.to_string()))?;
        std::fs::write(&path, text).map_err(|e| Error::io("write", path.display(), &e))?;
        Ok(archive)
    }

    fn at(dir: &Path, copies: Option<&Path>) -> Result<Self> {
        let cannot = |cause: String| format!("cannot open the archive '{}': {cause}", dir.display());
        let home = Home::of(dir, copies)?;
        let opening = format!("cannot open the archive '{}'", dir.display());
        let away = |error: Error| {
            let closed = error.to_string().contains("permission denied");
            let error = error.within(&opening).with_code(Code::Temporary);
            match closed && !Place::is(dir) {
                true => error.hint("Whoever runs the server must own it: chown -R postgres, for example."),
                false => error,
            }
        };
        let text = home.identity().map_err(away)?;
        let Some(text) = text else {
            let is_there = if Place::is(dir) { "Is that its place?" } else { "Is its file system mounted?" };
            return Err(Error::temporary(cannot(format!("there is no '{IDENTITY}' in it")))
                .hint(format!("{is_there} A new archive is made once, by the verb init.")));
        };
        let identity: Identity = serde_json::from_slice(&text)
            .map_err(|e| Error::no(cannot(format!("'{IDENTITY}' is damaged: {e}"))))?;
        if identity.format_version != 1 {
            return Err(Error::refused(format!("the archive '{}' is of a later format", dir.display())));
        }
        if let Some(bytes) = identity.segment_bytes.filter(|bytes| !is_segment_size(*bytes)) {
            let cause = format!("'{IDENTITY}' is damaged: segments cannot have {bytes} bytes");
            return Err(Error::no(cannot(cause)));
        }
        Ok(Archive { dir: dir.to_owned(), home, identity })
    }

    /// The store that it is in, if it is in one, and the key of what stands in it under this path.
    pub fn store(&self, below: &str) -> Option<(&Store, String)> {
        match &self.home {
            Home::Dir(_) => None,
            Home::Store(store, place, _) => Some((store, place.below(below))),
        }
    }

    /// Its directory, or `s3://BUCKET/KEY`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// `wal_segment_size` of its server, bytes.
    pub fn segment_bytes(&self) -> Option<u64> {
        self.identity.segment_bytes
    }

    /// Where the files of a timeline are kept.
    pub fn folder(&self, timeline: u32) -> PathBuf {
        self.dir.join(format!("{timeline:08X}"))
    }

    /// Looks for a file; `None` when it is proven not to be there.
    ///
    /// # Errors
    /// [`Code::Temporary`] when that cannot be told.
    pub fn find(&self, name: Name) -> Result<Option<Stored>> {
        let temporary = |error: Error| error.with_code(Code::Temporary);
        if let Some(path) = self.home.find(name).map_err(temporary)? {
            return Ok(Some(Stored { name, path }));
        }
        match self.home {
            // the archive may have gone since it was opened; then nothing is proven
            Home::Dir(_) => Archive::open(&self.dir).map(|_| None),
            // a store that lists a bucket has it
            Home::Store(..) => Ok(None),
        }
    }

    /// Reads a file to its end, hands what it inflates to on to `take`, and proves it: by its codec's
    /// checksums, its size and header, or the digest that was written down when it came.
    ///
    /// What has been taken is only good when this ends well.
    pub fn read(
        &self,
        stored: &Stored,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> std::result::Result<Proof, Fault> {
        let name = stored.path.display();
        let away = |e: io::Error| Fault::Away(Error::temporary(Error::io("read", &name, &e).to_string()));
        let damaged = |cause: &str| Fault::Damaged(Error::no(format!("'{name}' is damaged: {cause}")));
        let folder = self.folder(stored.name.timeline());
        let Open { file, digests: known } = self.home.open(&folder, stored.name, &stored.path)?;
        let mut first = [0; 4];
        let read = (&file).read(&mut first).map_err(away)?;
        let kind = Kind::detect(&first[..read]);
        let mut raw = inflated(&file, &name.to_string(), kind).map_err(Fault::Away)?;
        let limit = match stored.name.segment() {
            Some(_) => self.identity.segment_bytes.unwrap_or(1 << 30),
            None => LONGEST_TEXT,
        };
        let (mut buffer, mut digest) = (vec![0; CHUNK], Xxh3::new());
        let (mut bytes, mut header) = (0u64, Vec::new());
        loop {
            let n = fill(&mut raw, &mut buffer).map_err(|e| match e.raw_os_error() {
                Some(_) => away(e),
                None => damaged(&format!("it cannot be inflated: {e}")),
            })?;
            if n == 0 {
                break;
            }
            if bytes == 0 {
                header = buffer[..n.min(LONG)].to_vec();
            }
            bytes += n as u64;
            if bytes > limit {
                return Err(damaged(&format!("it is longer than {limit} bytes")));
            }
            digest.update(&buffer[..n]);
            take(&buffer[..n]).map_err(Fault::Taker)?;
        }
        if let Some(segment) = stored.name.segment() {
            let header = Header::parse(&header).map_err(|e| damaged(&e))?;
            header.check(segment, bytes).map_err(|e| damaged(&e))?;
            if let Some(ours) = &self.identity.system_identifier
                && *ours != header.system_identifier.to_string()
            {
                return Err(damaged(&format!("it is of system {}, not {ours}", header.system_identifier)));
            }
        }
        let digest = digest.digest128();
        let proof = match kind {
            Kind::None if known.contains(&digest) => Proof::Digest,
            Kind::None if !known.is_empty() => {
                return Err(damaged("it has not the digest that it came with"));
            }
            Kind::None => Proof::None(digest),
            _ => Proof::Codec(digest),
        };
        Ok(proof)
    }

    /// Reads one of the small files whole.
    pub fn text(&self, stored: &Stored) -> std::result::Result<String, Fault> {
        let mut text = Vec::new();
        self.read(stored, |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// All that is in it, by name. What is none of ours is passed over.
    ///
    /// # Errors
    /// [`Code::Temporary`] when it cannot be read.
    pub fn list(&self) -> Result<BTreeMap<Name, Stored>> {
        let mut all = BTreeMap::new();
        for (folder, file, path) in self.home.files().map_err(away)? {
            let Ok(name) = bare(&file).parse::<Name>() else { continue };
            if !file.ends_with(PART) && format!("{:08X}", name.timeline()) == folder {
                all.insert(name, Stored { name, path });
            }
        }
        Ok(all)
    }

    /// The names of a timeline's files that are there.
    ///
    /// # Errors
    /// Those of [`Archive::list`].
    pub fn names(&self, timeline: u32) -> Result<Vec<Name>> {
        let files = self.home.names(timeline).map_err(away)?;
        Ok(files.iter().filter_map(|file| bare(file).parse().ok()).collect())
    }

    /// Removes a file; its absence is fine.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, stored: &Stored) -> Result<()> {
        self.home.remove(&stored.path)
    }

    /// The history of a timeline, from the archive.
    pub fn history(&self, timeline: u32) -> std::result::Result<Option<History>, Fault> {
        let Some(stored) = self.find(Name::History(timeline)).map_err(Fault::Away)? else { return Ok(None) };
        let history = History::parse(timeline, &self.text(&stored)?)
            .map_err(|e| Fault::Damaged(Error::no(format!("'{}' is damaged: {e}", stored.path.display()))))?;
        Ok(Some(history))
    }
}

/// What speaks for a file that was read to its end; the digest is that of what was taken, as in [`super::sums`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The checksums of its codec.
    Codec(u128),
    /// The digest that was written down when it came.
    Digest,
    /// Nothing but its size and header: somebody else put it there, or lost the digests.
    None(u128),
}

/// What a directory answers when it cannot be read says nothing of what is in it.
fn away(error: Error) -> Error {
    match error.code() {
        Code::No => Error::temporary(error.to_string()),
        _ => error,
    }
}

/// The name of a file without what its compression adds.
pub fn bare(file: &str) -> &str {
    [Kind::Gzip, Kind::Zstd].iter().find_map(|k| file.strip_suffix(k.suffix())).unwrap_or(file)
}

/// Fills the buffer as far as the file goes.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// The segments among names.
pub fn segments<'a>(names: impl IntoIterator<Item = &'a Name>) -> impl Iterator<Item = Segment> {
    names.into_iter().filter_map(|name| match name {
        Name::Segment(segment) => Some(*segment),
        _ => None,
    })
}
