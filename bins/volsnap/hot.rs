//! A snapshot of a server that runs: its data directory is read while it is written to.
//!
//! PostgreSQL's low-level backup (manual, "Making a Base Backup Using the Low Level API"): between
//! `pg_backup_start` and `pg_backup_stop`, in one session, files may be read in any state, because
//! a recovery replays the log of that time over them. The label that the second one gives back is put
//! into the archive, the control file last. A session that is lost ends the backup, and there is none.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use kit::exit::{Error, Result};
use kit::guard::{For, guard};
use kit::pg::{Server, UNHINDERED, literal};
use kit::place::Part;
use kit::session::Session;
use kit::settings::Settings;
use kit::volume::control::{Control, FILE, Lsn};
use kit::volume::live;
use kit::volume::set::{Archive, Content, Data, WalRange};
use kit::wal::base::Base;
use kit::wal::name::{Name, Segment};

use crate::archived;
use crate::cli::TOOL;
use crate::inspect::{Seen, Source};
use crate::take::Taking;
use crate::tree::{Extra, Live};

/// A backup that has begun.
struct Backup {
    session: Session,
    version: u32,
    data: PathBuf,
    segment_bytes: u64,
    log: Log,
}

/// Where the log comes from that a recovery needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// It is included.
    Included,
    /// From the archive, into which it comes within this time.
    Archived(Duration),
}

impl Default for Log {
    fn default() -> Self {
        Log::Archived(Duration::ZERO)
    }
}

/// The server of the data directory among the volumes, and that directory.
///
/// # Errors
/// It is not the one that runs there, or its log would be kept nowhere.
pub(crate) fn server(sources: &[Source], log: Log) -> Result<(Server, PathBuf)> {
    let mut data = Vec::new();
    for source in sources {
        data.extend(live::data_directories(source.root()?)?);
    }
    let server = Server::find(None, &Settings::load()?, None)?;
    let [data] = &data[..] else {
        return Err(Error::refused(format!(
            "--hot takes one data directory, and the volumes hold {}",
            data.len()
        )));
    };
    let control = Control::of(data)?.map(|c| c.system_identifier);
    let rows = server.query(
        &server.facts().database,
        "SELECT current_setting('data_directory'), current_setting('archive_mode');",
    )?;
    let cell = |i: usize| rows.first().and_then(|r| r.get(i)).map(String::as_str).unwrap_or_default();
    let same = Path::new(cell(0)).canonicalize().ok() == data.canonicalize().ok();
    if !same || control != server.facts().system_identifier {
        return Err(Error::refused(format!(
            "the server that answers does not run on '{}', but on '{}'",
            data.display(),
            cell(0)
        ))
        .hint("Name its own directory, or reach the other server (PGHOST, PGPORT)."));
    }
    if server.facts().in_recovery {
        return Err(Error::refused("the server is a standby")
            .hint("Take the snapshot of the primary, or a cold one."));
    }
    if cell(1) == "off" && log != Log::Included {
        return Err(Error::refused(
            "the server archives no log, without which a hot snapshot is worth nothing",
        )
        .hint("Give --with-wal, or turn archiving on."));
    }
    Ok((server, data.clone()))
}

impl Backup {
    /// Begins: with a checkpoint at once, and where the log is to be included with a slot that keeps it.
    fn start(server: &Server, data: PathBuf, log: Log) -> Result<Self> {
        let control = Control::of(&data)?.ok_or_else(|| Error::no("it is no data directory any more"))?;
        let version = server.facts().version;
        let mut session = Session::open(server, &server.facts().database)?;
        let slot = format!(
            "SELECT NULL FROM pg_create_physical_replication_slot({}, true, true);",
            literal(&format!("pgkeep_{}", std::process::id()))
        );
        let start = match version {
            150_000.. => format!("SELECT NULL FROM pg_backup_start({}, true);", literal(TOOL)),
            _ => format!("SELECT NULL FROM pg_start_backup({}, true, false);", literal(TOOL)),
        };
        session.ask(&format!("{UNHINDERED}\n{}\n{start}", if log == Log::Included { &slot } else { "" }))?;
        Ok(Backup { session, version, data, segment_bytes: control.segment_bytes.into(), log })
    }

