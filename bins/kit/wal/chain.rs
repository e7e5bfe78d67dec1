//! The chain of segments: what is missing, and how far a recovery gets. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, Span};
use super::name::{Lsn, Segment};

/// The segments and histories of an archive.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// `wal_segment_size`, bytes.
    pub segment_bytes: u64,
    /// The segments that are there and can be read.
    pub segments: BTreeSet<Segment>,
    /// The histories that are there, by timeline.
    pub histories: BTreeMap<u32, History>,
}

/// Segments of one timeline, from the first to the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The first.
    pub first: Segment,
    /// The last, itself a part of it.
    pub last: Segment,
}

/// How a recovery goes through the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The segments that it reads, in this order.
    pub segments: Vec<Segment>,
    /// Where it ends, at the latest.
    pub end: Lsn,
    /// What is missing there, when there would be more behind it.
    pub missing: Option<Segment>,
}

impl Run {
    /// How many segments it is.
    pub fn length(&self, bytes: u64) -> u64 {
        self.last.number(bytes) - self.first.number(bytes) + 1
    }
}

impl Chain {
    /// The timelines of which anything is there.
    pub fn timelines(&self) -> BTreeSet<u32> {
        self.segments.iter().map(|s| s.timeline).chain(self.histories.keys().copied()).collect()
    }

    /// The unbroken runs of a timeline, in order.
    pub fn runs(&self, timeline: u32) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for segment in self.of(timeline) {
            match runs.last_mut() {
                Some(run) if run.last.next(self.segment_bytes) == segment => run.last = segment,
                _ => runs.push(Run { first: segment, last: segment }),
            }
        }
        runs
    }

    /// What is missing of a timeline: between its segments, from where it left its parent to its first
    /// one, and behind its last one up to where others left it. What was pruned on all timelines is
    /// not missing.
    pub fn gaps(&self, timeline: u32) -> Vec<Run> {
        let bytes = self.segment_bytes;
        let number = |s: Segment| s.number(bytes);
        let ends = || self.of(timeline).map(number);
        let Some(oldest) = self.segments.iter().copied().map(number).min() else { return Vec::new() };
        let begin = self.histories.get(&timeline).and_then(|h| h.switches.last()).map(|s| s.at.0 / bytes);
        let begin = begin.or(ends().next()).unwrap_or(oldest).max(oldest);
        // the segment in which another timeline began is the other's
        let left = self.left_at(timeline).map(|at| (at.0 / bytes).saturating_sub(1)).max();
        let Some(end) = ends().next_back().max(left) else { return Vec::new() };
        let at = |n: u64| Segment::at(timeline, Lsn(n * bytes), bytes);
        if begin > end { Vec::new() } else { self.lacks(&Run { first: at(begin), last: at(end) }) }
    }

    /// What is missing of a run.
    pub fn lacks(&self, run: &Run) -> Vec<Run> {
        let bytes = self.segment_bytes;
        let at = |n: u64| Segment::at(run.first.timeline, Lsn(n * bytes), bytes);
        let (mut next, end) = (run.first.number(bytes), run.last.number(bytes) + 1);
        let mut gaps: Vec<Run> = Vec::new();
        // not number by number: a name that lies far ahead must not take for ever
        let present = self.of(run.first.timeline).map(|s| s.number(bytes));
        for there in
            present.skip_while(|n| *n < run.first.number(bytes)).take_while(|n| *n < end).chain([end])
        {
            if there > next {
                gaps.push(Run { first: at(next), last: at(there - 1) });
            }
            next = next.max(there + 1);
        }
        gaps
    }

    /// Where other timelines left this one, at once.
    fn left_at(&self, timeline: u32) -> impl Iterator<Item = Lsn> {
        let last = self.histories.values().filter_map(|h| h.switches.last());
        last.filter(move |s| s.timeline == timeline).map(|s| s.at)
    }

    /// Timelines to which a recovery from `lsn` on `timeline` can go: itself, and those that came from
    /// it later.
    pub fn descendants(&self, timeline: u32, lsn: Lsn) -> Vec<u32> {
        let later = self.histories.values().filter(|h| h.timeline != timeline && h.includes(timeline, lsn));
        std::iter::once(timeline).chain(later.map(|h| h.timeline)).collect()
    }

    /// How a recovery goes from `lsn` along the history of the timeline `to`, as PostgreSQL does
    /// (`XLogFileReadAnyTLI`): of each segment the newest timeline's that had begun by then.
    ///
    /// # Errors
    /// The history that is missing.
    pub fn way(&self, lsn: Lsn, to: u32) -> Result<Way, String> {
        let none = History::none(to);
        let history = match self.histories.get(&to) {
            Some(history) => history,
            None if to == 1 || self.of(to).next().is_some_and(|s| s.start(self.segment_bytes) <= lsn) => {
                &none
            }
            None => return Err(format!("{to:08X}.history is missing")),
        };
        let bytes = self.segment_bytes;
        let spans = history.spans();
        let mut segments = Vec::new();
        let mut number = lsn.0 / bytes;
        while let Some(segment) = self.choose(&spans, number) {
            segments.push(segment);
            number += 1;
        }
        let behind = self.segments.iter().any(|s| s.number(bytes) > number && is_on(&spans, *s, bytes));
        let missing = behind.then(|| {
            let timeline = spans.iter().rev().find(|s| s.from.0 / bytes <= number).map_or(to, |s| s.timeline);
            Segment::at(timeline, Lsn(number * bytes), bytes)
        });
        Ok(Way { end: Lsn(number * bytes), segments, missing })
    }

    fn choose(&self, spans: &[Span], number: u64) -> Option<Segment> {
        let bytes = self.segment_bytes;
        let candidates = spans
            .iter()
            .rev()
            .map(|s| Segment::at(s.timeline, Lsn(number.checked_mul(bytes).unwrap_or(0)), bytes));
        candidates.into_iter().find(|s| is_on(spans, *s, bytes) && self.segments.contains(s))
    }

    fn of(&self, timeline: u32) -> impl DoubleEndedIterator<Item = Segment> {
        let first = Segment { timeline, log: 0, part: 0 };
        let last = Segment { timeline, log: u32::MAX, part: u32::MAX };
        self.segments.range(first..=last).copied()
    }
}

