//! From where a volume's directory and those beside it are reached: from here, or, where only root may enter them,
//! through a container of the engine. What is done with them is the same.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kit::exit::{Error, Result};
use kit::place;
use kit::volume::control::{Control, FILE};
use kit::volume::helper::Helper;
use kit::volume::{Place, used};

mod behind;

use behind::Behind;

/// The folder of snapshots, and the image of the containers that reach what only root may enter.
#[derive(Clone, Copy)]
pub(crate) struct Sites<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) image: &'a str,
}

/// From where directories are reached.
#[derive(Clone, Debug, Default)]
pub(crate) enum Site {
    #[default]
    Here,
    Behind(Arc<Behind>),
}

/// A disk.
pub(crate) struct Disk {
    /// Its number.
    pub(crate) device: u64,
    /// Bytes that are free.
    pub(crate) free: u64,
    /// A directory on it.
    pub(crate) path: PathBuf,
}

impl Sites<'_> {
    /// The directory that another will take the place of; `Ok(None)`: an engine's volume that is not there.
    ///
    /// # Errors
    /// Refused if nothing can take its place.
    pub(crate) fn find(&self, place: &Place) -> Result<Option<(Site, PathBuf)>> {
        let Some(path) = place.mountpoint()? else { return Ok(None) };
        if place.is_open(place::parent(&path)) {
            return Ok(Some((Site::Here, replaceable(&path)?)));
        }
        let site = self.behind(place, &path)?;
        if let Site::Behind(behind) = &site
            && site.there(&path)?
        {
            behind.is_replaceable(&path)?;
        }
        Ok(Some((site, path)))
    }

    /// From where a directory is reached that had another's place taken, or was about to.
    pub(crate) fn again(&self, place: &Place, live: &Path) -> Result<Site> {
        // also if the volume was removed: then nothing is left of it
        let beside = place::parent(live);
        if place.is_open(beside) || place.is_open(place::parent(beside)) {
            return Ok(Site::Here);
        }
        match place.mountpoint()? {
            Some(path) if path == live => self.behind(place, live),
            _ => Ok(Site::Here),
        }
    }

    /// Ends the containers of a run that was killed, before anything is looked at.
    pub(crate) fn sweep(&self, place: &Place, site: &Site) -> Result<()> {
        match site {
            Site::Here => Ok(()),
            Site::Behind(_) => Helper::sweep(place, self.dir),
        }
    }

    fn behind(&self, place: &Place, live: &Path) -> Result<Site> {
        let helper = Helper::new(place, self.image, self.dir)?;
        Ok(Site::Behind(Arc::new(Behind::new(helper, place::parent(live)))))
    }
}

impl Site {
    /// Whether something of that name is there, be it a broken link.
    pub(crate) fn there(&self, path: &Path) -> Result<bool> {
        match self {
            Site::Here => Ok(there(path)),
            Site::Behind(behind) => behind.there(path),
        }
    }

    /// The names in a directory, in their order; none if it is not there.
    pub(crate) fn names(&self, dir: &Path) -> Result<Vec<String>> {
        match self {
            Site::Here if !dir.is_dir() => Ok(Vec::new()),
            Site::Here => place::names(dir),
            Site::Behind(behind) => behind.names(dir),
        }
    }

