//! The snapshots of a directory, for people and for programs.

use std::path::Path;

use super::set::Set;
use super::snapshot::{Snapshot, scan};
use crate::exit::Result;
use crate::out;
use crate::place;
use crate::stamp::Stamp;

/// The heads of [`row`]'s columns.
pub const HEADER: [&str; 6] = ["SNAPSHOT", "SIZE", "AGE", "VOLUMES", "TAG", "PROVEN"];

/// One snapshot: time, size, age, volumes, tag and whether it is proven.
pub fn row(snapshot: &Snapshot, now: Stamp) -> Vec<String> {
    let labels = |set: &Set| set.volumes.iter().map(|a| a.label.clone()).collect::<Vec<_>>().join(" ");
    vec![
        snapshot.stem(),
        out::bytes(snapshot.bytes()),
        snapshot.time.age(now),
        snapshot.set.as_ref().map_or("-".into(), labels),
        snapshot.set.as_ref().and_then(|s| s.tag.clone()).unwrap_or("-".into()),
        snapshot.fault.as_ref().map_or("proven".into(), |fault| format!("no: {fault}")),
    ]
}

/// The same as one JSON object.
pub fn json(snapshot: &Snapshot) -> String {
    let set = snapshot.set.as_ref();
    serde_json::json!({
        "path": snapshot.path.display().to_string(),
        "name": snapshot.stem(),
        "bytes": snapshot.bytes(),
        "created": snapshot.time.to_string(),
        "volumes": set.map(|s| s.volumes.iter().map(|a| a.label.clone()).collect::<Vec<_>>()),
        "mode": set.map(|s| s.mode),
        "leader": set.and_then(|s| s.leader.clone()),
        "system_identifier": set.and_then(|s| s.system_identifier.clone()),
        "timeline": set.and_then(|s| s.timeline),
        "downtime_ms": set.and_then(|s| s.downtime_ms),
        "duration_ms": set.map(|s| s.duration_ms),
        "tag": set.and_then(|s| s.tag.clone()),
        "proven": snapshot.fault.is_none(),
        "fault": snapshot.fault,
    })
    .to_string()
}

/// Prints the snapshots in `dir`, newest first: columns, or JSON objects a line.
pub fn list(dir: &Path, as_json: bool) -> Result<()> {
    // before the first snapshot there is the folder of the backups alone
    let none = !dir.exists() && place::parent(dir).is_dir();
    let snapshots = if none { Vec::new() } else { scan(dir)? };
    if as_json {
        for snapshot in &snapshots {
            if !out::record(&json(snapshot))? {
                break;
            }
        }
        return Ok(());
    }
    let now = Stamp::now();
    let rows: Vec<Vec<String>> = snapshots.iter().map(|s| row(s, now)).collect();
    out::table(&HEADER, &rows)
}
