//! What each thing that the lexer finds means for the facts.

use std::collections::HashMap;

use super::items::Items;
use super::verb::{is_foreign, is_sql};
use super::{Facts, Item, Kind, Section, text_of};
use crate::digest::{self, Rows};
use crate::dump::lex::Event;
use crate::dump::needs;
use crate::dump::object::{self, Object};
use crate::dump::statement::{self, Name, Qualified, Statement};

/// How much of a statement is looked at: more than any name can take.
const HEAD: usize = 4096;
/// How much of a comment or meta-command is looked at.
const LINE: usize = 1024;
/// How many suspicious lines are kept for the message.
const SUSPICIOUS: usize = 5;

/// A table's data, while it passes by.
pub(super) struct Data {
    pub(super) table: Qualified,
    offset: u64,
    rows: Rows,
}

/// The first bytes of something that may be long.
#[derive(Default)]
struct Beginning {
    at: u64,
    /// How long the whole is.
    length: u64,
    bytes: Vec<u8>,
}

impl Beginning {
    fn keep(&mut self, at: u64, bytes: &[u8], most: usize) {
        if self.bytes.is_empty() {
            self.at = at;
        }
        self.length += bytes.len() as u64;
        let room = most.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// What has been seen so far, and what is being looked at.
#[derive(Default)]
pub(super) struct Look {
    /// How closely the rows of COPY are looked at.
    pub(super) rows: digest::Depth,
    pub(super) facts: Facts,
    /// The statement that passes by.
    head: Beginning,
    /// The comment or meta-command that passes by; the latter may stand within a statement.
    line: Beginning,
    search_path: Option<Name>,
    /// The table of a COPY statement whose data is about to begin.
    copy: Option<Qualified>,
    /// A statement has been seen.
    begun: bool,
    /// It begins a transaction, in which all of the dump is wrapped.
    wrapped: bool,
    /// The first one was none.
    pub(super) preamble: bool,
    /// Nor does a dump begin within it, as behind a warning that went into it.
    foreign: bool,
    /// The present database, and where each has its place in the list.
    current: Option<usize>,
    /// The encoding of the present session, as the dump sets it.
    encoding: Option<String>,
    places: HashMap<Name, usize>,
    pub(super) data: Option<Data>,
    pub(super) items: Items,
    pub(super) footer: Option<Kind>,
    /// Where the first zero byte is.
    pub(super) zero: Option<u64>,
    /// The present database's dump has ended by its footer.
    ended: bool,
    /// A database's dump has begun by its header, and has no footer yet; or the next began without that.
    within: bool,
    pub(super) unended: bool,
    /// The key of `\restrict`, until its `\unrestrict` comes.
    pub(super) restricted: Option<Vec<u8>>,
    /// The cluster's footer has been seen; `pg_dumpall -g; pg_dump -C …` go on behind it.
    pub(super) cluster_ended: bool,
    /// A second dump follows in the same place, where it would meet what the first one made.
    pub(super) joined: bool,
    pub(super) breaks: Vec<u64>,
}

impl Look {
    /// The statement that has not ended, for a message.
    pub(super) fn open(&self) -> String {
        let begin = &self.head.bytes[..self.head.bytes.len().min(60)];
        if begin.is_empty() {
            String::new()
        } else {
            format!(", that at byte {}: {}…", self.head.at, text_of(begin))
        }
    }

    /// Whether there is nothing of a dump in all that came: neither comments of pg_dump nor SQL.
    pub(super) fn is_no_dump(&self) -> bool {
        let facts = &self.facts;
        let versions = facts.kind.is_some() || facts.server_version.is_some() || self.footer.is_some();
        let text = if self.begun { self.foreign } else { is_foreign(&self.head.bytes) };
        let meta = facts.databases.iter().any(|d| !d.name.is_empty()) || !facts.suspicious.is_empty();
        text && !versions && !meta && facts.tables + facts.rows == 0
    }

    pub(super) fn event(&mut self, event: Event<'_>, item: &mut dyn FnMut(Item)) {
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
                self.data = Some(Data { table, offset: at, rows: Rows::new(self.rows) });
                self.breaks.push(at);
            }
            Event::DataEnd { at, .. } => self.end_data(at, item),
        }
    }

    fn end_data(&mut self, at: u64, item: &mut dyn FnMut(Item)) {
        self.breaks.push(at);
        let Some(data) = self.data.take() else { return };
        let (rows, hash) = data.rows.finish();
        self.facts.rows += rows;
        let database = self.section().name.clone();
        let found = Item {
            database,
            kind: "TABLE DATA",
            of: Some(data.table.clone()),
            name: data.table,
            owner: None,
            offset: data.offset,
            bytes: at - data.offset,
            data: Some((rows, hash)),
        };
        self.items.add(found, item);
    }

    /// The present database; a dump that names none has one without name.
    fn section(&mut self) -> &mut Section {
        let current = self.current.unwrap_or_else(|| self.place(Name::new()));
        self.current = Some(current);
        let section = &mut self.facts.databases[current];
        if section.encoding.is_none() {
            section.encoding.clone_from(&self.encoding);
        }
        section
    }

    /// The place of a database in the list, where it is put if it is new.
    fn place(&mut self, name: Name) -> usize {
        let databases = &mut self.facts.databases;
        *self.places.entry(name).or_insert_with_key(|name| {
            databases.push(Section { name: name.clone(), ..Section::default() });
            databases.len() - 1
        })
    }

