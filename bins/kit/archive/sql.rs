//! An archive as SQL: `RestoreArchive` into a script, without options.

use std::collections::HashSet;

use super::encoding::canonical;
use super::entry::Entry;
use super::header::Header;
use super::name::{commented, qualified, quoted};
use super::order::{PASSES, pass, wanted};
use super::script::Script;
use super::{Data, Piece};
use crate::exit::{Error, Result};

mod owner;

pub(super) fn write(
    name: &str,
    header: &Header,
    entries: &[Entry],
    data: Data<'_>,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let settings = Settings::of(name, entries)?;
    let mut script = Script::new(sink);
    script.standard_strings = settings.standard_strings;
    let mut restore = Restore {
        name,
        header,
        entries,
        data,
        script,
        settings,
        now: Now::default(),
        objects: objects(entries),
    };
    restore.begin()?;
    for each in PASSES {
        for entry in entries.iter().filter(|entry| pass(entry) == each) {
            restore.entry(entry)?;
        }
    }
    restore.no_object_is_missing()?;
    restore.data.finish(header)?;
    restore.script.bytes(b"--\n-- PostgreSQL database dump complete\n--\n\n")?;
    restore.script.flush()
}

fn damaged(name: &str, why: String) -> Error {
    Error::no(format!("'{name}' is damaged: {why}"))
}

/// The large objects that entries make: neither their OIDs nor a folder's list of them has a
/// checksum. Before 1.12, and with `--section=data`, no entry makes any.
fn objects(entries: &[Entry]) -> Option<HashSet<u32>> {
    if !entries.iter().any(|entry| entry.desc == b"BLOBS" && entry.had_data) {
        return None;
    }
    let lists = entries.iter().map(|entry| match entry.desc.as_slice() {
        b"BLOB" => entry.tag.as_slice(),
        b"BLOB METADATA" => entry.defn.as_deref().unwrap_or_default(),
        _ => b"",
    });
    let lines = lists.flat_map(|list| list.split(|byte| *byte == b'\n'));
    let oids: HashSet<u32> = lines.filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok()).collect();
    Some(oids).filter(|oids| !oids.is_empty())
}

/// What holds for the whole script, from entries of its own (`processEncodingEntry` and others).
struct Settings {
    encoding: &'static str,
    standard_strings: bool,
    /// SQL that sets the search path; without it, one is set for each schema.
    search_path: Option<Vec<u8>>,
}

impl Settings {
    fn of(name: &str, entries: &[Entry]) -> Result<Settings> {
        let mut settings = Settings { encoding: "SQL_ASCII", standard_strings: false, search_path: None };
        for entry in entries {
            let defn = entry.defn.as_deref().unwrap_or_default();
            let mut quotes = defn.split(|byte| *byte == b'\'').skip(1);
            let value = quotes.next().filter(|_| quotes.next().is_some());
            let unknown = || {
                let text = String::from_utf8_lossy(defn);
                damaged(name, format!("'{}' sets nothing that is known", text.trim_end()))
            };
            match entry.desc.as_slice() {
                b"ENCODING" => settings.encoding = value.and_then(canonical).ok_or_else(unknown)?,
                b"STDSTRINGS" => {
                    settings.standard_strings = match value {
                        Some(b"on") => true,
                        Some(b"off") => false,
                        _ => return Err(unknown()),
                    }
                }
                b"SEARCHPATH" => settings.search_path = Some(defn.to_vec()),
                _ => {}
            }
        }
        Ok(settings)
    }
}

/// What the script has set so far.
#[derive(Default)]
struct Now {
    schema: Option<Vec<u8>>,
    tablespace: Option<Vec<u8>>,
    access_method: Option<Vec<u8>>,
}

struct Restore<'r, 'a, 's> {
    name: &'r str,
    header: &'r Header,
    entries: &'r [Entry],
    data: Data<'a>,
    script: Script<'s>,
    settings: Settings,
    now: Now,
    /// The large objects whose data are still to come; `None` where no entry tells them.
    objects: Option<HashSet<u32>>,
}

