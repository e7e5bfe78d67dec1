//! What of an entry is restored, and when: `_tocEntryRequired` and `_tocEntryRestorePass`, for a
//! restore without any option.

use super::entry::{Entry, Section};
use super::header::Header;

/// The parts of an entry that are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) schema: bool,
    pub(super) data: bool,
    pub(super) statistics: bool,
}

impl Wanted {
    pub(super) fn any(self) -> bool {
        self.schema || self.data || self.statistics
    }
}

/// The order of a restore: grants may take rights away that making objects needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Main,
    Acl,
    PostAcl,
}

pub(super) const PASSES: [Pass; 3] = [Pass::Main, Pass::Acl, Pass::PostAcl];

fn is_of_an_object(desc: &[u8]) -> bool {
    matches!(desc, b"ACL" | b"COMMENT" | b"SECURITY LABEL")
}

pub(super) fn wanted(header: &Header, entry: &Entry) -> Wanted {
    let nothing = Wanted::default();
    let statistics = entry.desc == b"STATISTICS DATA";
    match entry.desc.as_slice() {
        // said at the beginning, by the script
        b"ENCODING" | b"STDSTRINGS" | b"SEARCHPATH" => return nothing,
        // the database itself is made with --create only, and so is what belongs to it
        b"DATABASE" | b"DATABASE PROPERTIES" => return nothing,
        desc if (is_of_an_object(desc) || statistics) && entry.tag.starts_with(b"DATABASE ") => {
            return nothing;
        }
        b"<Init>" if entry.tag == b"Max OID" => return nothing,
        _ => {}
    }
    if statistics {
        return Wanted { statistics: true, ..nothing };
    }
    let defn = entry.defn.as_deref().unwrap_or_default();
    let schema = !defn.is_empty() && !defn.starts_with(b"-- load via partition root ");
    if entry.had_data {
        return Wanted { schema, data: true, ..nothing };
    }
    if is_data_without_dumper(header, entry) {
        return Wanted { data: true, ..nothing };
    }
    Wanted { schema, ..nothing }
}

/// Values of sequences, and all about large objects, are data although they are SQL.
fn is_data_without_dumper(header: &Header, entry: &Entry) -> bool {
    let objects: &[u8] = if header.since(16) { b"LARGE OBJECT" } else { b"LARGE OBJECT " };
    match entry.desc.as_slice() {
        b"SEQUENCE SET" | b"BLOB" | b"BLOB METADATA" => true,
        desc => is_of_an_object(desc) && entry.tag.starts_with(objects),
    }
}

pub(super) fn pass(entry: &Entry) -> Pass {
    match entry.desc.as_slice() {
        b"ACL" | b"ACL LANGUAGE" | b"DEFAULT ACL" => Pass::Acl,
        b"EVENT TRIGGER" | b"MATERIALIZED VIEW DATA" => Pass::PostAcl,
        b"COMMENT" | b"SECURITY LABEL" if entry.tag.starts_with(b"EVENT TRIGGER ") => Pass::PostAcl,
        b"STATISTICS DATA" if entry.section == Section::PostData => Pass::PostAcl,
        _ => Pass::Main,
    }
}
