//! What is wrong with the backups of a directory: stale, empty, shrunken, gone, too many bytes.
//!
//! A file can be whole, proven and useless: the dump of a database that somebody has emptied. So
//! each backup is held against those before it, of the same series and kin. Pure but for
//! [`used`] and [`compare_manifests`], which read what is judged.

use std::collections::BTreeSet;

use crate::catalog::{Backup, NO_MANIFEST};
use crate::exit::Result;
use crate::manifest::{Kin, Manifest};
use crate::out;
use crate::retention::is_future;
use crate::stamp::Stamp;

mod fates;
mod holdings;
mod storage;
mod tables;

pub use fates::{Fates, HELD_BACK, Turn};
pub use holdings::{at, backups, named, snapshots, unread};
pub use storage::used;
pub use tables::{Changed, Losses, Table, Tables, compare_manifests};

/// Below so many rows, a drop by some percent says nothing.
const LEAST_ROWS: u64 = 100;
/// The same for bytes: a schema alone has some kilobytes.
const LEAST_BYTES: u64 = 64 << 10;

/// A newest backup that has lost more than so many percent holds back the removal of those before it.
pub const SUSPICIOUS: u8 = 50;

/// What is not to be; each rule by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest proven backup is older than so many seconds.
    pub max_age: Option<i64>,
    /// It has fewer bytes.
    pub min_size: Option<u64>,
    /// Its rows or its bytes, raw, or the rows of one of its tables, are fewer by more than so many percent.
    pub shrink: Option<u8>,
    /// It lacks a table that one before it has.
    pub tables_lost: bool,
    /// All files in the directory together have more bytes.
    pub quota: Option<u64>,
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// There is no proven backup.
    Missing,
    /// A file has a manifest, and is not what that says, or failed its proof.
    Unproven,
    /// Too old.
    Stale,
    /// Too small.
    Small,
    /// Much smaller than before.
    Shrunken,
    /// Tables have vanished.
    TablesLost,
    /// Too much storage is used.
    Quota,
    /// Segments are missing in the archive of the log.
    Gap,
    /// The archive of the log, the directory, or a list in it cannot be read.
    Unread,
}

impl What {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            What::Missing => "missing",
            What::Unproven => "unproven",
            What::Stale => "stale",
            What::Small => "small",
            What::Shrunken => "shrunken",
            What::TablesLost => "tables-lost",
            What::Quota => "quota",
            What::Gap => "gap",
            What::Unread => "unread",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of which kind.
    pub what: What,
    /// The series, where it is about one.
    pub series: Option<String>,
    /// The backup, where it is about one.
    pub backup: Option<String>,
    /// A sentence of what and how much. Names in it are as they come from the dump.
    pub why: String,
}

/// The backups of one series and kin that count, newest first.
pub struct Line<'a> {
    /// The series.
    pub series: &'a str,
    /// What they are backups of.
    pub kin: Kin,
    /// They, newest first; never none.
    pub backups: Vec<&'a Backup>,
    /// Whether the series has to be judged by this kin: it is whole, or no other of the series is.
    pub is_chief: bool,
}

impl<'a> Line<'a> {
    /// The newest one.
    pub fn newest(&self) -> &'a Backup {
        self.backups[0]
    }
}

/// The proven backups among `backups` (newest first, as a scan gives them), by series and kin. Those
/// dated in the future are left out, as retention does.
pub fn lines<'a>(backups: impl IntoIterator<Item = &'a Backup>, now: Stamp) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for backup in backups.into_iter().filter(|b| b.fault.is_none() && !is_future(b.time, now)) {
        let (Some(series), Some(kin)) = (backup.series.as_deref(), backup.kin()) else { continue };
        match lines.iter_mut().find(|l| l.series == series && l.kin == kin) {
            Some(line) => line.backups.push(backup),
            None => lines.push(Line { series, kin, backups: vec![backup], is_chief: false }),
        }
    }
    let whole: BTreeSet<&str> = lines.iter().filter(|l| l.kin.is_whole()).map(|l| l.series).collect();
    for line in &mut lines {
        line.is_chief = line.kin.is_whole() || !whole.contains(line.series);
    }
    lines
}

