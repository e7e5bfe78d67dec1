//! `status`: how archiving goes, as the server sees it.
//!
//! Failures that the server does not count (an archiver that died) show in the backlog.

use std::path::PathBuf;

use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out;
use kit::pg::Server;
use kit::settings::Settings;
use kit::wal::archive::{Archive, Fault};
use kit::wal::name::Name;
use serde_json::json;

use crate::cli::Args;
use crate::get;

const ASKED: &str = "SELECT current_setting('archive_mode'), current_setting('archive_command'), \
    coalesce(current_setting('archive_library', true), ''), \
    pg_size_bytes(current_setting('wal_segment_size')), current_setting('data_directory'), \
    last_archived_wal, extract(epoch FROM now() - last_archived_time)::bigint, failed_count, \
    last_failed_wal, extract(epoch FROM now() - last_failed_time)::bigint, waiting, \
    extract(epoch FROM now() - oldest)::bigint FROM pg_stat_archiver, \
    (SELECT count(*) AS waiting, min(modification) AS oldest \
    FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') AS backlog;";

/// What the server says, and what follows from it.
#[derive(Debug, Default)]
struct Status {
    mode: String,
    command: String,
    library: String,
    segment_bytes: u64,
    last_archived: Option<String>,
    /// Seconds ago.
    archived_age: Option<i64>,
    failures: u64,
    last_failed: Option<String>,
    failed_age: Option<i64>,
    backlog: u64,
    oldest_age: Option<i64>,
    /// Bytes free where the log is written, if that is here.
    free: Option<u64>,
}

/// Asks the server and judges.
pub(crate) fn status(args: &Args, account: &Account<'_>) -> Result<Code> {
    let server = Server::find(args.via.clone(), &Settings::load()?, None)?;
    let database = server.facts().database.clone();
    let rows = server.query(&database, ASKED)?;
    let mut status = Status::parse(&rows)?;
    let data = PathBuf::from(rows.first().and_then(|row| row.get(4)).cloned().unwrap_or_default());
    if server.via().is_here() {
        status.free = kit::place::free(&data.join("pg_wal")).ok();
    }
    let mut faults = status.faults(args);
    if let (Some(dir), Some(last)) = (args.archives.first(), &status.last_archived) {
        let name: Name = last.parse().map_err(Error::no)?;
        let archive = Archive::open(dir)?;
        if archive.find(name)?.is_none() && !was_empty(&archive, name)? {
            faults.push(format!("{last} is archived, says the server, and is not in '{}'", dir.display()));
        }
    }
    faults.iter().for_each(|fault| account.note(fault));
    status.tell(args, &faults)?;
    Ok(if faults.is_empty() { Code::Done } else { Code::No })
}

/// Whether it may be one of the segments that `push` has nothing to store of: its timeline was left before
/// its end.
fn was_empty(archive: &Archive, name: Name) -> Result<bool> {
    let Name::Segment(segment) = name else { return Ok(false) };
    get::left(archive, segment).map(|left| left.is_some()).map_err(Fault::error)
}

impl Status {
    fn parse(rows: &[Vec<String>]) -> Result<Self> {
        let [row] = rows else {
            return Err(Error::no("the server gave no answer about its archiver"));
        };
        let cell = |i: usize| row.get(i).cloned().unwrap_or_default();
        let some = |i: usize| Some(cell(i)).filter(|c| !c.is_empty());
        let number = |text: &str| text.parse().ok();
        Ok(Status {
            mode: cell(0),
            command: cell(1),
            library: cell(2),
            segment_bytes: cell(3).parse().unwrap_or(16 << 20),
            last_archived: some(5),
            archived_age: number(&cell(6)),
            failures: cell(7).parse().unwrap_or(0),
            last_failed: some(8),
            failed_age: number(&cell(9)),
            backlog: cell(10).parse().unwrap_or(0),
            oldest_age: number(&cell(11)),
            free: None,
        })
    }

