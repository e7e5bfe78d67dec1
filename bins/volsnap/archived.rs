//! Waiting until the log that a hot snapshot needs is archived, within bounds.
//!
//! `pg_backup_stop` waits as well, but for ever where archiving fails. A file counts as archived as it does for the
//! server (`XLogArchiveIsBusy` in `xlogarchive.c`): when its mark says so, or when it is gone with its mark.

use std::path::Path;
use std::time::{Duration, Instant};

use kit::child::pause;
use kit::exit::{Error, Result};
use kit::session::Session;
use kit::wal::name::Name;

/// The latest failure, unless something was archived since.
const FAILURE: &str = "SELECT last_failed_wal, date_trunc('second', last_failed_time AT TIME ZONE 'UTC') \
    FROM pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity');";

/// Waits until all `files` of the server on `data` are archived, `within` at most.
///
/// # Errors
/// Temporary, with what the archiver failed on; a signal.
pub(crate) fn wait(session: &mut Session, data: &Path, files: &[Name], within: Duration) -> Result<()> {
    let end = Instant::now() + within;
    for file in files {
        while is_busy(&data.join("pg_wal"), &file.to_string())? {
            if Instant::now() >= end {
                return Err(late(session, *file, within));
            }
            pause(Duration::from_millis(100))?;
        }
    }
    Ok(())
}

/// Whether the server has yet to archive a file.
fn is_busy(log: &Path, file: &str) -> Result<bool> {
    let there = |name: &str| {
        let path = log.join(name);
        // what may not be looked at is not gone
        path.try_exists().map_err(|e| Error::io("read", path.display(), &e))
    };
    let marked = |mark: &str| there(&format!("archive_status/{file}.{mark}"));
    // it may be done while we look
    Ok(!marked("done")? && (marked("ready")? || there(file)?) && !marked("done")?)
}

fn late(session: &mut Session, file: Name, within: Duration) -> Error {
    let failure = session.ask(FAILURE).ok().and_then(|lines| lines.into_iter().next());
    let failure = failure.map_or("no failure is known of".into(), |line| {
        let (file, at) = line.split_once('|').unwrap_or((&line, ""));
        format!("the archiver failed with {file} at {at} UTC")
    });
    Error::temporary(format!("the log is not archived after {} s: {file} waits, {failure}", within.as_secs()))
        .hint("The snapshot is worth nothing without it, so nothing was kept. The server's log says why; --within gives it longer.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_archived() {
        let dir = tempfile::tempdir().unwrap();
        let (log, file) = (dir.path(), "000000010000000000000001");
        std::fs::create_dir(log.join("archive_status")).unwrap();
        let touch = |name: &str| std::fs::write(log.join(name), "").unwrap();
        assert!(!is_busy(log, file).unwrap(), "recycled");
        touch(file);
        assert!(is_busy(log, file).unwrap(), "not yet marked");
        touch(&format!("archive_status/{file}.ready"));
        assert!(is_busy(log, file).unwrap());
        touch(&format!("archive_status/{file}.done"));
        assert!(!is_busy(log, file).unwrap());
    }
}
