//! `diff --rows`: the rows that are in one dump and not in the other.
//!
//! Rows are compared as a bag: how often each stands on either side. Of each only its hash is held,
//! and of a large table one share of all hashes at a time, for each of which the rows are read anew.

use std::collections::HashMap;
use std::ops::Range;

use kit::digest::Depth;
use kit::exit::{Code, Error, Result};
use kit::manifest::Item;
use kit::out::{Output, Speech};
use kit::source::Dump;
use xxhash_rust::xxh3::xxh3_128;

use crate::cli::Args;
use crate::contents::Contents;
use crate::encoding;
use crate::list::wanted;

/// How many rows are compared at a time.
const SHARE: u64 = 400_000;

/// A table's rows in one dump.
struct Table {
    ranges: Vec<Range<u64>>,
    rows: u64,
}

type Tables = std::collections::BTreeMap<(Option<String>, String), Table>;

/// Prints each row that differs: `-` or `+`, the table, the row as COPY writes it.
pub(crate) fn rows(a: &Dump, b: &Dump, args: &Args, speech: &Speech) -> Result<Code> {
    let of = |dump| Contents::of(dump, Depth::Hash, args.quiet);
    let (before, after) = (of(a)?, of(b)?);
    encoding::compare((a, &before), (b, &after), speech)?;
    let (before, after) = (tables(a, &before, args)?, tables(b, &after, args)?);
    let mut names: Vec<&(Option<String>, String)> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(Error::no("neither dump holds rows of such a table"));
    }
    let mut out = Output::new();
    let mut any = false;
    for name in names {
        let none = Table { ranges: Vec::new(), rows: 0 };
        let (left, right) = (before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none));
        let title = name.0.as_ref().map_or(name.1.clone(), |s| format!("{s}.{}", name.1));
        let shares = (left.rows.max(right.rows) / SHARE + 1).min(1 << 16);
        for share in 0..shares {
            any |= one_share((a, left), (b, right), &title, (share, shares), &mut out)?;
        }
    }
    out.finish()?;
    Ok(if any { Code::No } else { Code::Done })
}

/// The COPY data of the tables that are meant.
fn tables(dump: &Dump, contents: &Contents, args: &Args) -> Result<Tables> {
    let mut tables = Tables::new();
    let mut inserts = None;
    contents.each(&mut |item: Item| {
        if item.kind != "TABLE DATA" || !wanted(args, &item) {
            return Ok(());
        }
        if item.row_hash.is_none() {
            inserts = Some(item.name);
            return Ok(());
        }
        let range = item.offset..item.end();
        let table = tables.entry((item.schema, item.name)).or_insert(Table { ranges: Vec::new(), rows: 0 });
        table.ranges.push(range);
        table.rows += item.rows.unwrap_or(0);
        Ok(())
    })?;
    contents.is_whole()?;
    match inserts {
        Some(name) => {
            Err(Error::refused(format!("the rows of {name} in '{}' are INSERT statements", dump.name))
                .hint("Only rows of COPY are compared one by one."))
        }
        None => Ok(tables),
    }
}

/// Compares the rows whose hashes fall into one share.
fn one_share(
    (a, left): (&Dump, &Table),
    (b, right): (&Dump, &Table),
    title: &str,
    (share, shares): (u64, u64),
    out: &mut Output,
) -> Result<bool> {
    let mut counts: HashMap<u128, i64> = HashMap::new();
    let inside = |hash: u128| (hash as u64) % shares == share;
    each_row(a, left, |row| {
        let hash = xxh3_128(row);
        if inside(hash) {
            *counts.entry(hash).or_default() += 1;
        }
        Ok(())
    })?;
    each_row(b, right, |row| {
        let hash = xxh3_128(row);
        if inside(hash) {
            *counts.entry(hash).or_default() -= 1;
        }
        Ok(())
    })?;
    counts.retain(|_, n| *n != 0);
    if counts.is_empty() {
        return Ok(false);
    }
    for (dump, table, sign) in [(a, left, 1), (b, right, -1)] {
        let mark = if sign > 0 { "-" } else { "+" };
        each_row(dump, table, |row| {
            let Some(n) = counts.get_mut(&xxh3_128(row)).filter(|n| **n * sign > 0) else { return Ok(()) };
            *n -= sign;
            out.write(format!("{mark}\t{title}\t").as_bytes())?;
            out.write(row)?;
            out.write(b"\n")
        })?;
    }
    Ok(true)
}

/// Hands each row to `each`, without its newline.
fn each_row(dump: &Dump, table: &Table, mut each: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<()> {
    let mut cut: Vec<u8> = Vec::new();
    dump.ranges(&table.ranges, |_, bytes| {
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            match (line.strip_suffix(b"\n"), cut.is_empty()) {
                (Some(row), true) => each(row)?,
                (Some(end), false) => {
                    cut.extend_from_slice(end);
                    each(&cut)?;
                    cut.clear();
                }
                (None, _) => cut.extend_from_slice(line),
            }
        }
        Ok(())
    })
}
