//! Files that are written anew, in place of what stands there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{fcntl_getfl, fcntl_setfl};

use super::{PART, Part, parent, remove_if_there, sync_dir, with_suffix};
use crate::exit::{Error, Result};

/// How long a pipe is waited for that nobody reads.
const READER: Duration = Duration::from_secs(2);

/// Writes a small file whole, replacing what is there, durably and atomically. Only for what we
/// own entirely, such as `SHA256SUMS`; backups never go through here. A pipe or a device such as
/// `/dev/null` is written to: root would replace it, for all others too.
pub fn replace(target: &Path, contents: &[u8]) -> Result<()> {
    replace_with_mode(target, contents, 0o600)
}

/// The same for a file that others have to read, such as one for Prometheus: mode 0644.
pub fn publish(target: &Path, contents: &[u8]) -> Result<()> {
    replace_with_mode(target, contents, 0o644)
}

fn replace_with_mode(target: &Path, contents: &[u8], mode: u32) -> Result<()> {
    let path = with_suffix(target, PART);
    let fail = |e| Error::io("write", target.display(), &e);
    if let Some(mut stream) = stream(target).map_err(fail)? {
        return stream.write_all(contents).map_err(fail);
    }
    // a part left by a crash belongs to nobody; the caller holds the directory's lock
    remove_if_there(&path)?;
    let mut part = Part::create(target)?;
    part.write_all(contents).map_err(fail)?;
    part.file.set_permissions(fs::Permissions::from_mode(mode)).map_err(fail)?;
    part.sync()?;
    fs::rename(&part.path, target).map_err(fail)?;
    part.placed = true;
    sync_dir(parent(target))
}

/// What is there and is never replaced, open to write behind what it holds: a pipe, a device, and whatever
/// `/dev` and `/proc` name, as `/dev/stdout` does a file that the shell has opened.
fn stream(target: &Path) -> io::Result<Option<File>> {
    let Ok(there) = fs::metadata(target) else { return Ok(None) };
    let folder = fs::canonicalize(parent(target))?;
    let of_the_system = folder == Path::new("/dev") || folder.starts_with("/proc");
    if there.is_dir() || (there.is_file() && !of_the_system) {
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

/// The same for a file of any size that is rewritten in part: `write` fills the new one, which keeps
/// owner, mode and, where we may give it, group of `old`. The caller holds a lock that keeps others from doing it meanwhile.
pub fn renew(target: &Path, old: &File, write: impl FnOnce(&mut Part) -> io::Result<()>) -> Result<()> {
    let fail = |e| Error::io("write", target.display(), &e);
    remove_if_there(&with_suffix(target, PART))?;
    let mut part = Part::create(target)?;
    let (is, was) = (part.file.metadata().map_err(fail)?, old.metadata().map_err(fail)?);
    if is.uid() != was.uid() {
        fchown(&part.file, Some(was.uid()), None).map_err(fail)?;
    }
    let mut mode = was.mode() & 0o7777;
    if is.gid() != was.gid() && fchown(&part.file, None, Some(was.gid())).is_err() {
        // only a member may give a file to a group; ours gets no more than everybody has
        mode = mode & !0o070 | (mode & 0o007) << 3;
    }
    part.file.set_permissions(fs::Permissions::from_mode(mode)).map_err(fail)?;
    write(&mut part).map_err(fail)?;
    part.sync()?;
    fs::rename(&part.path, target).map_err(fail)?;
    part.placed = true;
    sync_dir(parent(target))
}
