//! `prune`: removes what no base backup needs that is kept.
//!
//! What lies before the first segment of the oldest kept backup goes, on every timeline; nothing
//! behind it ever does, and no history. Oldest first, so that what an interrupted run leaves is an
//! unbroken chain.

use std::collections::BTreeMap;

use kit::child::interrupted;
use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::place;
use kit::wal::archive::{Archive, Fault, Stored, segments};
use kit::wal::base::Base;
use kit::wal::chain::Chain;
use kit::wal::history::History;
use kit::wal::name::{Name, Segment};
use kit::wal::reader::Reader;
use kit::wal::sums;
use serde_json::json;

use crate::cli::Args;

/// Removes, or with `--dry-run` only tells.
pub(crate) fn prune(args: &Args, speech: &Speech, account: &Account<'_>) -> Result<Code> {
    let archive = Archive::open(&args.archives[0])?;
    let Some(bytes) = archive.segment_bytes() else { return Ok(Code::Done) };
    let files = archive.list()?;
    let (keep, reason) = oldest_kept(&archive, &files, args, speech)?;
    let mut doomed: Vec<&Stored> = files.values().filter(|f| is_before(f.name, keep, bytes)).collect();
    doomed.sort_by_key(|f| (segment(f.name).map(|s| s.number(bytes)), f.name));
    let kept = files.len() - doomed.len();
    if !args.dry_run {
        for file in &doomed {
            interrupted()?;
            place::remove_if_there(&file.path)?;
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

/// The first segment that is kept, and why.
fn oldest_kept(
    archive: &Archive,
    files: &BTreeMap<Name, Stored>,
    args: &Args,
    speech: &Speech,
) -> Result<(Segment, String)> {
    if let Some(segment) = args.keep_from {
        if !files.contains_key(&Name::Segment(segment)) {
            return Err(Error::refused(format!(
                "cannot prune '{}': {segment} is not in it",
                archive.dir().display()
            ))
            .hint("Name the first segment that must stay; it must be there."));
        }
        return Ok((segment, "which must be kept".into()));
    }
    let wanted = args.keep.unwrap_or(1);
    let bytes = archive.segment_bytes().unwrap_or_default();
    let (chain, mut bases) = known(archive, files, bytes)?;
    // later ones have higher timelines: a recovery may go back in the log, and never in these
    bases.sort_by_key(|b| (b.timeline, b.start));
    let mut kept = Vec::new();
    while let Some(base) = bases.pop().filter(|_| kept.len() < wanted) {
        match lacks(archive, files, &chain, &base)? {
            None => kept.push(base),
            Some(cause) => speech.warn(&format!("base backup '{}' does not count: {cause}", base.label)),
        }
    }
    let oldest = kept.iter().min_by_key(|b| b.start.0 / bytes).ok_or_else(|| {
        Error::refused(format!(
            "cannot prune '{}': it knows of no whole base backup",
            archive.dir().display()
        ))
        .hint("Take one (pg_basebackup), or name what must stay: --keep-from SEGMENT.")
    })?;
    let reason = format!("the oldest of the last {} whole base backups", kept.len());
    Ok((oldest.first(bytes), reason))
}

/// What is there, and the base backups that left a file.
fn known(archive: &Archive, files: &BTreeMap<Name, Stored>, bytes: u64) -> Result<(Chain, Vec<Base>)> {
    let mut chain =
        Chain { segment_bytes: bytes, segments: segments(files.keys()).collect(), ..Chain::default() };
    let mut bases = Vec::new();
    for (name, stored) in files {
        let text = match name {
            Name::History(_) | Name::Backup(..) => archive.text(stored),
            _ => continue,
        };
        match (name, text) {
            (Name::History(timeline), Ok(text)) => {
                chain.histories.extend(History::parse(*timeline, &text).ok().map(|h| (*timeline, h)));
            }
            (_, Ok(text)) => bases.extend(Base::parse(&text)),
            (_, Err(Fault::Damaged(_))) => {}
            (_, Err(fault)) => return Err(fault.error()),
        }
    }
    Ok((chain, bases))
}

/// What keeps a base backup from becoming consistent. Its own log is read, not only looked for: one
/// that cannot be recovered must not have good ones removed.
fn lacks(
    archive: &Archive,
    files: &BTreeMap<Name, Stored>,
    chain: &Chain,
    base: &Base,
) -> Result<Option<String>> {
    let Some(stop) = base.stop else { return Ok(Some("it does not say where it ended".into())) };
    let way = match chain.way(base.start, base.timeline) {
        Ok(way) if stop <= way.end => way,
        Ok(way) => return Ok(Some(format!("the log ends at {}, before {stop}", way.end))),
        Err(cause) => return Ok(Some(cause)),
    };
    let mut reader = Reader::new(archive);
    let needed = way.segments.into_iter().filter(|s| s.start(chain.segment_bytes) < stop);
    for stored in needed.filter_map(|segment| files.get(&Name::Segment(segment))) {
        match reader.read(stored, |_| ()) {
            Ok(seen) if seen.ends && reader.end().is_none_or(|end| end < stop) => {
                return Ok(Some(format!("the log ends within {}", stored.name)));
            }
            Ok(_) => {}
            Err(Fault::Damaged(error)) => return Ok(Some(error.to_string())),
            Err(fault) => return Err(fault.error()),
        }
    }
    Ok(None)
}

/// The lists of digests that tell of nothing any more.
fn forget_digests(archive: &Archive, files: &BTreeMap<Name, Stored>, keep: Segment) -> Result<()> {
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
