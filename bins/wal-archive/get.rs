//! `get`: a whole and proven file under the name that PostgreSQL asks for, or an answer that it
//! does not misunderstand.
//!
//! Signals are not caught: PostgreSQL wants to see that SIGTERM ended us. What that leaves beside
//! `PATH` the next call overwrites.

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
            Ok(false) => return Ok(Code::No),
            Err(Fault::Away(error)) if Instant::now() < give_up => error,
            Err(fault) => return Err(fatal(fault.error())),
        };
        if !told {
            speech.warn(&format!("{error}; trying for {} s", args.retry_for.as_secs()));
            told = true;
        }
        pause(NAP)?;
    }
}

/// One try of all archives. `Ok(false)`: proven not to be in any.
fn attempt(name: Name, path: &Path, args: &Args, speech: &Speech) -> std::result::Result<bool, Fault> {
    let mut fault = None;
    for dir in &args.archives {
        let found = Archive::open(dir).and_then(|a| Ok((a.find(name)?, a))).map_err(Fault::Away);
        let tried = match found {
            Ok((None, _)) => continue,
            Ok((Some(_), _)) if prefetch::take(name, path) => return Ok(true),
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
        walk(stored, part)?;
    }
    Ok(())
}

/// A segment of which no digest is known: its records' own checksums speak for it.
fn walk(stored: &Stored, part: &Part) -> std::result::Result<(), Fault> {
    let file = part.file();
    let fail = |e| Fault::Taker(Error::io("read", part.path().display(), &e));
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

/// The error with the code that keeps PostgreSQL from taking it for the end of its log. A standby
/// asks again by itself; anything else would open the database too early.
pub(crate) fn fatal(error: Error) -> Error {
    if Path::new("standby.signal").exists() {
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
