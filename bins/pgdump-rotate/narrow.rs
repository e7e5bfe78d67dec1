//! What of a database its dump leaves out, told from the options of pg_dump and pg_dumpall. Pure.

use std::ffi::{OsStr, OsString};

use lexopt::prelude::*;

/// Options that leave out rows, tables or databases. Grants, owners, comments and settings may be
/// left out of a backup that still brings every row back, so they do not count.
const NARROWING: [&str; 26] = [
    // rows that a policy hides
    "enable-row-security",
    "data-only",
    "schema-only",
    "globals-only",
    "roles-only",
    "tablespaces-only",
    "statistics-only",
    "no-data",
    "no-schema",
    "no-blobs",
    "no-large-objects",
    "section",
    "filter",
    "extension",
    "schema",
    "table",
    "table-and-children",
    "exclude-database",
    "exclude-extension",
    "exclude-schema",
    "exclude-table",
    "exclude-table-and-children",
    "exclude-table-data",
    "exclude-table-data-and-children",
    "exclude-data",
    "exclude-blobs",
];

/// Short options, the long ones they stand for, and whether a value follows.
const PG_DUMP: [(char, &str, bool); 18] = [
    ('a', "data-only", false),
    ('s', "schema-only", false),
    ('B', "no-large-objects", false),
    ('e', "extension", true),
    ('n', "schema", true),
    ('N', "exclude-schema", true),
    ('t', "table", true),
    ('T', "exclude-table", true),
    ('f', "file", true),
    ('F', "format", true),
    ('d', "dbname", true),
    ('E', "encoding", true),
    ('h', "host", true),
    ('j', "jobs", true),
    ('p', "port", true),
    ('S', "superuser", true),
    ('U', "username", true),
    ('Z', "compress", true),
];
const PG_DUMPALL: [(char, &str, bool); 13] = [
    ('a', "data-only", false),
    ('s', "schema-only", false),
    ('g', "globals-only", false),
    ('r', "roles-only", false),
    ('t', "tablespaces-only", false),
    ('f', "file", true),
    ('d', "dbname", true),
    ('E', "encoding", true),
    ('h', "host", true),
    ('l', "database", true),
    ('p', "port", true),
    ('S', "superuser", true),
    ('U', "username", true),
];

/// The options that narrow a dump, in their long form with their values, in the order given.
/// Empty for programs other than the two.
pub(crate) fn narrowing(program: &str, words: &[impl AsRef<OsStr>]) -> Vec<String> {
    let narrows = |(name, value): (String, Option<String>)| {
        // getopt takes any beginning of a name that fits only one
        let whole = NARROWING.iter().find(|n| **n == name);
        let whole = whole.or_else(|| NARROWING.iter().find(|n| name != "role" && n.starts_with(&name)))?;
        Some(value.map_or(format!("--{whole}"), |v| format!("--{whole}={v}")))
    };
    options(program, words).into_iter().filter_map(narrows).collect()
}

/// An option that leads the dump elsewhere than to standard output, or that connects to another server
/// than the one that was asked who it is.
pub(crate) fn leads_astray(program: &str, words: &[impl AsRef<OsStr>]) -> Option<String> {
    const ASTRAY: [&str; 6] = ["file", "host", "port", "username", "dbname", "database"];
    let names = options(program, words).into_iter().map(|(name, _)| name);
    names.into_iter().find(|name| ASTRAY.iter().any(|a| a.starts_with(name.as_str())))
}

/// The dump program in a command such as `docker exec db pg_dump -s shop`, and its words.
pub(crate) fn dumper(command: &[OsString]) -> Option<(&'static str, &[OsString])> {
    command.iter().enumerate().rev().find_map(|(i, word)| {
        let word = word.to_string_lossy();
        let base = word.rsplit('/').next().unwrap_or_default();
        let name = ["pg_dump", "pg_dumpall"].into_iter().find(|n| *n == base)?;
        Some((name, &command[i + 1..]))
    })
}

fn options(program: &str, words: &[impl AsRef<OsStr>]) -> Vec<(String, Option<String>)> {
    let shorts: &[(char, &str, bool)] = match program {
        "pg_dump" => &PG_DUMP,
        "pg_dumpall" => &PG_DUMPALL,
        _ => return Vec::new(),
    };
    let mut parser = lexopt::Parser::from_args(words);
    let mut found = Vec::new();
    loop {
        let (name, valued) = match parser.next() {
            Ok(Some(Short(c))) => match shorts.iter().find(|(short, ..)| *short == c) {
                Some((_, name, true)) => ((*name).to_owned(), true),
                Some((_, name, false)) => {
                    found.push(((*name).to_owned(), None));
                    continue;
                }
                None => continue,
            },
            Ok(Some(Long(name))) => {
                let short = shorts.iter().find(|(_, long, _)| *long == name);
                let valued = ["section", "filter", "table-and-children", "role"].contains(&name)
                    || name.starts_with("exclude-")
                    || short.is_some_and(|(.., valued)| *valued);
                (name.to_owned(), valued)
            }
            Ok(Some(Value(_))) => continue,
            Ok(None) => return found,
            // not our words to judge: pg_dump will
            Err(_) => continue,
        };
        let value = if valued { parser.value().ok() } else { parser.optional_value() };
        found.push((name, value.map(|v| v.to_string_lossy().into_owned())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_rows_or_tables_out() {
        for (program, words, want) in [
            ("pg_dump", "-Fc -j 4 --no-owner -x -O shop", ""),
            ("pg_dump", "-U t -h s shop", ""),
            ("pg_dump", "-Oxs shop", "--schema-only"),
            (
                "pg_dump",
                "-t a --table=b --table c -Tlogs",
                "--table=a --table=b --table=c --exclude-table=logs",
            ),
            ("pg_dump", "--exclude-table-data logs --data-o", "--exclude-table-data=logs --data-only"),
            ("pg_dump", "--dbname --section --role r", ""),
            ("pg_dump", "--enable-row-security", "--enable-row-security"),
            ("pg_dumpall", "-t -g", "--tablespaces-only --globals-only"),
            ("pg_dumpall", "--exclude-database 'x*' --no-role-passwords", "--exclude-database='x*'"),
            ("cat", "-s", ""),
        ] {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            assert_eq!(narrowing(program, &words).join(" "), want, "{program} {words:?}");
        }
    }

    #[test]
    fn the_dumper_in_a_command() {
        let command: Vec<OsString> =
            ["docker", "exec", "db", "/usr/bin/pg_dump", "-s"].map(OsString::from).into();
        assert_eq!(dumper(&command), Some(("pg_dump", &command[4..])));
        assert_eq!(dumper(&command[..3]), None);
    }
}
