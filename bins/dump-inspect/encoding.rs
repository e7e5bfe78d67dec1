//! The encodings that a dump is written in. Names and rows are compared as the bytes that they are, so where
//! those of two dumps differ, or those of a dump and of a command line, that is told.

use std::collections::BTreeSet;

use kit::dump::needs;
use kit::dump::scan::text_of;
use kit::exit::Result;
use kit::out::Speech;
use kit::source::Dump;

use crate::contents::Contents;
use crate::extract::{Part, read};

/// The encodings that the dump sets for its sessions, by PostgreSQL's names.
pub(crate) fn encodings(dump: &Dump, contents: &Contents) -> Result<BTreeSet<String>> {
    let mut parts = Vec::new();
    contents.each(&mut |item| {
        let sets = item.kind == "SET" && item.name == "client_encoding";
        parts.extend(sets.then(|| Part { item, text: Vec::new() }));
        Ok(())
    })?;
    read(dump, &mut parts)?;
    let value = |part: &Part| needs::set(&part.text)?.1.map(|value| canonical(&text_of(&value)));
    Ok(parts.iter().filter_map(value).collect())
}

/// Tells where two dumps are in different ones.
pub(crate) fn compare(a: (&Dump, &Contents), b: (&Dump, &Contents), speech: &Speech) -> Result<()> {
    let (left, right) = (encodings(a.0, a.1)?, encodings(b.0, b.1)?);
    if left != right && !left.is_empty() && !right.is_empty() {
        speech.warn(&format!(
            "warning: the dumps differ in encoding ({}, {}): names and rows are compared byte by byte, so that \
            those with letters outside of ASCII differ",
            list(&left),
            list(&right)
        ));
    }
    Ok(())
}

/// Why a name of the command line may not be found in a dump, whose names are told as bytes where they are
/// no UTF-8.
pub(crate) fn hint(encodings: &BTreeSet<String>) -> Option<String> {
    let others = encodings.iter().any(|e| e != "UTF8");
    others.then(|| {
        let list = list(encodings);
        format!(
            "The dump is in {list}, and names are compared byte by byte: put * for letters outside of ASCII."
        )
    })
}

fn list(encodings: &BTreeSet<String>) -> String {
    encodings.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}

/// One name for each: blanks, dashes and case mean nothing, and UTF-8 was called UNICODE before 8.1.
fn canonical(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = name.to_ascii_uppercase();
    if name == "UNICODE" { "UTF8".into() } else { name }
}
