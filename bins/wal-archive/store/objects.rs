//! The same in an object store, where every write is whole, durable, and under a condition.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use kit::codec::{Codec, Kind};
use kit::exit::{Error, Result};
use kit::settings::Settings;
use kit::store::{Content, Only, Place, Put, Store};
use kit::wal::archive::{Archive, IDENTITY, Identity, Stored};

use super::{digest, pack, text};
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

/// Stores a file; `None`: there is one of that name.
pub(super) fn put(
    archive: &Archive,
    source: &Source,
    codec: Codec,
    threads: usize,
) -> Result<Option<Stored>> {
    let below = format!("{:08X}/{}{}", source.name.timeline(), source.name, codec.kind.suffix());
    let path = archive.dir().join(&below);
    let Some((store, key)) = archive.store(&below) else {
        return Err(Error::no(format!("'{}' is in no store", path.display())));
    };
    let packed;
    let content = if codec.kind == Kind::None {
        let digest = digest(source, |_| Ok(()))?;
        Content { file: &source.file, bytes: source.bytes, digest: Some(format!("{digest:032x}")) }
    } else {
        let mut copy = tempfile()?;
        pack(source, codec, &mut copy, Path::new("a temporary file"), threads)?;
        packed = copy;
        let bytes = packed.metadata().map_err(|e| Error::io("read", "a temporary file", &e))?.len();
        Content { file: &packed, bytes, digest: None }
    };
    Ok(match store.put(&key, &content, Only::IfNew)? {
        Put::Done => Some(Stored { name: source.name, path }),
        Put::Held => None,
    })
}

fn write(store: &Store, key: &str, text: &str, only: Only<'_>) -> Result<Put> {
    let mut file = tempfile()?;
    file.write_all(text.as_bytes()).map_err(|e| Error::io("write", "a temporary file", &e))?;
    store.put(key, &Content { file: &file, bytes: text.len() as u64, digest: None }, only)
}

fn tempfile() -> Result<File> {
    tempfile::tempfile().map_err(|e| Error::io("create", "a temporary file", &e))
}
