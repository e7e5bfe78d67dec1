//! The verbs that list what is in a dump.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use kit::exit::{Code, Result};
use kit::manifest::Item;
use kit::out;
use kit::source::Dump;
use serde_json::{Value, json};

use crate::cli::{Args, Verb};
use crate::contents::Contents;
use crate::records::Records;
use crate::run::contents;

/// Kinds of relations, by their CREATE.
const TABLES: [&str; 2] = ["TABLE", "FOREIGN TABLE"];
/// Statements that are no objects of their own.
const AUXILIARY: [&str; 5] = ["SET", "CONNECT", "COPY", "OWNER", "TRANSACTION"];

/// Prints what the verb asks for.
pub(crate) fn list(dump: &Dump, args: &Args) -> Result<Code> {
    let contents = contents(dump, args)?;
    match args.verb {
        Verb::Version => version(&contents, args)?,
        Verb::Databases => databases(&contents, args)?,
        Verb::Schemas => schemas(&contents, args)?,
        Verb::Roles => roles(&contents, args)?,
        Verb::Extensions => extensions(&contents, args)?,
        Verb::Tables => tables(&contents, args)?,
        Verb::Toc => toc(&contents, args)?,
        _ => summary(dump, &contents, args)?,
    }
    contents.is_whole()?;
    Ok(Code::Done)
}

/// Whether an item is in what the options narrow to.
pub(crate) fn wanted(args: &Args, item: &Item) -> bool {
    let (schema, name) = item.of.as_ref().map_or((&item.schema, &item.name), |(s, n)| (s, n));
    let database = item.database.as_deref();
    (args.databases.is_empty() || database.is_some_and(|d| args.databases.iter().any(|w| w == d)))
        && (args.schemas.is_empty()
            || args.schemas.iter().any(|p| p.is_schema(schema.as_deref().unwrap_or("public"))))
        && (args.tables.is_empty()
            || args.tables.iter().any(|p| p.is_table(database, schema.as_deref(), name)))
}

fn summary(dump: &Dump, contents: &Contents, args: &Args) -> Result<()> {
    let manifest = dump.believed();
    let facts: Vec<(&str, Value)> = vec![
        ("file", dump.name.as_str().into()),
        ("kind", contents.kind.unwrap_or("SQL without pg_dump's header").into()),
        ("databases", contents.databases.clone().into()),
        ("server_version", contents.server_version.clone().into()),
        ("dump_version", contents.dump_version.clone().into()),
        ("tables", contents.tables.into()),
        ("rows", contents.rows.into()),
        ("large_objects", contents.large_objects.into()),
        ("roles", contents.roles.len().into()),
        ("codec", dump.kind()?.to_string().into()),
        ("bytes", dump.bytes().into()),
        ("raw_bytes", contents.raw_bytes.into()),
        ("complete", contents.incomplete.is_none().into()),
        ("indexed", manifest.is_some().into()),
        ("created", manifest.map(|m| m.created.clone()).into()),
        ("tag", manifest.and_then(|m| m.tag.clone()).into()),
        ("partial", manifest.map(|m| m.source.partial.clone()).into()),
    ];
    if args.json {
        let object: serde_json::Map<String, Value> =
            facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        out::record(&Value::Object(object).to_string())?;
        return Ok(());
    }
    let mut records = Records::new(&["FACT", "VALUE"], false);
    for (name, value) in facts {
        if !value.is_null() {
            records.add(vec![name.replace('_', " ").into(), value])?;
        }
    }
    records.finish()
}

fn version(contents: &Contents, args: &Args) -> Result<()> {
    let mut records = Records::new(&["SERVER VERSION", "DUMP VERSION"], args.json);
    records.add(vec![contents.server_version.clone().into(), contents.dump_version.clone().into()])?;
    records.finish()
}

fn roles(contents: &Contents, args: &Args) -> Result<()> {
    let mut records = Records::new(&["ROLE"], args.json);
    for role in &contents.roles {
        records.add(vec![role.as_str().into()])?;
    }
    records.finish()
}

fn extensions(contents: &Contents, args: &Args) -> Result<()> {
    let mut records = Records::new(&["DATABASE", "EXTENSION"], args.json);
    contents.each(&mut |item| match item.kind.as_str() {
        "EXTENSION" if wanted(args, &item) => records.add(vec![item.database.into(), item.name.into()]),
        _ => Ok(()),
    })?;
    records.finish()
}

/// What is counted of a database or a schema.
#[derive(Default)]
struct Sum {
    place: usize,
    owner: Option<String>,
    tables: u64,
    rows: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, item: &Item) {
        self.tables += u64::from(TABLES.contains(&item.kind.as_str()));
        self.rows += item.rows.unwrap_or(0);
        self.bytes += if item.kind == "TABLE DATA" { item.bytes } else { 0 };
    }
}

