//! The command line of `dump-inspect`. Pure: touches no file, asks no clock.

use std::ffi::OsString;
use std::path::Path;

use kit::cli::{bad, text, usage, utf8};
use kit::exit::Result;
use kit::notify::Telling;
use kit::pg::LONGEST_NAME;
use kit::store::Place;
use lexopt::prelude::*;

use crate::pattern::Pattern;

/// The program's name, as messages begin with it.
pub(crate) const TOOL: &str = "dump-inspect";

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Look into a PostgreSQL dump, and take a part out of it.

Usage: dump-inspect [OPTIONS] [VERB] FILE
       dump-inspect [OPTIONS] [VERB] -      (from standard input)
       dump-inspect [OPTIONS] diff FILE FILE

FILE is a dump: plain SQL, or an archive of pg_dump (custom, tar, a directory), also
compressed with gzip or zstd. s3://BUCKET/KEY is one in an object store, of which only
what is needed is fetched. Records go to standard output, one a line.

What is in it:
  summary                   what it is a dump of, and how much (the default)
  version                   which server and which pg_dump made it
  databases, schemas, roles, extensions
  tables                    rows, bytes and row hash of each table
  toc                       every object: kind, name, owner, where it stands
  settings                  what it sets, of sessions, databases and roles
  guard                     what would run outside of SQL or reach beyond its
                            database; status 1 when there is any

What became of it:
  diff                      objects added, removed, altered from the first dump to
                            the second, and tables whose rows differ; status 1 when
                            anything does
  diff --rows               the rows that differ

What to take out of it, as SQL:
  cat                       all of it: inflated, an archive as psql would load it
  cat --salvage             what is whole of a damaged dump; status 3, and what is
                            lost on standard error
  extract -t PATTERN        tables, with all that belongs to them
  extract --schema S        all of a schema
  extract --database DB     one database out of a cluster dump
  extract --globals         roles and tablespaces of a cluster dump

Make it quick to look into:
  index                     write its manifest beside it, so that tables are found
                            by seeking
  index --reframe NEW       a copy in pieces that can be sought, and its manifest

Options:
  -d, --database DB         only this database; repeatable
  -t, --table PATTERN       [[DB.]SCHEMA.]TABLE as in psql's \\d, * and ? match any;
                            repeatable
  -n, --schema PATTERN      the schema; repeatable
      --globals             with extract: roles and tablespaces
      --schema-only         with extract: no rows
      --data-only           with extract: rows only
      --clean               with extract: drop the tables first
      --with-dependencies   with extract: the types, functions and extensions that
                            the tables need, too
      --keep-keys           with extract: foreign keys to tables that are not taken
                            out, and the place of a partition in its table; what
                            does not fit where it is loaded is left out there
      --rename NEW          with extract: the table under another name, with its
                            indexes and sequences, to stand beside the old one
      --format FORMAT       with extract: sql (default), or csv for the rows of one
                            table
      --rows                with diff: - and + and each row that differs
      --reframe NEW         with index: write the dump anew; .gz, .zst or else plain
      --salvage             with cat: pass over what is damaged
      --no-hash             with tables: count rows without hashing them
      --json                one JSON object a line
      --notify URL          POST how it went as JSON; slack:URL and healthchecks:URL in
                            their own words; repeatable
      --metrics FILE        write numbers for Prometheus to FILE at the end
  -q, --quiet               say only what went wrong
  -h, --help                print this
  -V, --version             print the version

Exit codes:
  0  done
  1  the dump is absent, damaged or incomplete, or does not hold what was asked for;
     guard: something was found
  2  the command line is wrong
  3  done in part: --salvage had to leave something out
  4  refused: a kind of file that is not read (xz, UTF-16 …), or what cannot be done
     safely, or a store does not let us; the hint says what to do
  5  temporary: disk full, interrupted; a store is away, or an object was replaced
     while it was read
";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Summary,
    Version,
    Databases,
    Schemas,
    Roles,
    Extensions,
    Tables,
    Toc,
    Settings,
    Guard,
    Cat,
    Extract,
    Index,
    Diff,
}

const VERBS: [(&str, Verb); 14] = [
    ("summary", Verb::Summary),
    ("version", Verb::Version),
    ("databases", Verb::Databases),
    ("schemas", Verb::Schemas),
    ("roles", Verb::Roles),
    ("extensions", Verb::Extensions),
    ("tables", Verb::Tables),
    ("toc", Verb::Toc),
    ("settings", Verb::Settings),
    ("guard", Verb::Guard),
    ("cat", Verb::Cat),
    ("extract", Verb::Extract),
    ("index", Verb::Index),
    ("diff", Verb::Diff),
];

