//! What a restore will do, found out before it does anything.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kit::exit::{Error, Result};
use kit::out;
use kit::place;
use kit::stamp::Stamp;
use kit::volume::control::Control;
use kit::volume::entry::{Found, is_postgresqls};
use kit::volume::set::{Archive, Set};
use kit::volume::{Place, Volume};

use crate::choose::Chosen;
use crate::cli::Args;
use crate::journal::{Journal, Move, there};

/// A volume and where it goes.
pub(crate) struct Target {
    pub(crate) label: String,
    pub(crate) live: PathBuf,
    /// The cluster that is there now.
    present: Option<Control>,
}

/// Where each volume of the set goes: where it came from, or where the command line says.
pub(crate) fn targets(set: &Set, words: &[String]) -> Result<Vec<Target>> {
    let here = std::env::current_dir().map_err(|e| Error::io("find", "the working directory", &e))?;
    let mut elsewhere = BTreeMap::new();
    for word in words {
        let volume = Volume::parse(word, &here).map_err(kit::cli::usage)?;
        if set.archive(&volume.label).is_none() {
            let labels: Vec<&str> = set.volumes.iter().map(|a| a.label.as_str()).collect();
            return Err(kit::cli::usage(format!(
                "the snapshot holds no volume '{}', but {}",
                volume.label,
                labels.join(", ")
            )));
        }
        elsewhere.insert(volume.label, volume.place);
    }
    let mut targets: Vec<Target> = Vec::new();
    for archive in &set.volumes {
        let place = match elsewhere.remove(&archive.label) {
            Some(place) => place,
            None => Place::parse(&archive.place, &here)
                .map_err(|e| Error::no(format!("cannot restore '{}': {e}", archive.label)))?,
        };
        let live = directory(&place)?;
        if let Some(other) = targets.iter().find(|t| t.live.starts_with(&live) || live.starts_with(&t.live)) {
            return Err(kit::cli::usage(format!(
                "'{}' and '{}' would share files",
                other.label, archive.label
            )));
        }
        let present = archive.data.first().and_then(|d| Control::of(&live.join(&d.path)).ok().flatten());
        targets.push(Target { label: archive.label.clone(), live, present });
    }
    Ok(targets)
}

/// The directory of a volume, by its real name: another can take its place.
fn directory(place: &Place) -> Result<PathBuf> {
    let Place::Dir(path) = place else {
        return Err(Error::refused(format!("cannot restore to {place}: only directories are restored yet"))
            .hint("Give LABEL=dir:PATH, or --into DIR."));
    };
    if !there(path) {
        return Ok(path.clone());
    }
    let fail = |e| Error::io("replace", path.display(), &e);
    let real = path.canonicalize().map_err(fail)?;
    let device = |p: &Path| p.metadata().map(|m| m.dev()).map_err(fail);
    if !real.is_dir() {
        return Err(Error::refused(format!("cannot replace '{}': it is no directory", real.display())));
    }
    if real.parent().is_none_or(|parent| device(&real).ok() != device(parent).ok()) {
        return Err(Error::refused(format!(
            "cannot replace '{}': it is a file system of its own, which cannot change names",
            real.display()
        ))
        .hint("Restore beside it with --into DIR, and move the files."));
    }
    Ok(real)
}

/// The names under which all of it will be done.
pub(crate) fn journal(chosen: &Chosen, targets: &[Target], now: Stamp) -> Journal {
    let mut stamp = now;
    let all = |stamp: Stamp| -> Vec<Move> {
        targets.iter().map(|t| Move::beside(&t.label, &t.live, stamp)).collect()
    };
    while all(stamp).iter().any(|m| there(&m.staged) || there(&m.before)) {
        stamp = stamp.plus(1);
    }
    Journal { stamp: stamp.compact(), snapshot: chosen.stem(), fills: true, moves: all(stamp) }
}

/// Refuses links that lead out of a volume, unless PostgreSQL keeps data so.
pub(crate) fn judge_links(archive: &Archive, found: &Found, allow: bool) -> Result<()> {
    let strange = found.links.iter().find(|l| !is_postgresqls(l)).filter(|_| !allow);
    strange.map_or(Ok(()), |link| {
        Err(Error::refused(format!(
            "cannot use '{}': the link '{}' leads out of the volume, to '{}'",
            archive.file.name,
            out::plain(&link.path),
            out::plain(&link.target)
        ))
        .hint("Give --allow-links if that is as it should be."))
    })
}

/// Refuses to begin what the disk has no room for: everything is filled in beside what is there.
pub(crate) fn room(needs: &[(&Path, u64)]) -> Result<()> {
    let mut by_device: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    for (path, bytes) in needs {
        let existing = path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("."));
        let device = existing.metadata().map_err(|e| Error::io("read", existing.display(), &e))?.dev();
        by_device.entry(device).or_insert_with(|| (existing.to_owned(), 0)).1 += bytes;
    }
    for (path, needed) in by_device.values() {
        let stat = rustix::fs::statvfs(path).map_err(|e| Error::io("read", path.display(), &e.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < *needed {
            return Err(Error::temporary(format!(
                "no room in '{}': {} are needed, {} are free",
                path.display(),
                out::bytes(*needed),
                out::bytes(free)
            ))
            .hint("Everything is filled in before anything is removed: make room, or restore elsewhere."));
        }
    }
    Ok(())
}

/// The plan, one line for each thing that will be done.
pub(crate) fn lines(args: &Args, chosen: &Chosen, targets: &[Target], journal: &Journal) -> Vec<String> {
    let mut lines = Vec::new();
    for (target, m) in targets.iter().zip(&journal.moves) {
        let Some(archive) = chosen.set.archive(&target.label) else { continue };
        lines.push(format!(
            "fill    {} from {} ({})",
            target.live.display(),
            archive.file.name,
            out::bytes(archive.content_bytes)
        ));
        for data in &archive.data {
            let c = &data.control;
            let there = match &target.present {
                Some(now) if now.system_identifier != c.system_identifier => {
                    format!("; there now: another cluster, {}", now.system_identifier)
                }
                Some(now) => format!("; there now: timeline {}, {}", now.timeline, now.state),
                None => String::new(),
            };
            lines.push(format!(
                "        cluster {}, timeline {}, checkpoint {}, {}{there}",
                c.system_identifier, c.timeline, c.checkpoint, c.state
            ));
        }
        lines.extend(archive.links.iter().map(|l| format!("        link {} leads to {}", l.path, l.target)));
        if there(&target.live) {
            let what = if args.keep_before == 0 { "drop   " } else { "keep   " };
            lines.push(format!("{what} what is there now, as {}", m.before.display()));
        }
    }
    if !args.services.services.is_empty() {
        lines.push(format!("stop    services, as far as they run: {}", args.services.services.join(" ")));
    }
    lines.extend(args.services.stop.iter().map(|c| format!("stop    {c}")));
    lines.extend(args.services.start.iter().map(|c| format!("start   {c}")));
    lines
}

/// Where a volume is filled in, for the reckoning of room.
pub(crate) fn parent_of(path: &Path) -> &Path {
    place::parent(path)
}
