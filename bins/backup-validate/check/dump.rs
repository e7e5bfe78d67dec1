//! Dumps and archives of pg_dump: one pass, from the first byte to the last.

use std::path::Path;

use kit::codec::read::Seen;
use kit::codec::walk::walk;
use kit::codec::{Kind as Codec, read};
use kit::digest::Depth;
use kit::dump::scan::{self, Facts, Scan};
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

/// Reads the dump and tells what is wrong with it.
pub(super) fn check(
    path: &Path,
    manifest: Option<&Manifest>,
    speech: &Speech,
    verdict: &mut Verdict,
) -> Result<()> {
    let dump = Dump::open(path)?;
    dump.readable("backup-validate FILE, once it is a file again")?;
    let progress = Progress::start("checking", dump.index().map(|i| i.raw_bytes), speech.is_quiet());
    let ((seen, facts), differences) = match (manifest, &dump.path) {
        (Some(manifest), Some(real)) => Contents::beside(real, manifest, |contents| {
            scan(&dump, Some(manifest), &progress, &mut |item| contents.next(&item))
        })?,
        _ => (scan(&dump, None, &progress, &mut |_| {})?, Vec::new()),
    };
    drop(progress);
    tell(&dump, manifest, &seen, &facts, verdict);
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
    Ok(())
}

/// The one pass.
fn scan(
    dump: &Dump,
    manifest: Option<&Manifest>,
    progress: &Progress,
    item: &mut (dyn FnMut(scan::Item) + Send),
) -> Result<(Seen, Facts)> {
    let mut scan = Scan::new(Depth::Hash);
    let mut sink = |bytes: &[u8]| {
        progress.advance(bytes.len() as u64);
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
    let walked = walk(&dump.file, &dump.name, sink)?;
    if walked.frames != manifest.frames {
        return Err(Error::no("its pieces do not begin where its manifest says"));
    }
    Ok(read::Seen {
        kind: walked.kind,
        bytes: walked.bytes,
        raw_bytes: walked.raw_bytes,
        sha256: walked.sha256,
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
