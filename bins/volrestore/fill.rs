//! An archive into a new directory: written as it is inflated, nothing outside of it touched.
//!
//! Every path is walked from the directory's own handle, one name at a time, and no link is ever
//! followed; files are made, never opened. So even an archive that passed the check by some fault of
//! ours cannot write elsewhere.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kit::exit::{Error, Result};
use kit::volume::entry::relative;
use kit::volume::tar::{Entry, Kind, Sink};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};

mod durable;

use durable::{Durable, FEW};

/// After so many bytes of a file the disk may begin to write: at the end less is to wait for.
const EARLY: u64 = 32 << 20;

/// Fills `target`, which must not exist, with what `pour` pours, durably. Owners are kept where we may: gives
/// back the numbers of owners that could not be, beside what `pour` did.
pub(crate) fn fill<T>(
    target: &Path,
    pour: impl FnOnce(&mut Fill<'_>) -> Result<T>,
) -> Result<(T, BTreeSet<u32>)> {
    let fail = |e: io::Error| Error::io("write", target.display(), &e);
    std::fs::create_dir(target).map_err(fail)?;
    std::fs::set_permissions(target, Permissions::from_mode(0o700)).map_err(fail)?;
    let root = open_dir(rustix::fs::CWD, target.as_os_str()).map_err(fail)?;
    let mut fill = Fill::new(&root, target)?;
    let poured = pour(&mut fill)?;
    let lost = fill.finish()?;
    kit::place::sync_dir(kit::place::parent(target))?;
    Ok((poured, lost))
}

/// A directory that is being filled.
pub(crate) struct Fill<'a> {
    root: &'a OwnedFd,
    target: &'a Path,
    /// The latest parent directory, open.
    parent: (PathBuf, OwnedFd),
    /// The file that is being written, with its path.
    file: Option<(File, PathBuf)>,
    entry: Option<Entry>,
    since_early: u64,
    durable: Durable,
    /// Directories that are being filled, each within the one before, and the times of the last change
    /// that they get back when the next entry lies elsewhere: what is made in them changes these.
    entered: Vec<(PathBuf, Timespec)>,
    /// Directories that get their mode at the end, because it would keep us out.
    closed: Vec<(PathBuf, u32)>,
    dirs: Vec<PathBuf>,
    may_give: bool,
    me: u32,
    lost: BTreeSet<u32>,
}

impl<'a> Fill<'a> {
    fn new(root: &'a OwnedFd, target: &'a Path) -> Result<Self> {
        let parent = root.try_clone().map_err(|e| Error::io("open", target.display(), &e))?;
        let me = rustix::process::geteuid();
        Ok(Fill {
            root,
            target,
            parent: (PathBuf::new(), parent),
            file: None,
            entry: None,
            since_early: 0,
            durable: Durable::new(),
            entered: Vec::new(),
            closed: Vec::new(),
            dirs: Vec::new(),
            may_give: me.is_root(),
            me: me.as_raw(),
            lost: BTreeSet::new(),
        })
    }

