//! All that a folder holds, of whatever kind, as one list: dumps, snapshots of Redis, sets of volumes; and what
//! should be there and is not.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;

use crate::catalog::{self, Backup, NO_MANIFEST, SNAPSHOTS};
use crate::codec::Kind as Codec;
use crate::exit::{Error, Result};
use crate::history;
use crate::manifest::{Artifact, Format, Kind, Manifest, Rotation, Source};
use crate::place;
use crate::redis;
use crate::stamp::Stamp;
use crate::volume::set::{Mode, Set, parse, parse_record};
use crate::volume::snapshot::{self, Snapshot};

/// … and this is why they do not count.
const TAKEN: &str =
    "its file is missing, of which a drill was held: if it went on purpose, remove its lines from";
const NO_LONGER: &str = "its manifest is missing";
const UNREADABLE: &str = "it cannot be read";
const ODD: &str = "its name is no UTF-8";
const UNLIKE_OTHERS: &str = "it has no manifest, others of its series have";

/// All backups in `dir` and in its folder of snapshots, newest first, and those that somebody took away, as far as
/// lists can be read that tell of them, see [`unread`].
pub fn backups(dir: &Path) -> Result<Vec<Backup>> {
    let mut backups = catalog::scan(dir, None)?;
    backups.extend(catalog::vanished(dir)?);
    for name in place::names(dir)?.iter().filter(|name| redis::parse(name).is_some()) {
        backups.push(of_redis(&dir.join(name))?);
    }
    remember(dir, &mut backups);
    for folder in [dir.to_owned(), dir.join(SNAPSHOTS)].iter().filter(|folder| folder.is_dir()) {
        backups.extend(snapshots(folder)?);
        backups.extend(without_record(folder)?);
        backups.extend(place::odd_names(folder)?.iter().filter_map(|name| odd(folder, name)));
    }
    for backup in backups.iter_mut().filter(|b| b.fault.is_none()) {
        backup.fault = place::open_regular(&backup.path).err().map(|_| UNREADABLE.into());
    }
    backups.sort_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
    Ok(backups)
}

/// The sets of volumes whose records are in `dir`, newest first.
pub fn snapshots(dir: &Path) -> Result<Vec<Backup>> {
    Ok(snapshot::scan(dir)?.iter().map(of_set).collect())
}

/// Why a list of digests or the history of drills cannot be read, of `dir` and of its folder of snapshots.
pub fn unread(dir: &Path) -> Vec<Error> {
    let unread = |dir: &Path| {
        let odd = |at| {
            let list = dir.join(catalog::SUMS);
            Error::no(format!("cannot read '{}': line {at} is no digest of anything", list.display()))
        };
        catalog::sums(dir).err().or_else(|| catalog::odd_line(dir).map(odd))
    };
    let lists = [dir.to_owned(), dir.join(SNAPSHOTS)];
    lists.iter().filter_map(|dir| unread(dir)).chain(history::drills(dir).err()).collect()
}

/// A backup by a name that no line of a list can hold, so that it is not passed over in silence.
fn odd(dir: &Path, name: &OsStr) -> Option<Backup> {
    let (path, name) = (dir.join(name), name.to_string_lossy().into_owned());
    let meta = path.symlink_metadata().ok().filter(|meta| meta.is_file())?;
    let series = match (catalog::parse(&name), redis::parse(&name)) {
        (Some((series, _)), _) | (_, Some((series, _))) => Some(series.to_owned()),
        _ if catalog::ENDINGS.iter().any(|e| name.ends_with(e)) => None,
        _ => return None,
    };
    let time = named(&name).unwrap_or(Stamp::from_unix(0));
    Some(Backup {
        path,
        series,
        time,
        bytes: meta.len(),
        manifest: None,
        fault: Some(ODD.into()),
        way: "",
        log_bytes: None,
        name,
    })
}

/// The backup at `path`, of whatever kind.
pub fn at(path: &Path) -> Result<Backup> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match (parse_record(&name), redis::parse(&name)) {
        (Some(_), _) => Ok(of_set(&Snapshot::at(path))),
        (_, Some(_)) => of_redis(path),
        _ => Backup::at(path),
    }
}

/// The time in a backup's name.
pub fn named(name: &str) -> Option<Stamp> {
    let dump = catalog::parse(name).map(|(_, stamp)| stamp);
    dump.or_else(|| parse_record(name)).or_else(|| redis::parse(name)?.1)
}

/// A snapshot of Redis proves itself, so one without a manifest counts as well.
fn of_redis(path: &Path) -> Result<Backup> {
    let mut backup = Backup::at(path)?;
    let name = backup.name.clone();
    let Some((series, named)) = redis::parse(&name) else { return Ok(backup) };
    backup.series = Some(series.to_owned());
    if let (Some(named), None) = (named, &backup.manifest) {
        backup.time = named;
    }
    if backup.fault.as_deref() != Some(NO_MANIFEST) {
        return Ok(backup);
    }
    backup.fault = match place::open_regular(path) {
        Ok(file) => redis::glance(&file, &name).map(str::to_owned),
        Err(_) => Some(UNREADABLE.into()),
    };
    let named = |kind: &Codec| name.ends_with(kind.suffix());
    let codec = [Codec::Gzip, Codec::Zstd].into_iter().find(named).unwrap_or(Codec::None);
    let file = Artifact { name, bytes: backup.bytes, sha256: String::new(), codec, format: Format::Rdb };
    let raw_bytes = if codec == Codec::None { backup.bytes } else { 0 };
    backup.manifest = Some(Manifest { raw_bytes, ..bare(Kind::Redis, backup.time.to_string(), file) });
    Ok(backup)
}

