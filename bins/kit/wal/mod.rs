//! Write-ahead log as PostgreSQL archives it: names, headers, records, timelines, and the archive
//! that holds it.
//!
//! Everything is read from the files alone; no server and no program of PostgreSQL's is asked.
//! Numbers are little-endian, as on every machine that PostgreSQL is commonly run on.

pub mod archive;
pub mod base;
pub mod chain;
pub mod header;
pub mod history;
pub mod name;
pub mod reader;
pub mod record;
pub mod sums;

/// Microseconds from 1970 to 2000, where PostgreSQL's time begins (`timestamp.h`).
const EPOCH_2000: i64 = 946_684_800_000_000;

/// A moment as WAL records tell it: microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

impl Moment {
    /// From a `TimestampTz`.
    pub fn of_postgres(microseconds: i64) -> Self {
        Moment(microseconds.saturating_add(EPOCH_2000))
    }

    /// Whole seconds, rounded down.
    pub fn stamp(self) -> crate::stamp::Stamp {
        crate::stamp::Stamp::from_unix(self.0.div_euclid(1_000_000))
    }
}

impl std::fmt::Display for Moment {
    /// `2025-11-27 14:30:00.123456+00`, as `recovery_target_time` takes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let second = self.stamp().to_string();
        let second = second.trim_end_matches('Z').replace('T', " ");
        write!(f, "{second}.{:06}+00", self.0.rem_euclid(1_000_000))
    }
}
