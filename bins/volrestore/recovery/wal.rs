//! Where the log comes from: a directory, an engine's volume, or a place in an object store.
//!
//! Of a store, what is read on the way to the target is kept in a private folder, and the server that
//! replays reads it there: it needs neither the network nor our rights, and nothing is fetched twice.

use std::fs;
use std::path::{Path, PathBuf};

use kit::exit::{Error, Result};
use kit::instance::{Programs, Site};
use kit::place;
use kit::volume::Place;
use kit::wal::archive::Archive;

use crate::cli::TOOL;

/// What is in the folder beside its lock.
const COPIES: &str = "wal";

/// The archive of a recovery.
pub(super) struct Wal {
    /// Its directory, or `s3://BUCKET/KEY`.
    dir: PathBuf,
    copies: Option<Site>,
}

impl Wal {
    /// The archive that is called `word`.
    pub(super) fn of(word: &str) -> Result<Self> {
        if kit::store::Place::is(Path::new(word)) {
            let site = Site::bare(TOOL)?;
            place::ensure_dir(&site.path().join(COPIES))?;
            return Ok(Wal { dir: word.into(), copies: Some(site) });
        }
        let dir = match Place::parse(word, Path::new("/")) {
            Ok(place @ (Place::Docker(_) | Place::Podman(_))) => {
                place.directory()?.ok_or_else(|| Error::no(format!("there is no volume {place}")))?
            }
            _ => word.into(),
        };
        // the server that replays stands elsewhere than we do
        let dir = std::path::absolute(&dir).map_err(|e| Error::io("find", word, &e))?;
        Ok(Wal { dir, copies: None })
    }

    /// Opens it.
    pub(super) fn open(&self) -> Result<Archive> {
        match self.folder() {
            Some(folder) => Archive::copying(&self.dir, &folder),
            None => Archive::open(&self.dir),
        }
    }

    /// Where a later start of the server finds it.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the server that replays finds it.
    pub(super) fn here(&self) -> PathBuf {
        self.folder().unwrap_or_else(|| self.dir.clone())
    }

    /// Lets whoever runs that server read it. An archive of its own it can read as it is.
    pub(super) fn give(&self, programs: &Programs) -> Result<()> {
        let (Some(site), Some(folder)) = (&self.copies, self.folder()) else { return Ok(()) };
        give(&folder, programs)?;
        programs.give(site.path())
    }

    fn folder(&self) -> Option<PathBuf> {
        self.copies.as_ref().map(|site| site.path().join(COPIES))
    }
}

/// Gives away a folder with all that is in it. No link is followed: it is in one that is ours alone.
fn give(folder: &Path, programs: &Programs) -> Result<()> {
    let fail = |e| Error::io("list", folder.display(), &e);
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        match entry.file_type().map_err(fail)?.is_dir() {
            true => give(&entry.path(), programs)?,
            false => programs.give(&entry.path())?,
        }
    }
    programs.give(folder)
}
