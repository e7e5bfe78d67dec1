//! Where a dump comes from: pg_dumpall, pg_dump, any command, or standard input.

use std::ffi::OsString;
use std::io::{Cursor, Read};
use std::process::{Command, Stdio};

use kit::child::{Child, Ended, Source};
use kit::codec;
use kit::exit::{Error, Result};
use kit::manifest::{self, Format, Kin};
use kit::out::stdin_is_terminal;
use kit::pg::{Server, identifier, literal_dbname};

use crate::cli::{self, Args, From};
use crate::narrow;

/// One dump to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    /// First part of its file name, which is its series too.
    pub(crate) prefix: String,
    pub(crate) what: What,
}

/// What one dump is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Cluster,
    Database(String),
    Command(Vec<OsString>),
    Stdin,
}

impl Job {
    /// Whether it may be going to be a backup of that, as far as it can be told before; the server is not known.
    pub(crate) fn may_be(&self, args: &Args, kin: &Kin) -> bool {
        let is = |kind| kin.kind == kind && kin.partial == self.partial(args);
        let is_dumped_by = |program| match program {
            "pg_dump" => is(manifest::Kind::Database),
            _ => is(manifest::Kind::Cluster),
        };
        match &self.what {
            What::Cluster => is(manifest::Kind::Cluster),
            What::Database(name) => is(manifest::Kind::Database) && kin.database.as_ref() == Some(name),
            // of which nobody asks the server
            What::Command(command) => {
                kin.server.is_none()
                    && narrow::dumper(command).is_none_or(|(program, _)| is_dumped_by(program))
            }
            What::Stdin => kin.server.is_none(),
        }
    }

    /// The options by which the dump leaves something out.
    pub(crate) fn partial(&self, args: &Args) -> Vec<String> {
        match &self.what {
            What::Command(command) => narrow::dumper(command)
                .map_or(Vec::new(), |(program, words)| narrow::narrowing(program, words)),
            _ => narrow::narrowing(args.from.dumper(), &args.pg_dump_args),
        }
    }

    /// For messages.
    pub(crate) fn describe(&self) -> String {
        match &self.what {
            What::Cluster => "the cluster".into(),
            What::Database(name) => format!("database '{name}'"),
            What::Command(command) => format!("the dump of {}", cli::program(command).unwrap_or_default()),
            What::Stdin => "the dump on standard input".into(),
        }
    }
}

/// The dumps that the command line asks for. Pure.
pub(crate) fn jobs(args: &Args) -> Vec<Job> {
    let job = |what| Job { prefix: args.name.clone().unwrap_or("backup".into()), what };
    match &args.from {
        From::Cluster => vec![job(What::Cluster)],
        From::Stdin => vec![job(What::Stdin)],
        From::Command(command) => vec![job(What::Command(command.clone()))],
        From::Databases(names) => names
            .iter()
            .map(|name| {
                let prefix = match &args.name {
                    None => as_file_name(name),
                    Some(prefix) if names.len() == 1 => prefix.clone(),
                    Some(prefix) => format!("{prefix}_{}", as_file_name(name)),
                };
                Job { prefix, what: What::Database(name.clone()) }
            })
            .collect(),
    }
}