/// All that is wrong. `used`: bytes in the directory. `tables` holds the tables of the second against those of the
/// first, see [`compare_manifests`].
pub fn judge(
    rules: &Rules,
    now: Stamp,
    backups: &[Backup],
    used: u64,
    mut tables: impl FnMut(&[&Backup], &Backup, Losses) -> Result<Vec<Changed>>,
) -> Result<Vec<Finding>> {
    let lines = lines(backups, now);
    let mut findings = Vec::new();
    if lines.is_empty() {
        let why = "there is no proven backup".to_owned();
        let ahead = backups.iter().find(|b| b.fault.is_none() && is_future(b.time, now));
        let why = ahead.map_or(why.clone(), |b| format!("{why}: the date of {} lies in the future", b.name));
        findings.push(Finding { what: What::Missing, series: None, backup: None, why });
    }
    for backup in backups.iter().filter(|b| b.series.is_some()) {
        // a file without any manifest is foreign
        if let Some(fault) = backup.fault.as_ref().filter(|f| *f != NO_MANIFEST) {
            findings.push(of(What::Unproven, backup, fault.clone()));
        }
    }
    for line in &lines {
        let newest = line.newest();
        if line.is_chief {
            findings.extend(old_or_small(rules, now, line));
        }
        let Some(base) = base(&line.backups, rules.shrink) else { continue };
        let fell = rules.shrink.and_then(|percent| shrunken(base, newest, percent));
        // where all together have lost, many small tables may have
        let least = if fell.is_some() { 1 } else { LEAST_ROWS };
        if let Some(why) = fell {
            findings.push(of(What::Shrunken, newest, format!("{why} than {}", base.name)));
        }
        let losses = Losses { percent: rules.shrink, least, tables: rules.tables_lost };
        if !line.kin.kind.is_dump() || losses.percent.is_none() && !losses.tables {
            continue;
        }
        let measures = measures(&line.backups);
        for (before, changed) in measures.iter().zip(tables(&measures, newest, losses)?) {
            if !changed.fewer.is_empty() {
                let why = format!("fewer rows than in {}: {}", before.name, changed.fewer);
                findings.push(of(What::Shrunken, newest, why));
            }
            if !changed.lost.is_empty() {
                let why = format!("tables of {} are gone: {}", before.name, changed.lost);
                findings.push(of(What::TablesLost, newest, why));
            }
        }
    }
    if let Some(quota) = rules.quota.filter(|quota| used > *quota) {
        let why = format!("{} are used, more than {}", out::bytes(used), out::bytes(quota));
        findings.push(Finding { what: What::Quota, series: None, backup: None, why });
    }
    Ok(findings)
}

fn of(what: What, backup: &Backup, why: String) -> Finding {
    Finding { what, series: backup.series.clone(), backup: Some(backup.name.clone()), why }
}

fn old_or_small(rules: &Rules, now: Stamp, line: &Line<'_>) -> Vec<Finding> {
    let newest = line.newest();
    let mut findings = Vec::new();
    if rules.max_age.is_some_and(|most| newest.time.plus(most) < now) {
        let why = format!("the newest proven backup of {} is {} old", line.kin, newest.time.age(now));
        findings.push(of(What::Stale, newest, why));
    }
    if let Some(least) = rules.min_size.filter(|least| newest.bytes < *least) {
        let why = format!("{}, less than {}", out::bytes(newest.bytes), out::bytes(least));
        findings.push(of(What::Small, newest, why));
    }
    findings
}

/// Why the newest of `backups` (of one kin, newest first) looks like a loss: rows or bytes are fewer by
/// more than `percent` than in what came before; `None` when it does not.
///
/// A shrunken backup is no measure for the next one, else the second night would look fine. One that was
/// made with a drop allowed is the measure from then on.
pub fn drop_of(backups: &[&Backup], percent: u8) -> Option<String> {
    let base = base(backups, Some(percent))?;
    let why = shrunken(base, backups[0], percent)?;
    Some(format!("{why} than {}", base.name))
}

