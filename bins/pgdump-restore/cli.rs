//! The command line of `pgdump-restore`. Pure: touches no file, asks no clock.

use std::ffi::OsString;

use kit::cli::{bad, folder, text, usage, utf8};
use kit::exit::Result;
use kit::pg::LONGEST_NAME;
use lexopt::prelude::*;

/// The program's name, as messages begin with it.
pub(crate) const TOOL: &str = "pgdump-restore";

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Check a PostgreSQL dump to its last byte, put it back, and count every row.

Usage: pgdump-restore [OPTIONS] FILE
       pgdump-restore [OPTIONS] -         (from standard input; needs --yes)
       pgdump-restore [OPTIONS] --latest | --pick | --list

Each database in the dump is dropped and created anew; others are left alone. The
connection string of each goes to standard output.

What to restore:
  FILE                      a dump: plain, gzip, zstd, or an archive (custom, tar,
                            directory); a bare name is looked for in DIR too
      --latest              the newest proven backup in DIR
      --pick                choose from the last 10, newest first
      --list                list the backups, newest first, and end
  -o, --dir DIR             where backups are, default 'backups' [BACKUP_DIR]
      --name PREFIX         only backups whose names begin so
  -d, --database NAME       where a single-database dump goes, default the one it
                            was taken from

How:
      --stop CMD            run CMD before the first database is dropped
      --start CMD           run CMD at the end, also after failure and signals
      --via CMD             run client programs behind CMD, such as
                            'docker compose exec -T db' [PG_VIA]
  -y, --yes                 do not ask
      --dry-run             check everything, print the plan, change nothing
      --json                one JSON object a line, for what was restored and --list
  -q, --quiet               say only what went wrong
  -h, --help                print this
  -V, --version             print the version

Exit codes:
  0  done, and every table has the rows of the dump
  1  the dump is damaged or incomplete, a statement failed, or the rows differ
  2  the command line is wrong
  4  refused: not confirmed, or a guardrail holds; the hint says what would lift it
  5  temporary: server unreachable, disk full, interrupted
";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Help,
    Version,
    List,
    Restore(Which),
}

/// Which dump.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Which {
    File(String),
    Stdin,
    Latest,
    Pick,
}

/// The command line, checked as far as it can be without looking at the world.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) action: Action,
    pub(crate) dir: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) stop: Option<String>,
    pub(crate) start: Option<String>,
    pub(crate) via: Option<String>,
    pub(crate) yes: bool,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut args = Args {
        action: Action::Help,
        dir: None,
        name: None,
        database: None,
        stop: None,
        start: None,
        via: None,
        yes: false,
        dry_run: false,
        json: false,
        quiet: false,
    };
    let mut actions = Vec::new();
    while let Some(arg) = parser.next().map_err(|e| bad(&e))? {
        match arg {
            Short('h') | Long("help") => return Ok(args),
            Short('V') | Long("version") => return Ok(Args { action: Action::Version, ..args }),
            Long("latest") => actions.push(Action::Restore(Which::Latest)),
            Long("pick") => actions.push(Action::Restore(Which::Pick)),
            Long("list") => actions.push(Action::List),
            Value(word) => actions.push(Action::Restore(match utf8(word, "FILE")? {
                word if word == "-" => Which::Stdin,
                word => Which::File(word),
            })),
            Short('o') | Long("dir") => args.dir = Some(folder(&mut parser)?),
            Long("name") => args.name = Some(text(&mut parser, "--name")?),
            Short('d') | Long("database") => args.database = Some(text(&mut parser, "--database")?),
            Long("stop") => args.stop = Some(text(&mut parser, "--stop")?),
            Long("start") => args.start = Some(text(&mut parser, "--start")?),
            Long("via") => args.via = Some(text(&mut parser, "--via")?),
            Short('y') | Long("yes") => args.yes = true,
            Long("dry-run") => args.dry_run = true,
            Long("json") => args.json = true,
            Short('q') | Long("quiet") => args.quiet = true,
            other => return Err(bad(&other.unexpected())),
        }
    }
    if actions.len() > 1 {
        return Err(usage("FILE, -, --latest, --pick and --list exclude each other"));
    }
    args.action =
        actions.pop().ok_or_else(|| usage("nothing to restore: give FILE, -, --latest or --pick"))?;
    if let Some(name) = &args.database {
        let wrong = match name {
            name if name.is_empty() => Some("it is empty"),
            name if name.len() > LONGEST_NAME => Some("it is longer than 63 bytes: PostgreSQL would cut it"),
            name if name.contains(['\n', '\r']) => Some("PostgreSQL's programs take no name with a newline"),
            _ => None,
        };
        wrong.map_or(Ok(()), |why| Err(usage(format!("--database: {why}"))))?;
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_dump() {
        let action = |words: &[&str]| parse(words.iter().map(OsString::from)).map(|a| a.action);
        assert_eq!(action(&["a.sql", "-y"]).unwrap(), Action::Restore(Which::File("a.sql".into())));
        assert_eq!(action(&["-"]).unwrap(), Action::Restore(Which::Stdin));
        for words in
            [&[][..], &["a", "b"], &["a", "--latest"], &["--bogus"], &["a", "-d", ""], &["a", "-d", "x\ny"]]
        {
            assert_eq!(action(words).unwrap_err().code(), kit::exit::Code::Usage, "{words:?}");
        }
    }
}
