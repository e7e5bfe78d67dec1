//! A snapshot restored into a new directory, touching nothing else.

use std::path::Path;

use kit::child::clean_up;
use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::place;
use kit::stamp::Stamp;
use kit::volume::Place;

use crate::choose::Chosen;
use crate::cli::Args;
use crate::journal::{Journal, Move, Room, there};
use crate::plan::room;
use crate::run::{filled, proven, restored};

/// Fills `dir/LABEL` for each volume; each appears when it is whole, and `finish` has seen it, by its label
/// and where it is by then. Those in `journals` tell the next run what a kill has left.
pub(crate) fn into(
    args: &Args,
    chosen: &Chosen,
    dir: &Path,
    journals: &Path,
    speech: &Speech,
    account: &Account<'_>,
    mut finish: impl FnMut(&str, &Path) -> Result<()>,
) -> Result<Code> {
    let targets: Vec<_> = chosen.set.volumes.iter().map(|a| dir.join(&a.label)).collect();
    if let Some(present) = targets.iter().find(|t| there(t)) {
        return Err(Error::refused(format!("cannot restore to '{}': it is there", present.display()))
            .hint("Name a new directory."));
    }
    let archives = proven(args, chosen, speech)?;
    let needs: Vec<(&Path, u64)> =
        targets.iter().zip(&archives).map(|(t, p)| (t.as_path(), p.found.room)).collect();
    room(&needs, &[])?;
    // a recovery leads them elsewhere
    for link in archives.iter().flat_map(|p| &p.found.links).filter(|_| args.until.is_none()) {
        speech.warn(&format!(
            "warning: the link {} leads to {}: what runs on the copy writes there",
            out::plain(&link.path),
            out::plain(&link.target)
        ));
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    place::ensure_dir(dir)?;
    let journal = journal(chosen, dir)?;
    journal.begin(journals)?;
    let mut fill = || {
        for (((target, archive), proven), m) in
            targets.iter().zip(&chosen.set.volumes).zip(&archives).zip(&journal.moves)
        {
            filled(archive, &proven.file, &m.staged, speech)?;
            finish(&m.label, &m.staged)?;
            place::rename_new(&m.staged, &m.live).map_err(|e| Error::io("place", target.display(), &e))?;
            place::sync_dir(dir)?;
            restored(&target.display().to_string(), account)?;
        }
        Ok(Code::Done)
    };
    let ended = fill();
    let left = clean_up(|| journal.abandon(journals));
    if let (Err(_), Err(error)) = (&ended, &left) {
        speech.error(error);
    }
    ended.and_then(|code| left.map(|()| code))
}

/// What is about to be made, under names that are free.
fn journal(chosen: &Chosen, dir: &Path) -> Result<Journal> {
    let dir = dir.canonicalize().map_err(|e| Error::io("find", dir.display(), &e))?;
    let all = |stamp: Stamp| -> Vec<Move> {
        let of = |label: &String| {
            let live = dir.join(label);
            Move::beside(label, &Place::Dir(live.clone()), &live, stamp)
        };
        chosen.set.volumes.iter().map(|a| of(&a.label)).collect()
    };
    let mut stamp = Stamp::now();
    while all(stamp).iter().any(|m| there(&m.staged)) {
        stamp = stamp.plus(1);
    }
    Ok(Journal {
        stamp: stamp.compact(),
        snapshot: chosen.stem(),
        fills: true,
        into: true,
        room: Room::Beside,
        asked: Vec::new(),
        branches: false,
        last: Vec::new(),
        made: Vec::new(),
        moves: all(stamp),
    })
}
