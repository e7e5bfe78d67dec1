//! `get`: a whole and proven file under the name that PostgreSQL asks for, or an answer that it
//! does not misunderstand.
//!
//! Signals are not caught: PostgreSQL wants to see that SIGTERM ended us. What that leaves beside
//! `PATH` the next call overwrites.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kit::child::pause;
use kit::cli::usage;
use kit::exit::{Code, Error, Result};
use kit::out::Speech;
use kit::place::{self, Part};
use kit::wal::archive::{Archive, Fault, Proof, Stored};
use kit::wal::name::Name;
use kit::wal::record::{Broken, Walker};

use crate::cli::Args;
use crate::prefetch;

/// Between two tries of an archive that cannot be read.
const NAP: Duration = Duration::from_secs(1);

/// Hands `name` over at `path`.
pub(crate) fn get(name: &str, path: &Path, args: &Args, speech: &Speech) -> Result<Code> {
    let name: Name = name.parse().map_err(usage)?;
    let give_up = Instant::now() + args.retry_for;
    let mut told = false;
    loop {
        let error = match attempt(name, path, args, speech) {
            Ok(true) => {
                prefetch::begin(name, path, args);
                return Ok(Code::Done);
            }
            // no word: the server asks for files that are not there all the time
            Ok(false) => {
                if let Some(later) = later(name, path, args) {
                    speech.warn(&format!("{name} is missing, but {later} is there: a gap"));
                }
                return Ok(Code::No);
            }
            // past its recovery a server waits for nothing that it needs
            Err(Fault::Away(error)) if replays() && Instant::now() < give_up => error,
            Err(fault) => return Err(fatal(fault.error())),
        };
        if !told {
            speech.warn(&format!("{error}; trying for {} s", args.retry_for.as_secs()));
            told = true;
        }
        pause(NAP)?;
    }
}

/// The next segment of the timeline that is there, behind one that is in no archive. What the server
/// itself has it reads from `pg_wal`.
fn later(name: Name, path: &Path, args: &Args) -> Option<Name> {
    let is_segment = |name: &Name| matches!(name, Name::Segment(_));
    if !is_segment(&name) || place::parent(path).join(name.to_string()).exists() {
        return None;
    }
    let archives = args.archives.iter().filter_map(|dir| Archive::open(dir).ok());
    let bare = |file: &str| file.trim_end_matches(".gz").trim_end_matches(".zst").to_owned();
    let files = archives.filter_map(|archive| place::names(&archive.folder(name.timeline())).ok());
    let names = files.flatten().filter_map(|file| bare(&file).parse::<Name>().ok());
    names.filter(|there| is_segment(there) && *there > name).min()
}

/// One try of all archives. `Ok(false)`: proven not to be in any.
fn attempt(name: Name, path: &Path, args: &Args, speech: &Speech) -> std::result::Result<bool, Fault> {
    let mut fault = None;
    for dir in &args.archives {
        let found = Archive::open(dir).and_then(|a| Ok((a.find(name)?, a))).map_err(unopened);
        let tried = match found {
            Ok((None, _)) => continue,
            Ok((Some(_), archive)) if prefetch::take(&archive, name, path) => return Ok(true),
            Ok((Some(stored), archive)) => hand_over(&archive, &stored, path),
            Err(fault) => Err(fault),
        };
        match tried {
            Ok(()) => {
                if let Some(passed) = fault.map(Fault::error) {
                    speech.warn(&format!("{passed}; taken from '{}'", dir.display()));
                }
                return Ok(true);
            }
            // an archive that is away may be back, one that is damaged stays so
            Err(new) if fault.is_none() || matches!(new, Fault::Away(_)) => fault = Some(new),
            Err(_) => {}
        }
    }
    fault.map_or(Ok(false), Err)
}

/// An archive that is away may be back, one whose identity is damaged stays so.
fn unopened(error: Error) -> Fault {
    match error.code() {
        Code::Temporary => Fault::Away(error),
        _ => Fault::Damaged(error),
    }
}

/// Copies a stored file to `path`, whole and proven, or not at all.
pub(crate) fn hand_over(archive: &Archive, stored: &Stored, path: &Path) -> std::result::Result<(), Fault> {
    let nap = || pause(Duration::from_millis(20));
    let mut part = Part::claim(&place::with_suffix(path, place::PART), path, nap).map_err(Fault::Taker)?;
    fetch(archive, stored, &mut part)?;
    part.hand_over().map_err(Fault::Taker)
}

/// Copies a stored file into a part file, and proves it.
pub(crate) fn fetch(archive: &Archive, stored: &Stored, part: &mut Part) -> std::result::Result<(), Fault> {
    let written = |e| Error::io("write", stored.name, &e);
    let proof = archive.read(stored, |bytes| part.write_all(bytes).map_err(written))?;
    if proof == Proof::None && stored.name.segment().is_some() {
        walk(stored, part.file())?;
    }
    Ok(())
}

/// Proves a segment that was fetched before, as it would be when it is fetched.
pub(crate) fn prove(archive: &Archive, fetched: &Stored) -> std::result::Result<(), Fault> {
    let fail = |e| Fault::Taker(Error::io("read", fetched.path.display(), &e));
    match archive.read(fetched, |_| Ok(()))? {
        Proof::Digest => Ok(()),
        Proof::None => walk(fetched, &place::open_regular(&fetched.path).map_err(fail)?),
        // the server inflates nothing
        Proof::Codec => Err(Fault::Damaged(Error::no("it is compressed"))),
    }
}

/// A segment of which no digest is known: its records' own checksums speak for it.
fn walk(stored: &Stored, file: &File) -> std::result::Result<(), Fault> {
    let fail = |e| Fault::Taker(Error::io("read", stored.name, &e));
    let bytes = file.metadata().map_err(fail)?.len();
    let mut page = [0; 8192];
    let mut walker = Walker::new(bytes);
    for at in (0..bytes).step_by(page.len()) {
        file.read_exact_at(&mut page, at).map_err(fail)?;
        match walker.page(&page, &mut |_| ()) {
            Ok(()) => {}
            // where a timeline ended, the rest of the segment is empty
            Err(Broken::Ends(_)) => break,
            Err(Broken::Damaged(cause)) => {
                return Err(Fault::Damaged(Error::no(format!(
                    "'{}' is damaged: {cause}",
                    stored.path.display()
                ))));
            }
        }
    }
    Ok(())
}

/// The error with the code that keeps PostgreSQL from taking it for the end of its log, where that
/// would open the database too early.
///
/// A standby asks again by itself. Where neither signal file is left the recovery is over: PostgreSQL
/// removes them before it writes the new timeline's history, and then asks for the parent's once more
/// (`writeTimeLineHistory`), which it has in `pg_wal`. To stop it there would leave a server that
/// opens on the old timeline when it is started again.
pub(crate) fn fatal(error: Error) -> Error {
    if !in_recovery() {
        return error.with_code(Code::Temporary);
    }
    error.with_code(Code::Stop).hint(
        "The server must not take this for the end of its log, so it stops. Mend the archive and start it again.",
    )
}

/// Whether a recovery runs here that any error would end too early.
pub(crate) fn in_recovery() -> bool {
    Path::new("recovery.signal").exists() && !Path::new("standby.signal").exists()
}

/// Whether a server replays here, as a standby or up to a target.
fn replays() -> bool {
    ["recovery.signal", "standby.signal"].iter().any(|signal| Path::new(signal).exists())
}
