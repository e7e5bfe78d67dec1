//! How far a recovery goes: the moments that PostgreSQL knows (`recovery_target_*`).

use kit::stamp::Stamp;
use kit::wal::Moment;
use kit::wal::name::Lsn;
use kit::wal::record::{Event, What};

/// Where a recovery ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// All that was committed up to this moment, itself included.
    Time(Moment),
    /// The record at this place, or the next one.
    Lsn(Lsn),
    /// This transaction, itself included.
    Xid(u32),
    /// A restore point.
    Name(String),
    /// As soon as the data are consistent.
    Immediate,
    /// The end of the log.
    Latest,
}

/// All settings that name a target: of those but one must be empty.
const TARGETS: [&str; 5] = [
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_xid",
    "recovery_target_name",
];

impl Until {
    /// What a recovery does about a record.
    pub(crate) fn meets(&self, event: &Event) -> Meets {
        match (self, &event.what) {
            // a commit at the very moment still belongs to it
            (Until::Time(target), What::Commit { at, .. } | What::Abort { at, .. }) if at > target => {
                Meets::Before
            }
            (Until::Xid(target), What::Commit { xid, .. } | What::Abort { xid, .. }) if xid == target => {
                Meets::After
            }
            (Until::Name(target), What::RestorePoint { name, .. }) if name == target => Meets::After,
            _ => Meets::Not,
        }
    }

    /// The settings that name it, behind those that clear the others: PostgreSQL takes them one by one,
    /// and refuses even to clear one while another is set.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let value = |name: &str| match (self, name) {
            (Until::Time(at), "recovery_target_time") => at.to_string(),
            (Until::Lsn(lsn), "recovery_target_lsn") => lsn.to_string(),
            (Until::Xid(xid), "recovery_target_xid") => xid.to_string(),
            (Until::Name(text), "recovery_target_name") => text.clone(),
            (Until::Immediate, "recovery_target") => "immediate".into(),
            _ => String::new(),
        };
        let mut settings: Vec<_> = TARGETS.iter().map(|name| (*name, value(name))).collect();
        settings.sort_by_key(|(_, value)| !value.is_empty());
        settings
    }
}

impl std::fmt::Display for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Until::Time(at) => at.fmt(f),
            Until::Lsn(lsn) => lsn.fmt(f),
            Until::Xid(xid) => write!(f, "transaction {xid}"),
            Until::Name(name) => write!(f, "restore point '{name}'"),
            Until::Immediate => f.write_str("where the data are consistent"),
            Until::Latest => f.write_str("the end of the log"),
        }
    }
}

/// Whether a recovery ends at a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meets {
    Not,
    Before,
    After,
}

/// A moment such as `2025-11-27 14:30:00`, also with a fraction of a second, and with `Z`, `UTC` or a
/// distance from it (`+01`, `-0330`, `+05:30`). Without any it is UTC, as all times here.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    let wrong =
        || format!("'{text}' is no moment such as 2025-11-27 14:30:00 (UTC) or 2025-11-27 15:30:00+01");
    let (date, rest) = text.trim().split_once([' ', 'T']).ok_or_else(wrong)?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(end);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let clock = if clock.len() == 5 { format!("{clock}:00") } else { clock.to_owned() };
    let seconds = Stamp::parse_rfc3339(&format!("{date}T{clock}Z")).ok_or_else(wrong)?.unix();
    if fraction.len() > 6 {
        return Err(wrong());
    }
    let fraction: i64 = format!("{fraction:0<6}").parse().map_err(|_| wrong())?;
    let ahead = distance(zone.trim()).ok_or_else(wrong)?;
    Ok(Moment((seconds - ahead) * 1_000_000 + fraction))
}

/// Seconds that a zone is ahead of UTC.
fn distance(zone: &str) -> Option<i64> {
    let (sign, digits) = match zone {
        "" | "Z" | "z" | "UTC" | "utc" => return Some(0),
        _ if zone.starts_with('+') => (1, &zone[1..]),
        _ if zone.starts_with('-') => (-1, &zone[1..]),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "0"),
        4 => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 16 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let same = moment("2025-11-27 14:30:00").unwrap();
        for text in [
            "2025-11-27T14:30:00Z",
            "2025-11-27 14:30",
            "2025-11-27 14:30:00.000 UTC",
            "2025-11-27 15:30:00+01",
            "2025-11-27 09:00:00-05:30",
            "2025-11-27 20:00:00 +0530",
        ] {
            assert_eq!(moment(text), Ok(same), "{text}");
        }
        assert_eq!(same.to_string(), "2025-11-27 14:30:00.000000+00");
        assert_eq!(moment("2025-11-27 14:30:00.5").unwrap().0 - same.0, 500_000);
        for text in [
            "",
            "14:30",
            "2025-13-01 00:00:00",
            "2025-11-27 14:30:00 CET",
            "2025-11-27 14:30:00+1",
            "2025-11-27 14:30:00.1234567",
        ] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_target_is_named_and_the_others_are_cleared() {
        let settings = Until::Xid(735).settings();
        assert_eq!(settings.iter().filter(|(_, value)| !value.is_empty()).count(), 1);
        assert_eq!(settings.last(), Some(&("recovery_target_xid", "735".into())));
        assert!(Until::Latest.settings().iter().all(|(_, value)| value.is_empty()));
    }

    #[test]
    fn a_commit_at_the_very_moment_belongs_to_it() {
        let commit = |at| Event { start: Lsn(1), end: Lsn(2), what: What::Commit { xid: 7, at: Moment(at) } };
        assert_eq!(Until::Time(Moment(5)).meets(&commit(5)), Meets::Not);
        assert_eq!(Until::Time(Moment(5)).meets(&commit(6)), Meets::Before);
        assert_eq!(Until::Xid(7).meets(&commit(6)), Meets::After);
    }
}
