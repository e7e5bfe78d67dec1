//! Tables out of a dump into a database that is there: all of it in one transaction, proven before it
//! ends.

mod keys;
mod lacking;
mod load;
pub(crate) mod sql;
pub(crate) mod stream;
mod there;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use kit::child::{Child, sibling};
use kit::exit::{Code, Error, Result};
use kit::guard::{For, guard};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::pg::Server;
use kit::services;
use kit::settings::Settings;
use kit::source::Dump;
use serde_json::Value;

use crate::choose::choose;
use crate::cli::{Args, TOOL, Table, Which};
use crate::run::confirm;
use crate::safety;
use crate::survey::{Live, Survey, entrance};
use crate::tables::load::load;
pub(crate) use crate::tables::there::There;
use crate::tables::there::{quoted, there};
use crate::tell::tell;

/// A table of the dump.
#[derive(Clone, Debug)]
struct Listed {
    database: String,
    schema: String,
    name: String,
    rows: u64,
    /// It has rows of its own, if only none: a section that says so.
    filled: bool,
    /// They came by COPY.
    hashed: bool,
}

/// What is asked for, by what is there.
struct Found {
    /// Tables that are there.
    present: Vec<There>,
    /// Partitions of these, named or not.
    parts: Vec<There>,
    /// Patterns of those that are not there.
    missing: Vec<String>,
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
    let chosen = choose(which, settings, dir, args.name.as_deref(), own, speech)?;
    let listed = list(args, &chosen)?;
    let live = target(args, &listed, &server)?;
    let all = there(&server, &live.name)?;
    let (left, listed) = left(args, listed, &all)?;
    let found = sorted(args, &chosen, &listed, &all)?;
    let present = &found.present;
    let lacking = lacking::lacking(args, &chosen, &listed, &found)?;
    let left = left.iter().map(|l| format!("leave   {}.{}: its rows are elsewhere", l.schema, l.name));
    for line in lines(args, &chosen, &live, &listed, present).into_iter().chain(left) {
        if args.dry_run { out::record(&line).map(|_| ())? } else { speech.say(&line) }
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    if !present.is_empty() {
        confirm(args)?;
        if let Some(keep) = args.safety {
            // pg_dump takes no partitions along
            let tables = present.iter().chain(&found.parts);
            let tables = tables.flat_map(|t| ["--pg-dump-arg".to_owned(), format!("--table={}", t.sql())]);
            let options: Vec<String> =
                ["--database".to_owned(), live.name.clone()].into_iter().chain(tables).collect();
            safety::back_up(args, dir, keep, &options, speech)?;
        }
    }
    let _lock = guard(&server, &entrance(&server)?, For::Restore, TOOL)?;
    let stopped = services::stop(&args.services, dir, speech)?;
    let unchanged = "Nothing was changed: it is one transaction.";
    let loaded = load(args, &chosen, &server, &live.name, &found, speech).map_err(|e| {
        let lacks = !found.missing.is_empty() && e.to_string().contains("does not exist");
        let e = e.hint(unchanged);
        let how = "'dump-inspect extract --with-dependencies' takes out what a table needs, too.";
        if lacks { e.hint(how) } else { e }
    });
    let outcome = loaded.and_then(|(session, tables, rows)| {
        for warning in session.commit(&server, unchanged)? {
            speech.warn(&format!("warning: {warning}"));
        }
        Ok((tables, rows))
    });
    let started = stopped.start().map(drop);
    let (tables, rows) = outcome.inspect_err(|_| {
        if let Err(error) = &started {
            speech.error(error);
        }
    })?;
    started?;
    let proof = match tables {
        0 => "restored without rows: the dump holds none of what is asked for".to_owned(),
        _ => {
            let (tables, rows) = (out::count(tables as u64), out::count(rows));
            format!("restored and proven: {rows} rows in {tables} tables, counted, as in the dump")
        }
    };
    // the restore is done, whatever comes of this
    let keys = keys::lost(args, &chosen, &listed, &found, &server, &live.name).unwrap_or_else(|e| {
        speech.error(&e);
        Vec::new()
    });
    if !keys.is_empty() {
        speech.warn(&format!("warning: foreign keys of the dump that are not there: {}", keys.join(", ")));
    }
    if !lacking.is_empty() {
        speech.warn(&format!("warning: emptied, without rows in the dump: {}", lacking.join(", ")));
    }
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
    if let Some(kept) = &chosen.kept {
        use std::io::Seek;
        let fail = |e| Error::io("read", &chosen.name, &e);
        let mut file = kept.try_clone().map_err(fail)?;
        file.rewind().map_err(fail)?;
        command.arg("-").stdin(file);
    } else {
        // an object has no path, and is called by its place
        let name = chosen.path.as_deref().unwrap_or(Path::new(&chosen.name));
        command.arg("--").arg(name);
    }
    Ok(command)
}

/// Standard input of such a command.
fn input(chosen: &Dump) -> Result<Stdio> {
    match &chosen.kept {
        None => Ok(Stdio::null()),
        Some(kept) => Ok(kept.try_clone().map_err(|e| Error::io("read", &chosen.name, &e))?.into()),
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
    let listed = listed(args, chosen)?;
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

fn text(of: &Value, field: &str) -> String {
    of[field].as_str().unwrap_or_default().to_owned()
}

/// The tables of the dump that the patterns mean, if any.
fn listed(args: &Args, chosen: &Dump) -> Result<Vec<Listed>> {
    // a hash tells no rows from rows of which nothing is said
    let output = ask(args, chosen, &["tables", "--json"])?;
    let table = |v: Value| Listed {
        database: text(&v, "database"),
        schema: text(&v, "schema"),
        name: text(&v, "table"),
        rows: v["rows"].as_u64().unwrap_or(0),
        filled: v["row_hash"].is_string() || v["rows"].as_u64() > Some(0),
        hashed: v["row_hash"].is_string(),
    };
    let lines = String::from_utf8_lossy(&output);
    Ok(lines.lines().filter_map(|line| serde_json::from_str(line).ok()).map(table).collect())
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
    let mut all = Survey::of(server)?.live;
    let place = all.iter().position(|l| l.name == name && l.allows_connections);
    let place = place.ok_or_else(|| {
        Error::refused(format!("database '{name}' is not there"))
            .hint("Restore all of the dump, or name another one with -d NAME.")
    })?;
    Ok(all.swap_remove(place))
}

/// Parts those that hold no rows here and bring none: foreign tables, also such as are not there.
fn left(args: &Args, listed: Vec<Listed>, there: &[There]) -> Result<(Vec<Listed>, Vec<Listed>)> {
    let is_elsewhere = |l: &Listed| match there.iter().find(|t| t.is(&l.schema, &l.name)) {
        Some(t) => t.kind == "f",
        None => args.tables.is_empty(),
    };
    let fills = matches!(args.table, Table::Replace | Table::Upsert | Table::Append);
    let (left, listed): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|l| fills && !l.filled && is_elsewhere(l));
    match (left.first(), listed.is_empty()) {
        (Some(l), true) => Err(Error::refused(format!("{}.{} holds no rows here", l.schema, l.name))
            .hint("Those of a foreign table are where its server is.")),
        _ => Ok((left, listed)),
    }
}

/// Refuses what does not fit together.
fn sorted(args: &Args, chosen: &Dump, listed: &[Listed], there: &[There]) -> Result<Found> {
    if let Table::As(new) = &args.table {
        let [one] = listed else {
            return Err(Error::usage("--as takes one table: the patterns mean several").hint("Try --help."));
        };
        let taken = there.iter().any(|t| t.schema == one.schema && t.name == *new);
        let error = Error::refused(format!("{}.{new} is there", one.schema));
        if taken {
            return Err(error.hint("Choose another name."));
        }
        // whether it can have one
        ask(args, chosen, &["extract", "--schema-only", "--rename", new])?;
        return Ok(Found { present: Vec::new(), parts: Vec::new(), missing: args.tables.clone() });
    }
    let is_listed = |t: &&There| listed.iter().any(|l| l.schema == t.schema && l.name == t.name);
    let present: Vec<There> = there.iter().filter(is_listed).cloned().collect();
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
        (Table::Upsert, _, None) if let Some(part) = lacking::unnamed_part(listed, &present, there) => {
            Err(Error::refused(format!("{} is a partition", name(&part.schema, &part.name)))
                .hint("Name each partition with -t, or give --replace."))
        }
        (Table::Upsert, _, None) => match present.iter().find(|t| t.key.is_empty()) {
            Some(t) => Err(Error::refused(format!("{} has no primary key", name(&t.schema, &t.name)))
                .hint("--replace needs none; --data-only adds rows.")),
            None => Ok(Found { present, parts: Vec::new(), missing: Vec::new() }),
        },
        _ if chosen.kept.is_some() && !missing.is_empty() && !present.is_empty() => {
            Err(Error::refused("some of the tables are there, and some are not")
                .hint("Restore them in two runs, from a file."))
        }
        _ => {
            // patterns in quotes mean themselves
            let missing = missing.iter().map(|l| quoted(&l.schema, &l.name)).collect();
            Ok(Found { parts: lacking::partitions(&present, there), present, missing })
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
        let rows =
            if l.filled { format!("{} rows", out::count(l.rows)) } else { "no rows of its own".into() };
        lines.push(format!("{what} {}.{}{new} in database {}: {rows}", l.schema, l.name, live.name));
    }
    lines
}
