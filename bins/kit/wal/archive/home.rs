//! Where an archive's files are: a directory, or a place in an object store.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Fault, IDENTITY};
use crate::codec::Kind;
use crate::exit::{Code, Error, Result};
use crate::place;
use crate::settings::Settings;
use crate::store::{Object, Place, Store};
use crate::wal::name::Name;
use crate::wal::sums;

/// The longest of the files that are read whole.
const LONGEST: u64 = 1 << 20;

/// Where the files are.
#[derive(Clone)]
pub(super) enum Home {
    Dir(PathBuf),
    /// A place in a store, and the folder that keeps copies of what is read.
    Store(Arc<Store>, Place, Option<PathBuf>),
}

impl Home {
    /// Of the archive that is called `dir`. What is read from a store is kept in `copies`.
    pub(super) fn of(dir: &Path, copies: Option<&Path>) -> Result<Self> {
        if !Place::is(dir) {
            return Ok(Home::Dir(dir.to_owned()));
        }
        let place = Place::parse(&dir.to_string_lossy())?;
        let store = Arc::new(Store::open(&place, &Settings::load()?)?);
        Ok(Home::Store(store, place, copies.map(Path::to_owned)))
    }

    /// The text of `archive.json`; `None`: there is none.
    pub(super) fn identity(&self) -> Result<Option<Vec<u8>>> {
        match self {
            Home::Dir(dir) => {
                let path = dir.join(IDENTITY);
                match fs::read(&path) {
                    Ok(text) => Ok(Some(text)),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(e) => Err(Error::io("read", path.display(), &e)),
                }
            }
            Home::Store(store, place, _) => store.whole(&place.below(IDENTITY), LONGEST),
        }
    }

    /// The path of a file, whichever way it is compressed; `None`: it is proven not to be there.
    pub(super) fn find(&self, name: Name) -> Result<Option<PathBuf>> {
        let plain = PathBuf::from(format!("{:08X}/{name}", name.timeline()));
        let paths =
            [Kind::None, Kind::Gzip, Kind::Zstd].map(|kind| place::with_suffix(&plain, kind.suffix()));
        match self {
            Home::Dir(dir) => {
                for path in paths.iter().map(|path| dir.join(path)) {
                    match fs::symlink_metadata(&path) {
                        Ok(_) => return Ok(Some(path)),
                        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                        Err(e) => return Err(Error::io("look for", path.display(), &e)),
                    }
                }
                Ok(None)
            }
            Home::Store(store, place, _) => {
                let keys = paths.map(|path| place.below(&path.to_string_lossy()));
                let there = store.list(&keys[0])?;
                let found = keys.into_iter().find(|key| there.iter().any(|object| object.key == *key));
                Ok(found.map(|key| store.shown(&key).into()))
            }
        }
    }

    /// Opens a file, one of its own or one that was fetched before, with the digests that were written
    /// down when it came.
    pub(super) fn open(&self, folder: &Path, name: Name, path: &Path) -> std::result::Result<Open, Fault> {
        let away =
            |e: io::Error| Fault::Away(Error::temporary(Error::io("read", path.display(), &e).to_string()));
        let gone = |error: Error| Fault::Away(error.with_code(Code::Temporary));
        let Home::Store(store, place, copies) = self else {
            let file = place::open_regular(path).map_err(away)?;
            return Ok(Open { file, digests: sums::find(folder, name).map_err(away)? });
        };
        let is_there = Place::is(path);
        let key = match is_there {
            true => Place::parse(&path.to_string_lossy()).map_err(gone)?.key().to_owned(),
            false => place.below(&format!("{:08X}/{name}", name.timeline())),
        };
        let object = store.look(&key).map_err(gone)?;
        let digest = |object: &Object| u128::from_str_radix(object.digest.as_deref()?, 16).ok();
        let digests = object.iter().filter_map(digest).collect();
        if !is_there {
            return Ok(Open { file: place::open_regular(path).map_err(away)?, digests });
        }
        let object = object.ok_or_else(|| gone(Error::no(format!("'{}' is gone", path.display()))))?;
        let Some(copies) = copies else {
            let file = tempfile::tempfile().map_err(|e| Fault::Taker(Error::io("create", "a copy", &e)))?;
            store.fetch(&object, object.bytes, &file).map_err(gone)?;
            return Ok(Open { file, digests });
        };
        let folder = copies.join(format!("{:08X}", name.timeline()));
        let copy = folder.join(path.file_name().unwrap_or_default());
        if !copy.exists() {
            let part = place::with_suffix(&copy, place::PART);
            let file = new_copy(&folder, name, &part, &digests).map_err(Fault::Taker)?;
            store.fetch(&object, object.bytes, &file).map_err(gone)?;
            fs::rename(&part, &copy).map_err(|e| Fault::Taker(Error::io("rename", part.display(), &e)))?;
        }
        Ok(Open { file: place::open_regular(&copy).map_err(away)?, digests })
    }

    /// The names of the files in the folder of a timeline.
    pub(super) fn names(&self, timeline: u32) -> Result<Vec<String>> {
        match self {
            Home::Dir(dir) => place::names(&dir.join(format!("{timeline:08X}"))),
            Home::Store(store, place, _) => {
                let prefix = place.below(&format!("{timeline:08X}/"));
                let there = store.list(&prefix)?;
                Ok(there.into_iter().map(|object| object.key[prefix.len()..].to_owned()).collect())
            }
        }
    }

    /// All files below the folders of timelines: folder, name, path.
    pub(super) fn files(&self) -> Result<Vec<(String, String, PathBuf)>> {
        let mut all = Vec::new();
        match self {
            Home::Dir(dir) => {
                for folder in place::names(dir)?.into_iter().filter(|name| is_folder(name)) {
                    let there = dir.join(&folder);
                    let names = place::names(&there)?;
                    all.extend(names.into_iter().map(|n| (folder.clone(), n.clone(), there.join(n))));
                }
            }
            Home::Store(store, place, _) => {
                let prefix = place.below("");
                for object in store.list(&prefix)? {
                    let Some((folder, name)) = object.key[prefix.len()..].split_once('/') else { continue };
                    if is_folder(folder) {
                        all.push((folder.to_owned(), name.to_owned(), store.shown(&object.key).into()));
                    }
                }
            }
        }
        Ok(all)
    }

    /// Removes a file of its own; its absence is fine.
    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        match self {
            Home::Dir(_) => place::remove_if_there(path),
            Home::Store(store, ..) => store.remove(Place::parse(&path.to_string_lossy())?.key()),
        }
    }
}

/// An empty file for a copy, in the folder of its timeline, which is told the digests.
fn new_copy(folder: &Path, name: Name, path: &Path, digests: &[u128]) -> Result<File> {
    place::ensure_dir(folder)?;
    for digest in digests {
        let fail = |e| Error::io("write", sums::list(folder, name).display(), &e);
        sums::add(folder, name, *digest).map_err(fail)?;
    }
    place::remove_if_there(path)?;
    place::create_new(path)
}

/// A file of an archive, open.
pub(super) struct Open {
    pub(super) file: File,
    pub(super) digests: Vec<u128>,
}

/// Whether a name is that of a timeline's folder.
fn is_folder(name: &str) -> bool {
    format!("{name}.history").parse::<Name>().is_ok_and(|n| matches!(n, Name::History(_)))
}
