//! What the archive of the server's log covers, by the names of its files; what stands in them is for
//! `wal-archive verify`.

use std::path::Path;

use kit::exit::Result;
use kit::out;
use kit::stamp::Stamp;
use kit::wal::archive::{Archive, Fault, segments};
use kit::wal::chain::{Chain, Run};
use kit::wal::name::Name;
use kit::watch::{Finding, What};
use serde_json::{Value, json};

/// The archive, timeline by timeline.
pub(crate) struct Coverage {
    pub(crate) dir: String,
    pub(crate) timelines: Vec<Timeline>,
    segment_bytes: u64,
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
        Ok(Coverage { dir: dir.to_string_lossy().into_owned(), timelines, segment_bytes })
    }

    /// What is missing.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let gap = |gap: &Run| Finding {
            what: What::Gap,
            series: None,
            backup: None,
            why: format!("the log lacks {}", self.stretch(gap)),
        };
        self.timelines.iter().flat_map(|t| &t.gaps).map(gap).collect()
    }

    /// A stretch of the log in words.
    pub(crate) fn stretch(&self, run: &Run) -> String {
        match run.length(self.segment_bytes) {
            1 => run.first.to_string(),
            n => format!("{} to {}, {} segments", run.first, run.last, out::count(n)),
        }
    }

    /// Where a run begins and ends, as shares of the whole stretch of all timelines.
    pub(crate) fn place(&self, run: &Run) -> (f64, f64) {
        let number = |s: kit::wal::name::Segment| s.number(self.segment_bytes);
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
                "segments": run.length(self.segment_bytes),
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
