//! A dump read to its last byte and held against its manifest: what every program that trusts one
//! does first. Reads and compares; whoever asks decides what a difference means.

use crate::codec::read::{self, Seen};
use crate::dump::scan::{self, Facts, text_of};
use crate::exit::Result;
use crate::manifest::{Kind, Manifest};
use crate::out::count;
use crate::source::Dump;

/// Hands the whole dump to `sink` as SQL, in order, and gives back what the file was like.
///
/// # Errors
/// When it is damaged; what `sink` answers; a signal.
pub fn read(dump: &Dump, mut sink: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<Seen> {
    if !dump.is_archive()? {
        return read::read(&*dump.file, &dump.name, dump.index(), sink);
    }
    // an archive is sought in; its digest takes a pass of its own
    let seen = read::read(&*dump.file, &dump.name, None, |_| Ok(()))?;
    dump.whole(&mut sink)?;
    Ok(seen)
}

/// What the manifest says otherwise than the file and what a scan found in it; the file first.
pub fn differences(manifest: &Manifest, seen: &Seen, facts: &Facts) -> Vec<String> {
    let mut told = of_file(manifest, seen.bytes, &seen.sha256);
    if manifest.file.codec != seen.kind {
        told.push(format!("it is compressed by {}, its manifest says {}", seen.kind, manifest.file.codec));
    }
    let numbers = [
        ("rows", facts.rows, manifest.rows),
        ("tables", facts.tables, manifest.tables),
        ("large objects", facts.large_objects, manifest.large_objects),
        ("bytes when inflated", facts.bytes, manifest.raw_bytes),
    ];
    for (what, is, said) in numbers.into_iter().filter(|(_, is, said)| is != said) {
        told.push(format!("it has {} {what}, its manifest says {}", count(is), count(said)));
    }
    let source = &manifest.source;
    let kind = if facts.kind == Some(scan::Kind::Cluster) { Kind::Cluster } else { Kind::Database };
    let roles: Vec<String> = facts.roles.iter().map(|r| text_of(r)).collect();
    let databases: Vec<String> =
        facts.databases.iter().filter(|d| !d.name.is_empty()).map(|d| text_of(&d.name)).collect();
    let other = |is: &Option<String>, said: &Option<String>| is.is_some() && is != said;
    for (what, differs) in [
        ("kind", kind != manifest.kind),
        ("roles", roles != source.roles),
        // a dump of one database need not name it
        ("databases", !databases.is_empty() && databases != source.databases),
        ("server's version", other(&facts.server_version, &source.server_version)),
        ("version of pg_dump", other(&facts.dump_version, &source.dump_version)),
    ] {
        if differs {
            told.push(format!("its {what} differs from what its manifest says"));
        }
    }
    told
}

/// The same of the file as such, whatever is in it.
pub fn of_file(manifest: &Manifest, bytes: u64, sha256: &str) -> Vec<String> {
    if manifest.file.bytes != bytes {
        return vec![format!(
            "it has {} bytes, its manifest says {}",
            count(bytes),
            count(manifest.file.bytes)
        )];
    }
    match manifest.file.sha256 == sha256 {
        true => Vec::new(),
        false => vec!["its SHA-256 differs".into()],
    }
}