    /// A rename that never overwrites.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        match self {
            Site::Here => rename(from, to),
            Site::Behind(behind) => behind.rename(from, to),
        }
    }

    /// Makes names in a directory durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<()> {
        match self {
            Site::Here => place::sync_dir(dir),
            Site::Behind(behind) => behind.sync_dir(dir),
        }
    }

    /// Removes a directory with all that is in it; none is fine.
    pub(crate) fn remove_tree(&self, path: &Path) -> Result<()> {
        match self {
            Site::Here => match fs::remove_dir_all(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::io("remove", path.display(), &e))
                }
                _ => Ok(()),
            },
            Site::Behind(behind) => behind.remove_tree(path),
        }
    }

    /// Removes all that is in a directory.
    pub(crate) fn empty(&self, dir: &Path) -> Result<()> {
        match self {
            Site::Here => empty(dir).map_err(|e| Error::io("empty", dir.display(), &e)),
            Site::Behind(behind) => behind.empty(dir),
        }
    }

    /// Makes an empty directory of the same owner and mode.
    pub(crate) fn empty_like(&self, live: &Path, new: &Path) -> Result<()> {
        match self {
            Site::Here => empty_like(live, new).map_err(|e| Error::io("create", new.display(), &e))?,
            Site::Behind(behind) => behind.empty_like(live, new)?,
        }
        self.sync_dir(place::parent(new))
    }

    /// The disk that a directory is on, or will be.
    pub(crate) fn disk(&self, path: &Path) -> Result<Disk> {
        match self {
            Site::Here => {
                let path = path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new(".")).to_owned();
                let fail = |e| Error::io("read", path.display(), &e);
                let device = path.metadata().map_err(fail)?.dev();
                Ok(Disk { device, free: place::free(&path).map_err(fail)?, path })
            }
            Site::Behind(behind) => behind.disk(),
        }
    }

    /// Bytes on the disk that are free when all that is in a directory has been removed.
    pub(crate) fn used(&self, dir: &Path) -> Result<u64> {
        match self {
            Site::Here => used(dir, false).map_err(|e| Error::io("read", dir.display(), &e)),
            Site::Behind(behind) => behind.used(dir),
        }
    }

    /// What the data directory `data` says of itself, as [`Control::of`].
    pub(crate) fn control(&self, data: &Path) -> Result<Option<Control>> {
        match self {
            Site::Here => Control::of(data),
            Site::Behind(behind) => {
                let path = data.join(FILE);
                let bytes = behind.bytes(&path)?.filter(|bytes| !bytes.is_empty());
                let parsed = bytes.map(|bytes| Control::parse(&bytes)).transpose();
                parsed.map_err(|cause| Error::no(format!("cannot read '{}': {cause}", path.display())))
            }
        }
    }

    /// The text of a file of a configuration; `None`: it is not there, or is none.
    pub(crate) fn text(&self, path: &Path) -> Option<String> {
        match self {
            Site::Here => fs::read_to_string(path).ok(),
            Site::Behind(behind) => String::from_utf8(behind.bytes(path).ok()??).ok(),
        }
    }
}

/// The real name of a directory that another can take the place of.
fn replaceable(path: &Path) -> Result<PathBuf> {
    if !there(path) {
        return Ok(path.to_owned());
    }
    let fail = |e| Error::io("replace", path.display(), &e);
    let real = path.canonicalize().map_err(fail)?;
    let device = |p: &Path| p.metadata().map(|m| m.dev()).map_err(fail);
    if !real.is_dir() {
        return Err(Error::refused(format!("cannot replace '{}': it is no directory", real.display())));
    }
    if real.parent().is_none_or(|parent| device(&real).ok() != device(parent).ok()) {
        return Err(of_its_own(&real));
    }
    Ok(real)
}

/// The refusal of a directory that is a mount.
fn of_its_own(path: &Path) -> Error {
    Error::refused(format!(
        "cannot replace '{}': it is a file system of its own, which cannot change names",
        path.display()
    ))
    .hint("Restore beside it with --into DIR, and move the files.")
}

/// Whether something of that name is here, be it a broken link.
pub(crate) fn there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// A rename that never overwrites.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    place::rename_new(from, to).map_err(|e| Error::io("rename", from.display(), &e))
}

fn empty(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        if is_dir { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

fn empty_like(live: &Path, new: &Path) -> std::io::Result<()> {
    let meta = live.metadata()?;
    fs::create_dir(new)?;
    chown(new, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(new, meta.permissions())
}
