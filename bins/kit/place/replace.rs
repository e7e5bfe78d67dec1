//! Files that are written anew, in place of what stands there.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{fcntl_getfl, fcntl_setfl};

use super::{PART, Part, open_regular, parent, remove_if_there, sync_dir, with_suffix};
use crate::exit::{Error, Result};

/// How long a pipe is waited for that nobody reads.
const READER: Duration = Duration::from_secs(2);

/// Writes a small file whole, replacing what is there, durably and atomically. Only for what we
/// own entirely, such as `SHA256SUMS`; backups never go through here.
pub fn replace(target: &Path, contents: &[u8]) -> Result<()> {
    // a part left by a crash belongs to nobody; the caller holds the directory's lock
    remove_if_there(&with_suffix(target, PART))?;
    let mut part = Part::create(target)?;
    part.write_all(contents).map_err(|e| Error::io("write", target.display(), &e))?;
    place(part, 0o600)
}

/// Writes what others read, such as numbers for Prometheus: in the place of what is there, whose mode it gets,
/// or else 0644. `make` gives the contents when nobody else writes it: of several at once each sees what the one
/// before has written. A pipe or a device is written to.
///
/// # Errors
/// What [`may_publish`] refuses, and what cannot be read or written.
pub fn publish(target: &Path, ours: &[&[u8]], make: impl FnOnce() -> Result<Vec<u8>>) -> Result<()> {
    let real = behind_links(target);
    let target = real.as_path();
    let fail = |e| Error::io("write", target.display(), &e);
    if let Some(mut stream) = stream(target).map_err(fail)? {
        return stream.write_all(&make()?).map_err(fail);
    }
    let give_up = Instant::now() + OTHERS;
    let nap = || {
        std::thread::sleep(NAP);
        match Instant::now() < give_up {
            true => Ok(()),
            false => Err(Error::temporary(format!("somebody else writes '{}'", target.display()))),
        }
    };
    let mut part = Part::claim(&with_suffix(target, PART), target, nap)?;
    if !is_ours(target, ours).map_err(|e| Error::io("read", target.display(), &e))? {
        return Err(taken(target));
    }
    part.write_all(&make()?).map_err(fail)?;
    let is = part.file.metadata().map_err(fail)?;
    let mode = fs::metadata(target).map_or(0o644, |was| {
        // only root may give a file away
        let _ = fchown(&part.file, Some(was.uid()), None);
        grouped(&part.file, &is, &was)
    });
    place(part, mode)
}

/// The file that a link leads to, there or not: the link stays.
fn behind_links(target: &Path) -> PathBuf {
    let link = || fs::read_link(target).ok().map(|to| parent(target).join(to));
    match is_stream(target) {
        true => target.to_owned(),
        false => fs::canonicalize(target).ok().or_else(link).unwrap_or(target.to_owned()),
    }
}

/// Refuses to write over what is there, unless it is empty or begins like what was written there before, by one
/// of `ours`: where the file's name was forgotten, as in `--report html *.gz`, it is a backup's. What cannot be
/// read yet is told when it is written.
pub fn may_publish(target: &Path, ours: &[&[u8]]) -> Result<()> {
    match is_ours(target, ours) {
        Ok(false) => Err(taken(target)),
        Ok(true) | Err(_) => Ok(()),
    }
}

/// Whether nothing is there that somebody would miss.
fn is_ours(target: &Path, ours: &[&[u8]]) -> io::Result<bool> {
    let mut head = [0; 256];
    let n = match open_regular(target).map(|mut file| file.read(&mut head)) {
        _ if is_stream(target) => 0,
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        read => read??,
    };
    Ok(n == 0 || ours.iter().any(|begins| head[..n].starts_with(begins)))
}

fn taken(target: &Path) -> Error {
    Error::refused(format!("cannot write '{}': something else is there", target.display()))
        .hint("Give the file to write right behind the option; remove what is there if it is of no use.")
}

/// How long others who write the same file are waited for, and how long between two looks.
const OTHERS: Duration = Duration::from_secs(20);
const NAP: Duration = Duration::from_millis(5);

fn place(mut part: Part, mode: u32) -> Result<()> {
    let fail = |e| Error::io("write", part.target.display(), &e);
    part.file.set_permissions(fs::Permissions::from_mode(mode)).map_err(fail)?;
    part.sync()?;
    fs::rename(&part.path, &part.target).map_err(fail)?;
    part.placed = true;
    sync_dir(parent(&part.target))
}

/// Whether what is there is never replaced: a pipe, a device, and whatever `/dev` and `/proc` name, as
/// `/dev/stdout` does a file that the shell has opened.
fn is_stream(target: &Path) -> bool {
    let Ok(there) = fs::metadata(target) else { return false };
    let folder = fs::canonicalize(parent(target)).unwrap_or_default();
    let of_the_system = folder == Path::new("/dev") || folder.starts_with("/proc");
    !there.is_dir() && (!there.is_file() || of_the_system)
}

/// Such a thing, open to write behind what it holds.
fn stream(target: &Path) -> io::Result<Option<File>> {
    if !is_stream(target) {
        return Ok(None);
    }
    // a pipe that nobody reads would have us wait, deaf to signals: its reader has a while to come
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let open = || OpenOptions::new().append(true).custom_flags(nonblocking).open(target);
    let unread = |e: &io::Error| e.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error());
    let mut file = open();
    let give_up = Instant::now() + READER;
    while file.as_ref().is_err_and(unread) && Instant::now() < give_up {
        std::thread::sleep(READER / 100);
        file = open();
    }
    let file = file?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - rustix::fs::OFlags::NONBLOCK)?;
    Ok(Some(file))
}

/// Gives a new file the group of the one that it takes the place of. The mode that it may have then.
fn grouped(file: &File, is: &Metadata, was: &Metadata) -> u32 {
    let mode = was.mode() & 0o7777;
    if is.gid() != was.gid() && fchown(file, None, Some(was.gid())).is_err() {
        // only a member may give a file to a group; ours gets no more than everybody has
        return mode & !0o070 | (mode & 0o007) << 3;
    }
    mode
}

/// Rewrites a file of any size in part: `write` fills the new one, which keeps
/// owner, mode and, where we may give it, group of `old`. The caller holds a lock that keeps others from doing it meanwhile.
pub fn renew(target: &Path, old: &File, write: impl FnOnce(&mut Part) -> io::Result<()>) -> Result<()> {
    let fail = |e| Error::io("write", target.display(), &e);
    remove_if_there(&with_suffix(target, PART))?;
    let mut part = Part::create(target)?;
    let (is, was) = (part.file.metadata().map_err(fail)?, old.metadata().map_err(fail)?);
    if is.uid() != was.uid() {
        fchown(&part.file, Some(was.uid()), None).map_err(fail)?;
    }
    let mode = grouped(&part.file, &is, &was);
    write(&mut part).map_err(fail)?;
    place(part, mode)
}
