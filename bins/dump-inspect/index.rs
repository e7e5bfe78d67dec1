//! `index`: the manifest of a dump that has none; and with `--reframe` a copy of it in pieces.

use std::path::{Path, PathBuf};

use kit::codec::walk::{Walked, walk};
use kit::codec::write::write;
use kit::codec::{Codec, Kind, read};
use kit::digest::Depth;
use kit::dump::scan::{self, Facts, Scan, text_of};
use kit::exit::{Code, Error, Result};
use kit::manifest::{
    self, Artifact, FORMAT_VERSION, Format, Manifest, Rotation, Source, Toc, Verified, path_of,
};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::place::{self, Part};
use kit::progress::Progress;
use kit::settings::Settings;
use kit::source::Dump;
use kit::stamp::Stamp;
use kit::store::{Content, Only, Place, Put, Store};

use crate::cli::{Args, TOOL};

/// Goes through the dump and writes its manifest beside it, or beside the copy; prints its path.
pub(crate) fn index(dump: &Dump, args: &Args, speech: &Speech, account: &Account<'_>) -> Result<Code> {
    let there = There::of(args)?;
    let path = match (&args.reframe, &there) {
        (Some(copy), _) => PathBuf::from(copy),
        (None, Some(there)) => there.path(),
        (None, None) => dump.path.clone().ok_or_else(|| Error::usage("index takes a file"))?,
    };
    let beside = path_of(&path);
    if beside.exists() {
        return Err(is_there(&beside.display().to_string()));
    }
    let clock = std::time::Instant::now();
    let mut toc = Toc::new(place::parent(&path), None);
    let mut scan = Scan::new(Depth::Hash);
    let progress = Progress::start("indexing", None, speech.is_quiet());
    // `breaks`: where the data of a table begins or ends
    let mut look = |bytes: &[u8], breaks: &mut Vec<u64>| {
        progress.advance(bytes.len() as u64);
        scan.feed(bytes, &mut |item| toc.note(&item));
        breaks.extend(scan.take_breaks());
    };
    let part = args.reframe.as_ref().map(|_| Part::create(&path)).transpose()?;
    let walked = match &part {
        Some(copy) => reframe(dump, copy, &mut look)?,
        None => through(dump, &mut look)?,
    };
    let facts = scan.finish(&mut |item| toc.note(&item));
    drop(progress);
    if let Some(fault) = facts.fault(&dump.name) {
        return Err(Error::no(fault).hint("A manifest would say that it can be restored."));
    }
    part.map_or(Ok(()), Part::place)?;
    let custom = dump.is_archive()?;
    let seekable = walked.frames.len() > 1 || (walked.kind == Kind::None && !custom);
    let format = if custom { Format::Custom } else { Format::Plain };
    let mut manifest = manifest(dump, &path, &facts, walked, format);
    manifest.duration_ms = clock.elapsed().as_millis() as u64;
    manifest.place(&path, toc).inspect_err(|_| {
        // a copy without its manifest is of no use; the error is the one to tell
        if args.reframe.is_some() {
            let _ = place::remove_if_there(&path);
        }
    })?;
    if !seekable {
        speech.say(
            "the dump is an archive, or one piece of compressed data: its contents are known now, but to read a \
            part of it all before that must be inflated; --reframe makes a copy in pieces",
        );
    }
    let made = there.map_or(Ok(beside.display().to_string()), |there| there.put(&beside))?;
    account.made(made.clone());
    out::record(&made)?;
    Ok(Code::Done)
}

fn is_there(manifest: &str) -> Error {
    Error::refused(format!("'{manifest}' is there already")).hint("Remove it first, if it is not the dump's.")
}

/// Where the manifest of a dump in a store goes, and a folder in which it is made.
struct There {
    store: Store,
    place: Place,
    folder: tempfile::TempDir,
}

impl There {
    /// `None`: it goes beside a file. Refuses when there is one already.
    fn of(args: &Args) -> Result<Option<Self>> {
        if args.reframe.is_some() || !Place::is(Path::new(&args.file)) {
            return Ok(None);
        }
        let place = Place::parse(&args.file)?;
        let store = Store::open(&place, &Settings::load()?)?;
        let folder = tempfile::tempdir().map_err(|e| Error::io("create", "a temporary folder", &e))?;
        let there = There { store, place, folder };
        match there.store.look(&there.key())? {
            Some(object) => Err(is_there(&there.store.shown(&object.key))),
            None => Ok(Some(there)),
        }
    }

