//! Owners, and what is written once for each of many large objects.

use super::super::entry::Entry;
use super::super::name::{qualified, quoted};
use super::{Restore, damaged};
use crate::exit::Result;

impl Restore<'_, '_, '_> {
    /// `ALTER … OWNER TO`. What has no DROP has no owner of its own.
    pub(super) fn owner(&mut self, entry: &Entry) -> Result<()> {
        let filled = |text: &Option<Vec<u8>>| text.as_deref().is_some_and(|text| !text.is_empty());
        let Some(owner) = entry.owner.as_deref().filter(|_| filled(&entry.owner)) else { return Ok(()) };
        if !filled(&entry.drop_stmt) {
            return Ok(());
        }
        let owner = quoted(self.header, owner);
        if entry.desc == b"BLOB METADATA" {
            let end = [b" OWNER TO ", owner.as_slice()].concat();
            return self.per_object(entry, b"ALTER LARGE OBJECT ", &end);
        }
        match self.described(entry) {
            Some(object) => self.script.text(&[b"ALTER ", &object, b" OWNER TO ", &owner, b";\n\n"]),
            None => Ok(()),
        }
    }

    /// `_getObjectDescription`; `None` for what has no owner of its own.
    fn described(&self, entry: &Entry) -> Option<Vec<u8>> {
        let kind = match entry.desc.as_slice() {
            b"VIEW" | b"SEQUENCE" | b"MATERIALIZED VIEW" if !self.header.since(15) => b"TABLE".as_slice(),
            kind => kind,
        };
        match kind {
            b"COLLATION"
            | b"CONVERSION"
            | b"DATABASE"
            | b"DOMAIN"
            | b"EVENT TRIGGER"
            | b"FOREIGN DATA WRAPPER"
            | b"FOREIGN TABLE"
            | b"MATERIALIZED VIEW"
            | b"PROCEDURAL LANGUAGE"
            | b"PUBLICATION"
            | b"SCHEMA"
            | b"SEQUENCE"
            | b"SERVER"
            | b"STATISTICS"
            | b"SUBSCRIPTION"
            | b"TABLE"
            | b"TEXT SEARCH CONFIGURATION"
            | b"TEXT SEARCH DICTIONARY"
            | b"TYPE"
            | b"VIEW" => {
                let name = qualified(self.header, entry.namespace.as_deref(), &entry.tag);
                Some([kind, b" ", &name].concat())
            }
            b"BLOB" => Some([b"LARGE OBJECT ", entry.tag.as_slice()].concat()),
            // what the DROP names, arguments and all
            b"AGGREGATE" | b"FUNCTION" | b"OPERATOR" | b"OPERATOR CLASS" | b"OPERATOR FAMILY"
            | b"PROCEDURE" => {
                let mut name = entry.drop_stmt.as_deref()?.get(5..)?;
                while let [rest @ .., b'\n' | b';'] = name {
                    name = rest;
                }
                Some(name.to_vec())
            }
            _ => None,
        }
    }

    /// `IssueCommandPerBlob`: the entry's definition is a list of OIDs, one a line.
    pub(super) fn per_object(&mut self, entry: &Entry, begin: &[u8], end: &[u8]) -> Result<()> {
        let list = entry.defn.as_deref().unwrap_or_default();
        for line in list.split_inclusive(|byte| *byte == b'\n') {
            let Some(oid) = line.strip_suffix(b"\n") else { break };
            self.script.text(&[begin, oid, end, b";\n"])?;
        }
        self.script.bytes(b"\n")
    }

    /// `IssueACLPerBlob`: grants are written for one large object, and hold for all that the entry
    /// depends on lists.
    pub(super) fn grants_per_object(&mut self, entry: &Entry) -> Result<()> {
        let fail = |why: &str| {
            let tag = String::from_utf8_lossy(&entry.tag);
            damaged(self.name, format!("the grants of '{tag}' {why}"))
        };
        let metadata =
            |id: &u32| self.entries.iter().find(|e| e.dump_id == *id && e.desc == b"BLOB METADATA");
        let objects = entry.dependencies.first().and_then(metadata);
        let objects = objects.ok_or_else(|| fail("are of nothing that is there"))?;
        let mut rest = entry.defn.as_deref().unwrap_or_default();
        while let Some(end) = unquoted(rest, b";") {
            let command = &rest[..end];
            let oid = unquoted(command, b"LARGE OBJECT ").ok_or_else(|| fail("name no large object"))? + 13;
            let digits = command[oid..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let behind = &command[oid + digits..];
            self.per_object(objects, &command[..oid], behind)?;
            rest = rest[end + 1..].trim_ascii_start();
        }
        Ok(())
    }
}

/// Where `what` begins in `text`, outside of double quotes.
fn unquoted(text: &[u8], what: &[u8]) -> Option<usize> {
    let mut inside = false;
    for at in 0..text.len() {
        inside ^= text[at] == b'"';
        if !inside && text[at..].starts_with(what) {
            return Some(at);
        }
    }
    None
}