    /// What is not as it should be.
    fn faults(&self, args: &Args) -> Vec<String> {
        let mut faults = Vec::new();
        if self.mode == "off" {
            faults.push("archive_mode is off".into());
        } else if ["", "(disabled)"].contains(&self.command.as_str()) && self.library.is_empty() {
            faults.push("archive_command is empty".into());
        }
        if let (Some(wal), Some(failed)) = (&self.last_failed, self.failed_age)
            && self.archived_age.is_none_or(|archived| failed < archived)
        {
            faults.push(format!("the latest attempt failed, {failed} s ago, with {wal}"));
        }
        if self.backlog > args.max_backlog {
            faults.push(format!("{} files wait, more than {}", self.backlog, args.max_backlog));
        }
        if let Some(age) = self.oldest_age.filter(|age| *age > args.max_age) {
            faults.push(format!("the oldest waits for {age} s, more than {}", args.max_age));
        }
        faults
    }

    /// Seconds until the disk is full, if the backlog goes on as it did.
    fn until_full(&self) -> Option<u64> {
        let age = u64::try_from(self.oldest_age?).ok()?;
        let waiting = self.backlog.checked_mul(self.segment_bytes)?;
        // one that is just being archived is no backlog
        (self.backlog > 1).then_some(())?;
        self.free?.checked_mul(age)?.checked_div(waiting)
    }

    fn tell(&self, args: &Args, faults: &[String]) -> Result<()> {
        if args.json {
            let record = json!({
                "archive_mode": self.mode, "archive_command": self.command, "last_archived": self.last_archived,
                "last_archived_seconds_ago": self.archived_age, "failures": self.failures,
                "last_failed": self.last_failed, "last_failed_seconds_ago": self.failed_age,
                "backlog": self.backlog, "backlog_bytes": self.backlog * self.segment_bytes,
                "oldest_seconds": self.oldest_age, "free_bytes": self.free,
                "seconds_until_full": self.until_full(), "faults": faults,
            });
            return out::record(&record.to_string()).map(drop);
        }
        let ago = |name: &Option<String>, age: Option<i64>| match (name, age) {
            (Some(name), Some(age)) => format!("{name}, {age} s ago"),
            _ => "-".into(),
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let mut rows = vec![
            ("archive_mode", self.mode.clone()),
            ("last archived", ago(&self.last_archived, self.archived_age)),
            ("failures", self.failures.to_string()),
            ("last failed", ago(&self.last_failed, self.failed_age)),
            ("waiting", format!("{} ({})", self.backlog, out::bytes(self.backlog * self.segment_bytes))),
            ("oldest", or_dash(self.oldest_age.map(|s| format!("{s} s")))),
            ("free", or_dash(self.free.map(out::bytes))),
            ("full in", or_dash(self.until_full().map(|s| format!("{s} s")))),
        ];
        rows.extend(faults.iter().map(|fault| ("fault", fault.clone())));
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        out::table(&["WHAT", "VALUE"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(change: impl FnOnce(&mut Status)) -> usize {
        let mut status =
            Status { mode: "on".into(), command: "x".into(), segment_bytes: 1 << 24, ..Status::default() };
        change(&mut status);
        status.faults(&Args::default()).len()
    }

    #[test]
    fn what_is_a_fault() {
        assert_eq!(faults(|_| ()), 0);
        assert_eq!(faults(|s| s.mode = "off".into()), 1);
        assert_eq!(faults(|s| s.command = "(disabled)".into()), 1);
        assert_eq!(faults(|s| s.backlog = 101), 1);
        assert_eq!(faults(|s| s.oldest_age = Some(901)), 1);
        let failed = |ago, archived| {
            faults(|s| {
                (s.last_failed, s.failed_age, s.archived_age) = (Some("x".into()), Some(ago), archived)
            })
        };
        assert_eq!((failed(5, Some(3)), failed(5, Some(60)), failed(5, None)), (0, 1, 1));
    }

    #[test]
    fn a_backlog_tells_when_the_disk_is_full() {
        let status = Status {
            backlog: 10,
            oldest_age: Some(100),
            free: Some(20 << 24),
            segment_bytes: 1 << 24,
            ..Status::default()
        };
        assert_eq!(status.until_full(), Some(200));
        assert_eq!(Status { backlog: 1, ..status }.until_full(), None);
    }
}
