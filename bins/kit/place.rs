//! Putting files in place: a final name appears only when its contents are whole.
//!
//! Part file, fsync, rename that never overwrites, fsync of the directory; nothing else writes
//! under a final name. A part file that is dropped is removed; one that a crash left behind is
//! removed by [`sweep`] in the next run and counted by nobody.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use crate::exit::{Error, Result};

mod replace;

pub use replace::{may_publish, publish, renew, replace};

/// The ending of a file that is still being written.
pub const PART: &str = ".part";

/// A file on its way to its final name.
pub struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
    placed: bool,
}

impl Part {
    /// Starts `TARGET.part`, mode 0600, which must not exist.
    pub fn create(target: &Path) -> Result<Self> {
        let path = with_suffix(target, PART);
        let file = create_new(&path)?;
        Ok(Part { file, path, target: target.to_owned(), placed: false })
    }

    /// Starts `part`, or takes over what a run that was killed left of it, for the final name `target`.
    /// Who holds it is waited for, `pause` by `pause`, whose error ends the waiting: so that of
    /// several runs that make the same file one at a time writes, without a lock of the directory.
    pub fn claim(part: &Path, target: &Path, mut pause: impl FnMut() -> Result<()>) -> Result<Self> {
        let fail = |e| Error::io("create", part.display(), &e);
        let no_link = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link);
            let file = options.open(part).map_err(fail)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => pause()?,
                Err(e) => return Err(fail(e.into())),
                // whoever held it may have given it its final name, or removed it
                Ok(()) if is_still(&file, part).map_err(fail)? => {
                    if file.metadata().map_err(fail)?.nlink() != 1 {
                        return Err(Error::refused(format!("'{}' is another file, too", part.display())));
                    }
                    file.set_len(0).map_err(fail)?;
                    return Ok(Part {
                        file,
                        path: part.to_owned(),
                        target: target.to_owned(),
                        placed: false,
                    });
                }
                Ok(()) => {}
            }
        }
    }

    /// The open part file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The part file's own path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name that it will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Brings what was written to stable storage.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io("sync", self.path.display(), &e))
    }

    /// Gives the synced file its final name, which must be free, and makes the name durable.
    pub fn place(self) -> Result<()> {
        self.sync()?;
        self.place_synced()
    }

    /// The same for a file that the caller has synced: to do that twice would wait twice for the disk.
    pub fn place_synced(mut self) -> Result<()> {
        rename_new(&self.path, &self.target).map_err(|e| Error::io("place", self.target.display(), &e))?;
        self.placed = true;
        sync_dir(parent(&self.target))
    }

    /// Puts the file under its final name, in place of what stands there. Nothing is brought to stable
    /// storage: for what its reader makes durable by itself.
    pub fn hand_over(mut self) -> Result<()> {
        if fs::symlink_metadata(&self.target).is_ok_and(|there| !there.is_file()) {
            return Err(Error::refused(format!("cannot replace '{}': it is no file", self.target.display())));
        }
        fs::rename(&self.path, &self.target).map_err(|e| Error::io("place", self.target.display(), &e))?;
        self.placed = true;
        Ok(())
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.placed {
            // best effort: what stays is swept by the next run
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Points the symbolic link `link` at `target` (a name relative to the link's folder), in one
/// step: there is no moment without a link. A file or directory in its place is refused.
pub fn relink(link: &Path, target: &str) -> Result<()> {
    may_link(link)?;
    let fail = |e| Error::io("link", link.display(), &e);
    let fresh = with_suffix(link, PART);
    remove_if_there(&fresh)?;
    std::os::unix::fs::symlink(target, &fresh).map_err(fail)?;
    fs::rename(&fresh, link).map_err(fail)?;
    sync_dir(parent(link))
}

/// Refuses a place for a link where something else stands.
pub fn may_link(link: &Path) -> Result<()> {
    if link.symlink_metadata().is_ok_and(|m| !m.is_symlink()) {
        return Err(Error::refused(format!("cannot link '{}': it is there and no link", link.display()))
            .hint("Move it away, or choose another name."));
    }
    Ok(())
}

/// Opens a file for reading; a pipe or a device of that name would have us wait, deaf to signals.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file")),
    }
}

/// Refuses a file that others may have written: what stands in it is done.
pub fn ours_alone(file: &File, path: &Path) -> Result<()> {
    let meta = file.metadata().map_err(|e| Error::io("read", path.display(), &e))?;
    if meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Error::refused(format!("'{}' is not ours alone, and tells what is to be done", path.display()))
        .hint("Look at it; remove it if it is not yours, or run this as its owner."))
}

