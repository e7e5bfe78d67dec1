//! Base backups as the archive knows them: by the `.backup` file that each leaves there
//! (`xlogbackup.c`), which is also the form of a `backup_label`. Pure.

use super::name::{Lsn, Name, Segment};
use crate::volume::set::{Data, Set};

/// A base backup, or a snapshot as the beginning of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Its label.
    pub label: String,
    /// The timeline on which it was begun.
    pub timeline: u32,
    /// Where a recovery of it begins.
    pub start: Lsn,
    /// Up to where a recovery must come before the data are consistent.
    pub stop: Option<Lsn>,
    /// When it was begun and ended, in the server's words.
    pub times: (String, String),
}

impl Base {
    /// Reads a `.backup` file or a `backup_label`.
    ///
    /// # Errors
    /// What is missing in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned).ok_or_else(|| format!("there is no '{name}' in it"))
        };
        // `0/6000028 (file 000000010000000000000006)`
        let place = |name: &str| {
            let line = field(name)?;
            let (lsn, rest) = line.split_once(" (file ").ok_or_else(|| format!("'{name}' names no file"))?;
            let file: Segment = rest.trim_end_matches(')').parse()?;
            Ok::<_, String>((lsn.parse::<Lsn>()?, file))
        };
        let (start, file) = place("START WAL LOCATION")?;
        Ok(Base {
            label: field("LABEL")?,
            timeline: file.timeline,
            start,
            stop: place("STOP WAL LOCATION").ok().map(|(stop, _)| stop),
            times: (field("START TIME").unwrap_or_default(), field("STOP TIME").unwrap_or_default()),
        })
    }

    /// What a recovery of a data directory in a snapshot needs, labelled with the snapshot's name.
    pub fn of_snapshot(set: &Set, data: &Data, stem: &str) -> Self {
        let control = &data.control;
        let (timeline, start, stop) = match &set.wal {
            Some(wal) => (wal.timeline, wal.start, wal.stop),
            // it stood still: its latest checkpoint is where it ended
            None => (control.timeline, control.redo, control.checkpoint),
        };
        let times = (set.created.clone(), String::new());
        Base { label: stem.to_owned(), timeline, start, stop: Some(stop), times }
    }

    /// The first segment that a recovery of it needs.
    pub fn first(&self, segment_bytes: u64) -> Segment {
        Segment::at(self.timeline, self.start, segment_bytes)
    }

    /// The name under which it stands in the archive.
    pub fn name(&self, segment_bytes: u64) -> Name {
        Name::Backup(self.first(segment_bytes), (self.start.0 % segment_bytes) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read() {
        let text = "START WAL LOCATION: 0/6000028 (file 000000010000000000000006)\n\
            STOP WAL LOCATION: 0/60BB5A0 (file 000000010000000000000006)\nCHECKPOINT LOCATION: 0/6000060\n\
            BACKUP METHOD: streamed\nSTART TIME: 2026-11-25 22:25:21 UTC\nLABEL: pg_basebackup: base\n\
            START TIMELINE: 1\nSTOP TIME: 2026-11-25 22:25:22 UTC\nSTOP TIMELINE: 1\n";
        let base = Base::parse(text).unwrap();
        assert_eq!((base.start, base.stop, base.timeline), (Lsn(0x600_0028), Some(Lsn(0x60B_B5A0)), 1));
        assert_eq!(base.label, "pg_basebackup: base");
        assert_eq!(base.name(16 << 20).to_string(), "000000010000000000000006.00000028.backup");
        assert!(Base::parse("LABEL: x\n").is_err());
    }
}