    /// What stands for the dump.
    fn path(&self) -> PathBuf {
        self.folder.path().join(self.place.name())
    }

    fn key(&self) -> String {
        path_of(Path::new(self.place.key())).display().to_string()
    }

    /// Puts the manifest beside the dump, unless somebody else has; its place.
    fn put(self, manifest: &Path) -> Result<String> {
        let (key, fail) = (self.key(), |e| Error::io("read", manifest.display(), &e));
        let file = place::open_regular(manifest).map_err(fail)?;
        let content = Content { bytes: file.metadata().map_err(fail)?.len(), file: &file, digest: None };
        match self.store.put(&key, &content, Only::IfNew)? {
            Put::Done => Ok(self.store.shown(&key)),
            Put::Held => Err(is_there(&self.store.shown(&key))),
        }
    }
}

fn manifest(dump: &Dump, path: &Path, facts: &Facts, walked: Walked, format: Format) -> Manifest {
    let seconds = dump.file.modified().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    let created = seconds.map_or(Stamp::now(), |d| Stamp::from_unix(d.as_secs() as i64));
    let named = facts.databases.iter().filter(|d| !d.name.is_empty());
    Manifest {
        format_version: FORMAT_VERSION,
        kind: match facts.kind {
            Some(scan::Kind::Cluster) => manifest::Kind::Cluster,
            _ => manifest::Kind::Database,
        },
        created: created.to_string(),
        duration_ms: 0,
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
            name: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            bytes: walked.bytes,
            sha256: walked.sha256,
            codec: walked.kind,
            format,
        },
        raw_bytes: facts.bytes,
        tables: facts.tables,
        rows: facts.rows,
        large_objects: facts.large_objects,
        verified: Some(Verified { at: Stamp::now().to_string(), how: "index, footer".into(), ok: true }),
        rotation: Rotation::default(),
        frames: walked.frames,
    }
}

/// Sees all bytes of a dump, and names the places where its data begin and end.
type Look<'a> = dyn FnMut(&[u8], &mut Vec<u64>) + Send + 'a;

/// Goes through a dump that stays as it is: where its pieces begin is found, not chosen.
fn through(dump: &Dump, look: &mut Look<'_>) -> Result<Walked> {
    let mut breaks = Vec::new();
    let pass = |bytes: &[u8]| {
        look(bytes, &mut breaks);
        breaks.clear();
        Ok(())
    };
    if dump.is_archive()? { unpack(dump, pass) } else { walk(&*dump.file, &dump.name, pass) }
}

/// Goes through an archive; its manifest has no pieces to seek to.
fn unpack(dump: &Dump, feed: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<Walked> {
    if dump.is_folder() || !dump.beginning()?.starts_with(b"PGDMP") {
        return Err(Error::refused(format!("'{}' is neither plain nor a custom archive", dump.name))
            .hint("Only these have manifests."));
    }
    dump.whole(feed)?;
    let seen = read::read(&*dump.file, &dump.name, None, |_| Ok(()))?;
    let (kind, bytes, raw_bytes, sha256) = (seen.kind, seen.bytes, seen.raw_bytes, seen.sha256);
    Ok(Walked { kind, frames: Vec::new(), bytes, raw_bytes, sha256 })
}

/// Writes a plain dump anew in pieces, on all cores, and proves the copy.
fn reframe(dump: &Dump, copy: &Part, look: &mut Look<'_>) -> Result<Walked> {
    if dump.is_archive()? {
        return Err(Error::refused(format!("'{}' is an archive", dump.name))
            .hint("Only plain dumps are written anew: dump-inspect cat FILE | pgdump-rotate --stdin"));
    }
    let kind = match copy.target().extension().and_then(|e| e.to_str()) {
        Some("gz") => Kind::Gzip,
        Some("zst") => Kind::Zstd,
        _ => Kind::None,
    };
    let source = read::inflated(&*dump.file, &dump.name, dump.kind()?)?;
    let codec = Codec { kind, level: None };
    let written = write(codec, source, look, copy.file(), &copy.path().display().to_string())?;
    let (bytes, raw_bytes, sha256) = (written.bytes, written.raw_bytes, written.sha256);
    Ok(Walked { kind, frames: written.frames, bytes, raw_bytes, sha256 })
}
