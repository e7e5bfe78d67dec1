//! The drills that were held in a directory, in `drills.jsonl`: a JSON object a line.
//!
//! A manifest goes when its backup goes; that a restore took eight seconds last month is worth
//! knowing for longer. Lines are only ever added, each in one write.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalog::{Backup, SNAPSHOTS};
use crate::exit::{Error, Result};
use crate::manifest::{Kin, Kind};
use crate::place;
use crate::stamp::Stamp;

/// The name of the file.
pub const NAME: &str = "drills.jsonl";

/// No more of its end is read: some thousand drills.
const READ: u64 = 1 << 20;

/// A drill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// When it ended, RFC 3339, UTC.
    pub at: String,
    /// The name of the backup.
    pub name: String,
    /// Its series, where its name tells one.
    #[serde(default)]
    pub series: Option<String>,
    /// What it is a backup of.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// The database, of a backup of one.
    #[serde(default)]
    pub database: Option<String>,
    /// The system identifier of the server that it is a backup of.
    #[serde(default)]
    pub system_identifier: Option<String>,
    /// The options that left something out.
    #[serde(default)]
    pub partial: Vec<String>,
    /// Whether it was restored and proven.
    pub ok: bool,
    /// Why not.
    #[serde(default)]
    pub faults: Vec<String>,
    /// The version of the server that it was restored into.
    #[serde(default)]
    pub server: Option<String>,
    /// The whole: what a restore takes.
    #[serde(default)]
    pub seconds: f64,
    /// Of these, until a server was made and started.
    #[serde(default)]
    pub server_seconds: f64,
    /// Of these, until the restore had counted and compared every row, or had filled a snapshot's volumes and read
    /// the log.
    #[serde(default)]
    pub restore_seconds: f64,
    /// Of these, for the rest of the proof.
    #[serde(default)]
    pub prove_seconds: f64,
    /// Questions that were asked.
    #[serde(default)]
    pub queries: usize,
}

impl Drill {
    /// The drill of a backup that has ended now.
    pub fn of(backup: &Backup) -> Self {
        let of_none = Drill {
            at: Stamp::now().to_string(),
            name: backup.name.clone(),
            series: backup.series.clone(),
            ..Drill::default()
        };
        let Some(kin) = backup.kin() else { return of_none };
        Drill {
            kind: Some(kin.kind),
            database: kin.database,
            system_identifier: kin.server,
            partial: kin.partial,
            ..of_none
        }
    }

    /// When it ended; `None` for a line that somebody has edited.
    pub fn time(&self) -> Option<Stamp> {
        Stamp::parse_rfc3339(&self.at)
    }

    /// Whether it was of a backup of this series and kin.
    pub fn is_of(&self, series: &str, kin: &Kin) -> bool {
        let own = (self.kind, &self.database, &self.system_identifier, &self.partial);
        self.series.as_deref() == Some(series)
            && own == (Some(kin.kind), &kin.database, &kin.server, &kin.partial)
    }

    /// Adds it to those of `dir`, durably.
    pub fn record(&self, dir: &Path) -> Result<()> {
        let path = dir.join(NAME);
        let fail = |e| Error::io("write", path.display(), &e);
        let line = serde_json::to_string(self).map_err(|e| fail(e.into()))?;
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path).map_err(fail)?;
        // what a crash has cut must not swallow this line
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last).map_err(fail)?;
        }
        let begin = if last == [b'\n'] { "" } else { "\n" };
        file.write_all(format!("{begin}{line}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(fail)
    }
}

/// The drills of `dir` and of its folder of snapshots, oldest first; none where none was held. Lines that are no
/// drills are passed over.
pub fn drills(dir: &Path) -> Result<Vec<Drill>> {
    let mut drills = held(dir)?;
    drills.extend(held(&dir.join(SNAPSHOTS))?);
    // the order of lines is that of time, but for what somebody has edited
    drills.sort_by_key(Drill::time);
    Ok(drills)
}

fn held(dir: &Path) -> Result<Vec<Drill>> {
    let path = dir.join(NAME);
    let fail = |e| Error::io("read", path.display(), &e);
    let mut file = match place::open_regular(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(fail)?,
    };
    let length = file.metadata().map_err(fail)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ))).map_err(fail)?;
    let mut text = Vec::new();
    file.take(READ).read_to_end(&mut text).map_err(fail)?;
    let lines = text.split(|b| *b == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_costs_no_other() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(drills(dir.path()).unwrap(), []);
        let drill = |why: &str| Drill {
            name: "b_20251127_143022.sql".into(),
            faults: vec![why.into()],
            ..Drill::default()
        };
        let (first, second) = (drill("a\n\u{1b}b"), drill("c"));
        first.record(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        let cut = std::fs::read_to_string(&path).unwrap() + "{\"at\":\"2025";
        std::fs::write(&path, cut).unwrap();
        second.record(dir.path()).unwrap();
        assert_eq!(drills(dir.path()).unwrap(), [first, second]);
    }
}
