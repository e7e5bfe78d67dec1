//! What a run does, in order: look, stop, read all volumes, start, prove, place, rotate.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kit::catalog;
use kit::child::catch_signals;
use kit::codec::{Codec, Kind};
use kit::exit::{Code, Error, Result};
use kit::lock::Lock;
use kit::manifest::{self, Kin, Verified};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::pg::Server;
use kit::place::{self, Part};
use kit::retention::{Candidate, Policy};
use kit::services;
use kit::settings::Settings;
use kit::stamp::Stamp;
use kit::volume::SWAPPING;
use kit::volume::helper;
use kit::volume::listing;
use kit::volume::set::{self, FORMAT_VERSION, KIND, Mode, Set};
use kit::volume::snapshot::{Snapshot, free_stamp};
use kit::watch::{Fates, Turn};

use crate::basebackup;
use crate::cli::{self, Action, Args, TOOL};
use crate::cold;
use crate::help::HELP;
use crate::hot;
use crate::inspect::{Seen, Source, glance, look, outside, sources, sweep_containers};
use crate::leader::{self, leader};
use crate::rotate::{rotate, snapshots, sweep};
use crate::take::Taking;

/// The folder of snapshots below that of backups.
const SNAPSHOTS: &str = "snapshots";

/// The whole program.
pub(crate) fn run() -> Result<Code> {
    let args = cli::parse(std::env::args_os().skip(1))?;
    match args.action {
        Action::Help => return out::record(HELP.trim_end()).map(|_| Code::Done),
        Action::Version => {
            return out::record(&format!("{TOOL} {}", env!("CARGO_PKG_VERSION"))).map(|_| Code::Done);
        }
        _ => {}
    }
    let settings = Settings::load()?;
    let dir = settings.backups(args.dir.as_deref())?;
    let dir = Path::new(dir);
    let speech = Speech::new(TOOL, args.quiet);
    if args.action == Action::List {
        listing::list(&dir.join(SNAPSHOTS), args.json)?;
        return Ok(Code::Done);
    }
    catch_signals()?;
    if args.dry_run {
        return dry_run(&args, &settings, &dir.join(SNAPSHOTS));
    }
    args.telling.around(TOOL, Some(dir), &settings, &speech, |account| {
        snapshot(&args, &settings, dir, &speech, account)
    })
}

fn snapshot(
    args: &Args,
    settings: &Settings,
    dir: &Path,
    speech: &Speech,
    account: &Account<'_>,
) -> Result<Code> {
    let codec = hurried(Codec::chosen(args.codec, settings)?);
    let snapshots = dir.join(SNAPSHOTS);
    if !snapshots.is_dir() {
        // a first run that names what is not there leaves no folder behind
        Running::find(args, &sources_of(args, settings, &snapshots)?)?;
    }
    place::ensure_dir(&snapshots)?;
    let _lock = Lock::take_within(&snapshots, args.lock_timeout, kit::child::pause)?;
    services::mend(dir, speech);
    nothing_half(&snapshots)?;
    // what cannot be removed is no reason for having no snapshot
    let swept = sweep(&snapshots, speech);
    // what would fail when all is read is found out before anything stops
    catalog::sums(&snapshots)?;
    let sources = sources_of(args, settings, &snapshots)?;
    sweep_containers(&sources, &snapshots)?;
    if let Some(label) = args.leader.as_ref().filter(|l| !sources.iter().any(|s| s.volume.label == **l)) {
        return Err(kit::cli::usage(format!("--leader: '{label}' is none of the volumes")));
    }
    if !args.from_basebackup {
        outside(&sources, args.hot, args.allow_outside, speech)?;
    }
    let running = Running::find(args, &sources)?;
    if !args.services.stop_something() && running.is_none() {
        sources.iter().try_for_each(|s| look(s).map(drop))?;
    }
    if args.services.stop.is_none() && running.is_none() {
        sources.iter().try_for_each(|s| s.volume.place.no_container_runs(&args.services.services))?;
    }
    let (began, clock) = (Stamp::now(), Instant::now());
    let stamp = free_stamp(&snapshots, began)?;
    let taking = Taking { dir: &snapshots, stamp, codec, limit: args.limit, speech };
    let mut wanted = args.services.clone();
    wanted.patroni = wanted.patroni.or(settings.get("PATRONI_URLS").map(str::to_owned));
    if !wanted.services.is_empty() && sources.len() > 1 {
        let seen = sources.iter().map(glance).collect::<Result<Vec<_>>>()?;
        wanted.last = leader::followers(&sources, &seen, args.leader.as_deref());
    }
    let aside = running.is_none() && cold::puts_aside(args, &sources, &taking)?;
    let mut stopped = Some(services::stop(&wanted, dir, speech)?);
    let mut started = Ok(None);
    let all_read = || {
        started = stopped.take().map_or(Ok(None), services::Stopped::start);
    };
    let (parts, archives, wal) = match &running {
        Some(Running::Files(server, data)) => hot::read(&taking, &sources, server, data, args.log)?,
        Some(Running::Stream(server)) => basebackup::read(&taking, &sources[0], server)?,
        None => {
            cold::read(&taking, &sources, aside, all_read).map(|(parts, archives)| (parts, archives, None))?
        }
    };
    let seen: Vec<Seen> = sources.iter().map(|source| Seen::of(source, &archives)).collect();
    let downtime = started.as_ref().ok().copied().flatten();
    let mut set = Set {
        format_version: FORMAT_VERSION,
        kind: KIND.into(),
        created: began.to_string(),
        duration_ms: clock.elapsed().as_millis() as u64,
        downtime_ms: downtime.map(|d| d.as_millis() as u64),
        tool: format!("{TOOL} {}", env!("CARGO_PKG_VERSION")),
        tag: args.tag.clone(),
        shrink_allowed: args.allow_shrink,
        rules: Some(args.policy.as_ref().map_or(Vec::new(), Policy::to_options)),
        mode: if running.is_some() { Mode::Hot } else { Mode::Cold },
        leader: None,
        system_identifier: None,
        timeline: None,
        wal,
        volumes: archives,
        verified: Some(Verified { at: Stamp::now().to_string(), how: "read-back".into(), ok: true }),
    };
    leader::record(&mut set, leader(&sources, &seen, args.leader.as_deref()));
    let path = snapshots.join(set::name(stamp));
    place_all(&set, parts, &path)?;
    account.made(path.display().to_string());
    tell(args, &set, &path, speech, account)?;
    let held = args
        .policy
        .as_ref()
        .map_or(Ok(Vec::new()), |policy| rotate(&path, &set, policy, args.allow_shrink, speech))?;
    held.iter().for_each(|why| account.note(&format!("nothing older is removed: {why}")));
    started.and(swept).map(|()| if held.is_empty() { Code::Done } else { Code::Part })
}