/// What to print instead of doing anything, or what to do.
#[derive(Debug)]
pub(crate) enum Action {
    Help,
    Version,
    Look(Box<Args>),
}

/// The command line, checked as far as it can be without looking at the world.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) verb: Verb,
    /// `-` for standard input.
    pub(crate) file: String,
    /// The second dump of `diff`.
    pub(crate) other: String,
    pub(crate) databases: Vec<String>,
    pub(crate) tables: Vec<Pattern>,
    pub(crate) schemas: Vec<Pattern>,
    pub(crate) globals: bool,
    pub(crate) schema_only: bool,
    pub(crate) data_only: bool,
    pub(crate) clean: bool,
    pub(crate) with_dependencies: bool,
    pub(crate) keep_keys: bool,
    pub(crate) rename: Option<String>,
    pub(crate) csv: bool,
    pub(crate) reframe: Option<String>,
    pub(crate) salvage: bool,
    pub(crate) rows: bool,
    pub(crate) no_hash: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) telling: Telling,
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Action> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut args = Args {
        verb: Verb::Summary,
        file: String::new(),
        other: String::new(),
        databases: Vec::new(),
        tables: Vec::new(),
        schemas: Vec::new(),
        globals: false,
        schema_only: false,
        data_only: false,
        clean: false,
        with_dependencies: false,
        keep_keys: false,
        rename: None,
        csv: false,
        reframe: None,
        salvage: false,
        rows: false,
        no_hash: false,
        json: false,
        quiet: false,
        telling: Telling::default(),
    };
    let mut words = Vec::new();
    while let Some(arg) = parser.next().map_err(|e| bad(&e))? {
        match arg {
            Short('h') | Long("help") => return Ok(Action::Help),
            Short('V') | Long("version") => return Ok(Action::Version),
            Short('d') | Long("database") => args.databases.push(text(&mut parser, "--database")?),
            Short('t') | Long("table") => {
                args.tables.push(Pattern::of_table(&text(&mut parser, "--table")?).map_err(usage)?);
            }
            Short('n') | Long("schema") => {
                args.schemas.push(Pattern::of_schema(&text(&mut parser, "--schema")?).map_err(usage)?);
            }
            Long("globals") => args.globals = true,
            Long("schema-only") => args.schema_only = true,
            Long("data-only") => args.data_only = true,
            Long("clean") => args.clean = true,
            Long("with-dependencies") => args.with_dependencies = true,
            Long("salvage") => args.salvage = true,
            Long("reframe") => args.reframe = Some(text(&mut parser, "--reframe")?),
            Long("rows") => args.rows = true,
            Long("keep-keys") => args.keep_keys = true,
            Long("rename") => args.rename = Some(text(&mut parser, "--rename")?),
            Long("format") => {
                args.csv = match text(&mut parser, "--format")?.as_str() {
                    "sql" => false,
                    "csv" => true,
                    other => return Err(usage(format!("--format: '{other}' is neither sql nor csv"))),
                }
            }
            Long("no-hash") => args.no_hash = true,
            Long("json") => args.json = true,
            Long("notify") => args.telling.notify(&mut parser)?,
            Long("metrics") => args.telling.metrics(&mut parser)?,
            Short('q') | Long("quiet") => args.quiet = true,
            Value(word) => words.push(utf8(word, "FILE")?),
            other => return Err(bad(&other.unexpected())),
        }
    }
    let verb = words.first().and_then(|w| VERBS.iter().find(|(name, _)| name == w)).map(|(_, v)| *v);
    if let Some(verb) = verb {
        args.verb = verb;
        words.remove(0);
    }
    if args.verb == Verb::Diff {
        args.other = match words.len() {
            2 => words.pop().unwrap_or_default(),
            _ => return Err(usage("diff takes two FILEs")),
        };
    }
    match <[String; 1]>::try_from(words) {
        Ok([file]) if !file.is_empty() => args.file = file,
        Ok(_) => return Err(usage("FILE is empty")),
        Err(words) if words.is_empty() => return Err(usage("no FILE: give a dump, or - for standard input")),
        Err(words) => return Err(usage(format!("'{}' is no verb, or one FILE too many", words[0]))),
    }
    for place in [&args.file, &args.other].into_iter().filter(|file| Place::is(Path::new(file))) {
        Place::parse(place)?;
    }
    check(&args)?;
    // CSV holds rows and nothing else
    args.data_only |= args.csv;
    Ok(Action::Look(Box::new(args)))
}

