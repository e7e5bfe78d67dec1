//! One psql that is fed SQL, and asked now and then whether it is done with it.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kit::child::{Child, Sink, TAIL, clean_up, interrupted};
use kit::exit::{Error, Result};
use kit::guard::marked;
use kit::pg::{Server, UNHINDERED, literal_dbname};

/// What psql prints when it has come so far, behind this: the number of its transaction.
const MARK: &str = "pgkeep: so far ";

/// How long a commit may take to become known, and how long between two questions.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// A running psql, which stops at the first error. Dropped, it ends, and its transaction with it.
pub(crate) struct Session {
    /// `None` once it has failed.
    input: Option<BufWriter<Sink>>,
    /// Of each mark that it printed, what stands behind it.
    marks: Receiver<String>,
    child: Option<Child>,
    /// The key of `\restrict`, where psql knows that.
    key: Option<String>,
    /// Commits need not wait for the disk.
    hasty: bool,
}

/// A commit does not wait until it is on disk, nor for standbys; one that does, such as the one that puts
/// a database into place, takes all before it along (PostgreSQL documentation, "Asynchronous Commit").
const HASTY: &str = "SET synchronous_commit = off;";

/// Since when building an index takes parallel workers.
const HELPED: u32 = 110_000;

/// SQL that keeps the server from giving a statement workers of its own. Empty where `jobs` sessions leave
/// processors idle: then they are of use. Beside others at work they only cost: what one process sorts in
/// memory, several write to files for each other (PostgreSQL's utils/sort/tuplesort.c).
pub(crate) fn unhelped(server: &Server, jobs: usize) -> &'static str {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if jobs < processors.max(2) || server.facts().version < HELPED {
        return "";
    }
    "SET max_parallel_maintenance_workers = 0; SET max_parallel_workers_per_gather = 0;\n"
}

impl Session {
    /// Starts one in `database`; its first statements lift what would hinder a restore.
    pub(crate) fn start(server: &Server, database: &str) -> Result<Self> {
        Self::new(server, database, false)
    }

    /// The same in a database that is nobody's before another commit has put it into place.
    pub(crate) fn hasty(server: &Server, database: &str) -> Result<Self> {
        Self::new(server, database, true)
    }