/// Refuses while a restore is to be ended first.
fn nothing_half(snapshots: &Path) -> Result<()> {
    if snapshots.join(SWAPPING).exists() {
        return Err(Error::temporary("a restore of volumes was cut off, and must be ended first")
            .hint("Run volrestore again, or volrestore --undo: either ends what was begun."));
    }
    Ok(())
}

/// Services may wait for it: gzip takes its fastest level unless it is told another.
fn hurried(codec: Codec) -> Codec {
    Codec { level: codec.level.or((codec.kind == Kind::Gzip).then_some(1)), ..codec }
}

/// A server that is not stopped, and where its data are read.
enum Running {
    Files(Server, PathBuf),
    Stream(Server),
}

impl Running {
    fn find(args: &Args, sources: &[Source]) -> Result<Option<Self>> {
        Ok(match (args.hot, args.from_basebackup) {
            (false, _) => None,
            (true, true) => Some(Running::Stream(basebackup::server()?)),
            (true, false) => {
                let (server, data) = hot::server(sources, args.log)?;
                Some(Running::Files(server, data))
            }
        })
    }
}

/// What is to be read, checked as far as it is here.
fn sources_of(args: &Args, settings: &Settings, snapshots: &Path) -> Result<Vec<Source>> {
    let image = helper::image(args.helper.as_deref(), settings);
    match args.from_basebackup {
        true => args.volumes.iter().map(|word| basebackup::source(word)).collect(),
        false => sources(&volumes(args)?, snapshots, image),
    }
}

/// The volumes that are named, and those of the services that are, each once.
fn volumes(args: &Args) -> Result<Vec<String>> {
    let mut volumes = args.volumes.clone();
    for service in &args.of_services {
        for volume in services::volumes(&args.services, service)? {
            if !volumes.iter().any(|v| v == &volume || v.ends_with(&format!("={volume}"))) {
                volumes.push(volume);
            }
        }
    }
    Ok(volumes)
}

/// Gives all archives their names, and last of all the record.
fn place_all(set: &Set, parts: Vec<Part>, path: &Path) -> Result<()> {
    let dir = place::parent(path);
    let record = set.begin(path)?;
    let placed = || -> Result<()> {
        for (part, archive) in parts.into_iter().zip(&set.volumes) {
            part.place()?;
            catalog::update_sums(dir, &[], Some((&archive.file.name, &archive.file.sha256)))?;
        }
        record.place()
    };
    placed().inspect_err(|_| {
        // best effort: what stays has no record, so it is no snapshot
        let names: Vec<&str> = set.volumes.iter().map(|a| a.file.name.as_str()).collect();
        let _ = catalog::update_sums(dir, &names, None);
        for name in names {
            let _ = place::remove_if_there(&dir.join(name));
        }
    })
}

