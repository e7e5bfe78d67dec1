//! From which snapshot, along which timeline, and does the log reach the target? Found out by reading
//! the log, before anything is touched.

use std::collections::BTreeMap;
use std::path::Path;

use kit::exit::{Code, Error, Result};
use kit::out::Speech;
use kit::stamp::Stamp;
use kit::volume::control::State;
use kit::volume::set::{Archive as Volume, Data, Set};
use kit::volume::snapshot::scan;
use kit::wal::Moment;
use kit::wal::archive::{Archive, Stored, segments};
use kit::wal::base::Base;
use kit::wal::chain::Chain;
use kit::wal::history::{History, Span};
use kit::wal::name::{Lsn, Name, Segment};
use kit::wal::reader::Reader;
use kit::wal::record::What;

use crate::choose::{Chosen, choose};
use crate::cli::Which;
use crate::until::{Meets, Until};

/// Where a recovery begins and ends.
pub(crate) struct Route {
    pub(crate) chosen: Chosen,
    /// The timeline that it follows.
    pub(crate) timeline: u32,
    /// Where it ends.
    pub(crate) end: Lsn,
    /// When the last transaction in it ended, as far as there is one behind the snapshot.
    pub(crate) last: Option<Moment>,
    /// What it ends at, for people.
    pub(crate) why: String,
    /// The segment that is missing behind its end, where there is more of the log.
    pub(crate) gap: Option<Segment>,
}

/// The log, as far as names tell.
pub(crate) struct Log<'a> {
    archive: &'a Archive,
    files: BTreeMap<Name, Stored>,
    chain: Chain,
}

/// Where a recovery along one timeline ends.
struct Reach {
    timeline: u32,
    end: Lsn,
    last: Option<Moment>,
    why: String,
    gap: Option<Segment>,
}

impl<'a> Log<'a> {
    /// Lists the archive.
    pub(crate) fn of(archive: &'a Archive) -> Result<Self> {
        let none = || Error::no(format!("the archive '{}' holds no segment yet", archive.dir().display()));
        let files = archive.list()?;
        let mut chain = Chain {
            segment_bytes: archive.segment_bytes().ok_or_else(none)?,
            segments: segments(files.keys()).collect(),
            ..Chain::default()
        };
        for name in files.keys() {
            if let Name::History(timeline) = name {
                let history = archive.history(*timeline).map_err(kit::wal::archive::Fault::error)?;
                chain.histories.extend(history.map(|h| (*timeline, h)));
            }
        }
        Ok(Log { archive, files, chain })
    }

    /// The route to the target: of the snapshot that is named, else of the newest that lies before it.
    ///
    /// # Errors
    /// No snapshot reaches it, or several timelines do and none was chosen.
    pub(crate) fn route(
        &self,
        which: Option<&Which>,
        dir: &Path,
        until: &Until,
        timeline: Option<u32>,
        speech: &Speech,
    ) -> Result<Route> {
        if let Some(which) = which {
            return self.from(choose(which, dir)?, until, timeline);
        }
        let mut reason = None;
        for snapshot in scan(dir)? {
            let Some(set) = snapshot.set.as_ref().filter(|_| snapshot.fault.is_none()) else { continue };
            if set.system_identifier != self.archive.identity().system_identifier
                || later(snapshot.time, until)
            {
                continue;
            }
            let named = Which::Named(snapshot.path.display().to_string());
            match self.from(choose(&named, dir)?, until, timeline) {
                Err(error) if error.code() == Code::No => {
                    speech.say(&format!("not from {}: {error}", snapshot.stem()));
                    reason.get_or_insert(error);
                }
                other => return other,
            }
        }
        Err(reason.unwrap_or_else(|| {
            Error::no(format!("'{}' holds no snapshot of this server from before {until}", dir.display()))
        }))
    }

