//! `index`: the manifest of a dump that has none.

use kit::codec::walk::{Walked, walk};
use kit::codec::{Kind, read};
use kit::digest::Depth;
use kit::dump::scan::{self, Scan, text_of};
use kit::exit::{Code, Error, Result};
use kit::manifest::{self, Artifact, FORMAT_VERSION, Format, Item, Manifest, Source, Toc, Verified, path_of};
use kit::out::{self, Speech};
use kit::place;
use kit::progress::Progress;
use kit::source::Dump;
use kit::stamp::Stamp;

use crate::cli::TOOL;

/// Goes through the dump and writes its manifest beside it.
pub(crate) fn index(dump: &Dump, speech: &Speech) -> Result<Code> {
    let path = dump.path.clone().ok_or_else(|| Error::usage("index takes a file"))?;
    let beside = path_of(&path);
    if beside.exists() {
        return Err(Error::refused(format!("'{}' is there already", beside.display()))
            .hint("Remove it first, if it is not the dump's."));
    }
    let (began, clock) = (Stamp::now(), std::time::Instant::now());
    let mut toc = Toc::new(place::parent(&path));
    let (mut scan, mut failed) = (Scan::new(Depth::Hash), None);
    let progress = Progress::start("indexing", None, speech.is_quiet());
    let feed = |bytes: &[u8]| {
        progress.advance(bytes.len() as u64);
        scan.feed(bytes, &mut |item| keep(&mut toc, &item, &mut failed));
        failed.take().map_or(Ok(()), Err)
    };
    let custom = dump.is_archive()?;
    let walked = if custom { unpack(dump, feed)? } else { walk(&dump.file, &dump.name, feed)? };
    let facts = scan.finish(&mut |item| keep(&mut toc, &item, &mut failed));
    failed.map_or(Ok(()), Err)?;
    drop(progress);
    if let Some(why) = &facts.incomplete {
        return Err(Error::no(format!("'{}' is not whole: {why}", dump.name))
            .hint("A manifest would say that it can be restored."));
    }
    let modified = dump.file.metadata().and_then(|m| m.modified()).ok();
    let seconds = modified.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    let created = seconds.map_or(began, |d| Stamp::from_unix(d.as_secs() as i64));
    let named = facts.databases.iter().filter(|d| !d.name.is_empty());
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        kind: match facts.kind {
            Some(scan::Kind::Cluster) => manifest::Kind::Cluster,
            _ => manifest::Kind::Database,
        },
        created: created.to_string(),
        duration_ms: clock.elapsed().as_millis() as u64,
        tool: format!("{TOOL} {}", env!("CARGO_PKG_VERSION")),
        tag: None,
        source: Source {
            producer: "unknown".into(),
            server_version: facts.server_version.clone(),
            dump_version: facts.dump_version.clone(),
            databases: named.map(|d| text_of(&d.name)).collect(),
            roles: facts.roles.iter().map(|r| text_of(r)).collect(),
            ..Source::default()
        },
        file: Artifact {
            name,
            bytes: walked.bytes,
            sha256: walked.sha256,
            codec: walked.kind,
            format: if custom { Format::Custom } else { Format::Plain },
        },
        raw_bytes: facts.bytes,
        tables: facts.tables,
        rows: facts.rows,
        large_objects: facts.large_objects,
        verified: Some(Verified { at: Stamp::now().to_string(), how: "index, footer".into(), ok: true }),
        frames: walked.frames,
    };
    let seekable = manifest.frames.len() > 1 || (walked.kind == Kind::None && !custom);
    manifest.place(&path, toc)?;
    if !seekable {
        speech.say(
            "the dump is an archive, or one piece of compressed data: its contents are known now, but to read a part of it \
            all before that must be inflated",
        );
    }
    out::record(&beside.display().to_string())?;
    Ok(Code::Done)
}

/// Goes through an archive; its manifest has no pieces to seek to.
fn unpack(dump: &Dump, feed: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<Walked> {
    if !dump.beginning(5)?.starts_with(b"PGDMP") {
        return Err(Error::refused(format!("'{}' is neither plain nor a custom archive", dump.name))
            .hint("Only these have manifests."));
    }
    dump.whole(feed)?;
    let seen = read::read(&dump.file, &dump.name, None, |_| Ok(()))?;
    let (kind, bytes, raw_bytes, sha256) = (seen.kind, seen.bytes, seen.raw_bytes, seen.sha256);
    Ok(Walked { kind, frames: Vec::new(), bytes, raw_bytes, sha256 })
}

fn keep(toc: &mut Toc, item: &scan::Item, failed: &mut Option<Error>) {
    let database = (!item.database.is_empty()).then(|| text_of(&item.database));
    if let Err(error) = toc.add(&Item::new(item, database)) {
        failed.get_or_insert(error);
    }
}