/// What the newest of `backups` is held against, of those that are comparable; `None` where there is nothing, or a
/// drop is allowed.
fn base<'a>(backups: &[&'a Backup], percent: Option<u8>) -> Option<&'a Backup> {
    let (newest, before) = backups.split_first()?;
    if drop_was_allowed(newest) {
        return None;
    }
    let mut before = before.iter().rev().filter(|b| is_comparable(b, newest));
    let mut base = *before.next()?;
    for backup in before {
        let lost = percent.and_then(|percent| shrunken(base, backup, percent));
        if lost.is_none() || drop_was_allowed(backup) {
            base = backup;
        }
    }
    Some(base)
}

/// Whether their sizes say anything of each other: taken in the same way, or their WAL can be left out.
fn is_comparable(a: &Backup, b: &Backup) -> bool {
    a.way == b.way || a.log_bytes.is_some() && b.log_bytes.is_some()
}

/// All that the newest of `backups` can have lost something of: those before it, newest first, back to one whose
/// drop was allowed. The night after a loss is no better than the first.
fn measures<'a>(backups: &[&'a Backup]) -> Vec<&'a Backup> {
    let allowed = backups.iter().position(|b| drop_was_allowed(b)).unwrap_or(backups.len());
    backups.iter().take(allowed.saturating_add(1)).skip(1).copied().collect()
}

fn drop_was_allowed(backup: &Backup) -> bool {
    backup.manifest.as_ref().is_some_and(|m| m.rotation.shrink_allowed)
}

/// How `backup` has lost more than `percent` of what `base` has.
fn shrunken(base: &Backup, backup: &Backup, percent: u8) -> Option<String> {
    let of = |b: &Backup, f: fn(&Manifest) -> u64| b.manifest.as_ref().map_or(0, f);
    let (rows, rows_before) = (of(backup, |m| m.rows), of(base, |m| m.rows));
    if is_fewer(rows, rows_before, percent, LEAST_ROWS) {
        let (rows, before) = (out::count(rows), out::count(rows_before));
        return Some(format!("{rows} rows, {before} before: fewer by more than {percent}%"));
    }
    // where it is not known how much was compressed, like is held against like
    let codec = |b: &Backup| b.manifest.as_ref().filter(|m| m.raw_bytes == 0).map(|m| m.file.codec);
    if codec(base) != codec(backup) {
        return None;
    }
    let bytes = |m: &Manifest| if m.raw_bytes == 0 { m.file.bytes } else { m.raw_bytes };
    let logs = backup.log_bytes.zip(base.log_bytes).filter(|(log, before)| (*log).max(*before) > 0);
    if let Some((0, before @ LEAST_BYTES..)) = logs.filter(|_| base.way == backup.way) {
        return Some(format!("no WAL, {} before: it has less", out::bytes(before)));
    }
    let (log, log_before) = logs.unwrap_or_default();
    let raw = of(backup, bytes).saturating_sub(log);
    let raw_before = of(base, bytes).saturating_sub(log_before);
    if raw_before >= LEAST_BYTES && is_below(raw, raw_before, percent) {
        let (raw, before) = (out::bytes(raw), out::bytes(raw_before));
        let state = match codec(base) {
            Some(_) => "",
            None if logs.is_some() => " uncompressed, without WAL",
            None => " uncompressed",
        };
        return Some(format!("{raw}{state}, {before} before: smaller by more than {percent}%"));
    }
    None
}

/// Whether rows have become fewer by more than `percent`: of fewer than `least`, only when all are gone.
fn is_fewer(now: u64, before: u64, percent: u8, least: u64) -> bool {
    (now == 0 && before > 0) || (before >= least && is_below(now, before, percent))
}

fn is_below(now: u64, before: u64, percent: u8) -> bool {
    u128::from(now) * 100 < u128::from(before) * u128::from(100 - percent.min(100))
}

#[cfg(test)]
mod tests;