    fn from(&self, chosen: Chosen, until: &Until, timeline: Option<u32>) -> Result<Route> {
        let (_, data) = data_of(&chosen.set)?;
        let ours = self.archive.identity().system_identifier.as_ref();
        if ours.is_some_and(|ours| *ours != data.control.system_identifier) {
            return Err(Error::refused(format!(
                "the archive '{}' is of another server than snapshot {}",
                self.archive.dir().display(),
                chosen.stem()
            )));
        }
        if chosen.set.created().is_some_and(|begun| later(begun, until)) {
            return Err(Error::no(format!("{until} lies before the snapshot {}", chosen.stem()))
                .hint("Name an earlier one, or none: the right one is found."));
        }
        let base = Base::of_snapshot(&chosen.set, data, &chosen.stem());
        let own = own_log(&chosen.set, data);
        let mut timelines = self.chain.descendants(base.timeline, base.stop.unwrap_or(base.start));
        if let Some(wanted) = timeline {
            if !timelines.contains(&wanted) {
                return Err(Error::no(format!(
                    "timeline {wanted} does not come from snapshot {}",
                    chosen.stem()
                )));
            }
            timelines = vec![wanted];
        }
        if *until == Until::Immediate {
            timelines.truncate(1);
        }
        let mut reached = Vec::new();
        let mut reason = None;
        for timeline in timelines {
            match self.reach(&base, own, timeline, until) {
                Ok(reach) => reached.push(reach),
                Err(error) if error.code() == Code::No => _ = reason.get_or_insert(error),
                Err(error) => return Err(error),
            }
        }
        let doubled: Vec<bool> = reached.iter().map(|r| self.is_doubled(r, &reached)).collect();
        let mut doubled = doubled.into_iter();
        reached.retain(|_| doubled.next() != Some(true));
        let one = match reached.len() {
            0 => return Err(reason.unwrap_or_else(|| Error::no("no timeline comes from it"))),
            1 => reached.pop(),
            _ => {
                let all: Vec<String> =
                    reached.iter().map(|r| format!("{} (to {}{})", r.timeline, r.end, at(r.last))).collect();
                return Err(Error::refused(format!("several timelines reach {until}: {}", all.join(", ")))
                    .hint("Choose one with --timeline; the highest is the server's latest."));
            }
        };
        let Reach { timeline, end, last, why, gap } =
            one.ok_or_else(|| Error::no("no timeline comes from it"))?;
        Ok(Route { chosen, timeline, end, last, why, gap })
    }

    /// Whether a later timeline goes the same way as far as this one gets, and is no choice then: a
    /// failover, or a start of a whole cluster, begins one.
    fn is_doubled(&self, reach: &Reach, all: &[Reach]) -> bool {
        let owner = self.owner(reach.timeline, reach.end);
        all.iter().any(|later| {
            later.timeline > reach.timeline
                && later.end >= reach.end
                && self.owner(later.timeline, reach.end) == owner
        })
    }

    /// The timeline to which the log before `end` belongs in the history of another.
    fn owner(&self, timeline: u32, end: Lsn) -> u32 {
        let spans = self.chain.histories.get(&timeline).map(History::spans).unwrap_or_default();
        let holds = |span: &&Span| span.until.is_none_or(|until| end <= until);
        spans.iter().find(holds).map_or(timeline, |span| span.timeline)
    }

    /// Reads the log from the snapshot on, up to the target. What ended before `own` is in the snapshot's
    /// own log, within which nobody can stop.
    fn reach(&self, base: &Base, own: Option<Moment>, timeline: u32, until: &Until) -> Result<Reach> {
        let way = self.chain.way(base.start, timeline).map_err(Error::no)?;
        let mut stop = base.stop.unwrap_or(base.start);
        if own.is_some() && *until == Until::Immediate {
            let why = "or further: it had crashed, and replays the log that it holds to its end".into();
            return Ok(Reach { timeline, end: stop, last: None, why, gap: way.missing });
        }
        let mut beyond = own.is_none();
        let mut reader = Reader::new(self.archive);
        let (mut last, mut found, mut early, mut outside) = (None, None, None, None);
        let mut end = base.start;
        let mut segments = way.segments.iter();
        for segment in segments.by_ref() {
            let Some(stored) = self.files.get(&Name::Segment(*segment)) else { break };
            let seen = reader.read(stored, |event| {
                if event.start < base.start || found.is_some() {
                    return;
                }
                let Some(at) = event.what.at() else {
                    if !matches!(until, Until::Lsn(lsn) if event.start >= *lsn) {
                        outside.get_or_insert(describe("", &event.what));
                    }
                    return;
                };
                match own {
                    Some(own) if at < own => stop = stop.max(event.end),
                    _ => beyond = true,
                }
                match until.meets(&event) {
                    Meets::Not => {}
                    // before the data are consistent nobody can stop
                    _ if event.start < stop => early = Some(at),
                    Meets::Before => found = Some((event.start, describe("before", &event.what))),
                    Meets::After => {
                        last = Some(at);
                        found = Some((event.end, describe("behind", &event.what)));
                    }
                }
                if found.is_none() {
                    last = last.max(Some(at));
                }
            });
            seen.map_err(kit::wal::archive::Fault::error)?;
            end = reader.end().unwrap_or(end).max(end);
            match until {
                Until::Lsn(lsn) if end > *lsn && *lsn >= stop && beyond => {
                    found.get_or_insert((*lsn, "behind the record there".into()));
                }
                Until::Immediate if end >= stop => _ = found.get_or_insert((stop, "there".into())),
                _ => {}
            }
            if found.is_some() || early.is_some() {
                break;
            }
        }
        let too_early = match until {
            Until::Lsn(lsn) => *lsn < stop,
            _ => early.is_some(),
        };
        if too_early {
            return Err(Error::no(format!(
                "{until} lies before the snapshot, whose data are consistent from {} on",
                stop
            )));
        }
        if found.is_none() && *until == Until::Latest && end >= stop {
            let why = way.missing.map_or("at the end of the log".into(), |missing| {
                format!("at a gap: {missing} is missing, and there is more behind it")
            });
            found = Some((end, why));
        }
        if let Some(made) = outside {
            return Err(Error::refused(format!("on the way to {until} {made}, and the replay would write there"))
                .hint("Begin with a snapshot from after that, which holds it, or recover by hand where nothing stands in that place."));
        }
        let Some((place, why)) = found else {
            return Err(not_reached(until, timeline, end, last, way.missing));
        };
        // a target within a record is met at the next one, which may begin in the segment behind; of a store
        // it must be at hand, and whatever is wrong with it the server tells, if it needs it
        let behind = segments.next().and_then(|segment| self.files.get(&Name::Segment(*segment)));
        if let (Some(stored), Some(_)) = (behind, self.archive.store("")) {
            let _ = self.archive.read(stored, |_| Ok(()));
        }
        Ok(Reach { timeline, end: place, last, why, gap: way.missing })
    }
}

