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
use kit::wal::name::{Lsn, Name, Segment};
use kit::wal::record::{Broken, Walker};

use crate::cli::Args;
use crate::{prefetch, source};

/// Between two tries of an archive that cannot be read.
const NAP: Duration = Duration::from_secs(1);

/// Hands `name` over at `path`.
pub(crate) fn get(name: &str, path: &Path, args: &Args, speech: &Speech) -> Result<Code> {
    let name: Name = name.parse().map_err(usage)?;
    if standby()
        && let Some(left) = left_behind(name, args).map_err(|fault| fatal(fault.error()))?
    {
        speech.warn(&left);
        return Ok(Code::No);
    }
    let give_up = Instant::now() + args.retry_for;
    let mut told = false;
    loop {
        let error = match attempt(name, path, args, speech) {
            Ok(true) => {
                prefetch::begin(name, path, args);
                return Ok(Code::Done);
            }
            Ok(false) => match gap(name, path, args) {
                // no word: the server asks for files that are not there all the time
                None => return Ok(Code::No),
                Some(gap) if !in_recovery() || accepted(name, args) => {
                    speech.warn(&gap.to_string());
                    return Ok(Code::No);
                }
                // whoever pushes several at a time may store this one last
                Some(gap) if Instant::now() < give_up => gap,
                Some(gap) => return Err(gap),
            },
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

/// Why a standby must not have a segment: the timeline that PostgreSQL takes for the latest
/// (`findNewestTimeLine`), and a standby follows, left the segment's before its end.
///
/// A leader that is killed and comes up once more ends its last segment, and archives it. A standby
/// that waits at that place asks for just that segment before it looks for another timeline, would
/// replay what nobody acknowledged, and could not follow the new leader any more.
fn left_behind(name: Name, args: &Args) -> std::result::Result<Option<String>, Fault> {
    let Name::Segment(segment) = name else { return Ok(None) };
    for dir in &args.archives {
        // one that is away is told of, and waited for, when it is asked for the segment
        let Ok(archive) = Archive::open(dir) else { continue };
        if let Some((timeline, left)) = left(&archive, segment)? {
            return Ok(Some(format!("{name} is held back: timeline {timeline} left its log at {left}")));
        }
    }
    Ok(None)
}

/// Where the timeline that PostgreSQL takes for the latest left that of a segment, if before its end.
pub(crate) fn left(archive: &Archive, segment: Segment) -> std::result::Result<Option<(u32, Lsn)>, Fault> {
    let Some(bytes) = archive.segment_bytes() else { return Ok(None) };
    let mut latest = None;
    for timeline in segment.timeline + 1.. {
        let Some(history) = archive.history(timeline)? else { break };
        latest = Some(history);
    }
    Ok(latest.and_then(|latest| Some((latest.timeline, latest.left(segment, bytes)?))))
}

/// Why a segment that is in no archive is not the end of the log: one behind it is there. Replay would
/// stop before it, and open the database without all that was committed since.
fn gap(name: Name, path: &Path, args: &Args) -> Option<Error> {
    let later = later(name, path, args)?;
    let error = Error::new(Code::Stop, format!("{name} is missing, but {later} is there: a gap"));
    Some(error.hint(format!(
        "Bring it back, and start the server again. To end the log there: --accept-gap {name} in restore_command."
    )))
}

fn accepted(name: Name, args: &Args) -> bool {
    matches!(name, Name::Segment(segment) if args.accept_gaps.contains(&segment))
}

/// The next segment of the timeline that is there, behind one that is in no archive. What the server
/// itself has it reads from `pg_wal`.
fn later(name: Name, path: &Path, args: &Args) -> Option<Name> {
    let is_segment = |name: &Name| matches!(name, Name::Segment(_));
    if !is_segment(&name) || place::parent(path).join(name.to_string()).exists() {
        return None;
    }
    let archives = args.archives.iter().filter_map(|dir| Archive::open(dir).ok());
    let names = archives.filter_map(|archive| archive.names(name.timeline()).ok()).flatten();
    names.filter(|there| is_segment(there) && *there > name).min()
}

/// One try of all archives. `Ok(false)`: proven not to be in any.
fn attempt(name: Name, path: &Path, args: &Args, speech: &Speech) -> std::result::Result<bool, Fault> {
    let ours = source::system(path);
    let (mut fault, mut unused) = (None, in_recovery());
    for dir in &args.archives {
        let found = open(dir, ours.as_deref()).and_then(|a| Ok((a.find(name)?, a))).map_err(unopened);
        unused &= found.as_ref().is_ok_and(|(_, archive)| archive.identity().system_identifier.is_none());
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
    if unused {
        let dirs: Vec<String> = args.archives.iter().map(|dir| format!("'{}'", dir.display())).collect();
        return Err(Fault::Damaged(
            Error::no(format!("no log was ever archived in {}", dirs.join(" and ")))
                .hint("Is it the archive that the server pushed into?"),
        ));
    }
    fault.map_or(Ok(false), Err)
}

/// Opens an archive, which must not be another server's than the one whose data directory asks.
fn open(dir: &Path, ours: Option<&str>) -> Result<Archive> {
    let archive = Archive::open(dir)?;
    match (&archive.identity().system_identifier, ours) {
        (Some(theirs), Some(ours)) if theirs != ours => Err(Error::refused(format!(
            "the archive '{}' is of system {theirs}, this server is {ours}",
            dir.display()
        ))
        .hint("Name the archive that this server's log went to.")),
        _ => Ok(archive),
    }
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

/// Copies a stored file into a part file, and proves it: by what, is told.
pub(crate) fn fetch(
    archive: &Archive,
    stored: &Stored,
    part: &mut Part,
) -> std::result::Result<Proof, Fault> {
    let path = part.path().display().to_string();
    let written = |e| Error::io("write", &path, &e);
    let proof = archive.read(stored, |bytes| part.write_all(bytes).map_err(written))?;
    if matches!(proof, Proof::None(_)) && stored.name.segment().is_some() {
        walk(stored, part.file())?;
    }
    Ok(proof)
}

/// Proves a segment that was fetched before, as it would be when it is fetched. `noted`: the digests that it
/// had then.
pub(crate) fn prove(archive: &Archive, fetched: &Stored, noted: &[u128]) -> std::result::Result<(), Fault> {
    let fail = |e| Fault::Taker(Error::io("read", fetched.path.display(), &e));
    match archive.read(fetched, |_| Ok(()))? {
        Proof::Digest => Ok(()),
        Proof::None(digest) if noted.contains(&digest) => Ok(()),
        Proof::None(_) => walk(fetched, &place::open_regular(&fetched.path).map_err(fail)?),
        // the server inflates nothing
        Proof::Codec(_) => Err(Fault::Damaged(Error::no("it is compressed"))),
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
    error
        .with_code(Code::Stop)
        .hint("The server must not take this for the end of its log, so it stops. Start it again when that is mended.")
}

/// Whether a recovery runs here that any error would end too early.
pub(crate) fn in_recovery() -> bool {
    Path::new("recovery.signal").exists() && !standby()
}

/// Whether a server replays here, as a standby or up to a target.
fn replays() -> bool {
    in_recovery() || standby()
}

fn standby() -> bool {
    Path::new("standby.signal").exists()
}
