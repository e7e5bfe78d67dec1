//! The command line of `pgdump-restore`. Pure: touches no file, asks no clock.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use kit::cli::{bad, folder, number, text, usage, utf8};
use kit::exit::{Error, Result};
use kit::notify::Telling;
use kit::pg::LONGEST_NAME;
use kit::services::Wanted;
use kit::stamp::Stamp;
use kit::store::Place;
use lexopt::prelude::*;

/// The program's name, as messages begin with it.
pub(crate) const TOOL: &str = "pgdump-restore";

/// The guardrails that `--force` lifts, by their names.
pub(crate) const GUARDRAILS: [&str; 9] =
    ["version", "roles", "extensions", "tablespaces", "locale", "space", "sessions", "guard", "part"];

/// How many safety backups stay.
const SAFETY_KEEP: u32 = 5;

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    #[default]
    Help,
    Version,
    List,
    Restore(Which),
    /// Goes back to what was before a restore, the latest or that of a time.
    Undo(Option<Stamp>),
    /// Drops what was before a restore.
    DropBefore(Option<Stamp>),
    /// Drops all but the newest so many of each database.
    KeepBefore,
}

/// Which dump.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Which {
    File(String),
    Stdin,
    Latest,
    Pick,
}

/// How a database comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// Beside the live one; proven, they change names.
    #[default]
    Swap,
    /// The live one is dropped first.
    InPlace,
    /// Into the live one, in one transaction.
    Transaction,
}

/// What of the dump comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    #[default]
    All,
    /// Roles and tablespaces.
    Globals,
    /// No rows.
    Schema,
    /// Rows alone, into tables that are there.
    Data,
}

/// What becomes of a table that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Table {
    /// It must not be there.
    #[default]
    New,
    /// The one of the dump gets another name.
    As(String),
    /// Its rows make room for those of the dump.
    Replace,
    /// Rows of the dump are added, or take the place of those with the same key.
    Upsert,
    /// Rows of the dump are added.
    Append,
}

/// The command line, checked as far as it can be without looking at the world.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) action: Action,
    pub(crate) dir: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) only: Option<String>,
    pub(crate) drop: bool,
    /// It was said how a database that is there is to be replaced.
    pub(crate) replace: bool,
    pub(crate) way: Way,
    pub(crate) part: Part,
    pub(crate) tables: Vec<String>,
    pub(crate) table: Table,
    pub(crate) jobs: usize,
    /// Row hashes and the schema's text are compared, too.
    pub(crate) hash: bool,
    pub(crate) create_roles: bool,
    /// Guardrails that are lifted.
    pub(crate) force: BTreeSet<String>,
    /// How many safety backups stay; `None`: none is made.
    pub(crate) safety: Option<u32>,
    pub(crate) keep_before: Option<u32>,
    pub(crate) services: Wanted,
    pub(crate) via: Option<String>,
    pub(crate) patroni: Option<String>,
    pub(crate) telling: Telling,
    pub(crate) yes: bool,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut args = Args { jobs: 1, safety: Some(SAFETY_KEEP), ..Args::default() };
    let (mut actions, mut ways, mut parts, mut tables) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut no_safety = false;
    while let Some(arg) = parser.next().map_err(|e| bad(&e))? {
        match arg {
            Short('h') | Long("help") => return Ok(args),
            Short('V') | Long("version") => return Ok(Args { action: Action::Version, ..args }),
            Long("latest") => actions.push(Action::Restore(Which::Latest)),
            Long("pick") => actions.push(Action::Restore(Which::Pick)),
            Long("list") => actions.push(Action::List),
            Long("undo") => actions.push(Action::Undo(stamp(&mut parser, "--undo")?)),
            Long("drop-before") => actions.push(Action::DropBefore(stamp(&mut parser, "--drop-before")?)),
            Value(word) => actions.push(Action::Restore(match utf8(word, "FILE")? {
                word if word == "-" => Which::Stdin,
                word => {
                    if Place::is(Path::new(&word)) {
                        Place::parse(&word)?;
                    }
                    Which::File(word)
                }
            })),
            Short('o') | Long("dir") => args.dir = Some(folder(&mut parser)?),
            Long("name") => args.name = Some(text(&mut parser, "--name")?),
            Short('d') | Long("database") | Long("into") => {
                if let Some(other) = args.database.replace(database(&mut parser)?) {
                    return Err(usage(format!(
                        "-d and --into name one database: '{other}' was named before"
                    )));
                }
            }
            Long("only") => args.only = Some(database(&mut parser)?),
            Short('D') | Long("drop") => args.drop = true,
            Long("swap") => ways.push(Way::Swap),
            Long("in-place") => ways.push(Way::InPlace),
            Long("single-transaction") | Short('1') => ways.push(Way::Transaction),
            Long("globals-only") => parts.push(Part::Globals),
            Long("schema-only") => parts.push(Part::Schema),
            Long("data-only") => parts.push(Part::Data),
            Short('t') | Long("table") => args.tables.push(text(&mut parser, "--table")?),
            Long("as") => tables.push(Table::As(alone(database(&mut parser)?)?)),
            Long("replace") => tables.push(Table::Replace),
            Long("upsert") => tables.push(Table::Upsert),
            Short('j') | Long("jobs") => args.jobs = jobs(&mut parser)?,
            Long("prove") => args.hash = how(&text(&mut parser, "--prove")?)?,
            Long("create-roles") => args.create_roles = true,
            Long("force") => args.force.extend(forced(parser.optional_value())?),
            Long("no-safety") => no_safety = true,
            Long("safety-keep") => args.safety = Some(at_least_one(&mut parser, "--safety-keep")?),
            Long("keep-before") => args.keep_before = Some(number(&mut parser, "--keep-before")?),
            Long("services") => args.services.add(&text(&mut parser, "--services")?),
            Long("stop") => args.services.stop = Some(text(&mut parser, "--stop")?),
            Long("start") => args.services.start = Some(text(&mut parser, "--start")?),
            Long("via") => args.via = Some(text(&mut parser, "--via")?),
            Long("patroni") => args.patroni = Some(text(&mut parser, "--patroni")?),
            Long("notify") => args.telling.notify(&mut parser)?,
            Long("metrics") => args.telling.metrics(&mut parser)?,
            Short('y') | Short('f') | Long("yes") => args.yes = true,
            Long("dry-run") => args.dry_run = true,
            Long("json") => args.json = true,
            Short('q') | Long("quiet") => args.quiet = true,
            other => return Err(bad(&other.unexpected())),
        }
    }
    if no_safety {
        args.safety = None;
    }
    if actions.len() > 1 {
        let all = "FILE, -, --latest, --pick, --list, --undo and --drop-before exclude each other";
        return Err(usage(all));
    }
    args.action = match (actions.pop(), args.keep_before) {
        (Some(action), _) => action,
        (None, Some(_)) => Action::KeepBefore,
        (None, None) => return Err(usage("nothing to restore: give FILE, -, --latest or --pick")),
    };
    args.replace = args.drop || !ways.is_empty();
    args.way = one(ways, "--swap, --in-place and --single-transaction")?;
    args.part = one(parts, "--globals-only, --schema-only and --data-only")?;
    args.table = one(tables, "--as, --replace and --upsert")?;
    agree(args)
}

