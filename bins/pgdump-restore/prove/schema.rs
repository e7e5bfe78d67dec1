//! The schema of each database as a set of statements, so that two dumps of it can be compared; and what is
//! in its large objects.

use std::collections::BTreeMap;

use kit::dump::columns::Columns;
use kit::dump::inserted;
use kit::dump::large::Contents;
use kit::dump::lex::Event;
use kit::dump::names::normal;
use kit::dump::object::{describe, is_of_large_object};
use kit::dump::scan::display;
use kit::dump::statement::{Name, Qualified, Statement, classify, connect_target};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::cli::Part;

/// How much of a statement is held; of a longer one the bytes are compared, not what they mean.
const LONGEST: usize = 1 << 20;
/// How many differences are told one by one.
const TOLD: usize = 5;

/// Kinds of statements that pg_dump is told to leave out (`--no-owner`, `--no-acl`, `--no-comments`).
const OPTIONAL: [&str; 4] = ["owner ", "acl ", "default acl ", "comment "];

/// What makes large objects; after the kind what gives them owners, grants and comments.
const LARGE: &str = "large objects";

/// What belongs to the rows of a sequence.
const SEQUENCE_SET: &str = "sequence set ";

/// Statements by database, hash and what they make. Those that set up a session, and those about the
/// database as such, are left out: two programs write them in two ways.
#[derive(Default)]
pub(crate) struct Schema {
    databases: BTreeMap<Name, BTreeMap<u128, String>>,
    /// Of each database, how many large objects are written, and the sum of the hashes of their numbers and
    /// contents.
    large: BTreeMap<Name, (u64, u128)>,
    /// The columns of each table's rows, in their order, by database.
    columns: BTreeMap<(Name, Qualified), Vec<Name>>,
    /// Rows of INSERT statements by database and table, and the sum of their hashes; none where one of the
    /// statements is too long to be held.
    inserts: BTreeMap<(Name, Qualified), (u64, Option<u128>)>,
    /// Names stand in quotes that need none (`--quote-all-identifiers`), also those that are values.
    quotes_all: bool,
    current: Name,
    open: Open,
    contents: Contents,
}

/// The statement that passes by.
#[derive(Default)]
struct Open {
    text: Vec<u8>,
    /// Of what is beyond that.
    hash: Xxh3,
    is_longer: bool,
    line: Vec<u8>,
}

impl Schema {
    /// Takes what the lexer found next.
    pub(crate) fn event(&mut self, event: Event<'_>) {
        let Schema { databases, large, columns, inserts, quotes_all, current, open, contents } = self;
        let mut written = |number: Name, hash: u128| {
            let sum = large.entry(current.clone()).or_default();
            let one = xxh3_128(&[&hash.to_le_bytes(), number.as_slice()].concat());
            *sum = (sum.0 + 1, sum.1.wrapping_add(one));
        };
        contents.event(event, &mut written);
        match event {
            Event::Sql { bytes, .. } => {
                let room = (LONGEST - open.text.len()).min(bytes.len());
                open.text.extend_from_slice(&bytes[..room]);
                open.is_longer |= room < bytes.len();
                open.hash.update(&bytes[room..]);
            }
            Event::SqlEnd { rows, .. } => {
                if let Some(what) = named(&open.text) {
                    // quotes that an option of pg_dump adds change nothing
                    let text = if open.is_longer { open.text.clone() } else { normal(&open.text) };
                    open.hash.update(&text);
                    databases.entry(current.clone()).or_default().insert(open.hash.digest128(), what);
                } else if let Some(listed) =
                    Columns::of_copy(&open.text).or_else(|| Columns::of_insert(&open.text))
                {
                    *quotes_all |= is_quoted(&open.text);
                    let table = (current.clone(), with_schema(listed.table));
                    if rows > 0 {
                        let read = if open.is_longer { None } else { inserted::rows(&open.text) };
                        let sum = read.and_then(|(read, sum)| (read == rows).then_some(sum));
                        let all = inserts.entry(table.clone()).or_insert((0, Some(0)));
                        *all = (all.0 + rows, all.1.zip(sum).map(|(a, b)| a.wrapping_add(b)));
                    }
                    let known = columns.entry(table).or_insert_with(|| listed.names.clone());
                    if *known != listed.names {
                        known.clear();
                    }
                }
                open.text.clear();
                open.hash.reset();
                open.is_longer = false;
            }
            Event::Meta { bytes, .. } => open.line.extend_from_slice(bytes),
            Event::MetaEnd { .. } => {
                if let Some(name) = connect_target(open.line.trim_ascii_end()) {
                    contents.end(&mut written);
                    *current = name;
                }
                open.line.clear();
            }
            _ => {}
        }
    }

    /// Whether the large objects of database `name` hold what those of `other` do, a dump of a single database. A
    /// dump without any data tells that they are, not what is in them (`--section=pre-data`).
    pub(crate) fn has_large_objects_of(&self, name: &[u8], other: &Schema) -> bool {
        self.is_without_rows() && self.large.is_empty() || self.large.get(name) == other.large.get(&b""[..])
    }

    /// Whether no table of any database has rows, nor a sequence its value: the dump was made so (`--schema-only`,
    /// `--section=pre-data`). Of an empty table COPY is written all the same.
    fn is_without_rows(&self) -> bool {
        let sets = |what: &String| what.starts_with(SEQUENCE_SET);
        self.columns.is_empty() && !self.databases.values().flat_map(BTreeMap::values).any(sets)
    }

