//! Talking to PostgreSQL through its own programs, and choosing those that match the server.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::child::{converse, pause};
use crate::exit::{Code, Error, Result};
use crate::patroni::Patroni;
use crate::settings::Settings;
use crate::via::Via;

mod homes;

pub(crate) use homes::{Home, homes};

/// Lifts what a role's or a database's settings may forbid or cut short by default.
pub const UNHINDERED: &str =
    "SET default_transaction_read_only = off; SET statement_timeout = 0; SET lock_timeout = 0;";

/// How long a name may be, in bytes: NAMEDATALEN of PostgreSQL's `pg_config_manual.h`, without the
/// terminating zero. The server cuts longer ones.
pub const LONGEST_NAME: usize = 63;

/// How long a change of leaders may take: Patroni's `ttl` is 30 s unless set, and somebody has to be
/// promoted afterwards.
const CHANGE: Duration = Duration::from_secs(60);

/// What parts fields, records or answers in psql's unaligned output. Any byte but zero may stand in a name, so
/// it is what nobody can have put there.
fn separator() -> String {
    format!("{:016x}", RandomState::new().hash_one(0))
}

struct Separators {
    field: String,
    record: String,
}

impl Separators {
    fn new() -> Self {
        Separators { field: separator(), record: separator() }
    }

    /// The rows of one answer.
    fn rows(&self, mut text: &str) -> Vec<Vec<String>> {
        while let Some(rest) = text.strip_suffix('\n').or_else(|| text.strip_suffix(&self.record)) {
            text = rest;
        }
        if text.is_empty() {
            return Vec::new();
        }
        let fields = |record: &str| record.trim_matches('\n').split(&self.field).map(str::to_owned).collect();
        text.split(&self.record).map(fields).collect()
    }
}

/// A role or a database may be set to be read-only, or to time out. (The encoding is not told by
/// PGCLIENTENCODING, which would stay on this side of a prefix.)
fn settings(encoding: &str) -> String {
    format!("SET client_encoding = {};\n{UNHINDERED}\n", literal(encoding))
}

/// A server and the programs to reach it with.
#[derive(Clone, Debug)]
pub struct Server {
    via: Via,
    facts: Facts,
    knows_restrict: OnceLock<bool>,
}

/// What the server said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `server_version_num`, such as 150018.
    pub version: u32,
    /// `server_version`, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub version_text: String,
    /// `pg_control`'s system identifier, where the role may ask for it.
    pub system_identifier: Option<String>,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// The role we are.
    pub user: String,
    /// The database we asked through.
    pub database: String,
}

const FACTS: &str = "SELECT current_setting('server_version_num'), current_setting('server_version'), \
    pg_is_in_recovery(), current_user, current_database(), \
    CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE') \
    THEN (SELECT system_identifier::text FROM pg_control_system()) END;";

impl Server {
    /// Connects to `database` (else `PGDATABASE`, `postgres`, `template1`), asks the server who it
    /// is, and settles on client programs of its version. Where `PATRONI_URLS` says whom to ask, it is
    /// the server that leads.
    ///
    /// # Errors
    /// [`Code::Temporary`] when it is not there, [`Code::Refused`] when the programs are missing
    /// or older than the server, [`Code::No`] when it does not let us in; those of [`way`].
    pub fn find(prefix: Option<String>, settings: &Settings, database: Option<&str>) -> Result<Self> {
        match way(prefix, settings)? {
            (via, None) => Self::reach(via, settings, database),
            (via, Some(patroni)) => Self::lead(&patroni, &via, settings, database),
        }
    }

    /// Reaches the leader. Between the answer and the connection another may have come to lead: what
    /// failed then, or led to a standby, is tried again, and what is no matter of time is not.
    fn lead(patroni: &Patroni, via: &Via, settings: &Settings, database: Option<&str>) -> Result<Self> {
        let until = Instant::now() + CHANGE;
        let mut failed: Option<(String, Error)> = None;
        loop {
            let leader = patroni.leader(until)?;
            if let Some((before, error)) = failed
                && (Instant::now() >= until || leader == before && error.code() != Code::Temporary)
            {
                return Err(error.within(format!("'{before}', which led")));
            }
            let error = match Self::reach(via.to_leader(&leader), settings, database) {
                Ok(server) if !server.facts.in_recovery => return Ok(server),
                Ok(_) => Error::temporary("it is a standby"),
                Err(error) => error,
            };
            failed = Some((leader, error));
            pause(Duration::from_millis(500))?;
        }
    }

