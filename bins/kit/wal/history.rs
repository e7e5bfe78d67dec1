//! Timeline history files: where a timeline came from (`timeline.c`). Pure.

use super::name::{Lsn, Segment};

/// The end of one timeline and the beginning of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The timeline that ended.
    pub timeline: u32,
    /// Where.
    pub at: Lsn,
    /// What the server wrote down as the cause.
    pub reason: String,
}

/// Where a timeline came from: the ends of its ancestors, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The timeline itself.
    pub timeline: u32,
    /// The ends of its ancestors.
    pub switches: Vec<Switch>,
}

/// A part of the log that lies on one timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The timeline.
    pub timeline: u32,
    /// Where it begins.
    pub from: Lsn,
    /// Where the next timeline takes over; `None` for the last.
    pub until: Option<Lsn>,
}

impl History {
    /// Of a timeline without a history file: the first.
    pub fn none(timeline: u32) -> Self {
        History { timeline, switches: Vec::new() }
    }

    /// Reads a history file.
    ///
    /// # Errors
    /// The line that cannot be understood, or is out of order: PostgreSQL refuses it too.
    pub fn parse(timeline: u32, text: &str) -> Result<Self, String> {
        let mut switches: Vec<Switch> = Vec::new();
        for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let wrong = || format!("the line '{}' is none of a history file", crate::exit::plain(line));
            let mut words = line.splitn(3, char::is_whitespace);
            let parent: u32 = words.next().and_then(|w| w.parse().ok()).ok_or_else(wrong)?;
            let at: Lsn = words.next().and_then(|w| w.parse().ok()).ok_or_else(wrong)?;
            let last = switches.last();
            if parent == 0 || parent >= timeline || last.is_some_and(|l| l.timeline >= parent || l.at > at) {
                return Err(wrong());
            }
            let reason = words.next().unwrap_or_default().trim().to_owned();
            switches.push(Switch { timeline: parent, at, reason });
        }
        Ok(History { timeline, switches })
    }

    /// The timelines one after another, oldest first, itself last.
    pub fn spans(&self) -> Vec<Span> {
        let mut from = Lsn(0);
        let mut spans = Vec::with_capacity(self.switches.len() + 1);
        for switch in &self.switches {
            spans.push(Span { timeline: switch.timeline, from, until: Some(switch.at) });
            from = switch.at;
        }
        spans.push(Span { timeline: self.timeline, from, until: None });
        spans
    }

    /// Where this one's past left the segment's timeline, if before the segment's end: what stands
    /// beyond that in a segment of this name is none of this one's log.
    pub fn left(&self, segment: Segment, segment_bytes: u64) -> Option<Lsn> {
        let switch = self.switches.iter().find(|s| s.timeline == segment.timeline)?;
        (switch.at < segment.end(segment_bytes)).then_some(switch.at)
    }

    /// Whether the log of `timeline` up to `lsn` belongs to this one's past.
    pub fn includes(&self, timeline: u32, lsn: Lsn) -> bool {
        self.spans().iter().any(|s| s.timeline == timeline && s.until.is_none_or(|end| lsn <= end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_tells_the_spans() {
        let text = "1\t0/5000123\tno recovery target specified\n\n# note\n2\t0/7000000\tbefore 2025-11-27\n";
        let history = History::parse(3, text).unwrap();
        let spans: Vec<_> =
            history.spans().iter().map(|s| (s.timeline, s.from.0, s.until.map(|u| u.0))).collect();
        assert_eq!(
            spans,
            [(1, 0, Some(0x500_0123)), (2, 0x500_0123, Some(0x700_0000)), (3, 0x700_0000, None)]
        );
        assert!(history.includes(1, Lsn(0x500_0000)) && !history.includes(1, Lsn(0x600_0000)));
        assert!(history.includes(3, Lsn(u64::MAX)) && !history.includes(4, Lsn(0)));
    }

    #[test]
    fn disorder_is_refused() {
        for text in
            ["x\t0/1\ty", "1", "3\t0/1\tself", "2\t0/5\ta\n1\t0/6\tb", "1\t0/5\ta\n2\t0/4\tb", "0\t0/1\t"]
        {
            assert!(History::parse(3, text).is_err(), "{text}");
        }
        assert_eq!(History::parse(2, "").unwrap().spans().len(), 1);
    }
}
