//! Fetching ahead of a replay: the next segments, into a folder in `pg_wal`, by a process of its own.
//!
//! The folder is on the file system of `pg_wal`, so that handing over is a rename; the server looks
//! at no such name, and base backups leave all of `pg_wal` out. A file gets its name there when it is
//! proven and durable. It is handed over only while the archive still has it.
//!
//! The process leaves the server's group and always ends with 0: where the server is process 1 of a
//! container it inherits us, and takes any other end for a crash of one of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kit::child::{catch_signals, interrupted, pause};
use kit::exit::{Error, Result};
use kit::lock::{self, Lock};
use kit::place::{self, Part};
use kit::wal::archive::{Archive, Proof, Stored};
use kit::wal::name::{Name, Segment};
use kit::wal::sums;

use crate::cli::Args;
use crate::get;

const FOLDER: &str = ".pgkeep-ahead";

fn folder(wal: &Path) -> PathBuf {
    wal.join(FOLDER)
}

/// Hands over what was fetched ahead; whether it was there. It was proven when it was fetched, but
/// anything may lie there by now: what does not hold any more goes, and is taken from the archive.
pub(crate) fn take(archive: &Archive, name: Name, path: &Path) -> bool {
    let folder = folder(place::parent(path));
    let fetched = Stored { name, path: folder.join(name.to_string()) };
    if name.segment().is_none() || !fetched.path.exists() {
        return false;
    }
    let noted = sums::find(&folder, name).unwrap_or_default();
    if get::prove(archive, &fetched, &noted).is_err() {
        let _ = place::remove_if_there(&fetched.path);
        return false;
    }
    fs::rename(fetched.path, path).is_ok()
}

/// Starts to fetch what follows `name`, beside the replay. A failure costs time only.
pub(crate) fn begin(name: Name, path: &Path, args: &Args) {
    let (Name::Segment(segment), true) = (name, args.ahead > 0) else { return };
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    command.args(["prefetch", "--ahead", &args.ahead.to_string()]);
    for dir in &args.archives {
        command.arg("--archive").arg(dir);
    }
    command.arg(segment.to_string()).arg(folder(place::parent(path)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // not waited for: we end at once, and it goes on
    let _ = std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn();
}

/// What the process does. Whatever goes wrong is left to the replay's own call.
pub(crate) fn run(after: Segment, folder: &Path, args: &Args) {
    let _ = catch_signals().and_then(|()| ahead(after, folder, args));
}

fn ahead(after: Segment, folder: &Path, args: &Args) -> Result<()> {
    place::ensure_dir(folder)?;
    // one is at work already
    let Ok(_lock) = Lock::take(folder, Duration::ZERO, pause) else { return Ok(()) };
    let archives: Vec<Archive> = args.archives.iter().filter_map(|dir| Archive::open(dir).ok()).collect();
    let bytes =
        archives.iter().find_map(Archive::segment_bytes).ok_or_else(|| Error::no("no segments yet"))?;
    let wanted: Vec<Segment> =
        std::iter::successors(Some(after.next(bytes)), |s| Some(s.next(bytes))).take(args.ahead).collect();
    for file in place::names(folder)? {
        let is_wanted = file.parse().is_ok_and(|segment| wanted.contains(&segment));
        let notes = |segment: &Segment| sums::list(folder, Name::Segment(*segment)) == folder.join(&file);
        if !is_wanted && file != lock::NAME && !wanted.iter().any(notes) {
            place::remove_if_there(&folder.join(file))?;
        }
    }
    for segment in wanted {
        interrupted()?;
        let target = folder.join(segment.to_string());
        if !target.exists() && !fetch(Name::Segment(segment), &target, &archives)? {
            break;
        }
    }
    Ok(())
}

fn fetch(name: Name, target: &Path, archives: &[Archive]) -> Result<bool> {
    for archive in archives {
        let Some(stored) = archive.find(name)? else { continue };
        let mut part = Part::create(target)?;
        let Ok(proof) = get::fetch(archive, &stored, &mut part) else { continue };
        if let Proof::Codec(digest) = proof {
            // the archive knows none: without this line the records would be read once more
            let _ = sums::add(place::parent(target), name, digest);
        }
        part.place()?;
        return Ok(true);
    }
    Ok(false)
}

/// Removes what a replay that is over left. `wal`: the folder that holds the segments.
pub(crate) fn forget(wal: &Path) {
    // by name: `pg_wal` may be a link to elsewhere
    let (folder, data) = (folder(wal), place::parent(wal));
    let replays = ["standby.signal", "recovery.signal"].iter().any(|s| data.join(s).exists());
    if folder.is_dir() && !replays {
        let _ = fs::remove_dir_all(folder);
    }
}
