//! A session with a server that stays: one psql that is asked now and then.
//!
//! What lasts as long as its session (a lock, a base backup) ends with it, however that ends.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::child::{Child, Sink, Source, interrupted};
use crate::exit::{Error, Result};
use crate::pg::{Server, literal_dbname};

/// What psql prints behind an answer.
const MARK: &str = "pgkeep: end";

/// A running psql, which stops at the first error. Dropped, it ends.
pub struct Session {
    database: String,
    /// `None` once it has ended.
    psql: Option<(Sink, Source, Child)>,
}

impl Session {
    /// Starts one in `database`. Whether that can be entered is told by the first question.
    pub fn open(server: &Server, database: &str) -> Result<Self> {
        let mut command = server.psql(&literal_dbname(database)).args(["-A", "-t"]).command();
        let mut psql = Child::spawn(&mut command, "psql", Stdio::piped(), Stdio::piped())?;
        match (psql.stdin(), psql.stdout()) {
            (Some(stdin), Some(stdout)) => {
                Ok(Session { database: database.to_owned(), psql: Some((stdin, stdout, psql)) })
            }
            _ => Err(Error::no("cannot talk to psql")),
        }
    }

    /// Runs SQL, and gives back the lines that come of it, without empty ones.
    ///
    /// # Errors
    /// psql's last words; from then on it has ended. A signal.
    pub fn ask(&mut self, sql: &str) -> Result<Vec<String>> {
        let ended = || Error::temporary("the session with the server has ended");
        let (stdin, stdout, _) = self.psql.as_mut().ok_or_else(ended)?;
        // one that ended before it read this tells why by its status
        let _ = stdin.write_all(format!("{sql}\n\\echo {MARK}\n").as_bytes());
        if let Some(lines) = answer(stdout)? {
            return Ok(lines);
        }
        let Some((_, _, psql)) = self.psql.take() else { return Err(ended()) };
        let last = psql.wait()?;
        Err(last.error().within(format!("cannot ask database '{}'", self.database)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((stdin, _, psql)) = self.psql.take() {
            // the end of its input is psql's end
            drop(stdin);
            let _ = psql.wait();
        }
    }
}

/// The lines that psql prints up to the mark; `None` when it has ended.
fn answer(stdout: &mut Source) -> Result<Option<Vec<String>>> {
    let end = format!("{MARK}\n");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(end.as_bytes()) {
        let n = stdout
            .read(&mut buffer)
            .map_err(|e| interrupted().err().unwrap_or_else(|| Error::io("read from", "psql", &e)))?;
        if n == 0 {
            return Ok(None);
        }
        answer.extend_from_slice(&buffer[..n]);
    }
    let answer = String::from_utf8_lossy(&answer);
    Ok(Some(answer.lines().filter(|l| *l != MARK && !l.is_empty()).map(str::to_owned).collect()))
}
