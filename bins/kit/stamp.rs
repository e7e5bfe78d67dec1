//! Times: the UTC stamp in file names, RFC 3339 in manifests, ages for people.
//!
//! A [`Stamp`] is whole seconds since the epoch. `now` is always a parameter of what computes
//! with it, never asked for in the middle.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use time::{Date, Month, OffsetDateTime, Time};

/// A moment in UTC, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(i64);

impl Stamp {
    /// The present moment, by the system's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamp(since.as_secs() as i64)
    }

    /// From seconds since the epoch.
    pub fn from_unix(seconds: i64) -> Self {
        Stamp(seconds)
    }

    /// Seconds since the epoch.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// This moment moved by `seconds`.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Stamp(self.0.saturating_add(seconds))
    }

    /// `YYYYMMDD_HHMMSS`, the form in file names.
    pub fn compact(self) -> String {
        let t = self.civil();
        let (y, m, d) = (t.year(), u8::from(t.month()), t.day());
        format!("{y:04}{m:02}{d:02}_{:02}{:02}{:02}", t.hour(), t.minute(), t.second())
    }

    /// Reads `YYYYMMDD_HHMMSS`; `None` for anything else, impossible dates included.
    pub fn parse_compact(text: &str) -> Option<Self> {
        let b = text.as_bytes();
        let digits = |r: std::ops::Range<usize>| b[r].iter().all(u8::is_ascii_digit);
        if b.len() != 15 || b[8] != b'_' || !digits(0..8) || !digits(9..15) {
            return None;
        }
        let n = |r: std::ops::Range<usize>| text[r].parse::<u16>().ok();
        Self::civil_to_unix(n(0..4)?, n(4..6)?, n(6..8)?, n(9..11)?, n(11..13)?, n(13..15)?)
    }

    /// Reads the time of an HTTP header, as all write it now: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110,
    /// 5.6.7).
    pub fn parse_http(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [_, day, month, year, time, "GMT"] = words[..] else { return None };
        const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = MONTHS.find(month).filter(|at| at % 3 == 0 && month.len() == 3)? / 3 + 1;
        Self::parse_compact(&format!("{year}{month:02}{day}_{}", time.replace(':', "")))
    }

    /// Reads RFC 3339 in UTC, as [`fmt::Display`] writes it: `2026-01-26T12:00:00Z`.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bare = text.strip_suffix('Z')?;
        let (date, time) = bare.split_once('T')?;
        let compact: String = date.chars().filter(|c| *c != '-').collect();
        let clock: String = time.chars().filter(|c| *c != ':').collect();
        if date.len() != 10 || time.len() != 8 {
            return None;
        }
        Self::parse_compact(&format!("{compact}_{clock}"))
    }

    fn civil_to_unix(y: u16, mo: u16, d: u16, h: u16, mi: u16, s: u16) -> Option<Self> {
        let month = Month::try_from(mo as u8).ok()?;
        let date = Date::from_calendar_date(i32::from(y), month, d as u8).ok()?;
        let time = Time::from_hms(h as u8, mi as u8, s as u8).ok()?;
        Some(Stamp(OffsetDateTime::new_utc(date, time).unix_timestamp()))
    }

    fn civil(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Which UTC hour, day, ISO week, month or year this moment falls in.
    pub fn bucket(self, period: Period) -> i64 {
        let t = self.civil();
        match period {
            Period::Hour => self.0.div_euclid(3600),
            Period::Day => self.0.div_euclid(86_400),
            Period::Week => {
                let (year, week, _) = t.to_iso_week_date();
                i64::from(year) * 100 + i64::from(week)
            }
            Period::Month => i64::from(t.year()) * 100 + i64::from(u8::from(t.month())),
            Period::Year => i64::from(t.year()),
        }
    }

    /// How long ago this was, for people: `42s`, `3m`, `5h`, `12d`; `in 3h` for the future.
    pub fn age(self, now: Stamp) -> String {
        let seconds = now.0.saturating_sub(self.0);
        let text = match seconds.unsigned_abs() {
            s @ 0..=119 => format!("{s}s"),
            s @ 120..=7_199 => format!("{}m", s / 60),
            s @ 7_200..=172_799 => format!("{}h", s / 3600),
            s => format!("{}d", s / 86_400),
        };
        if seconds < 0 { format!("in {text}") } else { text }
    }
}

impl fmt::Display for Stamp {
    /// RFC 3339, UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.civil();
        let (y, m, d) = (t.year(), u8::from(t.month()), t.day());
        write!(f, "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}Z", t.hour(), t.minute(), t.second())
    }
}

/// The calendar periods that retention counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Clock hour.
    Hour,
    /// Calendar day.
    Day,
    /// ISO 8601 week, Monday first.
    Week,
    /// Calendar month.
    Month,
    /// Calendar year.
    Year,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_rfc3339_round_trip() {
        let s = Stamp::parse_compact("20251127_143022").unwrap();
        assert_eq!(s.compact(), "20251127_143022");
        assert_eq!(s.to_string(), "2025-11-27T14:30:22Z");
        assert_eq!(Stamp::parse_rfc3339(&s.to_string()), Some(s));
    }

    #[test]
    fn the_time_of_an_http_header() {
        let s = Stamp::parse_http("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(s.to_string(), "1994-11-06T08:49:37Z");
        for text in
            ["", "Sun, 06 anF 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET", "Sunday, 06-Nov-94"]
        {
            assert_eq!(Stamp::parse_http(text), None, "{text}");
        }
    }

    #[test]
    fn impossible_dates_are_no_stamps() {
        for text in
            ["20250230_000000", "20251301_000000", "20250101_240000", "2025-0101_00000", "", "２０２５"]
        {
            assert_eq!(Stamp::parse_compact(text), None, "{text}");
        }
    }

    #[test]
    fn a_week_runs_from_monday_and_may_cross_the_year() {
        let monday = Stamp::parse_compact("20241230_000000").unwrap();
        let sunday = Stamp::parse_compact("20250105_235959").unwrap();
        assert_eq!(monday.bucket(Period::Week), sunday.bucket(Period::Week));
        assert_ne!(sunday.plus(1).bucket(Period::Week), sunday.bucket(Period::Week));
    }
}
