//! The command line of `wal-archive`. Pure: touches no file, asks no clock.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::cli::{bad, number, span, text, usage, utf8};
use kit::codec::{Codec, Kind};
use kit::exit::Result;
use kit::notify::Telling;
use kit::store::Place;
use kit::wal::name::{Name, Segment};
use lexopt::prelude::*;

/// The program's name, as messages begin with it.
pub(crate) const TOOL: &str = "wal-archive";

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Keep PostgreSQL's write-ahead log, and give it back.

Usage: wal-archive VERB -a DIR [OPTIONS]

For the server:
  push PATH NAME            archive_command = 'wal-archive push -a DIR %p %f'
  get NAME PATH             restore_command = 'wal-archive get -a DIR %f %p'

For people:
  init                      make DIR an archive, once
  config                    the lines of postgresql.conf that use it
  status                    how archiving goes, as the server sees it; status 1 when it
                            does not
  verify                    read all of it: gaps, damage, and up to which moment each
                            base backup can be recovered; status 1 where anything is
                            missing
  prune                     remove what no base backup and no snapshot needs that is kept

Options:
  -a, --archive DIR         the archive, a directory or s3://BUCKET/KEY; with push and
                            get repeatable: push stores in all, get takes the first
                            that has a good copy
      --compress CODEC      with push: none (default), gzip[:1-9], zstd[:1-19]
      --ahead N             with push: store up to N further files that are ready, at
                            the same time; with get: fetch the next N segments while
                            this one is replayed (default 0)
      --retry-for SPAN      with get: how long to try an archive that cannot be read
                            (default 60s)
      --accept-gap SEGMENT  with verify: the gap that begins with this missing segment is
                            known, and no fault; with get: the log ends there; repeatable
      --keep N              with prune: keep what the last N base backups need
      --keep-from NAME      with prune: keep what the base backup needs that begins with
                            this segment, or has this .backup file
      --snapshots DIR       with prune: keep what the snapshots of volsnap in DIR need
  -n, --dry-run             with prune: tell what would be removed and kept, and why
      --max-backlog N       with status: how many files may wait (default 100)
      --max-age SPAN        with status: how long the oldest may wait (default 15m)
      --patroni             with config: for Patroni's configuration
      --via CMD             with status: a command before psql, as in
                            'docker compose exec -T db' [PG_VIA]
      --notify URL          with status, verify, prune: POST how it went as JSON;
                            slack:URL and healthchecks:URL in the words of these; none:
                            nobody; repeatable [NOTIFY_URL]
      --metrics FILE        with the same: write numbers for Prometheus to FILE
      --json                one JSON object a line
  -q, --quiet               say only what went wrong
  -h, --help                print this
  -V, --version             print the version

Exit codes:
  0    done: stored and durable, handed over, all well
  1    get: proven not to be there; verify: a gap, damage; status: archiving does not go
       well
  2    the command line is wrong
  3    push: stored in some of several archives
  4    refused: other content of that name is there, another server's log, no archive to
       prune safely
  5    temporary: archive or server away, disk full, interrupted
  200  get: the server must stop, because the archive cannot be read, is another's, or
       has a gap; not on a standby
";

/// What to print instead of doing anything, or what to do.
#[derive(Debug)]
pub(crate) enum Action {
    Help,
    Version,
    Do(Verb, Box<Args>),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Init,
    Push {
        path: PathBuf,
        name: Name,
    },
    Get {
        name: String,
        path: PathBuf,
    },
    /// What `get` starts beside itself: fetch what follows this segment, into this folder.
    Prefetch {
        after: Segment,
        folder: PathBuf,
    },
    Config,
    Status,
    Verify,
    Prune,
}

/// The options, checked as far as they can be without looking at the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) archives: Vec<PathBuf>,
    pub(crate) codec: Codec,
    pub(crate) ahead: usize,
    pub(crate) retry_for: Duration,
    pub(crate) accept_gaps: Vec<Segment>,
    pub(crate) keep: Option<usize>,
    pub(crate) keep_from: Option<Segment>,
    /// A folder of snapshots.
    pub(crate) snapshots: Option<PathBuf>,
    pub(crate) telling: Telling,
    pub(crate) dry_run: bool,
    pub(crate) max_backlog: u64,
    pub(crate) max_age: i64,
    pub(crate) patroni: bool,
    pub(crate) via: Option<String>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Default for Args {
    fn default() -> Self {
        Args {
            archives: Vec::new(),
            codec: Codec { kind: Kind::None, level: None },
            ahead: 0,
            retry_for: Duration::from_secs(60),
            accept_gaps: Vec::new(),
            keep: None,
            keep_from: None,
            snapshots: None,
            telling: Telling::default(),
            dry_run: false,
            max_backlog: 100,
            max_age: 900,
            patroni: false,
            via: None,
            json: false,
            quiet: false,
        }
    }
}

