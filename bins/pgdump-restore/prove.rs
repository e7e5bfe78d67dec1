//! The proof of a restore: as many rows as in the dump; with `--prove=hash` the very same rows and large
//! objects, and the same schema.

mod columns;
mod count;
pub(crate) mod schema;

use std::collections::HashMap;
use std::io::Read;
use std::process::Stdio;

use kit::buffer::Buffer;
use kit::child::{Child, interrupted};
use kit::digest::Depth;
use kit::dump::scan::{Scan, display};
use kit::dump::statement::Qualified;
use kit::exit::{Error, Result};
use kit::out::{self, Speech};
use kit::pg::{Server, literal_dbname, major_of};
use kit::progress::Progress;

use crate::check::{Checked, Table};
use crate::cli::Part;
use crate::plan::{Plan, Target};

use schema::Schema;

/// How many tables that differ are told one by one.
const TOLD: usize = 10;

/// Every table of every target has the rows of the dump.
pub(crate) fn prove(
    plan: &Plan,
    checked: &Checked,
    server: &Server,
    hash: bool,
    speech: &Speech,
) -> Result<()> {
    let (mut tables, mut rows, mut counted) = (0, 0, Vec::new());
    for target in &plan.targets {
        let of = tables_of(target, checked, plan.part);
        tables += count::count(server, &target.place, encoding(target, checked), &of, plan.jobs)?;
        rows += of.iter().map(|t| t.rows).sum::<u64>();
        if hash {
            counted.extend(compare(plan, target, &of, checked, server, speech)?);
        }
    }
    tell_proof(tables, rows, hash.then_some(counted), speech);
    Ok(())
}

/// The encoding that the dump has of this database, where it says so.
fn encoding<'a>(target: &Target, checked: &'a Checked) -> Option<&'a str> {
    let section = checked.facts.databases.iter().find(|s| s.name == target.section.as_bytes());
    section.and_then(|s| s.encoding.as_deref())
}

/// Says what has been proven. `counted`: the tables whose rows were counted alone where all others were
/// compared.
pub(crate) fn tell_proof(tables: usize, rows: u64, counted: Option<Vec<String>>, speech: &Speech) {
    let how = match counted {
        None => "counted, as in the dump".to_owned(),
        Some(counted) if counted.is_empty() => "compared with those of the dump".to_owned(),
        Some(mut counted) => {
            let more = counted.len().saturating_sub(TOLD);
            counted.truncate(TOLD);
            counted.extend((more > 0).then(|| format!("and {more} more")));
            let list = counted.join(", ");
            format!("compared with those of the dump, but counted in {list}")
        }
    };
    speech.say(&format!(
        "restored and proven: {} rows in {} tables, {how}",
        out::count(rows),
        out::count(tables as u64)
    ));
}

/// What a target's tables must hold.
pub(crate) fn tables_of(target: &Target, checked: &Checked, part: Part) -> Vec<Table> {
    let own = |t: &&Table| target.section.is_empty() || t.database == target.section.as_bytes();
    let empty = |t: Table| if part == Part::Schema { Table { rows: 0, hash: Some(0), ..t } } else { t };
    checked.tables.iter().filter(own).cloned().map(empty).collect()
}

/// Dumps what was restored, and holds it against the dump that it came from. The tables whose rows cannot be
/// compared: INSERT statements, and what came by the root of partitions with columns in several orders.
fn compare(
    plan: &Plan,
    target: &Target,
    tables: &[Table],
    checked: &Checked,
    server: &Server,
    speech: &Speech,
) -> Result<Vec<String>> {
    let mut words = vec![format!("--dbname={}", literal_dbname(&target.place))];
    // the bytes of a row are compared, not what they mean
    words.extend(encoding(target, checked).map(|e| format!("--encoding={e}")));
    let mut command = server.via().run("pg_dump").connecting().args(words).command();
    let mut child = Child::spawn(&mut command, "pg_dump", Stdio::null(), Stdio::piped())?;
    let mut output = child.stdout().ok_or_else(|| Error::no("cannot read from pg_dump"))?;
    let (mut scan, mut schema) = (Scan::new(Depth::Hash), Schema::default());
    let mut found = Found::new();
    let mut note = |item: kit::dump::scan::Item| {
        let Some((rows, hash)) = item.data else { return };
        let sum = found.entry(item.name).or_insert((0, Some(0)));
        *sum = (sum.0 + rows, sum.1.zip(hash).map(|(a, b)| a.wrapping_add(b)));
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
    let section = target.section.as_bytes();
    let (differing, counted) = differing(plan, target, tables, checked, server, &found, &schema)?;
    if !differing.is_empty() {
        let (name, list) = (&target.name, differing.join(", "));
        return Err(Error::no(format!("rows of database '{name}' differ from those of the dump: {list}")));
    }
    if plan.part != Part::Schema && !checked.schema.has_large_objects_of(section, &schema) {
        let name = &target.name;
        return Err(Error::no(format!("large objects of database '{name}' differ from those of the dump")));
    }
    let left_out = &plan.left_out;
    if [&left_out.roles, &left_out.extensions, &left_out.tablespaces].iter().any(|names| !names.is_empty()) {
        speech.say("the schema is not compared: a part of it was left out");
        return Ok(counted);
    }
    let version = |text: &Option<String>| text.as_deref().and_then(major_of);
    if version(&facts.dump_version) != version(&checked.facts.dump_version) {
        speech.say("the schema is not compared: the dump was made by another version of pg_dump");
        return Ok(counted);
    }
    let differing = checked.schema.differences(section, &schema, plan.part);
    if differing.is_empty() {
        return Ok(counted);
    }
    let (name, list) = (&target.name, differing.join(", "));
    Err(Error::no(format!("the schema of database '{name}' differs from that of the dump: {list}")))
}

/// Number and hash of the rows that each table has now.
type Found = HashMap<Qualified, (u64, Option<u128>)>;

/// The tables whose rows differ, the first few; and those whose rows cannot be compared. `schema` is that of
/// the dump of what was restored.
fn differing(
    plan: &Plan,
    target: &Target,
    tables: &[Table],
    checked: &Checked,
    server: &Server,
    found: &Found,
    schema: &Schema,
) -> Result<(Vec<String>, Vec<String>)> {
    let (mut differing, mut counted) = (Vec::new(), Vec::new());
    let mut whole = None;
    for table in tables {
        let now = found.get(&table.table);
        if now == Some(&(table.rows, table.hash)) {
            continue;
        }
        let section: &[u8] =
            if target.section.is_empty() { &table.database } else { target.section.as_bytes() };
        let (want, have) = (checked.schema.columns(section, &table.table), schema.columns(b"", &table.table));
        // by its root a table of partitions has rows that are dumped with these
        let in_another_way = now.is_none() || !want.iter().eq(have) && want.len() == have.len();
        let has_rows = plan.part != Part::Schema;
        if has_rows && (table.hash.is_none() || now.is_none() && want.is_empty()) {
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
            rows != (table.rows, table.hash)
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
