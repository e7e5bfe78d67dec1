//! The command line of `pgdump-rotate`. Pure: touches no file, asks no clock.

use std::ffi::OsString;

use kit::cli::{bad, folder, nonempty, number, text, usage, utf8};
use kit::codec::Codec;
use kit::exit::{Error, Result};
use kit::manifest::Format;
use kit::notify::Telling;
use kit::retention::Policy;
use lexopt::prelude::*;

use crate::narrow;

/// The program's name, as messages begin with it.
pub(crate) const TOOL: &str = "pgdump-rotate";

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Dump PostgreSQL, prove the dump, then remove old ones.

Usage: pgdump-rotate [OPTIONS]
       pgdump-rotate [OPTIONS] -- COMMAND [ARG]...
       COMMAND | pgdump-rotate [OPTIONS] --stdin

The path of each backup made goes to standard output.

What to dump:
  -d, --database NAME       one database instead of the whole cluster; repeatable
      --format FORMAT       plain (default) or custom; custom needs -d
      --pg-dump-arg ARG     hand ARG to pg_dump or pg_dumpall; repeatable
      --stdin               take a plain dump from standard input
      --via CMD             run client programs behind CMD, such as
                            'docker compose exec -T db' [PG_VIA]
      --patroni URLS        ask Patroni's REST API at one of URLS, parted by commas,
                            who is {leader} in CMD [PATRONI_URLS]
  -- COMMAND [ARG]...       take the dump that COMMAND writes

Where to and how:
  -o, --dir DIR             where backups go, default 'backups' [BACKUP_DIR]
      --name PREFIX         first part of the file name, default 'backup', or the
                            database's name
      --compress CODEC      none, gzip[:1-9] or zstd[:1-19], default gzip
                            [BACKUP_COMPRESS]; custom: within the archive
      --tag TAG             why this backup is made, such as pre-migrate
      --latest-link NAME    keep a symbolic link to the newest backup
      --lock-timeout SECS   wait for another run to end, default 0

What to keep (rules add up; default: --keep-last 10):
      --keep-last N         the newest N
      --keep-within SPAN    all within SPAN of the newest: 36h, 7d, 4w
      --keep-hourly N, --keep-daily N, --keep-weekly N, --keep-monthly N,
      --keep-yearly N       the newest of each of the last N that have one
      --keep-tag TAG        all with this tag; repeatable
      --allow-shrink        also after a backup that is much smaller than those before
      --no-rotate           remove nothing
      --rotate-only         make no backup, only remove
      --dry-run             do nothing; say what would be made, kept, removed and why

Whom to tell:
      --notify URL          POST how it went as JSON; slack:URL and healthchecks:URL in
                            the words of these; none: nobody; repeatable [NOTIFY_URL]
      --metrics FILE        write numbers for Prometheus to FILE

      --list                list the backups, newest first
      --json                one JSON object a line, for backups made and --list
  -q, --quiet               say only what went wrong
  -h, --help                print this
  -V, --version             print the version

Exit codes:
  0  done
  1  failed for good: the dump is incomplete, the server said no, a file is unusable
  2  the command line is wrong
  3  done in part: some of several databases failed, or a backup is made and removing
     older ones is held back, because it is much smaller than they are
  4  refused: a guardrail holds; the hint says what would lift it
  5  temporary: server unreachable, lock held, disk full, interrupted
";

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Action {
    Help,
    Version,
    List,
    RotateOnly,
    Backup,
}

/// Where the dump comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum From {
    Cluster,
    Databases(Vec<String>),
    Command(Vec<OsString>),
    Stdin,
}

impl From {
    /// Which program makes the dump, where we start it.
    pub(crate) fn dumper(&self) -> &'static str {
        match self {
            From::Cluster => "pg_dumpall",
            From::Databases(_) => "pg_dump",
            From::Command(_) | From::Stdin => "",
        }
    }
}

