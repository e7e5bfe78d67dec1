//! `prune`: removes what no base backup needs that is kept.
//!
//! What lies before the first segment of the oldest kept backup or snapshot goes, on every timeline; nothing
//! behind it ever does, and no history. Oldest first, so that what an interrupted run leaves is an
//! unbroken chain.

use std::collections::BTreeMap;

use kit::child::interrupted;
use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::place;
use kit::store::Place;
use kit::wal::archive::{Archive, Stored};
use kit::wal::name::{Name, Segment};
use kit::wal::sums;
use serde_json::json;

use crate::cli::Args;
use crate::kept;

/// Removes, or with `--dry-run` only tells.
pub(crate) fn prune(args: &Args, speech: &Speech, account: &Account<'_>) -> Result<Code> {
    let archive = Archive::open(&args.archives[0])?;
    let Some(bytes) = archive.segment_bytes() else {
        speech.say(&format!("nothing was ever archived in '{}'", archive.dir().display()));
        return Ok(Code::Done);
    };
    let files = archive.list()?;
    let (keep, reason) = kept::oldest(&archive, &files, args, speech)?;
    let mut doomed: Vec<&Stored> = files.values().filter(|f| is_before(f.name, keep, bytes)).collect();
    doomed.sort_by_key(|f| (segment(f.name).map(|s| s.number(bytes)), f.name));
    let kept = files.len() - doomed.len();
    if !args.dry_run {
        for file in &doomed {
            interrupted()?;
            archive.remove(file)?;
        }
        forget_digests(&archive, &files, keep)?;
    }
    for file in &doomed {
        tell(args, "remove", &file.name.to_string(), &format!("before {keep}, {reason}"))?;
    }
    account.note(&format!("{} files are removed, {kept} stay: {reason}", doomed.len()));
    tell(args, "keep", &format!("{kept} files"), &format!("from {keep} on, {reason}; and histories"))?;
    Ok(Code::Done)
}

fn tell(args: &Args, action: &str, what: &str, reason: &str) -> Result<()> {
    let line = match args.json {
        true => json!({ "action": action, "what": what, "reason": reason }).to_string(),
        false => format!("{action}\t{what}\t{reason}"),
    };
    if out::record(&line)? { Ok(()) } else { Err(Error::read_enough()) }
}

/// The lists of digests that tell of nothing any more.
fn forget_digests(archive: &Archive, files: &BTreeMap<Name, Stored>, keep: Segment) -> Result<()> {
    // each object of a store has its own
    if Place::is(archive.dir()) {
        return Ok(());
    }
    let mut timelines: Vec<u32> = files.keys().map(|n| n.timeline()).collect();
    timelines.dedup();
    for timeline in timelines {
        let folder = archive.folder(timeline);
        for file in place::names(&folder)? {
            let of = file.strip_suffix(sums::SUFFIX).filter(|begin| begin.len() == 16);
            // all of a list's 4 GiB of the log lie before what is kept
            let last = of.and_then(|begin| Some(u32::from_str_radix(&begin[8..], 16).ok()? < keep.log));
            if last == Some(true) {
                place::remove_if_there(&folder.join(file))?;
            }
        }
        place::sync_dir(&folder)?;
    }
    Ok(())
}

fn segment(name: Name) -> Option<Segment> {
    match name {
        Name::Segment(s) | Name::Partial(s) | Name::Backup(s, _) => Some(s),
        Name::History(_) => None,
    }
}

fn is_before(name: Name, keep: Segment, bytes: u64) -> bool {
    segment(name).is_some_and(|s| s.number(bytes) < keep.number(bytes))
}