    fn statement(&mut self, end: u64, rows: u64, item: &mut dyn FnMut(Item)) {
        let head = self.head.take();
        let statement = statement::classify(&head.bytes);
        // COMMIT behind the footer of a dump that BEGIN stands before
        let unwraps = self.wrapped
            && self.footer == Some(Kind::Database)
            && statement::transaction(&head.bytes) == Some(false);
        if !unwraps {
            self.footer = None;
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.wrapped = statement::transaction(&head.bytes) == Some(true);
            self.preamble = !is_sql(&head.bytes) && head.bytes != b";";
            self.foreign = self.preamble && is_foreign(&head.bytes);
        }
        let (offset, bytes) = (head.at, end - head.at);
        if let Statement::Insert(table) = statement {
            return self.insert(table, offset, end, rows, item);
        }
        let mut object = object::describe(&head.bytes);
        if matches!(statement, Statement::Drop | Statement::DropPublic) {
            object = Object { kind: "DROP", ..Object::default() };
        }
        match statement {
            Statement::CreateRole(name) => self.facts.roles.push(name),
            Statement::CreateTablespace(name) => self.facts.tablespaces.push(name),
            Statement::CreateDatabase(name) => {
                // its section begins with the `\connect` that follows
                let place = self.place(name);
                self.facts.databases[place].created = true;
            }
            Statement::Session => {
                let set = needs::set(&head.bytes).filter(|(name, _)| name == b"client_encoding");
                self.encoding =
                    set.and_then(|(_, value)| value).map(|v| text_of(&v)).or(self.encoding.take());
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
            Statement::CreateTable(_) => {
                self.facts.tables += 1;
                self.count();
                self.section();
            }
            Statement::CreateExtension(_) | Statement::Other if !unwraps => self.count(),
            _ => {}
        }
        if object.kind == "TABLE DATA" {
            object.kind = "COPY";
        }
        if object.kind == "SET" && object.name.name == b"authorization" {
            self.items.authorization = object::authorization(&head.bytes);
        }
        let found = self.item(object, offset, bytes);
        self.items.add(found, item);
    }

    fn item(&self, object: Object, offset: u64, bytes: u64) -> Item {
        let current = self.current.and_then(|i| self.facts.databases.get(i));
        let mut name = object.name;
        let of = object.of.map(|of| self.qualify(of));
        if of.is_some() || object::is_in_a_schema(object.kind) {
            name = self.qualify(name);
        }
        Item {
            database: current.map_or(Name::new(), |s| s.name.clone()),
            kind: object.kind,
            name,
            of,
            owner: object.owner,
            offset,
            bytes,
            data: None,
        }
    }

    fn insert(&mut self, table: Qualified, offset: u64, end: u64, rows: u64, item: &mut dyn FnMut(Item)) {
        self.count();
        self.facts.rows += rows;
        let (database, table) = (self.section().name.clone(), self.qualify(table));
        let found = Item {
            database,
            kind: "TABLE DATA",
            name: table.clone(),
            of: Some(table),
            owner: None,
            offset,
            bytes: end - offset,
            data: Some((rows, None)),
        };
        self.items.add(found, item);
    }

    fn count(&mut self) {
        // roles and tablespaces of a cluster dump come before any database
        if self.facts.kind == Some(Kind::Cluster) && self.current.is_none() {
            return;
        }
        self.joined |= self.ended;
        self.section().statements += 1;
    }

    fn qualify(&self, table: Qualified) -> Qualified {
        Qualified { schema: table.schema.or_else(|| self.search_path.clone()), name: table.name }
    }

    fn comment(&mut self, line: &[u8]) {
        let line = line.trim_ascii_end();
        let text = line.strip_prefix(b"--").unwrap_or(line).trim_ascii();
        // forks put their own name before the same words
        let makers: [&[u8]; 3] = [b"PostgreSQL ", b"Greenplum Database ", b"EnterpriseDB "];
        match makers.iter().find_map(|maker| text.strip_prefix(*maker)).unwrap_or_default() {
            b"database cluster dump" if self.facts.kind == Some(Kind::Cluster) => self.joined = true,
            b"database cluster dump" if self.facts.kind.is_none() => self.facts.kind = Some(Kind::Cluster),
            b"database dump" => {
                self.facts.kind.get_or_insert(Kind::Database);
                self.unended |= std::mem::replace(&mut self.within, true);
            }
            b"database dump complete" => {
                self.within = false;
                self.footer = Some(Kind::Database);
                self.ended = true;
            }
            b"database cluster dump complete" => {
                self.footer = Some(Kind::Cluster);
                self.cluster_ended = true;
                self.unended |= std::mem::take(&mut self.within);
            }
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
        if statement::is_expected(line) {
            match (line.strip_prefix(b"\\restrict "), line.strip_prefix(b"\\unrestrict ")) {
                (Some(key), _) => self.restricted = Some(key.to_vec()),
                (_, Some(key)) => self.restricted = self.restricted.take().filter(|k| k != key),
                _ => {}
            }
            return;
        }
        let Some(name) = statement::connect_target(line) else {
            if self.facts.suspicious.len() < SUSPICIOUS {
                let shown = text_of(&line[..line.len().min(200)]);
                self.facts.suspicious.push((beginning.at, shown));
            }
            return;
        };
        // psql goes elsewhere in the middle of a statement: the rest of it is another one
        self.head.take();
        self.footer = None;
        self.wrapped = false;
        self.ended = false;
        self.search_path = None;
        self.encoding = None;
        self.items.authorization = None;
        self.current = Some(self.place(name.clone()));
        let object = Object { kind: "CONNECT", name: Qualified { schema: None, name }, ..Object::default() };
        let found = self.item(object, beginning.at, beginning.length);
        self.items.add(found, item);
    }
}