/// A set of volumes; its series is the names of these.
fn of_set(snapshot: &Snapshot) -> Backup {
    let Snapshot { path, time, set, fault } = snapshot;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let series = set.as_ref().map_or(SNAPSHOTS.to_owned(), Set::series);
    Backup {
        path: path.clone(),
        series: Some(series),
        time: *time,
        bytes: snapshot.bytes(),
        manifest: set.as_ref().map(|set| as_manifest(set, &name, snapshot.bytes())),
        fault: fault.clone(),
        way: set.as_ref().map_or("", way),
        log_bytes: set.as_ref().and_then(log_bytes),
        name,
    }
}

/// How much of a set is WAL; `None` where its record does not tell of each of its volumes.
fn log_bytes(set: &Set) -> Option<u64> {
    set.volumes.iter().try_fold(0u64, |sum, a| Some(sum.saturating_add(a.log_bytes?)))
}

/// A cold snapshot holds all of `pg_wal`, a hot one nothing of it, or what it needs.
fn way(set: &Set) -> &'static str {
    match (set.mode, set.needs_log()) {
        (Mode::Cold, _) => "cold",
        (Mode::Hot, true) => "hot",
        (Mode::Hot, false) => "hot, with its log",
    }
}

fn as_manifest(set: &Set, name: &str, bytes: u64) -> Manifest {
    let codec = set.volumes.first().map_or(Codec::None, |a| a.file.codec);
    let file = Artifact { name: name.to_owned(), bytes, sha256: String::new(), codec, format: Format::Tar };
    Manifest {
        duration_ms: set.duration_ms,
        tool: set.tool.clone(),
        tag: set.tag.clone(),
        source: Source {
            system_identifier: set.system_identifier.clone(),
            place: set.place(),
            ..Source::default()
        },
        raw_bytes: set.volumes.iter().fold(0, |sum, a| sum.saturating_add(a.raw_bytes)),
        verified: set.verified.clone(),
        rotation: Rotation { rules: set.rules.clone(), shrink_allowed: set.shrink_allowed },
        ..bare(Kind::Volumes, set.created.clone(), file)
    }
}

/// What is known of a backup that has no manifest of its own.
fn bare(kind: Kind, created: String, file: Artifact) -> Manifest {
    Manifest {
        format_version: 1,
        kind,
        created,
        duration_ms: 0,
        tool: String::new(),
        tag: None,
        source: Source::default(),
        raw_bytes: 0,
        file,
        tables: 0,
        rows: 0,
        large_objects: 0,
        verified: None,
        rotation: Rotation::default(),
        frames: Vec::new(),
    }
}

/// Archives, there or in the list of digests, whose record is gone: one entry for each set.
fn without_record(dir: &Path) -> Result<Vec<Backup>> {
    let mut sets: BTreeMap<Stamp, (u64, BTreeSet<String>)> = BTreeMap::new();
    let sums = catalog::listed(dir);
    let listed = catalog::entries(&sums).map(|(_, name)| name.to_owned());
    let names: BTreeSet<String> = place::names(dir)?.into_iter().chain(listed).collect();
    for name in &names {
        if let Some((stamp, label)) = parse(name) {
            let (bytes, labels) = sets.entry(stamp).or_default();
            *bytes += dir.join(name).metadata().map_or(0, |m| m.len());
            labels.insert(label.to_owned());
        }
    }
    let of = |(time, (bytes, labels)): (Stamp, (u64, BTreeSet<String>))| {
        let name = crate::volume::set::name(time);
        let path = dir.join(&name);
        let fault = Some("its record is missing".to_owned());
        let series = Some(Vec::from_iter(labels).join("+"));
        let gone =
            Backup { path, name, series, time, bytes, manifest: None, fault, way: "", log_bytes: None };
        (!gone.path.exists()).then_some(gone)
    };
    Ok(sets.into_iter().filter_map(of).collect())
}

/// A dump without a manifest may be foreign; but not where the list of digests or a drill tells of it, or where
/// others of its series have one. The latest that a drill was held of is not removed by any rule before a newer
/// one is there.
fn remember(dir: &Path, backups: &mut Vec<Backup>) {
    let sums = catalog::listed(dir);
    let drills = history::drills(dir).unwrap_or_default();
    let mut known: BTreeSet<&str> = catalog::entries(&sums).map(|(_, name)| name).collect();
    known.extend(drills.iter().map(|d| d.name.as_str()));
    let series: BTreeSet<String> =
        backups.iter().filter(|b| b.manifest.is_some()).filter_map(|b| b.series.clone()).collect();
    for backup in backups.iter_mut().filter(|b| b.fault.as_deref() == Some(NO_MANIFEST)) {
        if known.contains(backup.name.as_str()) {
            backup.fault = Some(NO_LONGER.into());
        } else if backup.series.as_ref().is_some_and(|s| series.contains(s)) {
            backup.fault = Some(UNLIKE_OTHERS.into());
        }
    }
    for drill in drills.iter().filter(|d| d.ok) {
        let Some((of, time)) = catalog::parse(&drill.name) else { continue };
        let same = |b: &&Backup| b.series.as_deref() == Some(of);
        let newer = |b: &Backup| b.name == drill.name || b.fault.is_none() && b.time >= time;
        if !backups.iter().filter(same).any(newer) {
            backups.push(gone(dir, &drill.name, of, time));
        }
    }
}

fn gone(dir: &Path, name: &str, series: &str, time: Stamp) -> Backup {
    Backup {
        path: dir.join(name),
        name: name.to_owned(),
        series: Some(series.to_owned()),
        time,
        bytes: 0,
        manifest: None,
        fault: Some(format!("{TAKEN} {}", history::NAME)),
        way: "",
        log_bytes: None,
    }
}