    fn new(server: &Server, database: &str, hasty: bool) -> Result<Self> {
        let mut command = server.psql(&literal_dbname(database)).args(["-A", "-t"]).command();
        let mut child = Child::spawn(&mut command, "psql", Stdio::piped(), Stdio::piped())?;
        let (Some(input), Some(output)) = (child.stdin(), child.stdout()) else {
            return Err(Error::no("cannot talk to psql"));
        };
        let (send, marks) = channel();
        // results of `SELECT setval(…)` would fill the pipe if nobody read them
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while matches!(output.by_ref().take(4096).read_until(b'\n', &mut line), Ok(n) if n > 0) {
                let behind = line.strip_prefix(MARK.as_bytes()).map(<[u8]>::trim_ascii);
                if behind.is_some_and(|b| send.send(String::from_utf8_lossy(b).into_owned()).is_err()) {
                    return;
                }
                line.clear();
            }
        });
        let key = if server.psql_knows_restrict()? { Some(key()?) } else { None };
        let input = Some(BufWriter::with_capacity(64 << 10, input));
        let mut session = Session { input, marks, child: Some(child), key, hasty };
        session.begin()?;
        Ok(session)
    }

    /// No meta-command from here on, and nothing is forbidden or cut short by default.
    fn begin(&mut self) -> Result<()> {
        if let Some(key) = &self.key {
            let restrict = format!("\\restrict {key}\n");
            self.write(restrict.as_bytes())?;
        }
        self.write(UNHINDERED.as_bytes())?;
        self.write(if self.hasty { HASTY.as_bytes() } else { b"" })?;
        self.write(marked().as_bytes())?;
        self.write(b"\n")
    }

    /// Gives psql a meta-command, such as one that connects elsewhere.
    pub(crate) fn command(&mut self, line: &[u8]) -> Result<()> {
        // the dump's own keys are known to whoever made it
        if let Some(key) = &self.key {
            let unrestrict = format!("\\unrestrict {key}\n");
            self.write(unrestrict.as_bytes())?;
        }
        self.write(line)?;
        self.write(b"\n")?;
        self.begin()
    }

    /// Hands on SQL or rows; they may be of any length.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.input.as_mut().map(|input| input.write_all(bytes));
        if let Some(Ok(())) = written { Ok(()) } else { Err(self.fault()) }
    }

    /// Waits until all that was written has been done.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.ask("''").map(drop)
    }

    /// The same, and the value of an expression; the operator is not one that the dump may have made.
    fn ask(&mut self, expression: &str) -> Result<String> {
        self.write(format!("SELECT '{MARK}' OPERATOR(pg_catalog.||) {expression};\n").as_bytes())?;
        let flushed = self.input.as_mut().map(Write::flush);
        match (flushed, self.marks.recv()) {
            (Some(Ok(())), Ok(value)) => Ok(value),
            _ => Err(self.fault()),
        }
    }

    /// Commits, and ends it. `unchanged`: what is so if it does not come to that. The answer may be lost, and
    /// the commit not: then the server is asked what became of it. What the server has warned of.
    pub(crate) fn commit(mut self, server: &Server, unchanged: &str) -> Result<Vec<String>> {
        let number = self.ask("pg_catalog.txid_current()").map_err(|e| e.hint(unchanged))?;
        let error = match self.write(b"COMMIT;\n").and_then(|()| self.last_words()) {
            Ok(words) => return Ok(warnings(&words)),
            Err(error) => error,
        };
        let question = format!("SELECT txid_status({number});");
        Err(match clean_up(|| fate(server, &question)).as_deref() {
            Some("committed") => error.hint("It was committed all the same."),
            Some("aborted") => error.hint(unchanged),
            _ => error
                .hint(format!("Perhaps it was committed: that is what \"{question}\" tells, on this server."))
                .hint(format!("If it was not: {unchanged}")),
        })
    }

    /// Ends it: all that was written has been done without an error.
    pub(crate) fn end(self) -> Result<()> {
        self.last_words().map(drop)
    }

    /// The same; the last that psql has said.
    fn last_words(mut self) -> Result<Vec<String>> {
        self.sync()?;
        drop(self.input.take());
        match self.child.take().map(Child::wait).transpose()? {
            Some(ended) if ended.ok() => Ok(ended.stderr),
            Some(ended) => Err(ended.error()),
            None => Ok(Vec::new()),
        }
    }

    /// Why it does not take any more: a signal to us, or its own last words, which say more than the
    /// broken pipe that followed from them.
    fn fault(&mut self) -> Error {
        drop(self.input.take());
        if let Err(interrupted) = interrupted() {
            return interrupted;
        }
        match self.child.take().map(Child::wait) {
            Some(Ok(ended)) if !ended.ok() => ended.error(),
            Some(Err(error)) => error,
            _ => Error::no("psql ended before its time"),
        }
    }
}

/// The server's warnings, without that word, and what was left out, which it tells in whatever language.
fn warnings(words: &[String]) -> Vec<String> {
    let warning = |line: &String| match (line.split_once("WARNING:"), line.find("left out: ")) {
        (Some((_, warning)), _) => Some(warning.trim().to_owned()),
        (None, Some(at)) => Some(line[at..].to_owned()),
        (None, None) => None,
    };
    let mut all: Vec<String> = words.iter().filter_map(warning).collect();
    if words.len() >= TAIL {
        all.push("there may have been more warnings before these".into());
    }
    all
}

/// What became of a transaction, where the server tells; PostgreSQL before 10 does not.
fn fate(server: &Server, question: &str) -> Option<String> {
    let since = Instant::now();
    loop {
        let fate = server.query(&server.facts().database, question).ok()?.concat().concat();
        if fate != "in progress" || since.elapsed() > PATIENCE {
            return Some(fate);
        }
        std::thread::sleep(PAUSE);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // first the program: what it still has to read shall not be done
        drop(self.child.take());
        drop(self.input.take());
    }
}

/// A key that nobody who wrote the dump can know. psql runs no meta-command until it is told the key
/// again, so that even where a dump makes it read strings in another way than we do (by
/// `standard_conforming_strings` or an encoding, hidden in a function) nothing but SQL is run.
fn key() -> Result<String> {
    let mut bytes = [0; 16];
    let fail = |e| Error::io("read", "/dev/urandom", &e);
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).map_err(fail)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