fn databases(contents: &Contents, args: &Args) -> Result<()> {
    let mut sums: BTreeMap<Option<String>, Sum> = BTreeMap::new();
    for name in &contents.databases {
        let place = sums.len();
        sums.entry(Some(name.clone())).or_default().place = place;
    }
    let cluster = contents.kind == Some("cluster");
    contents.each(&mut |item| {
        // what stands before the first database of a cluster is in none
        if (item.database.is_some() || !cluster) && wanted(args, &item) && item.kind != "DATABASE" {
            sums.entry(item.database.clone()).or_default().add(&item);
        }
        Ok(())
    })?;
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| sum.place);
    let mut records = Records::new(&["DATABASE", "TABLES", "ROWS", "BYTES"], args.json);
    for (name, sum) in sums {
        let narrowed = !args.databases.is_empty() && !args.databases.iter().any(|d| Some(d) == name.as_ref());
        if !narrowed {
            records.add(vec![name.into(), sum.tables.into(), sum.rows.into(), sum.bytes.into()])?;
        }
    }
    records.finish()
}

fn schemas(contents: &Contents, args: &Args) -> Result<()> {
    let mut sums: BTreeMap<(Option<String>, String), Sum> = BTreeMap::new();
    contents.each(&mut |item| {
        let schema = if item.kind == "SCHEMA" { Some(item.name.clone()) } else { item.schema.clone() };
        let relation = TABLES.contains(&item.kind.as_str()) || item.kind == "SCHEMA";
        if let Some(schema) = schema.filter(|_| relation && wanted(args, &item)) {
            let sum = sums.entry((item.database.clone(), schema)).or_default();
            sum.owner = sum.owner.take().or(item.owner.clone().filter(|_| item.kind == "SCHEMA"));
            sum.add(&item);
        }
        Ok(())
    })?;
    let mut records = Records::new(&["DATABASE", "SCHEMA", "OWNER", "TABLES"], args.json);
    for ((database, schema), sum) in sums {
        records.add(vec![database.into(), schema.into(), sum.owner.into(), sum.tables.into()])?;
    }
    records.finish()
}

fn toc(contents: &Contents, args: &Args) -> Result<()> {
    let header = &["KIND", "DATABASE", "SCHEMA", "NAME", "TABLE", "OWNER", "OFFSET", "BYTES"];
    let mut records = Records::new(header, args.json);
    contents.each(&mut |item| {
        if AUXILIARY.contains(&item.kind.as_str()) || !wanted(args, &item) {
            return Ok(());
        }
        records.add(vec![
            item.kind.into(),
            item.database.into(),
            item.schema.into(),
            item.name.into(),
            item.of.map(|(_, name)| name).into(),
            item.owner.into(),
            item.offset.into(),
            item.bytes.into(),
        ])
    })?;
    records.finish()
}

/// Tables with their rows. Nothing is held but a few bytes for each: a dump may have a million.
fn tables(contents: &Contents, args: &Args) -> Result<()> {
    let hasher = RandomState::new();
    let key = |item: &Item| hasher.hash_one((&item.database, &item.schema, &item.name));
    // tables with data, and those of them whose data comes in several runs
    let (mut with_data, mut several) = (HashSet::new(), HashMap::new());
    contents.each(&mut |item| {
        if item.kind == "TABLE DATA" && !with_data.insert(key(&item)) {
            several.insert(key(&item), (0_u64, 0_u64, Some(0_u128), 0_u64));
        }
        Ok(())
    })?;
    if !several.is_empty() {
        contents.each(&mut |item| {
            if item.kind == "TABLE DATA"
                && let Some((rows, bytes, hash, runs)) = several.get_mut(&key(&item))
            {
                let one = item.row_hash.as_ref().and_then(|h| u128::from_str_radix(h, 16).ok());
                *rows += item.rows.unwrap_or(0);
                *bytes += item.bytes;
                *hash = hash.zip(one).map(|(a, b)| a.wrapping_add(b));
                *runs += 1;
            }
            Ok(())
        })?;
    }
    let mut records = Records::new(&["DATABASE", "SCHEMA", "TABLE", "ROWS", "BYTES", "ROW HASH"], args.json);
    contents.each(&mut |item| {
        let key = key(&item);
        let data = item.kind == "TABLE DATA";
        let bare = TABLES.contains(&item.kind.as_str()) && !with_data.contains(&key);
        if !(data || bare) || !wanted(args, &item) {
            return Ok(());
        }
        let (mut rows, mut bytes, mut hash) = (item.rows.unwrap_or(0), item.bytes, item.row_hash);
        if let Some((all, size, sum, runs)) = several.get_mut(&key) {
            // told once, where the last of its runs ends
            *runs -= 1;
            if *runs > 0 {
                return Ok(());
            }
            (rows, bytes, hash) = (*all, *size, sum.map(|h| format!("{h:032x}")));
        }
        let bytes = if data { bytes } else { 0 };
        records.add(vec![
            item.database.into(),
            item.schema.into(),
            item.name.into(),
            rows.into(),
            bytes.into(),
            json!(hash),
        ])
    })?;
    records.finish()
}