    fn reach(mut via: Via, settings: &Settings, database: Option<&str>) -> Result<Self> {
        let homes = if via.is_here() { homes() } else { Vec::new() };
        if via.is_here() {
            // any psql can ask; the newest is understood by most servers
            let newest = homes.first().ok_or_else(missing)?;
            via.set_bindir(&newest.dir);
        }
        via.try_words(|mut command| {
            converse(&mut command, "printf", "").ok().filter(|(ended, _)| ended.ok()).map(|(_, text)| text)
        });
        let mut server = Server { via, facts: Facts::default(), knows_restrict: OnceLock::new() };
        // of those we were not told to ask, any that is there will do: the one that the environment
        // names may be what was lost
        let databases: Vec<&str> = match database {
            Some(name) => vec![name],
            None => settings.get("PGDATABASE").into_iter().chain(["postgres", "template1"]).collect(),
        };
        let mut rows = Err(Error::no("no database to ask"));
        for name in databases {
            rows = server.query(name, FACTS);
            match &rows {
                Err(e) if e.to_string().contains("does not exist") => {}
                _ => break,
            }
        }
        server.facts = Facts::parse(&rows?)?;
        server.choose(&homes)?;
        Ok(server)
    }

    fn choose(&mut self, homes: &[Home]) -> Result<()> {
        let major = self.facts.version / 10_000;
        if self.via.is_here() {
            // the server's own version, else the next newer one
            let fit = homes
                .iter()
                .rev()
                .find(|h| h.major >= major)
                .ok_or_else(|| too_old(homes.first().map_or(0, |h| h.major), major))?;
            self.via.set_bindir(&fit.dir);
            return Ok(());
        }
        let (ended, output) =
            converse(&mut self.via.run("pg_dump").args(["--version"]).command(), "pg_dump", "")?;
        if !ended.ok() {
            return Err(ended.error());
        }
        match major_of(&String::from_utf8_lossy(&output)) {
            Some(client) if client < major => Err(too_old(client, major)),
            _ => Ok(()),
        }
    }

    /// What the server said of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How its client programs are run.
    pub fn via(&self) -> &Via {
        &self.via
    }

    /// A psql that reads SQL from standard input, stops at the first error, and prints nothing
    /// but results.
    pub fn psql(&self, database: &str) -> crate::via::Run<'_> {
        let database = format!("--dbname={database}");
        self.via.run("psql").connecting().args(["-X", "-q", "-v", "ON_ERROR_STOP=1", &database])
    }

    /// Runs SQL in `database` and gives back its rows; NULL is an empty string.
    pub fn query(&self, database: &str, sql: &str) -> Result<Vec<Vec<String>>> {
        self.query_in("UTF8", database, sql.as_bytes())
    }

    /// The same with SQL in another encoding, by PostgreSQL's name for it.
    pub fn query_in(&self, encoding: &str, database: &str, sql: &[u8]) -> Result<Vec<Vec<String>>> {
        self.converse(database, &[], &[settings(encoding).as_bytes(), sql].concat())
    }

    /// The rows of several statements, asked in one session: to start one takes longer than to answer.
    pub fn queries<const N: usize>(
        &self,
        database: &str,
        statements: [&str; N],
    ) -> Result<[Vec<Vec<String>>; N]> {
        let (end, parts) = (separator(), Separators::new());
        let statements = statements.map(|s| format!("{s}\nSELECT '{end}';\n"));
        let sql = [&[settings("UTF8")], &statements[..]].concat().concat();
        let text = self.output(database, &parts, &[], sql.as_bytes())?;
        let mut answers = text.split(&end).map(|answer| parts.rows(answer));
        Ok(statements.map(|_| answers.next().unwrap_or_default()))
    }

    /// Has the server answer one statement in a transaction that may not write and is undone. psql looks for
    /// no command of its own in it; whoever calls sees to it that it is one statement.
    pub fn ask(&self, database: &str, statement: &str) -> Result<Vec<Vec<String>>> {
        let settings =
            format!("SET client_encoding = UTF8; SET standard_conforming_strings = on; {UNHINDERED}");
        // psql takes what begins with a backslash for its own
        let statement = format!(" {statement}");
        let words = ["-c", &settings, "-c", "BEGIN READ ONLY", "-c", &statement, "-c", "ROLLBACK"];
        self.converse(database, &words, b"")
    }

    fn converse(&self, database: &str, words: &[&str], input: &[u8]) -> Result<Vec<Vec<String>>> {
        let parts = Separators::new();
        self.output(database, &parts, words, input).map(|text| parts.rows(&text))
    }

    fn output(&self, database: &str, parts: &Separators, words: &[&str], input: &[u8]) -> Result<String> {
        let Separators { field, record } = parts;
        let run = self.psql(&literal_dbname(database)).args(["-A", "-t", "-F", field, "-R", record]);
        let mut command = run.args(words.iter().copied()).command();
        let (ended, output) = converse(&mut command, "psql", input)?;
        if !ended.ok() {
            return Err(ended.error().within(format!("cannot ask database '{database}'")));
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Databases that no program can connect to, in the order of their names, without template0.
    pub fn databases_without_connections(&self) -> Result<Vec<String>> {
        let sql =
            "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname <> 'template0' ORDER BY 1;";
        Ok(self.query(&self.facts.database, sql)?.into_iter().flatten().collect())
    }

    /// Whether its psql knows `\\restrict`, which came with the fixes of CVE-2025-8714.
    pub fn psql_knows_restrict(&self) -> Result<bool> {
        if let Some(known) = self.knows_restrict.get() {
            return Ok(*known);
        }
        let known = self.ask_for_restrict()?;
        Ok(*self.knows_restrict.get_or_init(|| known))
    }

    fn ask_for_restrict(&self) -> Result<bool> {
        let (ended, output) = converse(&mut self.via.run("psql").args(["--version"]).command(), "psql", "")?;
        if !ended.ok() {
            return Err(ended.error());
        }
        let text = String::from_utf8_lossy(&output);
        let version =
            text.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit())).unwrap_or_default();
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        let minor = minor.parse().unwrap_or(0);
        Ok(match major_of(major) {
            Some(13) => minor >= 22,
            Some(14) => minor >= 19,
            Some(15) => minor >= 14,
            Some(16) => minor >= 10,
            Some(17) => minor >= 6,
            major => major >= Some(18),
        })
    }
}

