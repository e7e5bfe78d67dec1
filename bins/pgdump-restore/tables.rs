//! Tables out of a dump into a database that is there: all of it in one transaction, proven before it
//! ends.

pub(crate) mod sql;
pub(crate) mod stream;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use kit::child::{Child, sibling};
use kit::exit::{Code, Error, Result};
use kit::guard::{For, guard};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::pg::{Server, identifier};
use kit::services;
use kit::settings::Settings;
use kit::source::Dump;
use serde_json::Value;

use crate::choose::choose;
use crate::cli::{Args, TOOL, Table, Which};
use crate::run::confirm;
use crate::safety;
use crate::session::Session;
use crate::survey::{Live, entrance, live};
use crate::tables::stream::{Load, stream};
use crate::tell::tell;

/// A table of the dump.
#[derive(Clone, Debug)]
struct Listed {
    database: String,
    schema: String,
    name: String,
    rows: u64,
}

/// A table of the database.
pub(crate) struct There {
    schema: String,
    name: String,
    /// `r` for a table, `p` for one of partitions.
    kind: String,
    /// Columns of its primary key.
    pub(crate) key: Vec<String>,
    /// Columns that the server numbers, and nobody may set.
    pub(crate) numbered: Vec<String>,
}

/// The name as SQL has it, quoted.
fn quoted(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

impl There {
    /// Its name, quoted.
    pub(crate) fn sql(&self) -> String {
        quoted(&self.schema, &self.name)
    }

    /// Whether it is made of partitions.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.kind == "p"
    }
}

/// Brings tables back.
pub(crate) fn restore(
    args: &Args,
    which: &Which,
    settings: &Settings,
    dir: &Path,
    speech: &Speech,
    account: &Account<'_>,
) -> Result<Code> {
    let server = Server::find(args.via.clone(), settings, None)?;
    let own = server.facts().system_identifier.as_deref().filter(|_| *which == Which::Latest);
    let chosen = choose(which, dir, args.name.as_deref(), own, speech)?;
    let listed = list(args, &chosen)?;
    let live = target(args, &listed, &server)?;
    let there = there(&server, &live.name)?;
    let (present, missing) = sorted(args, &chosen, &listed, there)?;
    for line in lines(args, &chosen, &live, &listed, &present) {
        if args.dry_run { out::record(&line).map(|_| ())? } else { speech.say(&line) }
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    if !present.is_empty() {
        confirm(args)?;
        if let Some(keep) = args.safety {
            let tables =
                present.iter().flat_map(|t| ["--pg-dump-arg".to_owned(), format!("--table={}", t.sql())]);
            let options: Vec<String> =
                ["--database".to_owned(), live.name.clone()].into_iter().chain(tables).collect();
            safety::back_up(args, dir, keep, &options, speech)?;
        }
    }
    let _lock = guard(&server, &entrance(&server)?, For::Restore, TOOL)?;
    let stopped = services::stop(&args.services, dir, speech)?;
    let outcome = load(args, &chosen, &server, &live.name, &present, &missing, speech).map_err(|e| {
        let lacks = !missing.is_empty() && e.to_string().contains("does not exist");
        let e = e.hint("Nothing was changed: it is one transaction.");
        let how = "'dump-inspect extract --with-dependencies' takes out what a table needs, too.";
        if lacks { e.hint(how) } else { e }
    });
    let started = stopped.start().map(drop);
    let (tables, rows) = outcome.inspect_err(|_| {
        if let Err(error) = &started {
            speech.error(error);
        }
    })?;
    started?;
    let (tables, rows) = (out::count(tables as u64), out::count(rows));
    let proof = format!("restored and proven: {rows} rows in {tables} tables, counted, as in the dump");
    speech.say(&proof);
    account.note(&proof);
    tell(args, settings, &[&live.name], &server, account)?;
    Ok(Code::Done)
}

/// `dump-inspect VERB`, on the dump, with the tables that are asked for.
fn inspect(args: &Args, chosen: &Dump, words: &[&str]) -> Result<Command> {
    let mut command = Command::new(sibling("dump-inspect"));
    command.args(words).arg("--quiet");
    let all = ["*.*".to_owned()];
    let tables = if args.tables.is_empty() { &all[..] } else { &args.tables };
    for table in tables {
        command.args(["--table", table]);
    }
    if let Some(only) = &args.only {
        command.args(["--database", only]);
    }
    match &chosen.path {
        Some(path) => {
            command.arg("--").arg(path);
        }
        None => {
            use std::io::Seek;
            let fail = |e| Error::io("read", &chosen.name, &e);
            let mut file = chosen.file.try_clone().map_err(fail)?;
            file.rewind().map_err(fail)?;
            command.arg("-").stdin(file);
        }
    }
    Ok(command)
}

/// Standard input of such a command.
fn input(chosen: &Dump) -> Result<Stdio> {
    match &chosen.path {
        Some(_) => Ok(Stdio::null()),
        None => Ok(chosen.file.try_clone().map_err(|e| Error::io("read", &chosen.name, &e))?.into()),
    }
}

/// Runs such a command to its end; its output.
fn ask(args: &Args, chosen: &Dump, words: &[&str]) -> Result<Vec<u8>> {
    let mut command = inspect(args, chosen, words)?;
    let mut child = Child::spawn(&mut command, "dump-inspect", input(chosen)?, Stdio::piped())?;
    let mut output = Vec::new();
    let stdout = child.stdout();
    let read = stdout.map(|mut out| std::io::Read::read_to_end(&mut out, &mut output)).transpose();
    read.map_err(|e| Error::io("read from", "dump-inspect", &e))?;
    let ended = child.wait()?;
    if ended.ok() { Ok(output) } else { Err(ended.told()) }
}

/// The tables that are meant.
fn list(args: &Args, chosen: &Dump) -> Result<Vec<Listed>> {
    let output = ask(args, chosen, &["tables", "--json", "--no-hash"])?;
    let text = |v: &Value, field: &str| v[field].as_str().unwrap_or_default().to_owned();
    let listed: Vec<Listed> = String::from_utf8_lossy(&output)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|v| Listed {
            database: text(&v, "database"),
            schema: text(&v, "schema"),
            name: text(&v, "table"),
            rows: v["rows"].as_u64().unwrap_or(0),
        })
        .collect();
    let databases: BTreeSet<&str> = listed.iter().map(|t| t.database.as_str()).collect();
    if databases.len() > 1 {
        let all = databases.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::refused(format!("what is meant is in several databases: {all}"))
            .hint("Choose one with --only."));
    }
    if listed.is_empty() {
        // it says why, and what is like it
        ask(args, chosen, &["extract", "--schema-only"])?;
        return Err(Error::refused(format!("what is meant in '{}' is no table", chosen.name))
            .hint("'dump-inspect extract' takes views and sequences out."));
    }
    Ok(listed)
}