/// The only one of what excludes each other, or the default.
fn one<T: Default>(mut given: Vec<T>, names: &str) -> Result<T> {
    if given.len() > 1 {
        return Err(usage(format!("{names} exclude each other")));
    }
    Ok(given.pop().unwrap_or_default())
}

/// Refuses what contradicts itself.
fn agree(mut args: Args) -> Result<Args> {
    let of_tables = !args.tables.is_empty();
    let single = args.way == Way::Transaction;
    let wrong = if !of_tables && args.table != Table::New {
        Some("--as, --replace and --upsert are for tables: name them with -t")
    } else if of_tables && (args.way != Way::Swap || args.drop || args.jobs > 1 || args.hash) {
        Some(
            "-t goes into a database that is there, in one transaction: no --in-place, -1, -D, --jobs, --prove=hash",
        )
    } else if of_tables && matches!(args.part, Part::Globals | Part::Schema) {
        Some("-t brings tables with their rows, or with --data-only rows alone")
    } else if of_tables && args.part == Part::Data && matches!(args.table, Table::As(_)) {
        Some("--as makes a table: --data-only makes none")
    } else if !of_tables && args.part == Part::Data && (args.way != Way::Swap || args.drop) {
        Some("--data-only goes into tables that are there, in one transaction")
    } else if args.part == Part::Globals && (args.database.is_some() || args.only.is_some()) {
        Some("--globals-only touches no database")
    } else if single && args.hash {
        Some(
            "--single-transaction ends when all rows are counted: --prove=hash would compare them afterwards",
        )
    } else if single && args.jobs > 1 {
        Some("--single-transaction has one session: --jobs has several")
    } else if !args.services.contradict() {
        None
    } else {
        Some("--services stops and starts by itself: --stop and --start are for what is no service")
    };
    if args.part == Part::Data && args.table == Table::New {
        args.table = Table::Append;
    }
    wrong.map_or(Ok(args), |why| Err(usage(why)))
}

/// A name of a database or a table.
fn database(parser: &mut lexopt::Parser) -> Result<String> {
    let name = text(parser, "--database")?;
    let wrong = match &name {
        name if name.is_empty() => Some("the name is empty"),
        name if name.len() > LONGEST_NAME => {
            Some("the name is longer than 63 bytes: PostgreSQL would cut it")
        }
        name if name.contains(['\n', '\r']) => Some("PostgreSQL's programs take no name with a newline"),
        _ => None,
    };
    wrong.map_or(Ok(name), |why| Err(usage(why)))
}