/// So many files at most are stored or fetched ahead: each takes some MiB of memory.
const MOST_AHEAD: usize = 64;

/// Reads the command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Action> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut args = Args::default();
    let mut words = Vec::new();
    let mut given = Vec::new();
    while let Some(arg) = parser.next().map_err(|e| bad(&e))? {
        if let Long(name) = arg {
            given.push(name.to_owned());
        }
        match arg {
            Short('h') | Long("help") => return Ok(Action::Help),
            Short('V') | Long("version") => return Ok(Action::Version),
            Short('a') | Long("archive") => args.archives.push(archive(text(&mut parser, "--archive")?)?),
            Long("compress") => {
                args.codec = text(&mut parser, "--compress")?
                    .parse()
                    .map_err(|e| usage(format!("--compress: {e}")))?;
            }
            Long("ahead") => {
                args.ahead = number(&mut parser, "--ahead")?;
                if args.ahead > MOST_AHEAD {
                    return Err(usage(format!("--ahead: at most {MOST_AHEAD}")));
                }
            }
            Long("retry-for") => {
                args.retry_for = Duration::from_secs(seconds(&mut parser, "--retry-for")?.unsigned_abs());
            }
            Long("accept-gap") => args.accept_gaps.push(
                text(&mut parser, "--accept-gap")?
                    .parse()
                    .map_err(|e| usage(format!("--accept-gap: {e}")))?,
            ),
            Long("keep") => args.keep = Some(number(&mut parser, "--keep")?),
            Long("keep-from") => {
                let name = text(&mut parser, "--keep-from")?;
                args.keep_from = match name.parse() {
                    Ok(Name::Segment(segment) | Name::Backup(segment, _)) => Some(segment),
                    _ => {
                        return Err(usage(format!(
                            "--keep-from: '{name}' names no segment and no base backup"
                        )));
                    }
                };
            }
            Long("snapshots") => args.snapshots = Some(text(&mut parser, "--snapshots")?.into()),
            Short('n') | Long("dry-run") => {
                args.dry_run = true;
                given.push("dry-run".into());
            }
            Long("max-backlog") => args.max_backlog = number(&mut parser, "--max-backlog")?,
            Long("max-age") => args.max_age = seconds(&mut parser, "--max-age")?,
            Long("patroni") => args.patroni = true,
            Long("via") => args.via = Some(text(&mut parser, "--via")?),
            Long("notify") => args.telling.notify(&mut parser)?,
            Long("metrics") => args.telling.metrics(&mut parser)?,
            Long("json") => args.json = true,
            Short('q') | Long("quiet") => args.quiet = true,
            Value(word) => words.push(utf8(word, "argument")?),
            other => return Err(bad(&other.unexpected())),
        }
    }
    let verb = verb(&words)?;
    check(&verb, &args, &given)?;
    Ok(Action::Do(verb, Box::new(args)))
}

fn verb(words: &[String]) -> Result<Verb> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let verb = match words[..] {
        ["init"] => Verb::Init,
        ["config"] => Verb::Config,
        ["status"] => Verb::Status,
        ["verify"] => Verb::Verify,
        ["prune"] => Verb::Prune,
        ["push", path, name] => Verb::Push { path: path.into(), name: name.parse().map_err(usage)? },
        ["get", name, path] => Verb::Get { name: name.into(), path: path.into() },
        ["prefetch", after, folder] => {
            Verb::Prefetch { after: after.parse().map_err(usage)?, folder: folder.into() }
        }
        ["push", ..] => return Err(usage("push takes PATH and NAME: push -a DIR %p %f")),
        ["get", ..] => return Err(usage("get takes NAME and PATH: get -a DIR %f %p")),
        [] => return Err(usage("no verb: init, push, get, config, status, verify, prune")),
        ["init" | "config" | "status" | "verify" | "prune", word, ..] => {
            return Err(usage(format!("'{word}' is one argument too many")));
        }
        [word, ..] => {
            return Err(usage(format!("'{word}' is none of init, push, get, config, status, verify, prune")));
        }
    };
    Ok(verb)
}

