//! Names of WAL files and places in the log. Pure.
//!
//! The rules are those of PostgreSQL's `xlog_internal.h`: a segment's name is its timeline, the
//! upper half of its address, and its number within that half, each in eight hexadecimal digits.
//! How many segments a half holds depends on `wal_segment_size`, which no name tells.

use std::fmt;
use std::str::FromStr;

/// The smallest and largest `wal_segment_size`, bytes (`xlog_internal.h`).
const SIZES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

pub use crate::volume::control::Lsn;

/// A segment by its name; where it begins depends on `wal_segment_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// Its timeline, from 1.
    pub timeline: u32,
    /// The upper half of its address.
    pub log: u32,
    /// Its number within that half.
    pub part: u32,
}

impl Segment {
    /// The segment that holds the byte at `lsn`.
    pub fn at(timeline: u32, lsn: Lsn, bytes: u64) -> Self {
        Segment { timeline, log: (lsn.0 >> 32) as u32, part: ((lsn.0 & 0xffff_ffff) / bytes) as u32 }
    }

    /// Where it begins.
    pub fn start(self, bytes: u64) -> Lsn {
        Lsn((u64::from(self.log) << 32) + u64::from(self.part) * bytes)
    }

    /// Where the one after it begins.
    pub fn end(self, bytes: u64) -> Lsn {
        Lsn(self.start(bytes).0 + bytes)
    }

    /// The one after it on the same timeline.
    #[must_use]
    pub fn next(self, bytes: u64) -> Self {
        Segment::at(self.timeline, self.end(bytes), bytes)
    }

    /// Its number, counted from the beginning of the log: equal on all timelines.
    pub fn number(self, bytes: u64) -> u64 {
        self.start(bytes).0 / bytes
    }

    /// Whether there is such a segment where segments have this size.
    pub fn exists(self, bytes: u64) -> bool {
        is_segment_size(bytes) && u64::from(self.part) < (1 << 32) / bytes
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
        if text.len() != 24 || !text.bytes().all(digits) {
            return None;
        }
        let number = |range| u32::from_str_radix(&text[range], 16).ok();
        let segment = Segment { timeline: number(0..8)?, log: number(8..16)?, part: number(16..24)? };
        (segment.timeline > 0).then_some(segment)
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.log, self.part)
    }
}

impl FromStr for Segment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Segment::parse(text).ok_or_else(|| format!("'{text}' is no name of a WAL segment"))
    }
}

/// Whether segments can have this size, bytes.
pub fn is_segment_size(bytes: u64) -> bool {
    bytes.is_power_of_two() && SIZES.contains(&bytes)
}

/// What PostgreSQL asks to archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A segment.
    Segment(Segment),
    /// The segment in which a timeline ended.
    Partial(Segment),
    /// What a base backup left: the first segment that it needs, and the offset within that.
    Backup(Segment, u32),
    /// Where a timeline came from.
    History(u32),
}

impl Name {
    /// The timeline under which it is kept.
    pub fn timeline(self) -> u32 {
        match self {
            Name::Segment(s) | Name::Partial(s) | Name::Backup(s, _) => s.timeline,
            Name::History(timeline) => timeline,
        }
    }

    /// The segment, where the file has a segment's size and header.
    pub fn segment(self) -> Option<Segment> {
        match self {
            Name::Segment(s) | Name::Partial(s) => Some(s),
            _ => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Segment(s) => s.fmt(f),
            Name::Partial(s) => write!(f, "{s}.partial"),
            Name::Backup(s, offset) => write!(f, "{s}.{offset:08X}.backup"),
            Name::History(timeline) => write!(f, "{timeline:08X}.history"),
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = (|| {
            if let Some(timeline) = text.strip_suffix(".history") {
                // the digits of a segment whose other parts are zero
                return Some(Name::History(Segment::parse(&format!("{timeline:0<24}"))?.timeline));
            }
            if let Some(segment) = text.strip_suffix(".partial") {
                return Some(Name::Partial(Segment::parse(segment)?));
            }
            if let Some((segment, offset)) = text.strip_suffix(".backup").and_then(|t| t.split_once('.')) {
                let offset = (offset.len() == 8).then(|| u32::from_str_radix(offset, 16).ok()).flatten()?;
                return Some(Name::Backup(Segment::parse(segment)?, offset));
            }
            Segment::parse(text).map(Name::Segment)
        })();
        // one spelling only: it becomes a file name
        parsed
            .filter(|name| name.to_string() == text)
            .ok_or_else(|| format!("'{text}' is no name of a WAL file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "00000001000000000000002A",
            "0000000200000001000000FF.partial",
            "000000010000000000000003.00000028.backup",
            "0000000A.history",
        ] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "archive_status",
            "00000001000000000000002a",
            "000000000000000000000001",
            "00000001000000000000002A.gz",
            "00000001000000000000002A.00000028",
            "0000000100000000000000030.0000028.backup",
            "000000010000000000000003.+0000028.backup",
            "A.history",
            "00000000.history",
            "000000010.history",
            "../00000001.history",
        ] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_next_segment_crosses_the_upper_half() {
        let last = |bytes: u64| Segment { timeline: 3, log: 0, part: ((1 << 32) / bytes - 1) as u32 };
        for bytes in [MIB, 16 * MIB, 1024 * MIB] {
            assert!(last(bytes).exists(bytes));
            assert!(!Segment { part: last(bytes).part + 1, ..last(bytes) }.exists(bytes));
            assert_eq!(last(bytes).next(bytes), Segment { timeline: 3, log: 1, part: 0 });
            assert_eq!(last(bytes).next(bytes).start(bytes), Lsn(1 << 32));
            assert_eq!(last(bytes).next(bytes).number(bytes), last(bytes).number(bytes) + 1);
        }
        assert!(!is_segment_size(3 * MIB) && !is_segment_size(0) && !is_segment_size(2048 * MIB));
    }

    #[test]
    fn places_in_the_log() {
        assert_eq!("16/B374D848".parse(), Ok(Lsn(0x16_B374_D848)));
        assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
        for text in ["", "0", "0/", "/0", "0/123456789", "0/0x1", "0/-1", "0/+1"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }
}