fn stamp(parser: &mut lexopt::Parser, option: &str) -> Result<Option<Stamp>> {
    // the time may stand behind a blank, too, and nothing else may
    let next = parser.optional_value().or_else(|| {
        let mut rest = parser.try_raw_args()?;
        rest.next_if(|word| word.to_str().is_some_and(|w| Stamp::parse_compact(w).is_some()))
    });
    let Some(value) = next else { return Ok(None) };
    let text = utf8(value, option)?;
    let stamp = Stamp::parse_compact(&text);
    stamp.map_or(Err(usage(format!("{option}: '{text}' is no time as in 20261121_064645"))), |s| Ok(Some(s)))
}

fn jobs(parser: &mut lexopt::Parser) -> Result<usize> {
    match number(parser, "--jobs")? {
        0 => Err(usage("--jobs: it takes one session at least")),
        n => Ok(n as usize),
    }
}

fn how(text: &str) -> Result<bool> {
    match text {
        "rows" => Ok(false),
        "hash" => Ok(true),
        other => Err(usage(format!("--prove: '{other}' is neither rows nor hash"))),
    }
}

fn forced(value: Option<OsString>) -> Result<Vec<String>> {
    let Some(value) = value else { return Ok(GUARDRAILS.map(String::from).to_vec()) };
    let text = utf8(value, "--force")?;
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    match names.iter().find(|n| !GUARDRAILS.contains(&n.as_str())) {
        Some(other) => {
            let all = GUARDRAILS.join(", ");
            Err(usage(format!("--force: '{other}' is no guardrail: they are {all}")))
        }
        None => Ok(names),
    }
}

/// A number of things of which one must stay.
fn at_least_one(parser: &mut lexopt::Parser, option: &str) -> Result<u32> {
    match number(parser, option)? {
        0 => Err(usage(format!("{option}: one stays at least"))),
        n => Ok(n),
    }
}

/// A name without a schema.
fn alone(name: String) -> Result<String> {
    if name.contains('.') {
        return Err(Error::usage(format!("'{name}': --as takes a name alone, the table keeps its schema"))
            .hint("ALTER TABLE … SET SCHEMA and RENAME TO bring it elsewhere afterwards."));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn exactly_one_dump() {
        let action = |words: &[&str]| parsed(words).map(|a| a.action);
        assert_eq!(action(&["a.sql", "-y"]).unwrap(), Action::Restore(Which::File("a.sql".into())));
        assert_eq!(action(&["-"]).unwrap(), Action::Restore(Which::Stdin));
        let there = "s3://keep/a.sql";
        assert_eq!(action(&[there]).unwrap(), Action::Restore(Which::File(there.into())));
        assert_eq!(action(&["s3://keep/../a"]).unwrap_err().code(), kit::exit::Code::Usage);
        assert_eq!(action(&["--undo"]).unwrap(), Action::Undo(None));
        let stamp = Stamp::parse_compact("20261121_064645");
        assert_eq!(action(&["--undo", "20261121_064645", "-y"]).unwrap(), Action::Undo(stamp));
        assert_eq!(action(&["--undo=20261121_064645"]).unwrap(), Action::Undo(stamp));
        assert_eq!(action(&["--keep-before", "1"]).unwrap(), Action::KeepBefore);
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for words in [
            &[][..],
            &["a", "b"],
            &["a", "--latest"],
            &["--undo", "x"],
            &["--undo=x"],
            &["--bogus"],
            &["a", "-d", ""],
            &["a", "-d", "x\ny"],
            &["a", "--replace"],
            &["a", "-t", "x", "--replace", "--upsert"],
            &["a", "-t", "x", "--in-place"],
            &["a", "-t", "x", "--schema-only"],
            &["a", "-t", "x", "--as", "y", "--data-only"],
            &["a", "--swap", "--in-place"],
            &["a", "--globals-only", "-d", "x"],
            &["a", "--single-transaction", "-j", "2"],
            &["a", "-1", "--prove=hash"],
            &["a", "-j", "0"],
            &["a", "--prove", "magic"],
            &["a", "--force=all"],
            &["a", "--services", "x", "--stop", "y"],
        ] {
            assert_eq!(parsed(words).unwrap_err().code(), kit::exit::Code::Usage, "{words:?}");
        }
    }

    #[test]
    fn force_lifts_all_or_some() {
        assert_eq!(parsed(&["a", "--force"]).unwrap().force.len(), GUARDRAILS.len());
        let some = parsed(&["a", "--force=version,roles"]).unwrap().force;
        assert_eq!(some.into_iter().collect::<Vec<_>>(), ["roles", "version"]);
    }
}
