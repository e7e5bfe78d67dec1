//! One pass over a plain dump that draws the facts a backup is judged by.
//!
//! Fed with the dump's bytes as they come, it knows at the end which server and program made it,
//! its roles and databases, every table with its rows and their hash, whether it is whole, and
//! whether it would make psql do anything but SQL. Memory does not grow with the data.

use super::lex::{End, Event, Lexer};
use super::statement::{self, Name, Qualified, Statement};
use crate::digest::Rows;

/// How much of a statement is looked at: more than any name can take.
const HEAD: usize = 4096;
/// How much of a comment or meta-command is looked at.
const LINE: usize = 1024;
/// How many suspicious lines are kept for the message.
const SUSPICIOUS: usize = 5;

/// What a dump holds, by its own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `pg_dumpall`: roles, tablespaces and databases.
    Cluster,
    /// `pg_dump`: one database.
    Database,
}

/// A run of one table's data, or of a table's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The database it is in; empty where a single-database dump names none.
    pub database: Name,
    /// Schema and name; the schema is that of the search path where the dump names none.
    pub table: Qualified,
    /// Raw offset of the definition, or of the first row.
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
}

/// A scan in progress.
#[derive(Default)]
pub struct Scan {
    lexer: Lexer,
    look: Look,
}

impl Scan {
    /// Takes the next bytes. `item` is told of each table and its data as they end, in order.
    pub fn feed(&mut self, bytes: &[u8], item: &mut dyn FnMut(Item)) {
        let look = &mut self.look;
        self.lexer.feed(bytes, &mut |event| look.event(event, item));
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
    pub fn finish(mut self, item: &mut dyn FnMut(Item)) -> Facts {
        let Scan { lexer, look } = &mut self;
        let end = lexer.finish(&mut |event| look.event(event, item));
        let bytes = lexer.offset();
        look.end_inserts(item);
        let cut_in = look.data.take().map(|d| display(&d.table));
        let mut facts = std::mem::take(&mut look.facts);
        facts.bytes = bytes;
        facts.incomplete = match (end, look.footer) {
            _ if bytes == 0 => Some("it is empty".into()),
            (End::InData, _) => Some(format!("it ends within the rows of {}", cut_in.unwrap_or_default())),
            (End::InStatement, _) => Some("it ends within a statement".into()),
            (End::Clean, None) => Some("it does not end with pg_dump's completeness footer".into()),
            (End::Clean, Some(Kind::Database)) if facts.kind == Some(Kind::Cluster) => {
                Some("it is a cluster dump that ends after one of its databases".into())
            }
            (End::Clean, Some(_)) => None,
        };
        facts
    }
}

/// A table's data, while it passes by.
struct Data {
    table: Qualified,
    offset: u64,
    rows: Rows,
}

/// The first bytes of something that may be long.
#[derive(Default)]
struct Beginning {
    at: u64,
    bytes: Vec<u8>,
}

impl Beginning {
    fn keep(&mut self, at: u64, bytes: &[u8], most: usize) {
        if self.bytes.is_empty() {
            self.at = at;
        }
        let room = most.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// What has been seen so far, and what is being looked at.
#[derive(Default)]
struct Look {
    facts: Facts,
    /// The statement that passes by.
    head: Beginning,
    /// The comment or meta-command that passes by; the latter may stand within a statement.
    line: Beginning,
    search_path: Option<Name>,
    /// The table of a COPY statement whose data is about to begin.
    copy: Option<Qualified>,
    data: Option<Data>,
    /// Rows of INSERT statements into one table that follow each other.
    inserts: Option<Item>,
    footer: Option<Kind>,
    breaks: Vec<u64>,
}

impl Look {
    fn event(&mut self, event: Event<'_>, item: &mut dyn FnMut(Item)) {
        match event {
            Event::Data { bytes, .. } => {
                if let Some(data) = &mut self.data {
                    data.rows.update(bytes);
                }
            }
            Event::Sql { at, bytes } => self.head.keep(at, bytes, HEAD),
            Event::SqlEnd { at, rows } => self.statement(at, rows, item),
            Event::Comment { at, bytes } | Event::Meta { at, bytes } => self.line.keep(at, bytes, LINE),
            Event::CommentEnd => {
                let line = self.line.take();
                self.comment(&line.bytes);
            }
            Event::MetaEnd { .. } => {
                let line = self.line.take();
                self.meta(&line, item);
            }
            Event::DataBegin { at } => {
                let table = self.copy.take().unwrap_or_default();
                self.data = Some(Data { table, offset: at, rows: Rows::default() });
                self.breaks.push(at);
            }
            Event::DataEnd { at } => self.end_data(at, item),
        }
    }

    fn end_data(&mut self, at: u64, item: &mut dyn FnMut(Item)) {
        self.breaks.push(at);
        let Some(data) = self.data.take() else { return };
        let (rows, hash) = data.rows.finish();
        self.facts.rows += rows;
        let database = self.section().name.clone();
        item(Item {
            database,
            table: data.table,
            offset: data.offset,
            bytes: at - data.offset,
            data: Some((rows, Some(hash))),
        });
    }

    fn end_inserts(&mut self, item: &mut dyn FnMut(Item)) {
        if let Some(inserts) = self.inserts.take() {
            item(inserts);
        }
    }

    /// The present database; a dump that names none has one without name.
    fn section(&mut self) -> &mut Section {
        let databases = &mut self.facts.databases;
        if databases.is_empty() {
            databases.push(Section::default());
        }
        let last = databases.len() - 1;
        &mut databases[last]
    }

    fn statement(&mut self, end: u64, rows: u64, item: &mut dyn FnMut(Item)) {
        self.footer = None;
        let head = self.head.take();
        let statement = statement::classify(&head.bytes);
        let (offset, bytes) = (head.at, end - head.at);
        if let Statement::Insert(table) = statement {
            return self.insert(table, offset, end, rows, item);
        }
        self.end_inserts(item);
        match statement {
            Statement::CreateRole(name) => self.facts.roles.push(name),
            Statement::CreateTablespace(name) => self.facts.tablespaces.push(name),
            Statement::CreateDatabase(name) => {
                // its section begins with the `\connect` that follows
                self.facts.databases.push(Section { name, created: true, statements: 0 });
            }
            Statement::SearchPath(first) => self.search_path = first.filter(|n| n != b"pg_catalog"),
            Statement::LargeObject => {
                self.facts.large_objects += 1;
                self.count();
            }
            Statement::Copy(table) => {
                self.copy = Some(self.qualify(table));
                self.count();
            }
            Statement::CreateTable(table) => {
                self.facts.tables += 1;
                self.count();
                let (database, table) = (self.section().name.clone(), self.qualify(table));
                item(Item { database, table, offset, bytes, data: None });
            }
            Statement::CreateExtension(_) | Statement::Other => self.count(),
            _ => {}
        }
    }

    fn insert(&mut self, table: Qualified, offset: u64, end: u64, rows: u64, item: &mut dyn FnMut(Item)) {
        self.count();
        self.facts.rows += rows;
        let (database, table) = (self.section().name.clone(), self.qualify(table));
        if let Some(run) = &mut self.inserts
            && (&run.database, &run.table) == (&database, &table)
        {
            run.bytes = end - run.offset;
            run.data = run.data.map(|(n, hash)| (n + rows, hash));
            return;
        }
        self.end_inserts(item);
        self.inserts = Some(Item { database, table, offset, bytes: end - offset, data: Some((rows, None)) });
    }

    fn count(&mut self) {
        // roles and tablespaces of a cluster dump come before any database
        if self.facts.kind == Some(Kind::Cluster) && self.facts.databases.is_empty() {
            return;
        }
        self.section().statements += 1;
    }

    fn qualify(&self, table: Qualified) -> Qualified {
        Qualified { schema: table.schema.or_else(|| self.search_path.clone()), name: table.name }
    }

    fn comment(&mut self, line: &[u8]) {
        let line = line.trim_ascii_end();
        let text = line.strip_prefix(b"--").unwrap_or(line).trim_ascii();
        match text {
            b"PostgreSQL database cluster dump" if self.facts.kind.is_none() => {
                self.facts.kind = Some(Kind::Cluster)
            }
            b"PostgreSQL database dump" if self.facts.kind.is_none() => {
                self.facts.kind = Some(Kind::Database)
            }
            b"PostgreSQL database dump complete" => self.footer = Some(Kind::Database),
            b"PostgreSQL database cluster dump complete" => self.footer = Some(Kind::Cluster),
            _ => {
                let version = |prefix: &str| {
                    let rest = text.strip_prefix(prefix.as_bytes())?.trim_ascii();
                    (rest.len() < 100).then(|| text_of(rest))
                };
                let facts = &mut self.facts;
                facts.server_version =
                    facts.server_version.take().or_else(|| version("Dumped from database version"));
                facts.dump_version =
                    facts.dump_version.take().or_else(|| version("Dumped by pg_dump version"));
            }
        }
    }

    fn meta(&mut self, beginning: &Beginning, item: &mut dyn FnMut(Item)) {
        let line = beginning.bytes.trim_ascii_end();
        if is_harmless(line) {
            return;
        }
        let Some(name) = statement::connect_target(line) else {
            if self.facts.suspicious.len() < SUSPICIOUS {
                let shown = text_of(&line[..line.len().min(200)]);
                self.facts.suspicious.push((beginning.at, shown));
            }
            return;
        };
        self.footer = None;
        self.search_path = None;
        self.end_inserts(item);
        if self.facts.databases.last().is_none_or(|d| d.name != name) {
            let created = self.facts.databases.iter().any(|d| d.name == name && d.created);
            self.facts.databases.push(Section { name, created, statements: 0 });
        }
    }
}

/// Whether a meta-command is one that pg_dump writes and that changes nothing but psql's own state:
/// `\restrict` and `\unrestrict` with a key, and the `\encoding` that pg_dumpall writes before a
/// database whose name needs quotes (`appendPsqlMetaConnect` in `string_utils.c`).
fn is_harmless(line: &[u8]) -> bool {
    const COMMANDS: [&[u8]; 3] = [b"\\restrict ", b"\\unrestrict ", b"\\encoding "];
    let word = COMMANDS.iter().find_map(|command| line.strip_prefix(*command));
    word.is_some_and(|w| !w.is_empty() && w.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_'))
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