impl Restore<'_, '_, '_> {
    fn begin(&mut self) -> Result<()> {
        self.script.bytes(b"--\n-- PostgreSQL database dump\n--\n\n")?;
        for (what, version) in [
            ("-- Dumped from database version ", &self.header.server_version),
            ("-- Dumped by pg_dump version ", &self.header.dump_version),
        ] {
            if let Some(version) = version {
                self.script.text(&[what.as_bytes(), version, b"\n"])?;
            }
        }
        self.script.bytes(b"\n")?;
        self.fixed_state()
    }

    /// `_doSetFixedOutputState`.
    fn fixed_state(&mut self) -> Result<()> {
        let settings = &self.settings;
        let on = settings.standard_strings;
        let timeout = if self.header.since(16) { "SET transaction_timeout = 0;\n" } else { "" };
        let texts = [
            "SET statement_timeout = 0;\nSET lock_timeout = 0;\n",
            "SET idle_in_transaction_session_timeout = 0;\n",
            timeout,
            "SET client_encoding = '",
            settings.encoding,
            "';\nSET standard_conforming_strings = ",
            if on { "on" } else { "off" },
            ";\n",
        ];
        for text in texts {
            self.script.bytes(text.as_bytes())?;
        }
        self.script.bytes(settings.search_path.as_deref().unwrap_or_default())?;
        self.script.bytes(b"SET check_function_bodies = false;\nSET xmloption = content;\n")?;
        self.script.bytes(b"SET client_min_messages = warning;\n")?;
        self.script.bytes(if on { b"" } else { b"SET escape_string_warning = off;\n" })?;
        self.script.bytes(b"SET row_security = off;\n\n")
    }

    /// `restore_toc_entry`.
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        let wanted = wanted(self.header, entry);
        if !wanted.any() {
            return Ok(());
        }
        if wanted.schema {
            self.print(entry, "")?;
        }
        if wanted.data && entry.had_data {
            self.print(entry, "Data for ")?;
            self.data(entry)?;
        } else if wanted.data && !wanted.schema {
            self.print(entry, "")?;
        }
        if wanted.statistics {
            self.print(entry, "Statistics for ")?;
        }
        Ok(())
    }

    fn data(&mut self, entry: &Entry) -> Result<()> {
        if entry.desc == b"BLOBS" {
            return self.large_objects(entry);
        }
        let old_comments = entry.desc == b"BLOB COMMENTS";
        self.select_schema(if old_comments { Some(b"pg_catalog") } else { entry.namespace.as_deref() })?;
        let copy = entry.copy_stmt.as_deref().filter(|copy| !copy.is_empty() && !old_comments);
        self.script.bytes(copy.unwrap_or_default())?;
        let mut end = Tail::default();
        let script = &mut self.script;
        self.data.of(self.header, entry, &mut |piece| match piece {
            Piece::Bytes(bytes) => {
                end.see(bytes);
                script.bytes(bytes)
            }
            Piece::Object(_) | Piece::ObjectEnd => Ok(()),
        })?;
        if copy.is_some() && !end.closes_copy() {
            let table = String::from_utf8_lossy(&entry.tag).into_owned();
            return Err(damaged(self.name, format!("the rows of '{table}' have no end")));
        }
        Ok(())
    }

    fn large_objects(&mut self, entry: &Entry) -> Result<()> {
        self.select_schema(Some(b"pg_catalog"))?;
        self.script.bytes(b"BEGIN;\n\n")?;
        let (name, script, objects) = (self.name, &mut self.script, &mut self.objects);
        let create = !self.header.since(12);
        self.data.of(self.header, entry, &mut |piece| match piece {
            Piece::Object(oid) => {
                if objects.as_mut().is_some_and(|rest| !rest.remove(&oid)) {
                    return Err(damaged(name, format!("data of large object {oid}, which nothing makes")));
                }
                script.object(oid, create)
            }
            Piece::Bytes(bytes) => script.object_bytes(bytes),
            Piece::ObjectEnd => script.object_end(),
        })?;
        self.script.bytes(b"COMMIT;\n\n")
    }

    fn no_object_is_missing(&self) -> Result<()> {
        match self.objects.iter().flatten().next() {
            None => Ok(()),
            Some(oid) => Err(damaged(self.name, format!("the data of large object {oid} are missing"))),
        }
    }

    /// `_printTocEntry`.
    fn print(&mut self, entry: &Entry, prefix: &str) -> Result<()> {
        self.select_schema(entry.namespace.as_deref())?;
        self.select_tablespace(entry.tablespace.as_deref())?;
        let partitioned = entry.relkind == b'p';
        if !partitioned {
            self.select_access_method(entry.tableam.as_deref())?;
        }
        self.script.text(&[
            b"--\n-- ",
            prefix.as_bytes(),
            b"Name: ",
            &commented(Some(&entry.tag)),
            b"; Type: ",
            &entry.desc,
            b"; Schema: ",
            &commented(entry.namespace.as_deref()),
            b"; Owner: ",
            &commented(entry.owner.as_deref()),
        ])?;
        if let Some(tablespace) = entry.tablespace.as_deref().filter(|t| !t.is_empty()) {
            self.script.text(&[b"; Tablespace: ", &commented(Some(tablespace))])?;
        }
        self.script.bytes(b"\n--\n\n")?;
        self.definition(entry)?;
        self.owner(entry)?;
        if let Some(method) = entry.tableam.as_deref().filter(|_| partitioned) {
            let table = qualified(self.header, entry.namespace.as_deref(), &entry.tag);
            let method = quoted(self.header, method);
            self.script.text(&[b"ALTER TABLE ", &table, b" SET ACCESS METHOD ", &method, b";\n\n"])?;
        }
        Ok(())
    }

    fn definition(&mut self, entry: &Entry) -> Result<()> {
        let defn = entry.defn.as_deref().unwrap_or_default();
        match entry.desc.as_slice() {
            b"BLOB METADATA" => self.per_object(entry, b"SELECT pg_catalog.lo_create('", b"')"),
            b"ACL" if self.header.since(16) && entry.tag.starts_with(b"LARGE OBJECTS") => {
                self.grants_per_object(entry)
            }
            _ if defn.is_empty() => Ok(()),
            _ => self.script.text(&[defn, b"\n\n"]),
        }
    }

    /// `_selectOutputSchema`.
    fn select_schema(&mut self, schema: Option<&[u8]>) -> Result<()> {
        let Some(schema) = schema.filter(|schema| !schema.is_empty()) else { return Ok(()) };
        if self.settings.search_path.is_some() || self.now.schema.as_deref() == Some(schema) {
            return Ok(());
        }
        self.now.schema = Some(schema.to_vec());
        let rest: &[u8] = if schema == b"pg_catalog" { b";\n\n" } else { b", pg_catalog;\n\n" };
        self.script.text(&[b"SET search_path = ", &quoted(self.header, schema), rest])
    }

    /// `_selectTablespace`: empty is the database's own.
    fn select_tablespace(&mut self, tablespace: Option<&[u8]>) -> Result<()> {
        let Some(want) = tablespace.filter(|t| self.now.tablespace.as_deref() != Some(t)) else {
            return Ok(());
        };
        self.now.tablespace = Some(want.to_vec());
        let value = if want.is_empty() { b"''".to_vec() } else { quoted(self.header, want) };
        self.script.text(&[b"SET default_tablespace = ", &value, b";\n\n"])
    }

    /// `_selectTableAccessMethod`.
    fn select_access_method(&mut self, method: Option<&[u8]>) -> Result<()> {
        let Some(want) = method.filter(|m| self.now.access_method.as_deref() != Some(m)) else {
            return Ok(());
        };
        self.now.access_method = Some(want.to_vec());
        let value = quoted(self.header, want);
        self.script.text(&[b"SET default_table_access_method = ", &value, b";\n\n"])
    }
}

/// The last bytes of a table's data.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Longer than `\.` with the newlines that pg_dump of any version writes around it.
    const BYTES: usize = 16;

    fn see(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(Self::BYTES)..];
        self.0.extend_from_slice(last);
        self.0.drain(..self.0.len().saturating_sub(Self::BYTES));
    }

    /// Whether the data end as COPY's do: what is not compressed has no other sign of its end.
    fn closes_copy(&self) -> bool {
        let text = self.0.trim_ascii_end();
        self.0.ends_with(b"\n") && (text == b"\\." || text.ends_with(b"\n\\."))
    }
}
