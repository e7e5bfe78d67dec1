//! What a restore will do, found out before it does anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kit::exit::{Error, Result};
use kit::stamp::Stamp;
use kit::volume::control::Control;
use kit::volume::entry::Found;
use kit::volume::set::{Archive, Content, Data, Link, Mode, Set};
use kit::volume::verify::Proven;
use kit::volume::{Place, Volume, no_half};
use kit::{out, place};

use crate::choose::Chosen;
use crate::cli::Args;
use crate::journal::{self, Journal, Move, Room, any};
use crate::site::{Disk, Site, Sites, there};

mod archives;

use archives::archives;

/// A volume and where it goes.
pub(crate) struct Target {
    pub(crate) label: String,
    pub(crate) place: Place,
    /// The directory that changes names; `None`: an engine's volume that is not there yet.
    pub(crate) live: Option<PathBuf>,
    /// From where that is reached.
    pub(crate) site: Site,
    /// The cluster that is there now.
    present: Option<Control>,
    /// It is not in the set: it is emptied.
    pub(crate) forgotten: bool,
}

impl Target {
    /// Whether the server that is there archives its WAL, as far as files tell.
    fn archives(&self, archive: &Archive) -> bool {
        let (Some(live), Some(data), Some(now)) = (&self.live, archive.data.first(), &self.present) else {
            return false;
        };
        // what it was started with in a container names files of that container
        let ours = matches!(self.place, Place::Dir(_));
        now.system_identifier == data.control.system_identifier
            && archives(&self.site, &live.join(&data.path), ours)
    }

    /// Whether there is something whose place is taken.
    pub(crate) fn is_live(&self) -> Result<bool> {
        self.live.as_ref().map_or(Ok(false), |live| self.site.there(live))
    }

    /// Whether its files are, or will be, reached from here.
    pub(crate) fn is_here(&self) -> Result<bool> {
        Ok(matches!(self.site, Site::Here) && (self.live.is_some() || self.place.is_reachable()?))
    }

    /// Makes the volume if it is not there.
    pub(crate) fn make(&mut self, sites: Sites<'_>) -> Result<()> {
        if self.live.is_none() {
            self.place.create()?;
            let made = sites.find(&self.place)?;
            let (site, live) = made.ok_or_else(|| Error::no(format!("cannot create {}", self.place)))?;
            (self.site, self.live) = (site, Some(live));
        }
        Ok(())
    }
}

/// Where each volume of the set goes: where it came from, or where the command line says. Behind them
/// come the volumes that are emptied, those that are there.
pub(crate) fn targets(
    set: &Set,
    words: &[String],
    forget: &[String],
    sites: Sites<'_>,
) -> Result<Vec<Target>> {
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
        let (site, live) = sites.find(&place)?.map_or_else(Default::default, |(s, path)| (s, Some(path)));
        let of = |data: &Data| site.control(&live.as_ref()?.join(&data.path)).ok().flatten();
        let present = archive.data.first().and_then(of);
        targets.push(Target { label: archive.label.clone(), place, live, site, present, forgotten: false });
    }
    is_no_half(&targets)?;
    for word in forget {
        let place = Place::parse(word, &here).map_err(kit::cli::usage)?;
        if let Some((site, live)) = sites.find(&place)?
            && site.there(&live)?
        {
            targets.push(Target {
                label: word.clone(),
                place,
                live: Some(live),
                site,
                present: None,
                forgotten: true,
            });
        }
    }
    for (i, target) in targets.iter().enumerate() {
        let share = |other: &&Target| match (&target.live, &other.live) {
            (Some(a), Some(b)) => a.starts_with(b) || b.starts_with(a),
            _ => target.place == other.place,
        };
        if let Some(other) = targets[..i].iter().find(share) {
            return Err(kit::cli::usage(format!(
                "'{}' and '{}' would share files",
                other.label, target.label
            )));
        }
    }
    Ok(targets)
}

