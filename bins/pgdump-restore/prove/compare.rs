//! A restored database is dumped, and held against the dump that it came from.

use std::collections::HashMap;
use std::io::Read;
use std::process::Stdio;

use kit::buffer::Buffer;
use kit::child::{Child, interrupted};
use kit::digest::Depth;
use kit::dump::scan::{Item, Scan, display};
use kit::dump::statement::Qualified;
use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::pg::{Server, literal_dbname, major_of};
use kit::progress::Progress;

use super::schema::Schema;
use super::{columns, count, encoding};
use crate::check::{Checked, Table};
use crate::cli::Part;
use crate::plan::{Plan, Target};

/// How many tables that differ are told one by one.
const TOLD: usize = 10;

/// A dump of what was restored.
struct Dumped {
    /// Number and hash of the rows that each table has now.
    rows: HashMap<Qualified, (u64, Option<u128>)>,
    schema: Schema,
    /// Rows are INSERT statements, as in the dump that was restored.
    by_insert: bool,
    /// By the same major version of pg_dump: values are written in the same way, and statements, too.
    same_version: bool,
}

/// Compares rows, large objects and schema. The tables whose rows cannot be compared, but in their number: INSERT
/// statements beside COPY or of another pg_dump, and what came by the root of partitions with columns in
/// several orders.
pub(super) fn compare(
    plan: &Plan,
    target: &Target,
    tables: &[Table],
    checked: &Checked,
    server: &Server,
    speech: &Speech,
) -> Result<Vec<String>> {
    let by_insert = by_insert(target, tables, checked);
    let dumped = dump(target, by_insert, checked, server, speech)?;
    let (name, database) = (&target.name, target.section.as_bytes());
    let (differing, counted) = rows(plan, target, tables, checked, server, &dumped)?;
    if !differing.is_empty() {
        let list = differing.join(", ");
        return Err(Error::no(format!("rows of database '{name}' differ from those of the dump: {list}")));
    }
    let schema = &dumped.schema;
    if plan.part != Part::Schema && !checked.schema.has_large_objects_of(database, schema) {
        return Err(Error::no(format!("large objects of database '{name}' differ from those of the dump")));
    }
    let left_out = &plan.left_out;
    if [&left_out.roles, &left_out.extensions, &left_out.tablespaces].iter().any(|names| !names.is_empty()) {
        speech.say("the schema is not compared: a part of it was left out");
        return Ok(counted);
    }
    if !dumped.same_version {
        speech.say("the schema is not compared: the dump was made by another version of pg_dump");
        return Ok(counted);
    }
    let differing = checked.schema.differences(database, schema, plan.part);
    if differing.is_empty() {
        return Ok(counted);
    }
    let list = differing.join(", ");
    Err(Error::no(format!("the schema of database '{name}' differs from that of the dump: {list}")))
}

/// The option that has pg_dump write rows as the dump has them, where all of these are INSERT statements.
fn by_insert(target: &Target, tables: &[Table], checked: &Checked) -> Option<&'static str> {
    let lists = |t: &Table| !checked.schema.columns(section(target, t), &t.table).is_empty();
    let all = !tables.is_empty() && tables.iter().all(|t| t.hash.is_none());
    all.then(|| if tables.iter().any(lists) { "--column-inserts" } else { "--inserts" })
}

/// The name that the dump has for the database of this table.
fn section<'a>(target: &'a Target, table: &'a Table) -> &'a [u8] {
    if target.section.is_empty() { &table.database } else { target.section.as_bytes() }
}

