//! Going back to what was before the latest restore: names change again, nothing is copied.

use std::path::Path;

use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::Speech;
use kit::place;
use kit::stamp::Stamp;

use crate::cli::Args;
use crate::journal::{self, Journal, Room, any};
use crate::replicas::Replicas;
use crate::run::{confirm, restored, swap_stopped};
use crate::site::Sites;

/// Undoes the latest restore. What it brought stays beside, so that this can be undone too.
pub(crate) fn undo(
    args: &Args,
    backups: &Path,
    sites: Sites<'_>,
    speech: &Speech,
    account: &Account<'_>,
) -> Result<Code> {
    let Some((record, latest)) = journal::latest(sites)? else {
        return Err(Error::no("there is nothing to undo: no restore has left what was before it"));
    };
    if latest.branches {
        return Err(Error::refused(
            "the cluster was recovered to a moment: its archive has timelines by now that began before what was there ended, and no member would start on that",
        )
        .hint("Recover once more, to the end of the timeline that it was on: --until-latest --timeline N."));
    }
    let mut stamp = Stamp::now();
    while any(&latest.moves, |m| m.again(stamp).has_before())? {
        stamp = stamp.plus(1);
    }
    // of a volume that was not there before, nothing can come back
    let mut moves = Vec::new();
    for m in &latest.moves {
        if m.has_before()? {
            moves.push(m.again(stamp));
        }
    }
    let journal = Journal {
        stamp: stamp.compact(),
        snapshot: format!("what was before {}", latest.snapshot),
        fills: false,
        into: false,
        room: Room::Beside,
        asked: Vec::new(),
        branches: false,
        recovered: false,
        last: latest.last,
        made: Vec::new(),
        moves,
    };
    for m in &journal.moves {
        speech.say(&format!("{} becomes {}", m.staged.display(), m.live.display()));
    }
    if latest.recovered {
        speech.warn("warning: the archive has the timeline that the recovery began: a standby or a recovery that follows the latest one goes astray; name the old one as recovery_target_timeline (--timeline)");
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    confirm(args, "WARNING: This will take back the latest restore!\n")?;
    let replicas = Replicas::before(args, journal.last.len(), None);
    let started = swap_stopped(args, backups, sites.dir, &journal, speech, |_| Ok(()))?;
    place::remove_if_there(&record)?;
    for m in &journal.moves {
        restored(&m.label, account)?;
    }
    let started = started?;
    if let Some(replicas) = replicas.filter(|_| started.is_some()) {
        replicas.tell(speech);
    }
    Ok(Code::Done)
}