/// The log from the snapshot on does not come to the target.
fn not_reached(
    until: &Until,
    timeline: u32,
    end: Lsn,
    last: Option<Moment>,
    missing: Option<Segment>,
) -> Error {
    // these two have no order: where they are not seen, nobody knows on which side they are
    let (without, where_else) = match until {
        Until::Xid(_) | Until::Name(_) => {
            ("without", " What ended before the snapshot needs an earlier one.")
        }
        _ => ("before", ""),
    };
    let text = format!("the log of timeline {timeline} ends at {end}{}, {without} {until}", at(last));
    let (text, first) = match missing {
        Some(m) => (format!("{text}: {m} is missing"), format!("There is more behind it: bring {m} back.")),
        None => (text, "What the server has not archived yet it does with: SELECT pg_switch_wal().".into()),
    };
    Error::no(text).hint(format!("{first}{where_else} The end of what is there: --until-latest."))
}

/// `, 2025-11-27 14:30:00…`, or nothing.
fn at(last: Option<Moment>) -> String {
    last.map_or(String::new(), |at| format!(", {at}"))
}

fn describe(side: &str, what: &What) -> String {
    match what {
        What::Commit { xid, at } => format!("{side} the commit of transaction {xid} at {at}"),
        What::Abort { xid, at } => format!("{side} the end of transaction {xid}, given up at {at}"),
        What::RestorePoint { name, at } => {
            format!("{side} restore point '{}' of {at}", kit::exit::plain(name))
        }
        What::Tablespace { path } => {
            format!("a tablespace was made in '{}'", kit::exit::plain(path))
        }
    }
}

/// Up to when what ended is in the log that a cold snapshot holds itself, which its server replays before
/// anything else (`InitWalRecovery`): that of a server that had crashed. The record tells whole seconds.
fn own_log(set: &Set, data: &Data) -> Option<Moment> {
    let crashed =
        matches!(data.control.state, State::InProduction | State::ShuttingDown | State::InCrashRecovery);
    let created = set.created().filter(|_| crashed && set.wal.is_none());
    created.map(|at| Moment((at.unix() + 1) * 1_000_000))
}

/// A snapshot that was begun after the target is of no use for it.
fn later(time: Stamp, until: &Until) -> bool {
    matches!(until, Until::Time(target) if time > target.stamp())
}

/// The volume that holds the data directory: the only one, or of a cluster that of the node that led.
pub(crate) fn data_of(set: &Set) -> Result<(&Volume, &Data)> {
    let all: Vec<_> = set.volumes.iter().flat_map(|v| v.data.iter().map(move |d| (v, d))).collect();
    let system = |(_, data): &(&Volume, &Data)| data.control.system_identifier.clone();
    let one_cluster = all.iter().all(|of| system(of) == system(&all[0]));
    let led: Vec<_> =
        all.iter().filter(|(v, _)| one_cluster && set.leader.as_ref() == Some(&v.label)).collect();
    match (&all[..], &led[..]) {
        ([one], _) => Ok(*one),
        (_, [one]) => Ok(**one),
        ([], _) => Err(Error::no("the snapshot holds no data directory of PostgreSQL")),
        _ => Err(Error::refused("the snapshot holds several data directories, and does not tell who led")
            .hint("A recovery is of one server: name a snapshot of its directory alone.")),
    }
}
