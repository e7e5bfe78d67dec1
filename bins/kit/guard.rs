//! Backups and restores of one server keep out of each other's way.
//!
//! Each holds an advisory lock while it runs: backups share it, a restore has it alone. Such a lock
//! belongs to the database that its session is in, and the two may not be in the same one, so each
//! takes the lock first and then looks for it in all databases: of two that begin together, one
//! at least sees the other. It ends with its session, however that ends.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use crate::child::{Child, Sink, Source, interrupted};
use crate::exit::{Code, Error, Result};
use crate::pg::{Server, literal, literal_dbname};

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
pub struct Guard(Option<(Sink, Source, Child)>);

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
        let Some((stdin, stdout, _)) = &mut self.0 else { return Err(lost()) };
        let asked = std::io::Write::write_all(stdin, b"SELECT 1;\n\\echo end\n");
        asked.map_err(|_| lost())?;
        let answer = answer(stdout).map_err(|e| interrupted().err().unwrap_or(e))?;
        if answer.is_some_and(|lines| lines.contains(&"1".to_owned())) { Ok(()) } else { Err(lost()) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((stdin, _, psql)) = self.0.take() {
            // the end of its input is psql's end, and the lock's
            drop(stdin);
            let _ = psql.wait();
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
    let mut command = server.psql(&literal_dbname(database)).args(["-A", "-t"]).command();
    let mut psql = Child::spawn(&mut command, "psql", Stdio::piped(), Stdio::piped())?;
    let (stdin, stdout) = (psql.stdin(), psql.stdout());
    let (Some(mut stdin), Some(mut stdout)) = (stdin, stdout) else {
        return Err(Error::no("cannot talk to psql"));
    };
    // one that ended before it read this tells why by its status
    let _ = std::io::Write::write_all(&mut stdin, question(server.facts().version, what, tool).as_bytes());
    let Some(lines) = answer(&mut stdout)? else {
        let ended = psql.wait()?;
        return Err(ended.error().within(format!("cannot ask database '{database}'")));
    };
    let guard = Guard(Some((stdin, stdout, psql)));
    match lines.first() {
        None => Ok(guard),
        Some(other) => Err(Error::temporary(format!("{other} is at work on this server"))
            .hint("Wait for it to end: a backup taken during a restore would be of half a database.")),
    }
}

/// The lines that psql prints up to the mark; `None` when it has ended.
fn answer(stdout: &mut Source) -> Result<Option<Vec<String>>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"end\n") {
        let n = stdout
            .read(&mut buffer)
            .map_err(|e| interrupted().err().unwrap_or_else(|| Error::io("read from", "psql", &e)))?;
        if n == 0 {
            return Ok(None);
        }
        answer.extend_from_slice(&buffer[..n]);
    }
    let answer = String::from_utf8_lossy(&answer);
    Ok(Some(answer.lines().filter(|l| *l != "end" && !l.is_empty()).map(str::to_owned).collect()))
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
        AND coalesce(shobj_description(datid, 'pg_database'), '') NOT LIKE '{}%';\n\\echo end\n",
        literal(tool),
        KEY >> 32,
        KEY & 0xffff_ffff,
        // without its lock it is what a killed restore has left, and fills what nobody reads
        crate::beside::What::Restore.prefix(),
    )
}