/// The command line, checked as far as it can be without looking at the world.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) action: Action,
    pub(crate) from: From,
    pub(crate) format: Format,
    pub(crate) pg_dump_args: Vec<String>,
    pub(crate) via: Option<String>,
    pub(crate) patroni: Option<String>,
    pub(crate) dir: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) codec: Option<Codec>,
    pub(crate) tag: Option<String>,
    pub(crate) latest_link: Option<String>,
    pub(crate) lock_timeout: u64,
    /// `None`: `--no-rotate`.
    pub(crate) policy: Option<Policy>,
    /// Backups are removed although the newest is much smaller.
    pub(crate) allow_shrink: bool,
    pub(crate) telling: Telling,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    // a command begins behind `--` and nowhere else: a stray word must never be run
    let command = words.iter().position(|w| w == "--").map(|i| words.split_off(i).split_off(1));
    if command.as_ref().is_some_and(Vec::is_empty) {
        return Err(usage("no command stands behind --"));
    }
    let mut parser = lexopt::Parser::from_args(words);
    let mut args = Args {
        action: Action::Backup,
        from: From::Cluster,
        format: Format::Plain,
        pg_dump_args: Vec::new(),
        via: None,
        patroni: None,
        dir: None,
        name: None,
        codec: None,
        tag: None,
        latest_link: None,
        lock_timeout: 0,
        policy: None,
        allow_shrink: false,
        telling: Telling::default(),
        dry_run: false,
        json: false,
        quiet: false,
    };
    let (mut databases, mut stdin) = (Vec::new(), false);
    let (mut policy, mut no_rotate) = (Policy::default(), false);
    let (mut list, mut rotate_only, mut ruled) = (false, false, false);
    while let Some(arg) = parser.next().map_err(|e| bad(&e))? {
        match arg {
            Long(rule) if rule.starts_with("keep-") => {
                let rule = rule.to_owned();
                policy.option(&rule, &mut parser)?;
                ruled |= rule != "keep-tag";
            }
            Short('h') | Long("help") => return Ok(Args { action: Action::Help, ..args }),
            Short('V') | Long("version") => return Ok(Args { action: Action::Version, ..args }),
            Short('d') | Long("database") => databases.push(nonempty(&mut parser, "--database")?),
            Long("format") => {
                args.format = match text(&mut parser, "--format")?.as_str() {
                    "plain" => Format::Plain,
                    "custom" => Format::Custom,
                    other => return Err(usage(format!("--format: '{other}' is neither plain nor custom"))),
                }
            }
            Long("pg-dump-arg") => args.pg_dump_args.push(text(&mut parser, "--pg-dump-arg")?),
            Long("stdin") => stdin = true,
            Long("via") => args.via = Some(text(&mut parser, "--via")?),
            Long("patroni") => args.patroni = Some(text(&mut parser, "--patroni")?),
            Short('o') | Long("dir") => args.dir = Some(folder(&mut parser)?),
            Long("name") => args.name = Some(file_name(text(&mut parser, "--name")?, "--name")?),
            Long("compress") => args.codec = Some(Codec::of_option(&mut parser)?),
            Long("tag") => args.tag = Some(nonempty(&mut parser, "--tag")?),
            Long("latest-link") => {
                args.latest_link = Some(file_name(text(&mut parser, "--latest-link")?, "--latest-link")?)
            }
            Long("lock-timeout") => args.lock_timeout = number(&mut parser, "--lock-timeout")?,
            Long("allow-shrink") => args.allow_shrink = true,
            Long("no-rotate") => no_rotate = true,
            Long("rotate-only") => rotate_only = true,
            Long("dry-run") => args.dry_run = true,
            Long("notify") => args.telling.notify(&mut parser)?,
            Long("metrics") => args.telling.metrics(&mut parser)?,
            Long("list") => list = true,
            Long("json") => args.json = true,
            Short('q') | Long("quiet") => args.quiet = true,
            other => return Err(bad(&other.unexpected())),
        }
    }
    args.from = from(databases, stdin, command.unwrap_or_default())?;
    args.action = match (list, rotate_only) {
        (true, true) => return Err(usage("--list and --rotate-only exclude each other")),
        (true, false) => Action::List,
        (false, true) => Action::RotateOnly,
        (false, false) => Action::Backup,
    };
    if let From::Command(_) | From::Stdin = args.from {
        if !matches!(args.action, Action::Backup) {
            return Err(usage("--list and --rotate-only make no backup: they take no dump"));
        }
        if args.via.is_some() || args.patroni.is_some() || !args.pg_dump_args.is_empty() {
            return Err(usage(
                "--via, --patroni and --pg-dump-arg are for the dumps that this program starts itself",
            ));
        }
    }
    if let From::Command(command) = &args.from {
        program(command)?;
    }
    if let Some(option) = narrow::leads_astray(args.from.dumper(), &args.pg_dump_args) {
        let what = format!("--pg-dump-arg: --{option} would lead the dump elsewhere");
        return Err(Error::usage(what)
            .hint("The environment or DATABASE_URL names the server; the dump goes to DIR."));
    }
    if args.format == Format::Custom && !matches!(args.from, From::Databases(_)) {
        return Err(usage("--format custom holds one database: name it with -d"));
    }
    if matches!(&args.from, From::Databases(names) if names.len() > 1) && args.latest_link.is_some() {
        return Err(usage("--latest-link is one backup's: dump each database in a run of its own"));
    }
    let policy = policy.or_last(10, ruled);
    if no_rotate && rotate_only {
        return Err(usage("--no-rotate and --rotate-only exclude each other"));
    }
    args.policy = (!no_rotate).then_some(policy);
    Ok(args)
}