/// Whether a segment holds anything of one of the spans.
fn is_on(spans: &[Span], segment: Segment, bytes: u64) -> bool {
    let number = segment.number(bytes);
    spans.iter().any(|s| {
        s.timeline == segment.timeline
            && s.from.0 / bytes <= number
            && s.until.is_none_or(|until| number <= until.0 / bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 16 << 20;

    /// `1:1-4 2:5-9`, and where each timeline left its parent.
    fn chain(segments: &str, switches: &[(u32, &[(u32, u64)])]) -> Chain {
        let mut chain = Chain { segment_bytes: BYTES, ..Chain::default() };
        for word in segments.split_whitespace() {
            let (timeline, range) = word.split_once(':').unwrap();
            let (from, to) = range.split_once('-').unwrap();
            for n in from.parse::<u64>().unwrap()..=to.parse().unwrap() {
                chain.segments.insert(Segment::at(timeline.parse().unwrap(), Lsn(n * BYTES), BYTES));
            }
        }
        for (timeline, ends) in switches {
            let text: String = ends.iter().map(|(t, at)| format!("{t}\t{}\tx\n", Lsn(*at))).collect();
            chain.histories.insert(*timeline, History::parse(*timeline, &text).unwrap());
        }
        chain
    }

    /// The numbers of segments that are missing.
    fn gaps(chain: &Chain, timeline: u32) -> Vec<(u64, u64)> {
        chain.gaps(timeline).iter().map(|g| (g.first.number(BYTES), g.last.number(BYTES))).collect()
    }

    fn within(n: u64) -> u64 {
        n * BYTES + 4711
    }

    #[test]
    fn a_timeline_switch_is_no_gap() {
        let whole = chain("1:1-4 2:5-9", &[(2, &[(1, within(5))])]);
        assert_eq!((gaps(&whole, 1), gaps(&whole, 2)), (vec![], vec![]));
        let way = whole.way(Lsn(within(2)), 2).unwrap();
        assert_eq!((way.segments.len(), way.end, way.missing), (8, Lsn(10 * BYTES), None));
        assert_eq!(whole.way(Lsn(within(2)), 1).unwrap().end, Lsn(5 * BYTES));
        assert_eq!(whole.descendants(1, Lsn(within(2))), [1, 2]);
        assert_eq!(whole.descendants(1, Lsn(within(6))), [1]);
    }

    #[test]
    fn what_is_missing_is_found_at_every_place() {
        let switch: &[(u32, &[(u32, u64)])] = &[(2, &[(1, within(5))])];
        for (segments, first, second) in [
            ("1:1-2 1:4-4 2:5-9", vec![(3, 3)], vec![]),
            ("1:1-3 2:5-9", vec![(4, 4)], vec![]),
            ("1:1-4 2:6-9", vec![], vec![(5, 5)]),
            ("1:1-4 2:5-5 2:8-9", vec![], vec![(6, 7)]),
            // pruned: nothing before 7 is left anywhere
            ("2:7-9", vec![], vec![]),
            // the old server went on for a while
            ("1:1-7 2:5-9", vec![], vec![]),
        ] {
            let chain = chain(segments, switch);
            assert_eq!((gaps(&chain, 1), gaps(&chain, 2)), (first, second), "{segments}");
        }
        let far = chain("1:1-2 1:99999999999-99999999999", &[]);
        assert_eq!(gaps(&far, 1).len(), 1);
    }

    #[test]
    fn a_way_ends_before_what_is_missing() {
        let chain = chain("1:1-4 2:5-6 2:8-9", &[(2, &[(1, within(5))])]);
        let way = chain.way(Lsn(within(1)), 2).unwrap();
        assert_eq!((way.end, way.missing.map(|m| m.number(BYTES))), (Lsn(7 * BYTES), Some(7)));
        assert!(chain.way(Lsn(within(1)), 3).is_err(), "no history");
        let behind = chain.way(Lsn(within(12)), 2).unwrap();
        assert_eq!((behind.segments.len(), behind.missing), (0, None));
    }

    #[test]
    fn a_second_recovery_branches() {
        // two recoveries from the first timeline, at different places
        let chain = chain("1:1-9 2:5-7 3:8-9", &[(2, &[(1, within(5))]), (3, &[(1, within(8))])]);
        let numbers = |to| -> Vec<(u32, u64)> {
            let way = chain.way(Lsn(within(4)), to).unwrap();
            way.segments.iter().map(|s| (s.timeline, s.number(BYTES))).collect()
        };
        assert_eq!(numbers(2), [(1, 4), (2, 5), (2, 6), (2, 7)]);
        assert_eq!(numbers(3), [(1, 4), (1, 5), (1, 6), (1, 7), (3, 8), (3, 9)]);
        assert_eq!(numbers(1).len(), 6);
    }
}