/// The database that they go into.
fn target(args: &Args, listed: &[Listed], server: &Server) -> Result<Live> {
    if server.facts().in_recovery {
        return Err(Error::refused("the server is a standby, which cannot be written")
            .hint("Connect to the primary instead."));
    }
    let of_dump = listed.first().map(|t| t.database.clone()).filter(|d| !d.is_empty());
    let name = args.database.clone().or(of_dump).ok_or_else(|| {
        Error::usage("the dump does not say which database it is of")
            .hint("Name the one to go into with -d NAME.")
    })?;
    let mut all = live(server, &entrance(server)?)?;
    let place = all.iter().position(|l| l.name == name && l.allows_connections);
    let place = place.ok_or_else(|| {
        Error::refused(format!("database '{name}' is not there"))
            .hint("Restore all of the dump, or name another one with -d NAME.")
    })?;
    Ok(all.swap_remove(place))
}

/// The tables of a database.
fn there(server: &Server, database: &str) -> Result<Vec<There>> {
    let columns = |of: &str| format!("coalesce((SELECT json_agg(a.attname) FROM {of}), '[]')");
    let sql = format!(
        "SELECT n.nspname, c.relname, c.relkind, {}, {} FROM pg_class c \
        JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema';",
        columns(
            "pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) \
            WHERE i.indrelid = c.oid AND i.indisprimary"
        ),
        columns("pg_attribute a WHERE a.attrelid = c.oid AND to_jsonb(a) ->> 'attidentity' = 'a'"),
    );
    let names = |text: &String| serde_json::from_str(text).unwrap_or_default();
    let row = |row: Vec<String>| {
        let [schema, name, kind, key, numbered] = &row[..] else { return None };
        Some(There {
            schema: schema.clone(),
            name: name.clone(),
            kind: kind.clone(),
            key: names(key),
            numbered: names(numbered),
        })
    };
    Ok(server.query(database, &sql)?.into_iter().filter_map(row).collect())
}

