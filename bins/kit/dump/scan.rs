//! One pass over a plain dump that draws the facts a backup is judged by.
//!
//! Fed with the dump's bytes as they come, it knows at the end which server and program made it,
//! its roles and databases, every table with its rows and their hash, whether it is whole, and
//! whether it would make psql do anything but SQL. Memory does not grow with the data.

use crate::digest;

use super::lex::{End, Event, Lexer};
use super::statement::{Name, Qualified};

mod items;
mod look;
mod verb;

use look::Look;

const NO_FOOTER: &str = "it does not end with pg_dump's completeness footer";
/// Why text that has nothing to do with pg_dump is not whole.
const NO_DUMP: &str = "it is no PostgreSQL dump: nothing in it is pg_dump's";

/// What a dump holds, by its own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `pg_dumpall`: roles, tablespaces and databases.
    Cluster,
    /// `pg_dump`: one database.
    Database,
}

/// A statement and what it makes, or a run of one table's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The database it is in; empty where a single-database dump names none.
    pub database: Name,
    /// Its kind in pg_dump's words, see [`super::object`]; `COPY` is a statement before its data,
    /// `CONNECT` psql's command.
    pub kind: &'static str,
    /// Schema and name; the schema is that of the search path where the dump names none.
    pub name: Qualified,
    /// The table, view or sequence that it belongs to.
    pub of: Option<Qualified>,
    /// Its owner, where the dump says so right behind it.
    pub owner: Option<Name>,
    /// Raw offset of the statement, or of the first row.
    pub offset: u64,
    /// Raw bytes.
    pub bytes: u64,
    /// Rows and their hash, for data; the hash only where it was COPY.
    pub data: Option<(u64, Option<u128>)>,
}

/// A part of the dump that is loaded into one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its name; empty before the first `\connect` of a single-database dump, which names none.
    pub name: Name,
    /// The dump itself creates it.
    pub created: bool,
    /// Statements that make something in it.
    pub statements: u64,
    /// The encoding that its names and rows are written in, by the dump's first `SET client_encoding`.
    pub encoding: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// By the header; `None` for a dump without one.
    pub kind: Option<Kind>,
    /// `Dumped from database version`.
    pub server_version: Option<String>,
    /// `Dumped by pg_dump version`.
    pub dump_version: Option<String>,
    /// In the order of their appearance.
    pub databases: Vec<Section>,
    /// Roles that the dump creates.
    pub roles: Vec<Name>,
    /// Tablespaces that the dump creates.
    pub tablespaces: Vec<Name>,
    /// Tables that the dump creates.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Large objects that the dump creates.
    pub large_objects: u64,
    /// Meta-commands that pg_dump does not write, with their offsets; the first few.
    pub suspicious: Vec<(u64, String)>,
    /// Why the dump is not whole; `None` when it is.
    pub incomplete: Option<String>,
    /// Raw bytes.
    pub bytes: u64,
}

impl Facts {
    /// `PostgreSQL database dump complete` and all that comes with it.
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_none()
    }

    /// Whether nothing but pg_dump's footer is missing where its header is missing too: SQL that
    /// somebody wrote by hand, of which nobody can tell whether it is whole.
    pub fn is_handmade(&self) -> bool {
        self.kind.is_none() && self.lacks_footer_only()
    }

    /// Whether nothing but pg_dump's footer is missing.
    pub fn lacks_footer_only(&self) -> bool {
        self.incomplete.as_deref() == Some(NO_FOOTER)
    }

    /// Whether it is something else altogether: a log, a page of HTML.
    pub fn is_no_dump(&self) -> bool {
        self.incomplete.as_deref() == Some(NO_DUMP)
    }

    /// Why it is not whole, as a sentence about `name`.
    pub fn fault(&self, name: &str) -> Option<String> {
        let why = self.incomplete.as_ref()?;
        Some(if self.is_no_dump() {
            why.replacen("it", &format!("'{name}'"), 1)
        } else {
            format!("'{name}' is not whole: {why}")
        })
    }
}