fn check(verb: &Verb, args: &Args, given: &[String]) -> Result<()> {
    let several = matches!(verb, Verb::Push { .. } | Verb::Get { .. } | Verb::Prefetch { .. } | Verb::Config);
    match args.archives.len() {
        0 if *verb == Verb::Status => {}
        0 => return Err(usage("no archive: give one with --archive DIR")),
        2.. if !several => return Err(usage("one --archive at a time")),
        _ => {}
    }
    let belongs = |option: &str| match option {
        "compress" => matches!(verb, Verb::Push { .. } | Verb::Config),
        "ahead" => several,
        "retry-for" => matches!(verb, Verb::Get { .. } | Verb::Prefetch { .. } | Verb::Config),
        "accept-gap" => matches!(verb, Verb::Verify | Verb::Get { .. }),
        "keep" | "keep-from" | "snapshots" | "dry-run" => *verb == Verb::Prune,
        "max-backlog" | "max-age" | "via" => *verb == Verb::Status,
        "patroni" => *verb == Verb::Config,
        "json" | "notify" | "metrics" => matches!(verb, Verb::Verify | Verb::Prune | Verb::Status),
        _ => true,
    };
    if let Some(option) = given.iter().find(|o| !belongs(o)) {
        return Err(usage(format!("--{option} is not for this verb")));
    }
    let ways = (args.keep.is_some(), args.keep_from.is_some(), args.snapshots.is_some());
    if *verb == Verb::Prune && matches!(ways, (true, true, _) | (false, false, false)) {
        return Err(usage(
            "prune: what is kept? give --keep N or --keep-from NAME, --snapshots DIR, or one of each",
        ));
    }
    if args.keep == Some(0) {
        return Err(usage("--keep: at least 1"));
    }
    Ok(())
}

/// The name of an archive: a directory, or a place in an object store.
fn archive(name: String) -> Result<PathBuf> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(usage(format!("--archive: '{}' is no name of a directory", kit::exit::plain(&name))));
    }
    if Place::is(Path::new(&name)) {
        Place::parse(&name).map_err(|e| usage(format!("--archive: {e}")))?;
    }
    Ok(name.into())
}

fn seconds(parser: &mut lexopt::Parser, option: &str) -> Result<i64> {
    span(&text(parser, option)?).map_err(|e| e.within(option))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Verb, Args)> {
        match parse(line.split_whitespace().map(OsString::from))? {
            Action::Do(verb, args) => Ok((verb, *args)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_of_the_servers_configuration() {
        let (verb, args) = parsed(
            "push -a /wal -a /other --compress zstd --ahead 8 pg_wal/00000002.history 00000002.history",
        )
        .unwrap();
        assert_eq!(verb, Verb::Push { path: "pg_wal/00000002.history".into(), name: Name::History(2) });
        assert_eq!((args.archives.len(), args.ahead, args.codec.kind), (2, 8, Kind::Zstd));
        let (verb, args) =
            parsed("get -a /wal --retry-for 2m 00000002.history pg_wal/RECOVERYHISTORY").unwrap();
        assert!(matches!(verb, Verb::Get { .. }));
        assert_eq!(args.retry_for, Duration::from_secs(120));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        for line in [
            "",
            "tables",
            "push -a x pg_wal/a",
            "push -a x a ../../etc/passwd",
            "push a 00000002.history",
            "get -a x 00000002.history",
            "verify",
            "verify -a x -a y",
            "verify -a x --compress gzip",
            "prune -a x",
            "prune -a x --keep 0",
            "prune -a x --keep 1 --keep-from 000000010000000000000001",
            "prune -a x --keep-from 00000002.history",
            "verify -a x --snapshots y",
            "push -a x --ahead 65 a 00000002.history",
            "init -a s3://",
            "status --max-age 5",
        ] {
            assert_eq!(parsed(line).unwrap_err().code(), kit::exit::Code::Usage, "{line}");
        }
    }
}