/// Refuses what a restore has replaced by half, and that no journal here tells of.
fn is_no_half(targets: &[Target]) -> Result<()> {
    let mut volumes = Vec::new();
    for target in targets {
        let Some(live) = &target.live else { continue };
        let name = live.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // where nothing can be listed, nothing is put beside either
        volumes.push((name, target.site.names(place::parent(live)).unwrap_or_default()));
    }
    no_half(&volumes)
}

/// The names under which all of it will be done. Volumes that are not there are not in it.
pub(crate) fn journal(
    args: &Args,
    chosen: &Chosen,
    targets: &[Target],
    dir: &Path,
    room: Room,
) -> Result<Journal> {
    let mut stamp = Stamp::now();
    let all = |stamp: Stamp| -> Vec<Move> {
        let of = |t: &Target| Some(Move::beside(&t.label, &t.place, &t.site, t.live.as_ref()?, stamp));
        targets.iter().filter_map(of).collect()
    };
    let taken = |m: &Move| Ok(m.is_staged()? || m.has_before()?);
    while there(&journal::record(dir, &stamp.compact())) || any(&all(stamp), taken)? {
        stamp = stamp.plus(1);
    }
    Ok(Journal {
        stamp: stamp.compact(),
        snapshot: chosen.stem(),
        fills: true,
        into: false,
        room,
        asked: asked(args)?,
        branches: args.until.is_some() && args.services.patroni.is_some() && !chosen.followers.is_empty(),
        recovered: args.until.is_some(),
        last: chosen.followers.clone(),
        made: Vec::new(),
        moves: all(stamp),
    })
}

/// What the command line asks for beside the snapshot, in words that mean the same in every folder.
pub(crate) fn asked(args: &Args) -> Result<Vec<String>> {
    let here = std::env::current_dir().map_err(|e| Error::io("find", "the working directory", &e))?;
    let mut asked = Vec::new();
    if let Some(until) = &args.until {
        let wal = args.wal.as_ref().map(|wal| here.join(wal));
        asked.push(format!("{until} {:?} {wal:?}", args.timeline));
    }
    for word in &args.volumes {
        let volume = Volume::parse(word, &here).map_err(kit::cli::usage)?;
        asked.push(format!("{}={}", volume.label, volume.place));
    }
    for word in &args.forget {
        asked.push(Place::parse(word, &here).map_err(kit::cli::usage)?.to_string());
    }
    Ok(asked)
}

