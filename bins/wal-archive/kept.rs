//! What `prune` must leave: the first segment that anything that is kept needs, and whether anything
//! can be recovered at all. What cannot must not have good log removed for its sake.

use std::collections::BTreeMap;
use std::path::Path;

use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::volume::set::Set;
use kit::volume::snapshot::scan;
use kit::wal::archive::{Archive, Fault, Stored, segments};
use kit::wal::base::Base;
use kit::wal::chain::Chain;
use kit::wal::history::History;
use kit::wal::name::{Name, Segment};
use kit::wal::reader::Reader;

use crate::cli::Args;

/// The archive, as its names, histories and labels tell.
struct Log<'a> {
    archive: &'a Archive,
    files: &'a BTreeMap<Name, Stored>,
    chain: Chain,
    bases: Vec<Base>,
}

/// The first segment that is kept, and why.
///
/// # Errors
/// [`kit::exit::Code::Refused`] when nothing that is kept could be recovered.
pub(crate) fn oldest(
    archive: &Archive,
    files: &BTreeMap<Name, Stored>,
    args: &Args,
    speech: &Speech,
) -> Result<(Segment, String)> {
    let log = Log::of(archive, files)?;
    let bytes = log.chain.segment_bytes;
    let refused =
        |cause: &str| Error::refused(format!("cannot prune '{}': {cause}", archive.dir().display()));
    let mut kept: Vec<(Segment, String)> = Vec::new();
    if let Some(segment) = args.keep_from {
        if !files.contains_key(&Name::Segment(segment)) {
            return Err(refused(&format!("{segment} is not in it"))
                .hint("Name the first segment that must stay; it must be there."));
        }
        kept.push((segment, "which must be kept".into()));
    }
    if let Some(wanted) = args.keep {
        let bases = log.last(wanted, speech)?;
        let reason = format!("the oldest of the last {} whole base backups", bases.len());
        let first = bases.iter().map(|b| b.first(bytes)).min_by_key(|s| s.number(bytes));
        kept.extend(first.map(|segment| (segment, reason)));
    }
    if let Some(dir) = &args.snapshots {
        kept.extend(log.snapshots(dir, speech)?);
    }
    kept.into_iter().min_by_key(|(segment, _)| segment.number(bytes)).ok_or_else(|| match args.snapshots {
        Some(_) => refused("no snapshot of this server can be recovered")
            .hint("Take one (volsnap --hot), or name what must stay: --keep-from SEGMENT."),
        None => refused("it knows of no whole base backup")
            .hint("Take one (pg_basebackup), or name what must stay: --keep-from SEGMENT."),
    })
}

impl<'a> Log<'a> {
    fn of(archive: &'a Archive, files: &'a BTreeMap<Name, Stored>) -> Result<Self> {
        let mut chain = Chain {
            segment_bytes: archive.segment_bytes().unwrap_or_default(),
            segments: segments(files.keys()).collect(),
            ..Chain::default()
        };
        let mut bases = Vec::new();
        for (name, stored) in files {
            let text = match name {
                Name::History(_) | Name::Backup(..) => archive.text(stored),
                _ => continue,
            };
            match (name, text) {
                (Name::History(timeline), Ok(text)) => {
                    chain.histories.extend(History::parse(*timeline, &text).ok().map(|h| (*timeline, h)));
                }
                (_, Ok(text)) => bases.extend(Base::parse(&text)),
                (_, Err(Fault::Damaged(_))) => {}
                (_, Err(fault)) => return Err(fault.error()),
            }
        }
        // later ones have higher timelines: a recovery may go back in the log, and never in these
        bases.sort_by_key(|b| (b.timeline, b.start));
        Ok(Log { archive, files, chain, bases })
    }

    /// The last `wanted` base backups that left a file here and are whole.
    fn last(&self, wanted: usize, speech: &Speech) -> Result<Vec<&Base>> {
        let mut kept = Vec::new();
        for base in self.bases.iter().rev() {
            match self.lacks(base)? {
                _ if kept.len() == wanted => break,
                None => kept.push(base),
                Some(cause) => {
                    speech.warn(&format!("base backup '{}' does not count: {cause}", base.label));
                }
            }
        }
        Ok(kept)
    }

    /// The first segment that a snapshot in `dir` needs; all of this server's hold theirs. `None`: none
    /// can be recovered, with this log or without.
    fn snapshots(&self, dir: &Path, speech: &Speech) -> Result<Option<(Segment, String)>> {
        let bytes = self.chain.segment_bytes;
        let (mut firsts, mut recoverable) = (Vec::new(), false);
        if !dir.is_dir() {
            return Err(Error::temporary(format!("cannot find snapshots: '{}' is not there", dir.display()))
                .hint("Is its file system mounted? It is the folder that volsnap keeps them in."));
        }
        for snapshot in scan(dir)? {
            let set = match (&snapshot.set, &snapshot.fault) {
                (Some(set), None) => set,
                (_, fault) => {
                    let cause = fault.clone().unwrap_or_default();
                    speech.warn(&format!("snapshot {} does not count: {cause}", snapshot.stem()));
                    continue;
                }
            };
            for base in &self.of_snapshot(set, &snapshot.stem()) {
                firsts.push(base.first(bytes));
                let lacks = if set.needs_log() { self.lacks(base)? } else { None };
                recoverable |= lacks.is_none();
                if let Some(cause) = lacks {
                    speech.warn(&format!("snapshot {} cannot be recovered: {cause}", snapshot.stem()));
                }
            }
        }
        let first = firsts.into_iter().min_by_key(|s| s.number(bytes)).filter(|_| recoverable);
        Ok(first.map(|segment| (segment, format!("the oldest of the snapshots in '{}'", dir.display()))))
    }

    /// Where each of this server's data directories in a snapshot needs the log.
    fn of_snapshot(&self, set: &Set, stem: &str) -> Vec<Base> {
        let ours = self.archive.identity().system_identifier.as_ref();
        let data = set.volumes.iter().flat_map(|volume| &volume.data);
        data.filter(|d| ours == Some(&d.control.system_identifier))
            .map(|d| Base::of_snapshot(set, d, stem))
            .collect()
    }

    /// What keeps a base backup from becoming consistent. Its own log is read, not only looked for: one
    /// that cannot be recovered must not have good ones removed.
    fn lacks(&self, base: &Base) -> Result<Option<String>> {
        let Some(stop) = base.stop else { return Ok(Some("it does not say where it ended".into())) };
        let way = match self.chain.way(base.start, base.timeline) {
            Ok(way) if stop <= way.end => way,
            Ok(way) => return Ok(Some(format!("the log ends at {}, before {stop}", way.end))),
            Err(cause) => return Ok(Some(cause)),
        };
        let mut reader = Reader::new(self.archive);
        let needed = way.segments.into_iter().filter(|s| s.start(self.chain.segment_bytes) < stop);
        for stored in needed.filter_map(|segment| self.files.get(&Name::Segment(segment))) {
            match reader.read(stored, |_| ()) {
                Ok(seen) if seen.ends && reader.end().is_none_or(|end| end < stop) => {
                    return Ok(Some(format!("the log ends within {}", stored.name)));
                }
                Ok(_) => {}
                Err(Fault::Damaged(error)) => return Ok(Some(error.to_string())),
                Err(fault) => return Err(fault.error()),
            }
        }
        Ok(None)
    }
}