fn tell(args: &Args, set: &Set, path: &Path, speech: &Speech, account: &Account<'_>) -> Result<()> {
    let raw: u64 = set.volumes.iter().map(|a| a.raw_bytes).sum();
    let bytes: u64 = set.volumes.iter().map(|a| a.file.bytes).sum();
    let down =
        set.downtime_ms.map_or(String::new(), |ms| format!(", services down for {:.1} s", ms as f64 / 1e3));
    let line = format!(
        "{} of {} volumes in {} after {:.1} s{down}",
        out::bytes(raw),
        set.volumes.len(),
        out::bytes(bytes),
        set.duration_ms as f64 / 1e3
    );
    speech.say(&line);
    account.note(&line);
    let line = match args.json {
        true => listing::json(&Snapshot::at(path)),
        false => path.display().to_string(),
    };
    out::record(&line).map(drop)
}

fn dry_run(args: &Args, settings: &Settings, dir: &Path) -> Result<Code> {
    nothing_half(dir)?;
    let sources = sources_of(args, settings, dir)?;
    let now = Stamp::now();
    let stamp = if dir.is_dir() { free_stamp(dir, now)? } else { now };
    // a server that stays, or is to be stopped, is in nobody's way
    let sight = |source: &Source| match (args.hot, args.services.stop_something()) {
        (false, false) => look(source),
        (false, true) if args.services.stop.is_none() => {
            source.volume.place.no_container_runs(&args.services.services)?;
            glance(source)
        }
        _ => glance(source),
    };
    let (mut rows, mut all_seen) = (Vec::new(), Vec::new());
    for source in &sources {
        let seen = (!args.from_basebackup).then(|| sight(source));
        let words = match &seen {
            None => "from pg_basebackup".into(),
            Some(Ok(seen)) => describe(seen),
            Some(Err(e)) => e.to_string(),
        };
        all_seen.extend(seen.and_then(Result::ok));
        let name = set::archive_name(stamp, &source.volume.label, args.codec.unwrap_or_default().kind);
        rows.push(vec!["make".to_owned(), name, format!("{}: {words}", source.volume.place)]);
    }
    if let Some(policy) = &args.policy {
        let series = set::series(sources.iter().map(|s| s.volume.label.as_str()));
        // what cannot be looked at is taken for what it was before
        let seen = (all_seen.len() == sources.len()).then_some(all_seen);
        let leader = seen.as_ref().and_then(|seen| leader(&sources, seen, args.leader.as_deref()));
        let server = leader.map(|(_, control)| control.system_identifier.clone());
        let place = if server.is_none() && seen.is_some() { places(&sources) } else { None };
        let kin = Kin { kind: manifest::Kind::Volumes, database: None, server, place, partial: Vec::new() };
        let tag = args.tag.clone();
        let coming = Candidate { name: stamp.compact(), time: stamp, tag, kin: Some(kin), fault: None };
        let turn = if seen.is_some() { Turn::Coming(coming) } else { Turn::Guessed(coming, &|_| true) };
        let snapshots = snapshots(dir, &series)?;
        let fates = Fates::of(policy, now, &snapshots, turn, args.allow_shrink);
        for (snapshot, verdict) in snapshots.iter().zip(fates.verdicts) {
            let (what, why) = verdict.into_words();
            rows.push(vec![what.to_owned(), set::stem(&snapshot.name).to_owned(), why]);
        }
    }
    out::table(&["WHAT", "NAME", "WHY"], &rows)?;
    Ok(Code::Done)
}

/// Where those without a name of their own are, as a set would tell it.
fn places(sources: &[Source]) -> Option<String> {
    let unnamed = sources.iter().map(|s| &s.volume).filter(|v| !v.is_named);
    let places: Vec<_> = unnamed.map(|v| (v.label.as_str(), v.place.to_string())).collect();
    set::places(places.iter().map(|(label, place)| (*label, place.as_str())))
}

/// What a volume holds, for people.
fn describe(seen: &Seen) -> String {
    let data: Vec<String> = seen
        .data
        .iter()
        .map(|d| {
            format!(
                "cluster {}, timeline {}, {}",
                d.control.system_identifier, d.control.timeline, d.control.state
            )
        })
        .collect();
    match (data.is_empty(), seen.content) {
        (false, _) => data.join("; "),
        (true, set::Content::WalArchive) => "an archive of WAL".into(),
        (true, _) => "files".into(),
    }
}
