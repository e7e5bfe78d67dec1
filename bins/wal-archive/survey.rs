//! Reads all of an archive: what is whole, what is missing, and when what happened.

use std::collections::{BTreeMap, BTreeSet};

use kit::exit::{Error, Result};
use kit::progress::Progress;
use kit::wal::Moment;
use kit::wal::archive::{Archive, Fault, Stored};
use kit::wal::base::Base;
use kit::wal::chain::{Chain, Run};
use kit::wal::history::History;
use kit::wal::name::{Lsn, Name, Segment};
use kit::wal::reader::Reader;

/// What an archive was found to hold.
pub(crate) struct Survey {
    /// What is there and whole.
    pub(crate) chain: Chain,
    /// Everything that is there, whole or not.
    pub(crate) present: BTreeSet<Segment>,
    pub(crate) bases: Vec<Base>,
    /// What is damaged, and how.
    pub(crate) damaged: Vec<(Name, String)>,
    /// What could not be read, and why: nothing is known of it.
    pub(crate) unread: Vec<Error>,
    /// Timelines whose history is missing.
    pub(crate) orphans: Vec<u32>,
    /// First and last moment at which a transaction ended, by segment.
    pub(crate) times: BTreeMap<Segment, (Moment, Moment)>,
}

/// How far a recovery of a base backup gets.
#[derive(Debug)]
pub(crate) struct Reach {
    /// The timeline that it follows.
    pub(crate) timeline: u32,
    /// Where it ends.
    pub(crate) end: Lsn,
    /// When the last transaction before that ended; `None`: there is none.
    pub(crate) until: Option<Moment>,
    /// The segment that stops it, where there is more behind that.
    pub(crate) missing: Option<Segment>,
    /// Whether the data become consistent on the way.
    pub(crate) is_consistent: bool,
}

impl Survey {
    /// Reads every byte of the archive.
    ///
    /// # Errors
    /// When the archive as a whole cannot be read: then nothing is known of it.
    pub(crate) fn of(archive: &Archive, quiet: bool) -> Result<Self> {
        let files = archive.list()?;
        let mut survey = Survey {
            chain: Chain { segment_bytes: archive.segment_bytes().unwrap_or(16 << 20), ..Chain::default() },
            present: kit::wal::archive::segments(files.keys()).collect(),
            bases: Vec::new(),
            damaged: Vec::new(),
            unread: Vec::new(),
            orphans: Vec::new(),
            times: BTreeMap::new(),
        };
        let bytes = survey.chain.segment_bytes;
        let progress = Progress::start("reading", Some(survey.present.len() as u64 * bytes), quiet);
        let mut reader = Reader::new(archive);
        for (name, stored) in &files {
            match name {
                Name::Segment(segment) => {
                    survey.segment(&mut reader, *segment, stored)?;
                    progress.advance(bytes);
                }
                _ => survey.other(archive, stored)?,
            }
        }
        let has_history = |t: &u32| *t == 1 || survey.chain.histories.contains_key(t);
        survey.orphans = survey.chain.timelines().into_iter().filter(|t| !has_history(t)).collect();
        survey.bases.sort_by_key(|b| (b.start, b.timeline));
        // all of it may have gone meanwhile
        Archive::open(archive.dir())?;
        Ok(survey)
    }

    fn segment(&mut self, reader: &mut Reader<'_>, segment: Segment, stored: &Stored) -> Result<()> {
        let mut times: Option<(Moment, Moment)> = None;
        let seen = reader.read(stored, |event| {
            let Some(at) = event.what.at() else { return };
            // clocks go back; records do not
            times = Some(times.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        });
        match seen {
            Ok(seen) => {
                self.chain.segments.insert(segment);
                self.times.extend(times.map(|t| (segment, t)));
                // the server asks for segments that are full, or that another timeline took over
                if seen.ends && self.present.contains(&segment.next(self.chain.segment_bytes)) {
                    self.damaged
                        .push((stored.name, "the log ends within it, and there is a next one".into()));
                }
            }
            Err(fault) => self.fault(stored.name, fault)?,
        }
        Ok(())
    }

    fn other(&mut self, archive: &Archive, stored: &Stored) -> Result<()> {
        let read = match stored.name {
            Name::Partial(_) => archive.read(stored, |_| kit::child::interrupted()).map(|_| None),
            _ => archive.text(stored).map(Some),
        };
        let text = match read {
            Ok(text) => text.unwrap_or_default(),
            Err(fault) => return self.fault(stored.name, fault),
        };
        match stored.name {
            Name::History(timeline) => match History::parse(timeline, &text) {
                Ok(history) => drop(self.chain.histories.insert(timeline, history)),
                Err(cause) => self.damaged.push((stored.name, cause)),
            },
            Name::Backup(..) => match Base::parse(&text) {
                Ok(base) => self.bases.push(base),
                Err(cause) => self.damaged.push((stored.name, cause)),
            },
            _ => {}
        }
        Ok(())
    }

    fn fault(&mut self, name: Name, fault: Fault) -> Result<()> {
        match fault {
            Fault::Damaged(error) => self.damaged.push((name, error.to_string())),
            // one file that cannot be read hides nothing that is wrong with others
            Fault::Away(error) => self.unread.push(error),
            // a program that is told to stop says nothing about the archive
            Fault::Taker(error) => return Err(error),
        }
        Ok(())
    }

    /// The gaps of a timeline: what was never there, and not what is there and damaged.
    pub(crate) fn gaps(&self, timeline: u32) -> Vec<Run> {
        let chain = Chain { segments: self.present.clone(), ..self.chain.clone() };
        chain.gaps(timeline)
    }

    /// How far recoveries of a base backup get, on each timeline that they can follow.
    pub(crate) fn reaches(&self, base: &Base) -> Vec<Reach> {
        let timelines = self.chain.descendants(base.timeline, base.stop.unwrap_or(base.start));
        timelines.into_iter().filter_map(|timeline| self.reach(base, timeline).ok()).collect()
    }

    fn reach(&self, base: &Base, timeline: u32) -> Result<Reach> {
        let way = self.chain.way(base.start, timeline).map_err(Error::no)?;
        let until = way.segments.iter().filter_map(|s| self.times.get(s)).map(|(_, last)| *last).max();
        let is_consistent = !way.segments.is_empty() && base.stop.is_none_or(|stop| stop <= way.end);
        Ok(Reach { timeline, end: way.end, until, missing: way.missing, is_consistent })
    }
}