fn check(args: &Args) -> Result<()> {
    let extract = args.verb == Verb::Extract;
    let narrow = !args.tables.is_empty() || !args.schemas.is_empty();
    if args.schema_only && args.data_only {
        return Err(usage("--schema-only and --data-only exclude each other"));
    }
    if !extract
        && (args.globals || args.schema_only || args.data_only || args.clean || args.with_dependencies)
    {
        return Err(usage(
            "--globals, --schema-only, --data-only, --clean, --with-dependencies are extract's",
        ));
    }
    if extract && !narrow && !args.globals && args.databases.is_empty() {
        return Err(usage("extract what? give --table, --schema, --database or --globals"));
    }
    if (args.rename.is_some() || args.csv) && (!extract || args.tables.is_empty()) {
        return Err(usage("--rename and --format csv are for extract -t"));
    }
    if args.keep_keys
        && (!extract || args.tables.is_empty() || args.rename.is_some() || args.data_only || args.clean)
    {
        return Err(usage("--keep-keys is for extract -t of tables as they are, without --clean"));
    }
    if args.csv
        && (args.keep_keys
            || args.rename.is_some()
            || args.schema_only
            || args.clean
            || args.with_dependencies)
    {
        return Err(usage("--format csv holds rows and nothing else"));
    }
    if args.rename.as_ref().is_some_and(|new| new.is_empty() || new.len() > LONGEST_NAME) {
        return Err(usage("--rename: a name has 1 to 63 bytes"));
    }
    if args.globals && (narrow || !args.databases.is_empty()) {
        return Err(usage("--globals goes with no other part"));
    }
    if matches!(args.verb, Verb::Cat | Verb::Index) && (narrow || !args.databases.is_empty()) {
        return Err(usage("this verb takes all of the dump; extract takes a part"));
    }
    if args.reframe.as_ref().is_some_and(|new| args.verb != Verb::Index || new.is_empty()) {
        return Err(usage("--reframe is index's, and takes the name of a new file"));
    }
    if args.salvage && args.verb != Verb::Cat {
        return Err(usage("--salvage is cat's: dump-inspect cat --salvage FILE | dump-inspect VERB -"));
    }
    if args.rows && args.verb != Verb::Diff {
        return Err(usage("--rows is diff's"));
    }
    if args.verb == Verb::Diff && args.file == "-" && args.other == "-" {
        return Err(usage("diff: only one dump can come from standard input"));
    }
    if args.verb == Verb::Index && args.file == "-" && args.reframe.is_none() {
        return Err(usage("index: the manifest is written beside a file, and - is none"));
    }
    if args.reframe.as_ref().is_some_and(|new| Place::is(Path::new(new))) {
        return Err(usage("--reframe takes the name of a new file, not a place in a store"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args> {
        match parse(words.iter().map(OsString::from))? {
            Action::Look(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_verb_is_the_first_word() {
        assert_eq!(parsed(&["a.sql"]).unwrap().verb, Verb::Summary);
        let args = parsed(&["--json", "tables", "-"]).unwrap();
        assert_eq!((args.verb, args.file.as_str()), (Verb::Tables, "-"));
        assert_eq!(parsed(&["./tables"]).unwrap().verb, Verb::Summary);
        for words in [
            &[][..],
            &["tables"],
            &["a", "b"],
            &["extract", "a"],
            &["cat", "-t", "x", "a"],
            &["extract", "-t", "x", "--globals", "a"],
            &["extract", "-t", "", "a"],
            &["extract", "-t", "a.b.c.d", "a"],
            &["tables", "--clean", "a"],
            &["index", "-"],
            &["index", "a", "--reframe", "s3://keep/a"],
            &["s3://keep/../a"],
            &["diff", "a", "s3://"],
            &["diff", "a"],
            &["diff", "-", "-"],
            &["tables", "--rows", "a"],
            &["extract", "-t", "x", "--format", "csv", "--rename", "y", "a"],
            &["extract", "-n", "x", "--rename", "y", "a"],
            &["extract", "-t", "x", "--format", "xml", "a"],
            &["--bogus"],
        ] {
            assert_eq!(parsed(words).unwrap_err().code(), kit::exit::Code::Usage, "{words:?}");
        }
    }
}