/// Refuses links that lead out of a volume, unless PostgreSQL keeps data so.
pub(crate) fn judge_links(archive: &Archive, found: &Found, allow: bool) -> Result<()> {
    let strange = found.strange.as_ref().filter(|_| !allow);
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

/// Where there is room to fill volumes in: beside what is there, or, where `--keep-before 0` lets that go, once it
/// has been removed.
pub(crate) fn room_of(args: &Args, chosen: &Chosen, targets: &[Target], needs: &[Need<'_>]) -> Result<Room> {
    let short = match room(needs, &[]) {
        Ok(()) => return Ok(Room::Beside),
        Err(error) => error,
    };
    // a recovery that fails must have touched nothing
    if args.until.is_some() {
        return Err(short);
    }
    if args.keep_before > 0 {
        return Err(
            short.hint("Or give --keep-before 0: then what is there is removed before all is filled in.")
        );
    }
    let mut freed = Vec::new();
    for target in targets {
        if let Some(live) = &target.live
            && target.is_live()?
        {
            freed.push((&target.site, live.as_path(), target.site.used(live)?));
        }
    }
    room(needs, &freed)?;
    let record = chosen.path.canonicalize().map_err(|e| Error::io("find", chosen.path.display(), &e))?;
    Ok(Room::Emptying(record))
}

/// What is filled in or freed: where, and how many bytes.
pub(crate) type Need<'a> = (&'a Site, &'a Path, u64);

/// Refuses to begin what the disk has no room for, also when what is `freed` has been removed.
pub(crate) fn room(needs: &[Need<'_>], freed: &[Need<'_>]) -> Result<()> {
    let mut disks: BTreeMap<u64, (Disk, u64)> = BTreeMap::new();
    let signed = needs.iter().map(|need| (need, true)).chain(freed.iter().map(|need| (need, false)));
    for ((site, path, bytes), needed) in signed {
        let disk = site.disk(path)?;
        let (disk, all) = disks.entry(disk.device).or_insert((disk, 0));
        if needed { *all += bytes } else { disk.free = disk.free.saturating_add(*bytes) }
    }
    for (Disk { path, free, .. }, needed) in disks.values() {
        if free < needed {
            return Err(Error::temporary(format!(
                "no room in '{}': {} are needed, {} are free",
                path.display(),
                out::bytes(*needed),
                out::bytes(*free)
            ))
            .hint("Make room, or restore elsewhere."));
        }
    }
    Ok(())
}

/// The plan, one line for each thing that will be done.
pub(crate) fn lines(
    args: &Args,
    chosen: &Chosen,
    targets: &[Target],
    proven: &[Proven],
    room: &Room,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (i, target) in targets.iter().enumerate() {
        let is_live = target.is_live()?;
        let kept = target.live.as_ref().filter(|_| is_live);
        match chosen.set.archive(&target.label).filter(|_| !target.forgotten) {
            Some(archive) => {
                lines.extend(lines_of(target, archive));
                if args.until.is_none() && target.archives(archive) {
                    lines.push("        WARNING: the server there archives its WAL, and that archive has other WAL of this timeline:".into());
                    lines.push(
                        "        archiving will stop for good; recover instead with --wal and --until-latest"
                            .into(),
                    );
                }
                lines.extend(log_elsewhere(&chosen.set, target, archive));
                let links = proven.get(i).into_iter().flat_map(|proven| &proven.found.links);
                // as the archive has them: its record is anybody's word
                let told = |l: &Link| {
                    format!("        link {} leads to {}", out::plain(&l.path), out::plain(&l.target))
                };
                // a recovery leads them to where the other volumes go
                lines.extend(links.filter(|_| args.until.is_none()).map(told));
            }
            None => lines.push(format!("empty   {}", target.place)),
        }
        if let (Some(live), Room::Emptying(_)) = (kept, room) {
            lines
                .push(format!("remove  what is there now, in {}, once services are stopped", live.display()));
            lines.push("        and before it is filled: there is no room beside, and no way back".into());
        } else if let Some(live) = kept {
            let what = if args.keep_before == 0 { "drop   " } else { "keep   " };
            lines.push(format!("{what} what is there now, as {}.before_TIME", live.display()));
        }
    }
    if chosen.set.volumes.iter().any(|a| a.content == Content::WalArchive) {
        lines.push("        WAL newer than the snapshot goes with what is there now".into());
    }
    if !args.services.services.is_empty() {
        lines.push(format!("stop    services, as far as they run: {}", args.services.services.join(" ")));
    }
    lines.extend(args.services.stop.iter().map(|c| format!("stop    {c}")));
    if let Some(leader) = chosen.set.leader.as_ref().filter(|_| !chosen.followers.is_empty()) {
        let last = chosen.followers.join(" ");
        lines.push(format!("start   that of {leader} first, which led, and {last} when it leads"));
    }
    lines.extend(args.services.start.iter().map(|c| format!("start   {c}")));
    Ok(lines)
}

/// A hot snapshot holds `pg_wal` as a directory, whatever it was.
fn log_elsewhere(set: &Set, target: &Target, archive: &Archive) -> Option<String> {
    let (Mode::Hot, Site::Here, [data]) = (set.mode, &target.site, &archive.data[..]) else { return None };
    let log = std::fs::read_link(target.live.as_ref()?.join(&data.path).join("pg_wal")).ok()?;
    Some(format!(
        "        WARNING: pg_wal there leads to {}; restored from a hot snapshot it is a directory",
        out::plain(&log.to_string_lossy())
    ))
}

fn lines_of(target: &Target, archive: &Archive) -> Vec<String> {
    let mut lines = vec![format!(
        "fill    {} from {} ({})",
        target.place,
        archive.file.name,
        out::bytes(archive.content_bytes)
    )];
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
    lines
}