    /// Ends, when all files have been read: what belongs into the archive behind them, and the log
    /// that they need. Waits until that is archived, unless it is included.
    fn stop(mut self, below: &Path) -> Result<(Vec<Extra>, WalRange, Control)> {
        let stop =
            if self.version < 150_000 { "pg_stop_backup(false, false)" } else { "pg_backup_stop(false)" };
        let hex = |column: &str| format!("encode(convert_to(coalesce({column}, ''), 'UTF8'), 'hex')");
        let lines = self.session.ask(&format!(
            "SELECT lsn, {}, {} FROM {stop};",
            hex("labelfile"),
            hex("spcmapfile")
        ))?;
        let wrong = |what: &str| Error::no(format!("the server gave no {what} of the backup"));
        let mut fields = lines.first().ok_or_else(|| wrong("end"))?.split('|');
        let stop: Lsn = fields.next().unwrap_or_default().parse().map_err(Error::no)?;
        let label = fields.next().and_then(unhex).ok_or_else(|| wrong("label"))?;
        let map = fields.next().and_then(unhex).unwrap_or_default();
        let base = Base::parse(&String::from_utf8_lossy(&label)).map_err(Error::no)?;
        let segment = |lsn| Segment::at(base.timeline, lsn, self.segment_bytes);
        // a backup that ends where a segment does needs nothing of the next one
        let (first, last) = (segment(base.start), segment(Lsn(stop.0 - 1)));
        let file = |name: &str, bytes| Extra::Bytes(below.join(name), bytes);
        let mut extras = vec![file("backup_label", label)];
        if !map.is_empty() {
            extras.push(file("tablespace_map", map));
        }
        let mut segments = vec![first];
        while let Some(latest) = segments.last().filter(|s| **s != last) {
            segments.push(latest.next(self.segment_bytes));
        }
        match self.log {
            Log::Included => extras.extend(segments.iter().map(|segment| {
                let name = format!("pg_wal/{segment}");
                Extra::File(below.join(&name), self.data.join(&name))
            })),
            Log::Archived(within) => {
                let mut files: Vec<Name> = segments.into_iter().map(Name::Segment).collect();
                files.push(Name::Backup(first, (base.start.0 % self.segment_bytes) as u32));
                archived::wait(&mut self.session, &self.data, &files, within)?;
            }
        }
        let (bytes, control) = self.control()?;
        extras.push(Extra::Bytes(below.join(FILE), bytes));
        let range = WalRange {
            timeline: base.timeline,
            start: base.start,
            stop,
            first: first.to_string(),
            last: last.to_string(),
            included: self.log == Log::Included,
        };
        Ok((extras, range, control))
    }