/// Dumps what was restored. `by_insert`: the option for rows as INSERT statements.
fn dump(
    target: &Target,
    by_insert: Option<&str>,
    checked: &Checked,
    server: &Server,
    speech: &Speech,
) -> Result<Dumped> {
    let mut words = vec![format!("--dbname={}", literal_dbname(&target.place))];
    // the bytes of a row are compared, not what they mean
    words.extend(encoding(target, checked).map(|e| format!("--encoding={e}")));
    words.extend(by_insert.map(str::to_owned));
    words.extend(checked.schema.quotes_all().then(|| "--quote-all-identifiers".to_owned()));
    let mut command = server.via().run("pg_dump").connecting().args(words).command();
    let mut child = Child::spawn(&mut command, "pg_dump", Stdio::null(), Stdio::piped())?;
    let mut output = child.stdout().ok_or_else(|| Error::no("cannot read from pg_dump"))?;
    let (mut scan, mut schema) = (Scan::new(Depth::Hash), Schema::default());
    let mut rows: HashMap<Qualified, (u64, Option<u128>)> = HashMap::new();
    let mut note = |item: Item| {
        let Some((more, hash)) = item.data else { return };
        let sum = rows.entry(item.name).or_insert((0, Some(0)));
        *sum = (sum.0 + more, sum.1.zip(hash).map(|(a, b)| a.wrapping_add(b)));
    };
    let progress = Progress::start("comparing", Some(checked.facts.bytes), speech.is_quiet());
    let mut buffer = Buffer::zeros(256 << 10);
    loop {
        let read = output.read(&mut buffer);
        let n =
            read.map_err(|e| interrupted().err().unwrap_or_else(|| Error::io("read from", "pg_dump", &e)))?;
        if n == 0 {
            break;
        }
        progress.advance(n as u64);
        scan.feed_with(&buffer[..n], &mut note, &mut |event| schema.event(event));
    }
    let facts = scan.finish(&mut note);
    drop(progress);
    let ended = child.wait()?;
    if !ended.ok() {
        return Err(ended.error().within(format!("cannot dump '{}' to compare it", target.place)));
    }
    let version = |text: &Option<String>| text.as_deref().and_then(major_of);
    let same_version = version(&facts.dump_version) == version(&checked.facts.dump_version);
    Ok(Dumped { rows, schema, by_insert: by_insert.is_some(), same_version })
}

impl Dumped {
    /// Number and hash of the rows that the table has now.
    fn rows(&self, table: &Qualified) -> Option<(u64, Option<u128>)> {
        let (rows, hash) = *self.rows.get(table)?;
        Some((rows, if self.by_insert { self.schema.inserted(b"", table).1 } else { hash }))
    }
}

/// The tables whose rows differ, the first few; and those whose rows cannot be compared.
fn rows(
    plan: &Plan,
    target: &Target,
    tables: &[Table],
    checked: &Checked,
    server: &Server,
    dumped: &Dumped,
) -> Result<(Vec<String>, Vec<String>)> {
    let (mut differing, mut counted) = (Vec::new(), Vec::new());
    let mut whole = None;
    for table in tables {
        let section = section(target, table);
        let hash = match dumped.by_insert {
            true => checked.schema.inserted(section, &table.table).1.filter(|_| dumped.same_version),
            false => table.hash,
        };
        let now = dumped.rows(&table.table);
        if hash.is_some() && now == Some((table.rows, hash)) {
            continue;
        }
        let want = checked.schema.columns(section, &table.table);
        let have = dumped.schema.columns(b"", &table.table);
        // by its root a table of partitions has rows that are dumped with these
        let in_another_way = now.is_none() || !want.iter().eq(have) && want.len() == have.len();
        let beyond_comparison =
            hash.is_none() || now.is_none() && want.is_empty() || in_another_way && dumped.by_insert;
        let has_rows = plan.part != Part::Schema;
        if has_rows && beyond_comparison {
            counted.push(display(&table.table));
            continue;
        }
        let differs = if has_rows && in_another_way && !want.is_empty() {
            let encoding = count::encoding_of(server, &target.place, encoding(target, checked))?;
            let whole = match &mut whole {
                Some(whole) => whole,
                none => none.insert(count::partitioned(server, &target.place, &encoding)?),
            };
            let whole = whole.contains(&count::hex(&table.table));
            let rows = columns::rows(server, &target.place, &encoding, &table.table, want, whole)?;
            rows != (table.rows, hash)
        } else {
            now.is_some()
        };
        if differs {
            differing.push(display(&table.table));
        }
        if differing.len() == TOLD {
            break;
        }
    }
    Ok((differing, counted))
}