fn from(databases: Vec<String>, stdin: bool, command: Vec<OsString>) -> Result<From> {
    match (databases.is_empty(), stdin, command.is_empty()) {
        (true, false, true) => Ok(From::Cluster),
        (false, false, true) => Ok(From::Databases(databases)),
        (true, true, true) => Ok(From::Stdin),
        (true, false, false) => Ok(From::Command(command)),
        _ => Err(usage("-d, --stdin and a command exclude each other")),
    }
}

/// Part of a file name: no folder, nothing hidden, nothing that breaks a line.
fn file_name(text: String, option: &str) -> Result<String> {
    if text.is_empty() || text.contains('/') || text.starts_with('.') || text.chars().any(char::is_control) {
        return Err(usage(format!("{option}: '{}' is no file name", kit::out::plain(&text))));
    }
    Ok(text)
}

/// A command's program as the manifest names it: its arguments may hold secrets.
pub(crate) fn program(command: &[OsString]) -> Result<String> {
    let first = command.first().cloned().ok_or_else(|| Error::usage("no command"))?;
    let path = utf8(first, "the command")?;
    Ok(path.rsplit('/').next().unwrap_or(&path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn the_default_keeps_ten_and_rules_replace_it() {
        assert_eq!(parsed(&[]).unwrap().policy.unwrap().last, 10);
        assert_eq!(parsed(&["--keep-tag", "x"]).unwrap().policy.unwrap().last, 10);
        assert_eq!(parsed(&["--keep-daily", "7"]).unwrap().policy.unwrap().last, 0);
        assert!(parsed(&["--no-rotate"]).unwrap().policy.is_none());
    }

    #[test]
    fn a_command_is_everything_behind_the_dashes() {
        let args = parsed(&["-q", "--", "pg_dump", "-d", "x", "--json"]).unwrap();
        assert_eq!(args.from, From::Command(["pg_dump", "-d", "x", "--json"].map(OsString::from).into()));
        assert!(!args.json);
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for words in [
            vec!["--stdin", "-d", "x"],
            vec!["--stdin", "--", "cat"],
            vec!["--format", "custom"],
            vec!["--format", "tar", "-d", "x"],
            vec!["--name", "a/b"],
            vec!["--name", ""],
            vec!["--keep-last", "-1"],
            vec!["--keep-within", "7"],
            vec!["--compress", "lz4"],
            vec!["--no-rotate", "--rotate-only"],
            vec!["--nonsense"],
            vec!["-d"],
            vec!["pg_dump"],
            vec!["--"],
            vec!["-d", "a", "-d", "b", "--latest-link", "l"],
            vec!["-d", "a", "--pg-dump-arg", "-vf", "--pg-dump-arg", "x"],
            vec!["--pg-dump-arg=--file=x"],
            vec!["--pg-dump-arg=-h", "--pg-dump-arg=x"],
            vec!["--pg-dump-arg=--po=5"],
            vec!["--pg-dump-arg=-lx"],
            vec!["-d", "a", "--pg-dump-arg=-vUx"],
        ] {
            assert_eq!(parsed(&words).unwrap_err().code(), kit::exit::Code::Usage, "{words:?}");
        }
    }
}
