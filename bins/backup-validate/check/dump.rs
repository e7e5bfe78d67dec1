//! Dumps and archives of pg_dump: one pass, from the first byte to the last.

use kit::codec::read::Seen;
use kit::codec::walk::walk;
use kit::codec::{Kind as Codec, read};
use kit::digest::Depth;
use kit::dump::scan::{self, Facts, Scan, text_of};
use kit::exit::{Error, Result};
use kit::manifest::Manifest;
use kit::out::{self, Speech};
use kit::progress::Progress;
use kit::proof;
use kit::source::Dump;

use super::contents::Contents;
use crate::verdict::Verdict;

/// Options of pg_dump and pg_dumpall that leave all rows out.
const WITHOUT_ROWS: [&str; 4] = ["--schema-only", "--globals-only", "--roles-only", "--tablespaces-only"];

/// How much of the SQL is looked at for its encoding.
const HEAD: usize = 64 << 10;

/// What a drill must know of a dump.
pub(crate) struct About {
    pub(crate) server_version: Option<String>,
    /// That of a database which the dump does not create.
    pub(crate) encoding: String,
    /// The databases that it says it is of.
    pub(crate) databases: Vec<String>,
    pub(crate) tables: u64,
    /// Nothing says of which database it is.
    pub(crate) is_nameless: bool,
}

/// Reads the dump and tells what is wrong with it.
pub(super) fn check(
    dump: &Dump,
    manifest: Option<&Manifest>,
    speech: &Speech,
    verdict: &mut Verdict,
) -> Result<About> {
    dump.readable(">NEW.sql && backup-validate NEW.sql")?;
    let progress = Progress::start("checking", dump.index().map(|i| i.raw_bytes), speech.is_quiet());
    let mut head = Vec::new();
    let mut look = |bytes: &[u8]| {
        progress.advance(bytes.len() as u64);
        head.extend(&bytes[..bytes.len().min(HEAD - head.len())]);
    };
    let ((seen, facts), differences) = match (manifest, &dump.path) {
        (Some(manifest), Some(real)) => Contents::beside(real, manifest, |contents| {
            scan(dump, Some(manifest), &mut look, &mut |item| contents.next(&item))
        })?,
        _ => (scan(dump, None, &mut look, &mut |_| {})?, Vec::new()),
    };
    drop(progress);
    tell(dump, manifest, &seen, &facts, verdict);
    // that the whole is another file says enough, unless it says nothing else
    if let Some(fault) = &facts.incomplete {
        verdict.bad(fault.clone());
    }
    if let Some(manifest) = manifest {
        proof::differences(manifest, &seen, &facts).into_iter().for_each(|what| verdict.bad(what));
    }
    differences.into_iter().for_each(|what| verdict.bad(what));
    if let Some(real) = dump.path.as_ref().filter(|_| !dump.is_folder()) {
        super::listed(real, &seen.sha256, verdict);
    }
    let named = manifest.is_some_and(|m| !m.source.databases.is_empty());
    Ok(About {
        is_nameless: !named
            && facts.kind != Some(scan::Kind::Cluster)
            && facts.databases.iter().all(|d| d.name.is_empty()),
        databases: match manifest {
            Some(manifest) if named => manifest.source.databases.clone(),
            _ => facts.databases.iter().map(|d| text_of(&d.name)).filter(|name| !name.is_empty()).collect(),
        },
        tables: facts.tables,
        server_version: facts.server_version,
        encoding: encoding(&head).unwrap_or("UTF8".into()),
    })
}

/// The encoding that a dump of pg_dump says in its beginning.
fn encoding(head: &[u8]) -> Option<String> {
    let begin = b"\nSET client_encoding = '";
    let rest = &head[memchr::memmem::find(head, begin)? + begin.len()..];
    let name = &rest[..memchr::memchr(b'\'', rest)?];
    let plain = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    plain.then(|| String::from_utf8_lossy(name).into_owned())
}

/// The one pass.
fn scan(
    dump: &Dump,
    manifest: Option<&Manifest>,
    look: &mut (dyn FnMut(&[u8]) + Send),
    item: &mut (dyn FnMut(scan::Item) + Send),
) -> Result<(Seen, Facts)> {
    let mut scan = Scan::new(Depth::Hash);
    let mut sink = |bytes: &[u8]| {
        look(bytes);
        scan.feed(bytes, item);
        Ok(())
    };
    // pieces that are read by the index are proven by that; others are looked for
    let unproven = manifest.filter(|m| !m.frames.is_empty() && dump.stretches().is_ok_and(|s| s.is_none()));
    let seen = match unproven {
        Some(manifest) if !dump.is_archive()? => by_walking(dump, manifest, &mut sink)?,
        _ => proof::read(dump, &mut sink)?,
    };
    Ok((seen, scan.finish(item)))
}

fn by_walking(
    dump: &Dump,
    manifest: &Manifest,
    sink: &mut (dyn FnMut(&[u8]) -> Result<()> + Send),
) -> Result<Seen> {
    let walked = walk(&*dump.file, &dump.name, sink)?;
    if walked.frames != manifest.frames {
        return Err(Error::no("its pieces do not begin where its manifest says"));
    }
    Ok(read::Seen {
        kind: walked.kind,
        bytes: walked.bytes,
        raw_bytes: walked.raw_bytes,
        sha256: walked.sha256,
        pieces: Vec::new(),
    })
}

/// What it is, and what a person should know.
fn tell(dump: &Dump, manifest: Option<&Manifest>, seen: &Seen, facts: &Facts, verdict: &mut Verdict) {
    let (tables, rows) = (facts.tables, facts.rows);
    verdict.note(format!("{} tables, {} rows", out::count(tables), out::count(rows)));
    if seen.kind != Codec::None {
        verdict.note(super::packed(seen.kind));
    }
    if manifest.is_some() {
        verdict.note("as its manifest says");
    }
    verdict.fact("tables", tables);
    verdict.fact("rows", rows);
    verdict.fact("raw_bytes", facts.bytes);
    verdict.fact("sha256", seen.sha256.clone());
    let partial = manifest.map_or(&[][..], |m| &m.source.partial);
    let meant = partial.iter().any(|option| WITHOUT_ROWS.contains(&option.as_str()));
    if rows == 0 && !meant && facts.large_objects == 0 {
        verdict.warn("it holds no rows: was the database empty?");
    }
    if facts.kind.is_none() && !dump.is_archive().unwrap_or_default() {
        verdict.warn("it does not begin with pg_dump's header");
    }
    for (at, line) in &facts.suspicious {
        verdict.warn(format!("psql would run '{}' (byte {at}): a restore will refuse it", out::plain(line)));
    }
}