    fn finish(mut self) -> Result<BTreeSet<u32>> {
        let target = self.target;
        let fail = |e| Error::io("sync", target.display(), &e);
        while let Some((path, time)) = self.entered.pop() {
            self.leave(&path, time).map_err(fail)?;
        }
        // their names are durable only now that all are made
        for path in self.dirs.iter().chain([&PathBuf::new()]) {
            self.durable.whole(walk(self.root, path).map_err(fail)?.into());
        }
        // the innermost first
        for (path, mode) in self.closed.iter().rev() {
            let dir = walk(self.root, path).map_err(fail)?;
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(*mode)).map_err(|e| fail(e.into()))?;
            self.durable.whole(dir.into());
        }
        self.durable.finish(self.root).map_err(fail)?;
        Ok(self.lost)
    }

    fn make(&mut self, entry: &Entry) -> io::Result<()> {
        let path = relative(&entry.path).map_err(io::Error::other)?;
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            let root = self.root.try_clone()?;
            return self.dress_dir(&root, &path, entry);
        };
        self.enter(parent)?;
        let dir = &self.parent.1;
        match entry.kind {
            Kind::Dir => {
                make_dir(dir, name)?;
                let made = open_dir(dir, name)?;
                self.dress_dir(&made, &path, entry)?;
                // beyond that the whole file system is synced
                if self.dirs.len() <= FEW {
                    self.dirs.push(path);
                }
            }
            Kind::Symlink => {
                rustix::fs::symlinkat(entry.link.as_slice(), dir, name)?;
                self.give(entry, |uid, gid| {
                    rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                })?;
                rustix::fs::utimensat(dir, name, &changed(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Kind::HardLink => {
                let old = relative(&entry.link).map_err(io::Error::other)?;
                let (Some(old_name), Some(old_parent)) = (old.file_name(), old.parent()) else {
                    return Err(io::Error::other("a hard link to the volume itself"));
                };
                let new_dir = dir.try_clone()?;
                let old_dir = walk(self.root, old_parent)?;
                rustix::fs::linkat(&old_dir, old_name, &new_dir, name, AtFlags::empty())?;
            }
            Kind::File => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?);
                self.file = Some((file, path));
                self.since_early = 0;
            }
            Kind::Other(_) => return Err(io::Error::other("a device or a pipe")),
        }
        Ok(())
    }

    /// Makes `parent` the directory that is open; those that no entry made are made.
    fn enter(&mut self, parent: &Path) -> io::Result<()> {
        if self.parent.0 == parent && !self.entered.is_empty() {
            return Ok(());
        }
        while let Some((path, time)) = self.entered.pop_if(|(path, _)| !parent.starts_with(path)) {
            self.leave(&path, time)?;
        }
        let within = self.entered.last().map(|(path, _)| path.clone());
        let mut path = within.clone().unwrap_or_default();
        let mut dir = walk(self.root, &path)?;
        if within.is_none() {
            self.entered.push((path.clone(), time_of(&dir)?));
        }
        let below = parent.strip_prefix(&path).unwrap_or(parent);
        for name in below {
            make_dir(&dir, name)?;
            dir = open_dir(&dir, name)?;
            path.push(name);
            self.entered.push((path.clone(), time_of(&dir)?));
        }
        self.parent = (path, dir);
        Ok(())
    }

    /// Gives a directory that is filled its time.
    fn leave(&self, path: &Path, time: Timespec) -> io::Result<()> {
        Ok(rustix::fs::futimens(walk(self.root, path)?, &changed(time))?)
    }

    fn dress_dir(&mut self, dir: &OwnedFd, path: &Path, entry: &Entry) -> io::Result<()> {
        self.give(entry, |uid, gid| rustix::fs::fchown(dir, uid, gid))?;
        set_xattrs(dir, entry)?;
        rustix::fs::futimens(dir, &changed(entry.mtime))?;
        if let Some((_, time)) = self.entered.iter_mut().find(|(entered, _)| entered == path) {
            *time = entry.mtime;
        }
        let mode = entry.mode;
        if mode & 0o700 == 0o700 {
            rustix::fs::fchmod(dir, Mode::from_raw_mode(mode))?;
        } else {
            self.closed.push((path.to_owned(), mode));
        }
        Ok(())
    }

    /// Gives what was made its owner, as far as we may.
    fn give(
        &self,
        entry: &Entry,
        chown: impl FnOnce(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
    ) -> io::Result<()> {
        if self.may_give {
            chown(Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
        }
        Ok(())
    }

    fn dress_file(&mut self) -> io::Result<()> {
        let (Some((file, _)), Some(entry)) = (self.file.take(), self.entry.take()) else { return Ok(()) };
        if entry.parts.is_some() {
            file.set_len(entry.size)?;
        }
        self.give(&entry, |uid, gid| rustix::fs::fchown(&file, uid, gid))?;
        set_xattrs(&file, &entry)?;
        // behind the owner: a change of it takes set-id bits away
        file.set_permissions(Permissions::from_mode(entry.mode))?;
        rustix::fs::futimens(&file, &changed(entry.mtime))?;
        self.durable.whole(file);
        Ok(())
    }

    fn fail(&self, entry: &Entry, e: &io::Error) -> Error {
        let path = self.target.join(OsStr::from_bytes(&entry.path));
        Error::io("write", path.display(), e)
    }
}

impl Sink for Fill<'_> {
    fn begin(&mut self, entry: &Entry) -> Result<()> {
        if !self.may_give && entry.uid != self.me {
            self.lost.insert(entry.uid);
        }
        self.make(entry).map_err(|e| self.fail(entry, &e))?;
        self.entry = Some(entry.clone());
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some((file, path)) = &self.file else { return Ok(()) };
        let fail = |e| Error::io("write", self.target.join(path).display(), &e);
        file.write_all_at(bytes, offset).map_err(fail)?;
        self.since_early += bytes.len() as u64;
        if self.since_early >= EARLY {
            self.since_early = 0;
            self.durable.early(file);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let Some((_, path)) = &self.file else { return Ok(()) };
        let path = self.target.join(path);
        self.dress_file().map_err(|e| Error::io("write", path.display(), &e))
    }
}

fn open_dir(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// The time of the last change as it is set, alone.
fn changed(time: Timespec) -> Timestamps {
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: time }
}

fn time_of(dir: &OwnedFd) -> io::Result<Timespec> {
    let stat = rustix::fs::fstat(dir)?;
    Ok(Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ })
}

/// Makes a directory; one that is there is fine.
fn make_dir(dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

/// Opens the directory `path` below `root`, name by name, making what is missing.
fn walk(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let mut dir = root.try_clone()?;
    for name in path.iter().map(OsString::from) {
        make_dir(&dir, &name)?;
        dir = open_dir(&dir, &name)?;
    }
    Ok(dir)
}

/// Sets extended attributes; those that only a privileged user may set are passed over.
fn set_xattrs(file: impl AsFd, entry: &Entry) -> io::Result<()> {
    for (name, value) in &entry.xattrs {
        match rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::PERM | rustix::io::Errno::NOTSUP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
