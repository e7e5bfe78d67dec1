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
use crate::journal::{Journal, Move};
use crate::plan::room;
use crate::run::restored;
use crate::site::{Site, there};
use crate::unpack::{filled_and_proven, proven};

/// What a file takes on the disk beyond its bytes, at most.
const BLOCK: u64 = 4096;

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
    let volumes = &chosen.set.volumes;
    if args.dry_run {
        proven(args, chosen, speech)?;
    }
    // as much as they can take at most, as their record has it
    let needs = targets
        .iter()
        .zip(volumes)
        .map(|(t, a)| (&Site::Here, t.as_path(), a.content_bytes + a.entries * BLOCK));
    room(&needs.collect::<Vec<_>>(), &[])?;
    // a recovery leads them elsewhere
    for link in volumes.iter().flat_map(|a| &a.links).filter(|_| args.until.is_none()) {
        speech.warn(&format!(
            "warning: the link {} leads to {}: what runs on the copy writes there",
            out::plain(&link.path),
            out::plain(&link.target)
        ));
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    let is_new = !there(dir);
    place::ensure_dir(dir)?;
    let journal = journal(chosen, dir)?;
    journal.begin(journals)?;
    let mut fill = || {
        // all of them are proven before the first of them appears
        for (archive, m) in volumes.iter().zip(&journal.moves) {
            filled_and_proven(args, chosen, archive, &m.staged, speech)?;
        }
        for (target, m) in targets.iter().zip(&journal.moves) {
            finish(&m.label, &m.staged)?;
            place::rename_new(&m.staged, &m.live).map_err(|e| Error::io("place", target.display(), &e))?;
            place::sync_dir(dir)?;
            restored(&target.display().to_string(), account)?;
        }
        Ok(Code::Done)
    };
    let ended = fill();
    let left = clean_up(|| journal.abandon(journals));
    if is_new && ended.is_err() {
        // what somebody else has put there stays
        let _ = std::fs::remove_dir(dir);
    }
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
            Move::beside(label, &Place::Dir(live.clone()), &Site::Here, &live, stamp)
        };
        chosen.set.volumes.iter().map(|a| of(&a.label)).collect()
    };
    let mut stamp = Stamp::now();
    while all(stamp).iter().any(|m| there(&m.staged)) {
        stamp = stamp.plus(1);
    }
    Ok(Journal { moves: all(stamp), ..Journal::beside(stamp, chosen) })
}