/// A database's name as part of a file name; what may not stand there becomes `%XX`, so that two
/// databases never share a series.
fn as_file_name(database: &str) -> String {
    let mut safe = String::new();
    for (i, c) in database.char_indices() {
        if c == '/' || c == '%' || c.is_control() || (i == 0 && c == '.') {
            let mut buffer = [0; 4];
            safe.extend(c.encode_utf8(&mut buffer).bytes().map(|b| format!("%{b:02X}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A running producer, whose first bytes have been looked at.
pub(crate) struct Producer {
    child: Option<Child>,
    first: Vec<u8>,
    rest: Source,
    /// How the dump is laid out, by its first bytes.
    pub(crate) format: Format,
    /// The program's name.
    pub(crate) name: String,
}

impl Producer {
    /// Starts the dump of `job`. `server` is there for all but commands and standard input; `beside` are
    /// databases that are left out of a cluster's dump.
    pub(crate) fn start(job: &Job, server: Option<&Server>, args: &Args, beside: &[String]) -> Result<Self> {
        let (name, command) = match (&job.what, server) {
            (What::Stdin, _) if stdin_is_terminal() => {
                return Err(
                    Error::usage("--stdin: standard input is a terminal, not a dump").hint("Try --help.")
                );
            }
            (What::Stdin, _) => ("stdin".to_owned(), None),
            (What::Command(words), _) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                (cli::program(words)?, Some(command))
            }
            (What::Cluster, Some(server)) => {
                // a pattern in quotes means itself
                let without = |name: &String| format!("--exclude-database={}", identifier(name));
                let run = server.via().run("pg_dumpall").connecting().args(args.pg_dump_args.iter().cloned());
                // where no database is dumped at all, pg_dumpall refuses to leave one out
                let none = ["--globals-only", "--roles-only", "--tablespaces-only"];
                let no_database = job.partial(args).iter().any(|o| none.contains(&o.as_str()));
                let run = run.args(beside.iter().filter(|_| !no_database).map(without));
                ("pg_dumpall".to_owned(), Some(run.command()))
            }
            (What::Database(database), Some(server)) => {
                let run = server
                    .via()
                    .run("pg_dump")
                    .connecting()
                    .args(custom(args))
                    .args(args.pg_dump_args.iter().cloned());
                let run = run.args([format!("--dbname={}", literal_dbname(database))]);
                ("pg_dump".to_owned(), Some(run.command()))
            }
            (_, None) => return Err(Error::no("no server to dump from")),
        };
        let (child, mut rest) = match command {
            None => (None, Source::stdin()?),
            Some(mut command) => {
                let mut child = Child::spawn(&mut command, &name, Stdio::null(), Stdio::piped())?;
                let out = child.stdout().ok_or_else(|| Error::no(format!("cannot read from {name}")))?;
                (Some(child), out)
            }
        };
        let mut first = Vec::new();
        (&mut rest).take(5).read_to_end(&mut first).map_err(|e| {
            kit::child::interrupted().err().unwrap_or_else(|| Error::io("read from", &name, &e))
        })?;
        let format = if first == b"PGDMP" { Format::Custom } else { Format::Plain };
        let producer = Producer { child, first, rest, format, name };
        producer.refuse_what_cannot_be_proven(&job.what)?;
        Ok(producer)
    }

    fn refuse_what_cannot_be_proven(&self, what: &What) -> Result<()> {
        let refused =
            |what: &str| Error::refused(format!("the dump of {} is {what}, not plain SQL", self.name));
        if codec::Kind::detect(&self.first) != codec::Kind::None {
            return Err(refused("compressed")
                .hint("Take the compression out of the command; --compress does it on all cores."));
        }
        if self.format == Format::Custom && *what == What::Stdin {
            return Err(refused("a custom archive")
                .hint("Let this program run pg_dump: pgdump-rotate -- pg_dump -Fc …"));
        }
        Ok(())
    }

    /// The dump, from its first byte.
    pub(crate) fn stream(&mut self) -> impl Read + '_ {
        Cursor::new(std::mem::take(&mut self.first)).chain(&mut self.rest)
    }

    /// How the producer ended; `None` for standard input, of which nobody can tell.
    pub(crate) fn end(self) -> Result<Option<Ended>> {
        drop(self.rest);
        self.child.map(Child::wait).transpose()
    }
}

/// pg_dump's arguments for a custom archive, compressed within.
fn custom(args: &Args) -> Vec<String> {
    if args.format != Format::Custom {
        return Vec::new();
    }
    let compress = args.codec.and_then(|c| match (c.kind, c.level) {
        (codec::Kind::None, _) => Some("--compress=0".to_owned()),
        (codec::Kind::Gzip, level) => level.map(|l| format!("--compress={l}")),
        (codec::Kind::Zstd, None) => Some("--compress=zstd".into()),
        (codec::Kind::Zstd, Some(level)) => Some(format!("--compress=zstd:{level}")),
    });
    std::iter::once("--format=custom".to_owned()).chain(compress).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_have_series_of_their_own() {
        let prefixes = |words: &[&str]| -> Vec<String> {
            let args = cli::parse(words.iter().map(OsString::from)).unwrap();
            jobs(&args).into_iter().map(|j| j.prefix).collect()
        };
        assert_eq!(prefixes(&[]), ["backup"]);
        assert_eq!(prefixes(&["-d", "shop"]), ["shop"]);
        assert_eq!(
            prefixes(&["-d", "a/b", "-d", "a%2Fb", "-d", "..", "-d", "ü x\n"]),
            ["a%2Fb", "a%252Fb", "%2E.", "ü x%0A"]
        );
        assert_eq!(prefixes(&["-d", "a", "-d", "b", "--name", "n"]), ["n_a", "n_b"]);
        assert_eq!(prefixes(&["-d", "a", "--name", "n"]), ["n"]);
    }
}