    /// The control file, read until it is whole: the server writes it meanwhile.
    fn control(&self) -> Result<(Vec<u8>, Control)> {
        let path = self.data.join(FILE);
        let mut fault = "";
        for _ in 0..100 {
            let bytes = std::fs::read(&path).map_err(|e| Error::io("read", path.display(), &e))?;
            match Control::parse(&bytes) {
                Ok(control) => return Ok((bytes, control)),
                Err(cause) => fault = cause,
            }
            kit::child::pause(std::time::Duration::from_millis(10))?;
        }
        Err(Error::no(format!("cannot read '{}': {fault}", path.display())))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

/// Reads all volumes, that of the data directory last, while the server runs.
pub(crate) fn read(
    taking: &Taking<'_>,
    sources: &[Source],
    server: &Server,
    data: &Path,
    log: Log,
) -> Result<(Vec<Part>, Vec<Archive>, Option<WalRange>)> {
    if data.join("pg_wal").is_symlink() {
        let speech = taking.speech;
        speech.warn("warning: pg_wal is a link: the snapshot has a directory instead, and so it comes back");
    }
    let _guard = guard(server, &server.facts().database, For::Backup, TOOL)?;
    let backup = Backup::start(server, data.to_owned(), log)?;
    let mut sources: Vec<&Source> = sources.iter().collect();
    sources.sort_by_key(|s| s.root().is_ok_and(|root| data.starts_with(root)));
    let Some((of_data, others)) = sources.split_last() else { return Ok((Vec::new(), Vec::new(), None)) };
    let (mut parts, mut archives) = (Vec::new(), Vec::new());
    for source in others {
        let seen = Seen { content: Content::Other, data: Vec::new() };
        let live = Live { data: None, last: None };
        let (part, archive) = taking.take(source, &seen, Some(live), || Ok(()))?;
        parts.push(part);
        archives.push(archive);
    }
    let below = data.strip_prefix(of_data.root()?).unwrap_or(Path::new("")).to_owned();
    let (send, told) = channel();
    let last = {
        let below = below.clone();
        move || {
            let (extras, range, control) = backup.stop(&below)?;
            // nobody listens when the archive has failed
            let _ = send.send((range, control));
            Ok(extras)
        }
    };
    let live = Live { data: Some(below.clone()), last: Some(Box::new(last)) };
    let seen = Seen { content: Content::Postgresql, data: Vec::new() };
    let (part, mut archive) = taking.take(of_data, &seen, Some(live), || Ok(()))?;
    let (range, control) = told.recv().map_err(|_| Error::no("the backup has no end"))?;
    archive.data = vec![Data { path: below.to_string_lossy().into_owned(), control }];
    parts.push(part);
    archives.push(archive);
    Ok((parts, archives, Some(range)))
}

/// What is left out of a data directory that is read while its server runs: what no recovery needs,
/// or what would be another moment's (manual, the same chapter, and `basebackup.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// As it is.
    Whole,
    /// A directory, without what is in it.
    Empty,
    /// Not at all.
    No,
}

/// Judges a path below the data directory.
pub(crate) fn taken(path: &Path) -> Taken {
    const EMPTY: [&str; 8] = [
        "pg_wal",
        "pg_replslot",
        "pg_dynshmem",
        "pg_notify",
        "pg_serial",
        "pg_snapshots",
        "pg_stat_tmp",
        "pg_subtrans",
    ];
    const NOT: [&str; 8] = [
        "postmaster.pid",
        "postmaster.opts",
        "backup_label",
        "backup_label.old",
        "tablespace_map",
        "tablespace_map.old",
        "backup_manifest",
        "current_logfiles.tmp",
    ];
    let text = path.to_string_lossy();
    let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
    if EMPTY.contains(&&*text) {
        Taken::Empty
    } else if NOT.contains(&&*text)
        || text == FILE
        || text.starts_with("postgresql.auto.conf.tmp")
        || name.starts_with("pgsql_tmp")
        || name.starts_with("pg_internal.init")
    {
        Taken::No
    } else {
        Taken::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out() {
        for (path, want) in [
            ("base/1/1259", Taken::Whole),
            ("pg_wal", Taken::Empty),
            ("pg_replslot", Taken::Empty),
            ("base/1/pg_wal", Taken::Whole),
            ("postmaster.pid", Taken::No),
            ("global/pg_control", Taken::No),
            ("base/pgsql_tmp", Taken::No),
            ("base/1/pg_internal.init.123", Taken::No),
            ("postgresql.auto.conf", Taken::Whole),
        ] {
            assert_eq!(taken(Path::new(path)), want, "{path}");
        }
    }

    #[test]
    fn bytes_come_back() {
        assert_eq!(unhex("4c0a"), Some(b"L\n".to_vec()));
        assert_eq!((unhex(""), unhex("4"), unhex("xx")), (Some(vec![]), Some(vec![4]), None));
    }
}