impl Facts {
    fn parse(rows: &[Vec<String>]) -> Result<Self> {
        let [row] = rows else { return Err(Error::no("the server gave no answer to who it is")) };
        let cell = |i: usize| row.get(i).cloned().unwrap_or_default();
        Ok(Facts {
            version: cell(0).parse().map_err(|_| Error::no(format!("'{}' is no server version", cell(0))))?,
            version_text: cell(1),
            in_recovery: cell(2) == "t",
            user: cell(3),
            database: cell(4),
            system_identifier: Some(cell(5)).filter(|s| !s.is_empty()),
        })
    }
}

/// The way to the server, and whom to ask about its end. Looks at nothing but the settings, so that what
/// is wrong with them can be found before anything is done.
///
/// # Errors
/// [`Code::Usage`] for a leader without a place in the prefix, which would lead to another server, for
/// such a place without `PATRONI_URLS`, and for what is no URL.
pub fn way(prefix: Option<String>, settings: &Settings) -> Result<(Via, Option<Patroni>)> {
    let via = Via::new(prefix, settings);
    let patroni = settings.get("PATRONI_URLS").map(Patroni::new).transpose()?;
    match (via.wants_leader(), &patroni) {
        (true, None) => Err(Error::usage("PG_VIA holds {leader}, and nobody is asked who that is")
            .hint("Name Patroni's REST API in PATRONI_URLS.")),
        (false, Some(_)) => Err(Error::usage("Patroni is asked who leads, and its answer has no place")
            .hint("Put {leader} into PG_VIA, or leave out PATRONI_URLS.")),
        _ => Ok((via, patroni)),
    }
}

/// The major version in `pg_dump (PostgreSQL) 15.18 (Debian …)`; 9.6 counts as 9.
pub fn major_of(text: &str) -> Option<u32> {
    let digits = |w: &str| w.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split_whitespace().find_map(|w| digits(w).parse().ok())
}

fn missing() -> Error {
    Error::refused("cannot find PostgreSQL's client programs (psql, pg_dump, pg_dumpall, pg_restore)").hint(
        "Install them (Debian, Ubuntu: apt-get install postgresql-client), or name where they are in PG_VIA.",
    )
}

fn too_old(client: u32, server: u32) -> Error {
    Error::refused(format!("pg_dump {client} is older than the server, which is {server}"))
        .hint(format!("Install the client programs of version {server} (Debian, Ubuntu: apt-get install postgresql-client-{server})."))
}

/// A database name as a connection string's value, so that a name such as `a=b` or
/// `postgresql://…` is a name and nothing else.
pub fn literal_dbname(name: &str) -> String {
    format!("dbname='{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// An SQL identifier, quoted.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An SQL string, quoted, for any setting of `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_quotes() {
        assert_eq!(major_of("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_of("pg_dump (PostgreSQL) 17devel"), Some(17));
        assert_eq!(literal_dbname("it's \\ a=b"), "dbname='it\\'s \\\\ a=b'");
        assert_eq!((identifier("a\"b"), literal("a'\\")), ("\"a\"\"b\"".into(), "E'a''\\\\'".into()));
    }
}
