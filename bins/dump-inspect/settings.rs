//! `settings`: what a dump sets, of the session that loads it, of databases and of roles.

use kit::exit::{Code, Result};
use kit::manifest::Item;
use kit::source::Dump;

use crate::cli::Args;
use crate::records::Records;
use crate::run::contents;

/// How much of a statement is looked at.
const LONGEST: u64 = 64 << 10;

/// Prints each setting with its value, as the dump writes it.
pub(crate) fn settings(dump: &Dump, args: &Args) -> Result<Code> {
    let contents = contents(dump, args)?;
    let mut found: Vec<Item> = Vec::new();
    contents.each(&mut |item| {
        let kind = ["SET", "DATABASE", "DATABASE PROPERTIES", "ROLE"].contains(&item.kind.as_str());
        let narrowed = !args.databases.is_empty()
            && !args.databases.iter().any(|d| Some(d) == item.database.as_ref() || *d == item.name);
        if kind && !narrowed {
            found.push(item);
        }
        Ok(())
    })?;
    let ranges: Vec<_> =
        found.iter().map(|i| i.offset..i.offset.saturating_add(i.bytes.min(LONGEST))).collect();
    let mut texts = vec![Vec::new(); ranges.len()];
    dump.ranges(&ranges, |i, bytes| {
        texts[i].extend_from_slice(bytes);
        Ok(())
    })?;
    let mut records = Records::new(&["OF", "NAME", "SETTING", "VALUE"], args.json);
    let mut told_once = std::collections::BTreeSet::new();
    for (item, text) in found.into_iter().zip(texts) {
        for (setting, value) in told(&item, &String::from_utf8_lossy(&text)) {
            let of = match item.kind.as_str() {
                "SET" => "session",
                "ROLE" => "role",
                _ => "database",
            };
            let name = if of == "session" { item.database.clone() } else { Some(item.name.clone()) };
            // a cluster dump sets a session before and behind each change of database
            let new = told_once.insert((name.clone(), setting.clone(), value.clone()));
            if of != "session" || new {
                records.add(vec![of.into(), name.into(), setting.into(), value.into()])?;
            }
        }
    }
    records.finish()?;
    contents.is_whole()?;
    Ok(Code::Done)
}

/// The settings in a statement, as text.
fn told(item: &Item, statement: &str) -> Vec<(String, String)> {
    let statement = statement.trim().trim_end_matches(';');
    match item.kind.as_str() {
        "SET" => {
            let value = match statement.split_once('=') {
                Some((_, value)) if statement.to_ascii_lowercase().starts_with("set") => value,
                // SELECT pg_catalog.set_config('name', 'value', false)
                _ => statement.split(", ").nth(1).unwrap_or_default(),
            };
            vec![(item.name.clone(), value.trim().to_owned())]
        }
        "DATABASE" => options(statement),
        _ => assignment(statement).into_iter().collect(),
    }
}

/// `ALTER … SET name TO value`.
fn assignment(statement: &str) -> Option<(String, String)> {
    let (_, rest) = statement.split_once(" SET ")?;
    let (name, value) = rest.split_once(" TO ").or_else(|| rest.split_once('='))?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

/// `CREATE DATABASE x WITH NAME = value NAME = value`.
fn options(statement: &str) -> Vec<(String, String)> {
    let Some((_, rest)) = statement.split_once(" WITH ") else { return Vec::new() };
    let mut found: Vec<(String, String)> = Vec::new();
    for part in rest.split(" = ") {
        // the value before, and the name of the next option behind the last blank
        match found.last_mut() {
            None => found.push((part.to_owned(), String::new())),
            Some((_, value)) => match part.rsplit_once(' ') {
                Some((last, name)) if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') => {
                    *value = last.to_owned();
                    found.push((name.to_owned(), String::new()));
                }
                _ => *value = part.to_owned(),
            },
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_statements() {
        let told = |kind: &str, name: &str, sql: &str| {
            let item = Item { kind: kind.into(), name: name.into(), ..Item::default() };
            super::told(&item, sql).iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told("SET", "client_encoding", "SET client_encoding = 'UTF8';"), "client_encoding='UTF8'");
        let config = "SELECT pg_catalog.set_config('search_path', '', false);";
        assert_eq!(told("SET", "search_path", config), "search_path=''");
        let create = "CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'en_US.UTF-8';";
        assert_eq!(
            told("DATABASE", "d", create),
            "TEMPLATE=template0 ENCODING='UTF8' LOCALE_PROVIDER=libc LOCALE='en_US.UTF-8'"
        );
        let alter = "ALTER DATABASE d SET work_mem TO '5MB';";
        assert_eq!(told("DATABASE PROPERTIES", "d", alter), "work_mem='5MB'");
        assert_eq!(told("ROLE", "r", "ALTER ROLE r WITH NOLOGIN;"), "");
    }
}