/// A scan in progress.
#[derive(Default)]
pub struct Scan {
    lexer: Lexer,
    look: Look,
}

impl Scan {
    /// A scan that looks at rows in this way.
    pub fn new(rows: digest::Depth) -> Self {
        let mut scan = Scan::default();
        scan.look.rows = rows;
        scan
    }

    /// Takes the next bytes. `item` is told of each statement and each table's data, in order.
    pub fn feed(&mut self, bytes: &[u8], item: &mut dyn FnMut(Item)) {
        self.feed_with(bytes, item, &mut |_| {});
    }

    /// The same; `also` is told of everything that the lexer finds, so that others need no lexer.
    pub fn feed_with(&mut self, bytes: &[u8], item: &mut dyn FnMut(Item), also: &mut dyn FnMut(Event<'_>)) {
        let look = &mut self.look;
        if look.zero.is_none() {
            look.zero = memchr::memchr(0, bytes).map(|i| self.lexer.offset() + i as u64);
        }
        self.lexer.feed(bytes, &mut |event| {
            also(event);
            look.event(event, item);
        });
    }

    /// Raw offsets where table data began or ended since the last call.
    pub fn take_breaks(&mut self) -> std::vec::Drain<'_, u64> {
        self.look.breaks.drain(..)
    }

    /// The table whose data is passing by now.
    pub fn current(&self) -> Option<&Qualified> {
        self.look.data.as_ref().map(|d| &d.table)
    }

    /// The facts, at the end of the dump.
    pub fn finish(self, item: &mut dyn FnMut(Item)) -> Facts {
        self.finish_with(item, &mut |_| {})
    }

    /// The same; `also` is told what the lexer finds at the end.
    pub fn finish_with(mut self, item: &mut dyn FnMut(Item), also: &mut dyn FnMut(Event<'_>)) -> Facts {
        let Scan { lexer, look } = &mut self;
        let end = lexer.finish(&mut |event| {
            also(event);
            look.event(event, item);
        });
        let bytes = lexer.offset();
        look.items.flush(item);
        let cut_in = look.data.take().map(|d| display(&d.table));
        let no_dump = look.is_no_dump();
        let mut facts = std::mem::take(&mut look.facts);
        facts.bytes = bytes;
        facts.incomplete = match (end, look.footer) {
            _ if bytes == 0 => Some("it is empty".into()),
            _ if no_dump => Some(NO_DUMP.into()),
            (End::InData, _) => Some(format!("it ends within the rows of {}", cut_in.unwrap_or_default())),
            (End::InStatement, _) => Some(format!("it ends within a statement{}", look.open())),
            _ if look.zero.is_some() => {
                let at = look.zero.unwrap_or_default();
                Some(format!("it holds a zero byte (at {at}), which no dump does: the file is damaged"))
            }
            _ if look.preamble => Some("it begins with text that is no SQL".into()),
            (End::Clean, None) => Some(NO_FOOTER.into()),
            _ if look.joined => Some("a second dump follows the first one".into()),
            (End::Clean, Some(Kind::Database))
                if facts.kind == Some(Kind::Cluster) && !look.cluster_ended =>
            {
                Some("it is a cluster dump that ends after one of its databases".into())
            }
            _ if look.unended && facts.kind == Some(Kind::Cluster) => {
                Some("one of its databases has no completeness footer".into())
            }
            _ if look.restricted.is_some() => {
                Some("it ends before the \\unrestrict that belongs to its \\restrict".into())
            }
            (End::Clean, Some(_)) => None,
        };
        facts
    }
}

/// A name or a line of a dump as text. Bytes that are no UTF-8 become `\xNN`, so that two names
/// never become one.
pub fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}

/// `schema.table`, for people.
pub fn display(table: &Qualified) -> String {
    let name = text_of(&table.name);
    table.schema.as_ref().map_or(name.clone(), |s| format!("{}.{name}", text_of(s)))
}
