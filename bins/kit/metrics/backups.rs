//! What is told of the backups in a directory: of the newest proven one of each series and kin, of the latest
//! drill, and of all together.

use std::path::Path;

use super::text::{Kind, Text};
use crate::catalog::{Backup, NO_MANIFEST};
use crate::exit::Result;
use crate::history;
use crate::manifest::{Kin, Manifest};
use crate::stamp::Stamp;
use crate::watch::{self, Line};

/// A number of a backup; `None`: not known.
type Of = fn(&Backup, &Manifest) -> Option<f64>;

const OF_NEWEST: [(&str, &str, Of); 9] = [
    ("pgkeep_backup_timestamp_seconds", "When the newest proven backup was made.", |b, _| {
        Some(b.time.unix() as f64)
    }),
    ("pgkeep_backup_size_bytes", "Its size.", |b, _| Some(b.bytes as f64)),
    ("pgkeep_backup_raw_size_bytes", "Its size before compression.", |_, m| {
        // not known of a compressed snapshot of Redis without a manifest
        (m.raw_bytes > 0).then_some(m.raw_bytes as f64)
    }),
    ("pgkeep_backup_duration_seconds", "What it took to make and prove it.", |_, m| {
        (m.duration_ms > 0).then_some(m.duration_ms as f64 / 1000.0)
    }),
    ("pgkeep_backup_rows", "Rows of all its tables.", |_, m| m.kind.is_dump().then_some(m.rows as f64)),
    ("pgkeep_backup_tables", "Its tables.", |_, m| m.kind.is_dump().then_some(m.tables as f64)),
    ("pgkeep_backup_verified_timestamp_seconds", "When it was last proven.", |_, m| {
        let verified = m.verified.as_ref()?;
        Some(Stamp::parse_rfc3339(&verified.at)?.unix() as f64)
    }),
    ("pgkeep_backup_shrink_allowed", "1: somebody said that it may be much smaller.", |_, m| {
        m.kind.is_dump().then(|| f64::from(u8::from(m.rotation.shrink_allowed)))
    }),
    ("pgkeep_backup_drillable", "1: there is a way to hold a drill of it.", |_, m| {
        m.kin().can_be_drilled().then_some(1.0)
    }),
];

/// Adds what is known of the backups in `dir`.
pub(super) fn tell(text: &mut Text, dir: &Path, now: Stamp) -> Result<()> {
    let backups = watch::backups(dir)?;
    let lines = watch::lines(&backups, now);
    for (name, help, of) in OF_NEWEST {
        text.metric(name, Kind::Gauge, help);
        for line in &lines {
            let newest = line.newest();
            if let Some(value) = newest.manifest.as_ref().and_then(|m| of(newest, m)) {
                of_line(text, line, value);
            }
        }
    }
    text.metric("pgkeep_backups", Kind::Gauge, "Backups that count.");
    lines.iter().for_each(|line| of_line(text, line, line.backups.len() as f64));
    drills(text, dir, &lines)?;
    let place = dir.canonicalize().unwrap_or(dir.to_owned()).to_string_lossy().into_owned();
    let place = &[("dir", place.as_str())];
    let faulty = |b: &&Backup| b.fault.as_ref().is_some_and(|f| f != NO_MANIFEST);
    text.metric("pgkeep_backups_unproven", Kind::Gauge, "Backups that are not what their manifests say.");
    text.value(place, backups.iter().filter(faulty).count() as f64);
    text.metric("pgkeep_storage_bytes", Kind::Gauge, "All files of the directory together.");
    text.value(place, watch::used(dir)? as f64);
    Ok(())
}

fn drills(text: &mut Text, dir: &Path, lines: &[Line<'_>]) -> Result<()> {
    let drills = history::drills(dir).unwrap_or_default();
    let latest = |line: &Line<'_>| drills.iter().rev().find(|d| d.is_of(line.series, &line.kin));
    let of: Vec<_> = lines.iter().filter_map(|line| Some((line, latest(line)?))).collect();
    text.metric("pgkeep_drill_timestamp_seconds", Kind::Gauge, "When the latest drill was held.");
    for (line, drill) in &of {
        if let Some(time) = drill.time() {
            of_line(text, line, time.unix() as f64);
        }
    }
    text.metric("pgkeep_drill_success", Kind::Gauge, "1: it was restored and proven.");
    of.iter().for_each(|(line, drill)| of_line(text, line, f64::from(u8::from(drill.ok))));
    text.metric("pgkeep_drill_duration_seconds", Kind::Gauge, "What the restore took: the real RTO.");
    of.iter().for_each(|(line, drill)| of_line(text, line, drill.seconds));
    Ok(())
}

fn of_line(text: &mut Text, line: &Line<'_>, value: f64) {
    let Kin { kind, database, server, place, partial } = &line.kin;
    let labels = [
        ("series", line.series),
        ("kind", kind.word()),
        ("database", database.as_deref().unwrap_or_default()),
        ("server", server.as_deref().unwrap_or_default()),
        ("part", &partial.join(" ")),
    ];
    let place = place.as_deref().map(|place| ("place", place));
    text.value(&labels.into_iter().chain(place).collect::<Vec<_>>(), value);
}
