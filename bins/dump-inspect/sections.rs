//! `extract --database` and `--globals`: all of a database of a cluster dump, or what is in none.

use kit::dump::statement::without_databases;
use kit::exit::{Error, Result};
use kit::out::Output;
use kit::source::Dump;

use crate::cli::Args;
use crate::contents::Contents;
use crate::extract::{Part, is_rows, read};
use crate::near::nearest;
use crate::write::write;

/// How many parts of a whole database are held at a time.
const AT_A_TIME: usize = 50_000;
/// Kinds of statements that may be about another database, some of them several in one.
const DOUBTFUL: [&str; 7] = ["DROP", "OTHER", "ROLE", "ACL", "COMMENT", "SECURITY LABEL", "TABLESPACE"];

/// Writes all of a database, or what is in none, some parts at a time: a dump may have millions.
pub(crate) fn sections(dump: &Dump, contents: &Contents, args: &Args) -> Result<()> {
    if let [_, second, ..] = args.databases.as_slice() {
        return Err(
            Error::usage(format!("one database at a time: '{second}' is another")).hint("Try --help.")
        );
    }
    let mut out = Output::new();
    let mut parts = Vec::new();
    let mut any = args.globals;
    contents.each(&mut |item| {
        let globals = item.database.is_none()
            && ["ROLE", "TABLESPACE", "ACL", "COMMENT", "SECURITY LABEL", "SET"]
                .contains(&item.kind.as_str())
            && !item.name.starts_with("DATABASE ");
        let named = args.databases.first() == item.database.as_ref();
        // the next database's beginning stands behind this one's end
        let of_database = item.kind.starts_with("DATABASE") || item.name.starts_with("DATABASE ");
        any |= named;
        if if args.globals { globals } else { named && item.kind != "CONNECT" && !of_database } {
            // rows stay with the statement before them
            if parts.len() >= AT_A_TIME && !is_rows(&item) {
                read_and_write(dump, contents, args, &mut parts, &mut out)?;
            }
            parts.push(Part { item, text: Vec::new() });
        }
        Ok(())
    })?;
    if !any {
        let name = args.databases.first().map_or("", String::as_str);
        return Err(Error::no(format!("'{}' holds no database '{name}'", dump.name))
            .hint(nearest(name, &contents.databases)));
    }
    read_and_write(dump, contents, args, &mut parts, &mut out)?;
    out.finish()
}

/// Writes the parts without what is about the next database, whose beginning stands at the end of this
/// one: with `--clean` it is dropped there.
fn read_and_write(
    dump: &Dump,
    contents: &Contents,
    args: &Args,
    parts: &mut Vec<Part>,
    out: &mut Output,
) -> Result<()> {
    let mut doubtful: Vec<Part> = Vec::new();
    parts.retain(|part| {
        let is_doubtful = !args.globals && DOUBTFUL.contains(&part.item.kind.as_str());
        doubtful.extend(is_doubtful.then(|| Part { item: part.item.clone(), text: Vec::new() }));
        !is_doubtful
    });
    read(dump, &mut doubtful)?;
    for part in &mut doubtful {
        part.text = without_databases(&part.text);
    }
    doubtful.retain(|part| !part.text.is_empty());
    parts.append(&mut doubtful);
    parts.sort_by_key(|part| part.item.offset);
    write(dump, contents, parts, out)?;
    parts.clear();
    Ok(())
}
