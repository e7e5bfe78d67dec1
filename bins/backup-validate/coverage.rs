//! What the archive of the server's log covers, by the names of its files; what stands in them is for
//! `wal-archive verify`.

use std::path::Path;

use kit::exit::Result;
use kit::out;
use kit::stamp::Stamp;
use kit::volume::set::Set;
use kit::wal::archive::{Archive, Fault, segments};
use kit::wal::chain::{Chain, Run};
use kit::wal::name::{Name, Segment};
use kit::watch::{Finding, What};
use serde_json::{Value, json};

/// The archive, timeline by timeline.
pub(crate) struct Coverage {
    pub(crate) dir: String,
    pub(crate) timelines: Vec<Timeline>,
    chain: Chain,
    system_identifier: Option<String>,
}

/// What there is of a timeline.
pub(crate) struct Timeline {
    pub(crate) number: u32,
    /// Unbroken stretches, in order.
    pub(crate) runs: Vec<Run>,
    pub(crate) gaps: Vec<Run>,
    /// How many segments there are.
    pub(crate) segments: u64,
    /// How many base backups begin in it.
    pub(crate) bases: usize,
    /// When the newest file came.
    pub(crate) newest: Option<Stamp>,
}

impl Coverage {
    /// Looks at the archive in `dir`.
    ///
    /// # Errors
    /// When it cannot be read: then nothing is known of it.
    pub(crate) fn of(dir: &Path) -> Result<Self> {
        let archive = Archive::open(dir)?;
        let files = archive.list()?;
        let segment_bytes = archive.segment_bytes().unwrap_or(16 << 20);
        let mut chain =
            Chain { segment_bytes, segments: segments(files.keys()).collect(), ..Chain::default() };
        for name in files.keys() {
            let Name::History(timeline) = name else { continue };
            let history = archive.history(*timeline).map_err(Fault::error)?;
            chain.histories.extend(history.map(|h| (*timeline, h)));
        }
        let timeline = |number: u32| {
            let of = || files.values().filter(|s| s.name.timeline() == number);
            let modified = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
            let newest = of().filter_map(|s| modified(&s.path)).max();
            let newest = newest.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
            let runs = chain.runs(number);
            Timeline {
                number,
                segments: runs.iter().map(|run| run.length(segment_bytes)).sum(),
                gaps: chain.gaps(number),
                bases: of().filter(|s| matches!(s.name, Name::Backup(..))).count(),
                newest: newest.map(|d| Stamp::from_unix(d.as_secs() as i64)),
                runs,
            }
        };
        let timelines = chain.timelines().into_iter().map(timeline).collect();
        let (dir, system_identifier) = (dir.to_string_lossy().into_owned(), archive.identity());
        let system_identifier = system_identifier.system_identifier.clone();
        Ok(Coverage { dir, timelines, chain, system_identifier })
    }

    /// What is missing, but for the gaps that begin with one of `accepted`.
    pub(crate) fn findings(&self, accepted: &[Segment]) -> Vec<Finding> {
        let of = |what, why| Finding { what, series: None, backup: None, why };
        if self.chain.segments.is_empty() {
            return vec![of(What::Missing, format!("the log's archive '{}' holds no segment", self.dir))];
        }
        let gap = |gap: &Run| of(What::Gap, format!("the log lacks {}", self.stretch(gap)));
        let gaps = self.timelines.iter().flat_map(|t| &t.gaps);
        gaps.filter(|gap| !accepted.contains(&gap.first)).map(gap).collect()
    }

    /// Why a hot snapshot without a log of its own cannot be restored from this archive. Of another server's nothing
    /// is said.
    pub(crate) fn lacks(&self, set: &Set) -> Option<String> {
        let wal = set.wal.as_ref().filter(|_| set.needs_log() && !self.is_of_another(set))?;
        let ends = wal.first.parse().and_then(|first| Ok(Run { first, last: wal.last.parse()? }));
        let missing = match ends {
            Ok(run) => self.stretch(self.chain.lacks(&run).first()?),
            Err(cause) => cause,
        };
        Some(format!("it needs log that '{}' does not hold: {missing}", self.dir))
    }

    /// Whether it is known to be the archive of another server than the snapshot is of.
    pub(crate) fn is_of_another(&self, set: &Set) -> bool {
        self.system_identifier
            .as_ref()
            .zip(set.system_identifier.as_ref())
            .is_some_and(|(mine, its)| mine != its)
    }

    /// A stretch of the log in words.
    pub(crate) fn stretch(&self, run: &Run) -> String {
        match run.length(self.chain.segment_bytes) {
            1 => run.first.to_string(),
            n => format!("{} to {}, {} segments", run.first, run.last, out::count(n)),
        }
    }

    /// Where a run begins and ends, as shares of the whole stretch of all timelines.
    pub(crate) fn place(&self, run: &Run) -> (f64, f64) {
        let number = |s: Segment| s.number(self.chain.segment_bytes);
        let all = || self.timelines.iter().flat_map(|t| t.runs.iter().chain(&t.gaps));
        let first = all().map(|r| number(r.first)).min().unwrap_or(0);
        let span = all().map(|r| number(r.last) + 1).max().unwrap_or(1).saturating_sub(first).max(1);
        let share = |n: u64| n.saturating_sub(first) as f64 / span as f64;
        (share(number(run.first)), share(number(run.last) + 1))
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let run = |run: &Run| {
            json!({
                "first": run.first.to_string(),
                "last": run.last.to_string(),
                "segments": run.length(self.chain.segment_bytes),
            })
        };
        let timeline = |t: &Timeline| {
            json!({
                "timeline": t.number,
                "segments": t.segments,
                "runs": t.runs.iter().map(run).collect::<Vec<_>>(),
                "gaps": t.gaps.iter().map(run).collect::<Vec<_>>(),
                "base_backups": t.bases,
                "newest": t.newest.map(|s| s.to_string()),
            })
        };
        json!({"dir": self.dir, "timelines": self.timelines.iter().map(timeline).collect::<Vec<_>>()})
    }
}