    /// The columns that the rows of a table of database `name` have, in their order; none where the dump
    /// does not tell, or where some have another order than others.
    pub(crate) fn columns(&self, name: &[u8], table: &Qualified) -> &[Name] {
        self.columns.get(&(name.to_vec(), with_schema(table.clone()))).map_or(&[], Vec::as_slice)
    }

    /// Whether pg_dump was told to put all names in quotes.
    pub(crate) fn quotes_all(&self) -> bool {
        self.quotes_all
    }

    /// The rows of a table of database `name` that came by INSERT, and the sum of their hashes, see
    /// [`inserted::rows`]; no sum where one of the statements is too long to be held.
    pub(crate) fn inserted(&self, name: &[u8], table: &Qualified) -> (u64, Option<u128>) {
        self.inserts.get(&(name.to_vec(), with_schema(table.clone()))).copied().unwrap_or_default()
    }

    /// Statements of database `name`, or of a dump that names none.
    fn of(&self, name: &[u8]) -> BTreeMap<u128, String> {
        self.databases.get(name).cloned().unwrap_or_default()
    }

    /// What differs between a database of this dump and that of one that holds a single database; the
    /// first few.
    pub(crate) fn differences(&self, name: &[u8], other: &Schema, part: Part) -> Vec<String> {
        let (mut mine, mut theirs) = (self.of(name), other.of(b""));
        if part == Part::Schema {
            for statements in [&mut mine, &mut theirs] {
                statements.retain(|_, what| !what.ends_with(LARGE) && !what.starts_with(SEQUENCE_SET));
            }
        }
        let gone = mine.iter().filter(|(hash, _)| !theirs.contains_key(hash)).map(|(_, what)| what);
        let no_rows = self.is_without_rows();
        // a dump without any owners, grants or comments was made so
        let without = |what: &String| {
            if no_rows && what.starts_with(SEQUENCE_SET) {
                return true;
            }
            let kind = OPTIONAL.iter().find(|kind| what.starts_with(**kind));
            kind.is_some_and(|kind| !mine.values().any(|what| what.starts_with(kind)))
        };
        let new = theirs.iter().filter(|(hash, what)| !mine.contains_key(hash) && !without(what));
        let new = new.map(|(_, what)| what);
        let mut told: Vec<String> = gone.chain(new).cloned().collect();
        told.sort();
        told.dedup();
        let more = told.len().saturating_sub(TOLD);
        told.truncate(TOLD);
        told.extend((more > 0).then(|| format!("and {more} more")));
        told
    }
}

/// Whether schema and table stand in quotes behind COPY or INSERT INTO.
fn is_quoted(statement: &[u8]) -> bool {
    let name = [&b"COPY "[..], b"INSERT INTO "].iter().find_map(|verb| statement.strip_prefix(*verb));
    name.is_some_and(|name| name.starts_with(b"\"") && memchr::memmem::find(name, b"\".\"").is_some())
}

/// A name without a schema is one in `public`, as everywhere.
fn with_schema(table: Qualified) -> Qualified {
    Qualified { schema: table.schema.or_else(|| Some(b"public".to_vec())), ..table }
}

/// What a statement makes, for a message; `None` where it is not compared.
fn named(head: &[u8]) -> Option<String> {
    if is_of_large_object(head) {
        return Some(format!("{} of {LARGE}", describe(head).kind.to_lowercase()));
    }
    let data = |kind: &str| ["TABLE DATA", "BLOBS", "MATERIALIZED VIEW DATA", "TRANSACTION"].contains(&kind);
    match classify(head) {
        Statement::Session | Statement::SearchPath(_) | Statement::OnDatabase | Statement::Drop => None,
        Statement::CreateDatabase(_) | Statement::DropDatabase(_) | Statement::Insert(_) => None,
        Statement::DropPublic => None,
        _ => {
            let object = describe(head);
            // pg_dump writes these or not, by its options
            let public: &[u8] = if object.kind == "COMMENT" { b"SCHEMA public" } else { b"public" };
            if ["SCHEMA", "OWNER", "COMMENT"].contains(&object.kind)
                && object.name.schema.is_none()
                && object.name.name == public
            {
                return None;
            }
            if object.kind == "BLOB" {
                return Some(LARGE.into());
            }
            (!data(object.kind)).then(|| format!("{} {}", object.kind.to_lowercase(), display(&object.name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use kit::dump::lex::Lexer;

    use super::*;

    fn schema(sql: &str) -> Schema {
        let mut schema = Schema::default();
        Lexer::default().feed(sql.as_bytes(), &mut |event| schema.event(event));
        schema
    }

    #[test]
    fn order_and_sessions_do_not_matter_and_text_does() {
        let one = schema("SET a = 1;\nCREATE TABLE public.t (a int);\nCREATE INDEX i ON public.t (a);\n");
        let other = schema("CREATE INDEX i ON public.t (a);\nCREATE TABLE public.t (a int);\nSET b = 2;\n");
        assert!(one.differences(b"", &other, Part::All).is_empty());
        let changed = schema("CREATE TABLE public.t (a text);\nCREATE INDEX i ON public.t (a);\n");
        assert_eq!(one.differences(b"", &changed, Part::All), ["table public.t"]);
        let cluster =
            schema("\\connect shop\nCREATE TABLE public.t (a int);\nCREATE INDEX i ON public.t (a);\n");
        assert!(cluster.differences(b"shop", &one, Part::All).is_empty());
    }
}