/// Tables that are there, and patterns of those that are not. Refuses what does not fit together.
fn sorted(
    args: &Args,
    chosen: &Dump,
    listed: &[Listed],
    there: Vec<There>,
) -> Result<(Vec<There>, Vec<String>)> {
    if let Table::As(new) = &args.table {
        let [one] = listed else {
            return Err(Error::usage("--as takes one table: the patterns mean several").hint("Try --help."));
        };
        let taken = there.iter().any(|t| t.schema == one.schema && t.name == *new);
        let error = Error::refused(format!("{}.{new} is there", one.schema));
        return if taken {
            Err(error.hint("Choose another name."))
        } else {
            Ok((Vec::new(), args.tables.clone()))
        };
    }
    let is_listed = |t: &There| listed.iter().any(|l| l.schema == t.schema && l.name == t.name);
    let present: Vec<There> = there.into_iter().filter(is_listed).collect();
    let is_there = |l: &&Listed| present.iter().any(|t| t.schema == l.schema && t.name == l.name);
    let missing: Vec<&Listed> = listed.iter().filter(|l| !is_there(l)).collect();
    let name = |schema: &str, name: &str| format!("{schema}.{name}");
    if let Some(no_table) = present.iter().find(|t| !["r", "p"].contains(&t.kind.as_str())) {
        return Err(Error::refused(format!(
            "{} is there and no table",
            name(&no_table.schema, &no_table.name)
        )));
    }
    match (&args.table, present.first(), missing.first()) {
        (Table::New, Some(t), _) => Err(Error::refused(format!("{} is there", name(&t.schema, &t.name)))
            .hint("--replace, --upsert or --data-only fill it; --as NEW brings it under another name.")),
        (Table::Upsert | Table::Append, _, Some(l)) => {
            Err(Error::refused(format!("{} is not there", name(&l.schema, &l.name)))
                .hint("Without --upsert and --data-only it is created."))
        }
        (Table::Upsert, _, None) => match present.iter().find(|t| t.key.is_empty()) {
            Some(t) => Err(Error::refused(format!("{} has no primary key", name(&t.schema, &t.name)))
                .hint("--replace needs none; --data-only adds rows.")),
            None => Ok((present, Vec::new())),
        },
        _ if chosen.path.is_none() && !missing.is_empty() && !present.is_empty() => {
            Err(Error::refused("some of the tables are there, and some are not")
                .hint("Restore them in two runs, from a file."))
        }
        _ => {
            // patterns in quotes mean themselves
            let missing = missing.iter().map(|l| quoted(&l.schema, &l.name)).collect();
            Ok((present, missing))
        }
    }
}

/// What will be done, a step a line.
fn lines(args: &Args, chosen: &Dump, live: &Live, listed: &[Listed], present: &[There]) -> Vec<String> {
    let mut lines = vec![format!("dump    {}; {} tables of it", chosen.name, listed.len())];
    if args.safety.is_some() && !present.is_empty() {
        lines.push("backup  of the tables that are there, before".into());
    }
    for l in listed {
        let is_there = present.iter().any(|t| t.schema == l.schema && t.name == l.name);
        let what = match &args.table {
            Table::As(_) | Table::New => "create ",
            Table::Replace if is_there => "replace",
            Table::Replace => "create ",
            Table::Upsert => "upsert ",
            Table::Append => "fill   ",
        };
        let new = if let Table::As(new) = &args.table { format!(" as {new}") } else { String::new() };
        let rows = out::count(l.rows);
        lines.push(format!("{what} {}.{}{new} in database {}: {rows} rows", l.schema, l.name, live.name));
    }
    lines
}

/// Loads all of it, and commits when every row is there. How many tables and rows.
fn load(
    args: &Args,
    chosen: &Dump,
    server: &Server,
    database: &str,
    present: &[There],
    missing: &[String],
    speech: &Speech,
) -> Result<(usize, u64)> {
    let mut session = Session::start(server, database)?;
    session.write(sql::begin(&args.table, present).as_bytes())?;
    let mut loads: Vec<Load> = Vec::new();
    if !present.is_empty() {
        let all = missing.is_empty();
        let patterns = if all { args.tables.clone() } else { present.iter().map(There::sql).collect() };
        let part = Args { tables: patterns, only: args.only.clone(), ..Args::default() };
        let command = inspect(&part, chosen, &["extract", "--data-only"])?;
        run(command, chosen, &mut session, &args.table, present, &mut loads, speech)?;
    }
    if !missing.is_empty() {
        let part = Args { tables: missing.to_vec(), only: args.only.clone(), ..Args::default() };
        let mut words = vec!["extract"];
        if let Table::As(new) = &args.table {
            words.extend(["--rename", new]);
        }
        let command = inspect(&part, chosen, &words)?;
        let how = if matches!(args.table, Table::As(_)) { &args.table } else { &Table::New };
        run(command, chosen, &mut session, how, &[], &mut loads, speech)?;
    }
    session.write(&sql::end(&loads, args.table == Table::Upsert))?;
    session.end()?;
    Ok((loads.len(), loads.iter().map(|l| l.rows).sum()))
}

/// Runs `extract` into the session.
fn run(
    mut command: Command,
    chosen: &Dump,
    session: &mut Session,
    how: &Table,
    present: &[There],
    loads: &mut Vec<Load>,
    speech: &Speech,
) -> Result<()> {
    let mut child = Child::spawn(&mut command, "dump-inspect", input(chosen)?, Stdio::piped())?;
    let output = child.stdout().ok_or_else(|| Error::no("cannot read from dump-inspect"))?;
    let streamed = stream(output, session, how, present, loads);
    // what psql says comes first: a broken pipe is what follows from it
    streamed?;
    let ended = child.wait()?;
    if !ended.ok() {
        return Err(ended.told());
    }
    for line in &ended.stderr {
        speech.say(line.strip_prefix("dump-inspect: ").unwrap_or(line));
    }
    Ok(())
}
