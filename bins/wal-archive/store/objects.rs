//! The same in an object store, where every write is whole, durable, and under a condition.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use kit::codec::{Codec, Kind};
use kit::exit::{Error, Result};
use kit::settings::Settings;
use kit::store::{Content, Only, Place, Put, Store};
use kit::wal::archive::{Archive, IDENTITY, Identity, Stored};

use super::{admit, digest, pack, same, text};
use crate::source::Source;

/// So often the identity is tried while others change it.
const TRIES: usize = 5;

/// Makes `dir` an archive, if it is none.
pub(super) fn init(dir: &Path) -> Result<()> {
    let place = Place::parse(&dir.to_string_lossy())?;
    let store = Store::open(&place, &Settings::load()?)?;
    let key = place.below(IDENTITY);
    if store.look(&key)?.is_none() {
        write(&store, &key, &text(&Identity::fresh())?, Only::IfNew)?;
    }
    Archive::open(dir).map(drop)
}

/// Writes the identity anew, as `merged` has it, over the one that was looked at and no other.
pub(super) fn identify(
    archive: &Archive,
    merged: impl Fn(&Archive) -> Result<Option<Identity>>,
) -> Result<()> {
    let lost =
        || Error::temporary(format!("'{}' is changed by others all the time", archive.dir().display()));
    let (store, key) = archive.store(IDENTITY).ok_or_else(lost)?;
    for _ in 0..TRIES {
        let object = store.look(&key)?.ok_or_else(lost)?;
        // read after it was looked at: what came between does not meet the condition
        let Some(identity) = merged(&Archive::open(archive.dir())?)? else { return Ok(()) };
        if write(store, &key, &text(&identity)?, Only::If(&object.etag))? == Put::Done {
            return Ok(());
        }
    }
    Err(lost())
}

/// Stores a file. It is made ready while the store is asked what it has: each answer takes a while to come.
pub(super) fn put(dir: &Path, source: &Source, codec: Codec, threads: usize) -> Result<Stored> {
    std::thread::scope(|scope| {
        let ready = scope.spawn(|| Ready::of(source, codec, threads));
        let archive = admit(dir, source)?;
        if let Some(stored) = archive.find(source.name)? {
            return same(&archive, stored, source);
        }
        let ready = ready.join().map_err(|_| Error::no("cannot compress: a thread failed"))??;
        let below = format!("{:08X}/{}{}", source.name.timeline(), source.name, codec.kind.suffix());
        let path = archive.dir().join(&below);
        let Some((store, key)) = archive.store(&below) else {
            return Err(Error::no(format!("'{}' is in no store", path.display())));
        };
        match store.put(&key, &ready.content(source)?, Only::IfNew)? {
            Put::Done => Ok(Stored { name: source.name, path }),
            Put::Held => match archive.find(source.name)? {
                Some(stored) => same(&archive, stored, source),
                None => Err(Error::temporary(format!("{} was there, and is gone again", source.name))),
            },
        }
    })
}

/// What is sent.
enum Ready {
    /// The file as it is, with its digest.
    Plain(u128),
    /// Compressed; its codec has checksums.
    Packed(File),
}

impl Ready {
    fn of(source: &Source, codec: Codec, threads: usize) -> Result<Self> {
        if codec.kind == Kind::None {
            return digest(&source.file, source.bytes, [source.bytes]).map(Ready::Plain);
        }
        let mut packed = tempfile()?;
        pack(source, codec, &mut packed, Path::new("a temporary file"), threads)?;
        Ok(Ready::Packed(packed))
    }

    fn content<'a>(&'a self, source: &'a Source) -> Result<Content<'a>> {
        Ok(match self {
            Ready::Plain(digest) => {
                Content { file: &source.file, bytes: source.bytes, digest: Some(format!("{digest:032x}")) }
            }
            Ready::Packed(file) => {
                let bytes = file.metadata().map_err(|e| Error::io("read", "a temporary file", &e))?.len();
                Content { file, bytes, digest: None }
            }
        })
    }
}

fn write(store: &Store, key: &str, text: &str, only: Only<'_>) -> Result<Put> {
    let mut file = tempfile()?;
    file.write_all(text.as_bytes()).map_err(|e| Error::io("write", "a temporary file", &e))?;
    store.put(key, &Content { file: &file, bytes: text.len() as u64, digest: None }, only)
}

fn tempfile() -> Result<File> {
    tempfile::tempfile().map_err(|e| Error::io("create", "a temporary file", &e))
}