/// Makes a file that must not exist, mode 0600.
pub fn create_new(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|e| Error::io("create", path.display(), &e))
}

/// Removes a file; its absence is fine.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path.display(), &e)),
        _ => Ok(()),
    }
}

/// Makes a directory and those above it, mode 0700 where they are new.
pub fn ensure_dir(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| Error::io("create", dir.display(), &e))
}

/// Removes part files in `dir` that `ours` claims by the name they were to have. The caller
/// holds the directory's lock, so none of them is being written. Their names, for a message.
pub fn sweep(dir: &Path, ours: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut swept = Vec::new();
    for name in names(dir)? {
        if name.strip_suffix(PART).is_some_and(&ours) {
            remove_if_there(&dir.join(&name))?;
            swept.push(name);
        }
    }
    Ok(swept)
}

/// The names in a directory that are UTF-8, sorted.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let fail = |e| Error::io("list", dir.display(), &e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        names.extend(entry.map_err(fail)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The other names in it, which a line of text cannot hold.
pub fn odd_names(dir: &Path) -> Result<Vec<OsString>> {
    let fail = |e| Error::io("list", dir.display(), &e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        names.extend(entry.map_err(fail)?.file_name().into_string().err());
    }
    names.sort();
    Ok(names)
}

/// Bytes that whoever is not root may still write to the disk of `dir`.
pub fn free(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io("sync", dir.display(), &e))
}

/// `path` with `suffix` after its last component.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The folder that holds `path`; `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Whether the open file is the one of this name.
fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    match (file.metadata()?, fs::symlink_metadata(path)) {
        (ours, Ok(there)) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        (_, Err(e)) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        (_, Err(e)) => Err(e),
    }
}

/// Renames, and never overwrites.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            // file systems without RENAME_NOREPLACE (NFS among them): a hard link never overwrites
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => other.map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_never_overwrites_and_vanishes_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        fs::write(&target, "old").unwrap();
        let mut part = Part::create(&target).unwrap();
        part.write_all(b"new").unwrap();
        assert!(part.place().is_err());
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(dir.path()).unwrap(), ["a"]);
    }

    #[test]
    fn a_part_is_taken_over_from_the_dead_and_waited_for_from_the_living() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("a.part"), dir.path().join("a.gz"));
        fs::write(&path, "what a killed run left, longer").unwrap();
        let mut first = Part::claim(&path, &target, || Ok(())).unwrap();
        first.write_all(b"new").unwrap();
        let mut first = Some(first);
        let second = Part::claim(&path, &target, || first.take().map_or(Ok(()), Part::place)).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert!(second.place().is_err(), "the name is taken");
        assert_eq!(names(dir.path()).unwrap(), ["a.gz"]);
    }

    #[test]
    fn sweeping_takes_only_what_is_claimed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x.sql.part", "film.mkv.part", "y.sql"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(sweep(dir.path(), |n| n == "x.sql").unwrap(), ["x.sql.part"]);
        assert_eq!(names(dir.path()).unwrap(), ["film.mkv.part", "y.sql"]);
    }

    #[test]
    fn a_link_is_swapped_but_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("latest");
        relink(&link, "a").unwrap();
        relink(&link, "b").unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("b"));
        fs::remove_file(&link).unwrap();
        fs::write(&link, "mine").unwrap();
        assert!(relink(&link, "c").is_err());
    }
}
