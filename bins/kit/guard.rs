//! Backups and restores of one server keep out of each other's way.
//!
//! Each holds an advisory lock while it runs: backups share it, a restore has it alone. Such a lock
//! belongs to the database that its session is in, and the two may not be in the same one, so each
//! takes the lock first and then looks for it in all databases: of two that begin together, one
//! at least sees the other. It ends with its session, however that ends.

use std::time::Duration;

use crate::child::interrupted;
use crate::exit::{Code, Error, Result};
use crate::pg::{Server, literal};
use crate::session::Session;

/// The key of the lock, `pgkeep` in ASCII; `pg_locks` shows its upper and lower half.
const KEY: i64 = 0x7067_6b65_6570;

/// What the lock is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Several at a time.
    Backup,
    /// One, and no backup meanwhile.
    Restore,
}

/// What sessions that restore call themselves, so that they are seen even where their lock was lost.
const RESTORING: &str = "pgkeep restore";

/// SQL that marks a session as one that restores.
pub fn marked() -> String {
    format!("SET application_name = '{RESTORING}';")
}

/// Held until dropped.
pub struct Guard(Session);

impl Guard {
    /// Asks whether the lock is still ours: its session may have been ended by somebody.
    ///
    /// # Errors
    /// [`crate::exit::Code::Temporary`] when it is not.
    pub fn holds(&mut self) -> Result<()> {
        let lost = || {
            Error::temporary("the session that keeps backups and restores apart was ended by somebody")
                .hint("A backup may have been taken of a half-restored server meanwhile; do it again.")
        };
        match self.0.ask("SELECT 1;") {
            Ok(lines) if lines == ["1"] => Ok(()),
            _ => Err(interrupted().err().unwrap_or_else(lost)),
        }
    }
}

/// How often it is asked for: the server may still see the session of a program that has just ended.
const TRIES: usize = 10;

/// Takes the lock with a session in `database`, which must stay; `tool` is the name that others see.
///
/// # Errors
/// [`crate::exit::Code::Temporary`] when one that excludes us runs.
pub fn guard(server: &Server, database: &str, what: For, tool: &str) -> Result<Guard> {
    for _ in 1..TRIES {
        match try_guard(server, database, what, tool) {
            Err(error) if error.code() == Code::Temporary => {}
            other => return other,
        }
        crate::child::pause(Duration::from_millis(100))?;
    }
    try_guard(server, database, what, tool)
}

fn try_guard(server: &Server, database: &str, what: For, tool: &str) -> Result<Guard> {
    let mut session = Session::open(server, database)?;
    let lines = session.ask(&question(server.facts().version, what, tool))?;
    let guard = Guard(session);
    match lines.first() {
        None => Ok(guard),
        Some(other) => Err(Error::temporary(format!("{other} is at work on this server"))
            .hint("Wait for it to end: a backup taken during a restore would be of half a database.")),
    }
}

fn question(version: u32, what: For, tool: &str) -> String {
    let (function, modes) = match what {
        For::Backup => ("pg_try_advisory_xact_lock_shared", "'ExclusiveLock'"),
        For::Restore => ("pg_try_advisory_xact_lock", "'ExclusiveLock', 'ShareLock'"),
    };
    // a transaction's lock ends with the connection even behind a pooler that reuses sessions
    let no_limit = if version >= 170_000 { "SET transaction_timeout = 0;\n" } else { "" };
    format!(
        "SET application_name = {};\n{no_limit}SET idle_in_transaction_session_timeout = 0;\nBEGIN;\n\
        SELECT NULL FROM {function}({KEY});\n\
        SELECT coalesce(nullif(a.application_name, ''), 'another program') || ' (server process ' || l.pid || ')' \
        FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) \
        WHERE l.locktype = 'advisory' AND l.classid = {} AND l.objid = {} AND l.objsubid = 1 AND l.granted \
        AND l.mode IN ({modes}) AND l.pid <> pg_backend_pid();\n\
        SELECT application_name || ' (server process ' || pid || ')' FROM pg_stat_activity \
        WHERE application_name = '{RESTORING}' AND pid <> pg_backend_pid() \
        AND coalesce(shobj_description(datid, 'pg_database'), '') NOT LIKE '{}%';",
        literal(tool),
        KEY >> 32,
        KEY & 0xffff_ffff,
        // without its lock it is what a killed restore has left, and fills what nobody reads
        crate::beside::What::Restore.prefix(),
    )
}
