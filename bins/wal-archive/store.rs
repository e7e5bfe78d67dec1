//! Putting a file into an archive: durable before it is acknowledged, never over another.
//!
//! In an object store the store decides, by writing under one condition: that there is no such object.
//! Of several who store the same file one at a time writes (its part file is locked), the others
//! find it there. Where locks do not work, as on some network file systems, the rename decides.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use kit::buffer::Buffer;
use kit::child::{interrupted, pause};
use kit::codec::{Codec, Kind, write};
use kit::exit::{Error, Result};
use kit::lock::Lock;
use kit::place::{self, Part};
use kit::store::Place;
use kit::wal::archive::{Archive, Fault, IDENTITY, Identity, Stored};
use kit::wal::sums;
use xxhash_rust::xxh3::Xxh3;

use crate::source::Source;

mod objects;

/// How much is read and digested at a time: what fits the cache.
const CHUNK: usize = 256 << 10;
/// Bytes of a piece that is copied at once, or compressed by itself.
const PIECE: u64 = 1 << 20;
const IDENTITY_WAIT: Duration = Duration::from_secs(10);

/// Makes `dir` an archive; nothing happens twice.
pub(crate) fn init(dir: &Path) -> Result<()> {
    if Place::is(dir) {
        return objects::init(dir);
    }
    place::ensure_dir(dir)?;
    let _lock = Lock::take(dir, IDENTITY_WAIT, pause)?;
    if !dir.join(IDENTITY).exists() {
        write_identity(dir, &Identity::fresh())?;
        place::sync_dir(place::parent(dir))?;
    }
    Archive::open(dir).map(drop)
}

/// Opens the archive for `source`: the first file that comes makes it that server's.
///
/// # Errors
/// [`kit::exit::Code::Refused`] when it is another's.
fn admit(dir: &Path, source: &Source) -> Result<Archive> {
    let archive = Archive::open(dir)?;
    if merged(&archive, source)?.is_none() {
        return Ok(archive);
    }
    if Place::is(dir) {
        objects::identify(&archive, |archive| merged(archive, source))?;
    } else {
        let _lock = Lock::take(dir, IDENTITY_WAIT, pause)?;
        // somebody else may have been first
        if let Some(identity) = merged(&Archive::open(dir)?, source)? {
            write_identity(dir, &identity)?;
        }
    }
    let archive = Archive::open(dir)?;
    merged(&archive, source)?;
    Ok(archive)
}

/// The archive's identity with what the source adds to it; `None` when it adds nothing.
fn merged(archive: &Archive, source: &Source) -> Result<Option<Identity>> {
    let (theirs, ours) = (archive.identity(), source.identity());
    let refused = |what: String| {
        Err(Error::refused(format!(
            "cannot archive '{}' in '{}': {what}",
            source.path,
            archive.dir().display()
        ))
        .hint("Each server needs an archive of its own."))
    };
    if let (Some(there), Some(here)) = (&theirs.system_identifier, &ours.system_identifier)
        && there != here
    {
        return refused(format!("the archive is of system {there}, the file of {here}"));
    }
    if let (Some(there), Some(here)) = (theirs.segment_bytes, ours.segment_bytes)
        && there != here
    {
        return refused(format!("segments there have {there} bytes, and here {here}"));
    }
    let merged = Identity {
        format_version: theirs.format_version,
        system_identifier: theirs.system_identifier.clone().or(ours.system_identifier.clone()),
        segment_bytes: theirs.segment_bytes.or(ours.segment_bytes),
    };
    Ok((merged != *theirs).then_some(merged))
}

fn write_identity(dir: &Path, identity: &Identity) -> Result<()> {
    place::replace(&dir.join(IDENTITY), text(identity)?.as_bytes())
}

fn text(identity: &Identity) -> Result<String> {
    let text = serde_json::to_string_pretty(identity);
    text.map(|text| text + "\n").map_err(|e| Error::no(format!("cannot write '{IDENTITY}': {e}")))
}

/// Stores a file in the archive in `dir`. `Ok` only when it and its name are on stable storage. `alone`: all
/// cores are ours.
///
/// # Errors
/// [`kit::exit::Code::Refused`] when other content stands under the name, or the archive is another's.
pub(crate) fn put(dir: &Path, source: &Source, codec: Codec, alone: bool) -> Result<Stored> {
    // histories and labels are small, and read by people
    let codec = if source.name.segment().is_some() { codec } else { Codec { kind: Kind::None, level: None } };
    let threads = if alone { cores() } else { 1 };
    if Place::is(dir) {
        return objects::put(dir, source, codec, threads);
    }
    let archive = &admit(dir, source)?;
    if let Some(stored) = archive.find(source.name)? {
        return same(archive, stored, source);
    }
    let folder = archive.folder(source.name.timeline());
    if !folder.is_dir() {
        place::ensure_dir(&folder)?;
    }
    let plain = folder.join(source.name.to_string());
    let target = place::with_suffix(&plain, codec.kind.suffix());
    let nap = || pause(Duration::from_millis(20));
    let mut part = Part::claim(&place::with_suffix(&plain, place::PART), &target, nap)?;
    // whoever held the part file may have stored it, also with another codec
    if let Some(stored) = archive.find(source.name)? {
        drop(part);
        return same(archive, stored, source);
    }
    let list = match codec.kind {
        Kind::None => {
            let digest = copy(source, &part)?;
            let list = sums::add(&folder, source.name, digest);
            Some(list.map_err(|e| Error::io("write", sums::list(&folder, source.name).display(), &e))?)
        }
        _ => {
            let path = part.path().to_owned();
            pack(source, codec, &mut part, &path, threads)?;
            None
        }
    };
    sync(archive, &part, list.as_ref())?;
    match part.place_synced() {
        Ok(()) => Ok(Stored { name: source.name, path: target }),
        Err(error) => match archive.find(source.name)? {
            Some(stored) => same(archive, stored, source),
            None => Err(error),
        },
    }
}

/// Brings to stable storage what must be there before the file gets its name: itself, its digest, and
/// the name of its folder, which may be new, by us or by a run that was killed before it got here. All
/// at once: one after another, each would wait for the disk.
fn sync(archive: &Archive, part: &Part, list: Option<&File>) -> Result<()> {
    std::thread::scope(|scope| {
        let list = list.map(|list| scope.spawn(|| list.sync_all()));
        let folder = scope.spawn(|| place::sync_dir(archive.dir()));
        let failed = |_| Err(Error::no("cannot sync: a thread failed"));
        let file = part.sync();
        let list =
            list.map(|l| l.join().map(|synced| synced.map_err(|e| Error::io("sync", "the digests", &e))));
        let list = list.map_or(Ok(()), |l| l.unwrap_or_else(failed));
        file.and(list).and(folder.join().unwrap_or_else(failed))
    })
}

/// A file of that name is there already: it must have the same content, and be durable.
fn same(archive: &Archive, stored: Stored, source: &Source) -> Result<Stored> {
    let shown = stored.path.display().to_string();
    let (mut at, mut buffer, mut equal) = (0u64, Buffer::zeros(CHUNK), true);
    let read = archive.read(&stored, |bytes| {
        let end = at + bytes.len() as u64;
        let ours = &mut buffer[..bytes.len().min(CHUNK)];
        equal &= end <= source.bytes;
        if equal {
            source.file.read_exact_at(ours, at).map_err(|e| Error::io("read", &source.path, &e))?;
            equal = ours == bytes;
        }
        at = end;
        // to its end also where it differs: what is damaged is told as that, and not as another server's
        interrupted()
    });
    match read {
        Ok(_) if equal && at == source.bytes => {}
        Ok(_) => return Err(different(&source.path, &shown)),
        Err(Fault::Damaged(error)) => {
            return Err(Error::refused(format!(
                "cannot archive '{}': what stands there is damaged: {error}",
                source.path
            ))
            .hint("Move that file away; the server tries again, and a good copy takes its place."));
        }
        Err(fault) => return Err(fault.error()),
    }
    if Place::is(&stored.path) {
        return Ok(stored);
    }
    // whoever put it there may have been killed, or lost its machine, before it was durable
    File::open(&stored.path).and_then(|f| f.sync_all()).map_err(|e| Error::io("sync", &shown, &e))?;
    place::sync_dir(archive.dir())?;
    place::sync_dir(place::parent(&stored.path))?;
    Ok(stored)
}

fn different(path: &str, stored: &str) -> Error {
    Error::refused(format!("cannot archive '{path}': '{stored}' is there, with other content"))
        .hint("A server that was cloned, or brought back without a timeline of its own, writes other content under the same names: give it an archive of its own.")
}

/// Copies the file as cp does, within the kernel where that can be, and meanwhile digests what is there by
/// then: the digest is that of what is stored, whatever happens to the source.
fn copy(source: &Source, part: &Part) -> Result<u128> {
    std::thread::scope(|scope| {
        let (copied, there) = channel();
        let digest = scope.spawn(move || digest(part.file(), source.bytes, there));
        let copied = copy_all(source, part, copied);
        let digest = digest.join().unwrap_or_else(|_| Err(Error::no("cannot read: a thread failed")));
        copied.and(digest)
    })
}

/// Says by `told` how far it has come.
fn copy_all(source: &Source, part: &Part, told: Sender<u64>) -> Result<()> {
    let fail = |e| Error::io("write", part.path().display(), &e);
    let (mut from, mut to, mut at) = (&source.file, part.file(), 0);
    while at < source.bytes {
        interrupted()?;
        from.seek(SeekFrom::Start(at)).map_err(|e| Error::io("read", &source.path, &e))?;
        let before = at;
        let copied = io::copy(&mut from.take(PIECE.min(source.bytes - at)), &mut to);
        // also of what was interrupted, some may be there
        at = to.stream_position().map_err(fail)?;
        match copied {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(fail(e)),
            Ok(_) if at > before => {}
            Ok(_) => return Err(Error::no(format!("cannot read '{}': it is shorter by now", source.path))),
        }
        // nobody listens who has failed
        let _ = told.send(at);
    }
    Ok(())
}

/// Digests a file of `bytes` that somebody writes, who tells how far it is `there`.
fn digest(file: &File, bytes: u64, there: impl IntoIterator<Item = u64>) -> Result<u128> {
    let (mut digest, mut buffer, mut at) = (Xxh3::new(), Buffer::zeros(CHUNK), 0);
    for end in there {
        while at < end.min(bytes) {
            let length = (end - at).min(CHUNK as u64) as usize;
            let piece = &mut buffer[..length];
            file.read_exact_at(piece, at).map_err(|e| Error::io("read", "what was stored", &e))?;
            digest.update(piece);
            at += length as u64;
        }
    }
    Ok(digest.digest128())
}

/// Compresses the file piece by piece, each of the threads every so many-th. The server waits for it: unlike a
/// dump's, these threads do not step back behind it.
fn pack(source: &Source, codec: Codec, to: &mut impl Write, path: &Path, threads: usize) -> Result<()> {
    let pieces = source.bytes.div_ceil(PIECE);
    let work = |first: usize, ready: SyncSender<write::Packed>| {
        let mut packer = write::packer(codec);
        for piece in (first as u64..pieces).step_by(threads) {
            let mut raw = Buffer::zeros(PIECE as usize);
            let length = read(source, piece * PIECE, &mut raw).map(<[u8]>::len);
            let packed = length.and_then(|length| {
                raw.truncate(length);
                packer(raw)
            });
            // nobody wants the rest
            if ready.send(packed).is_err() {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        let start = |first| {
            let (ready, packed) = sync_channel(1);
            scope.spawn(move || work(first, ready));
            packed
        };
        let threads: Vec<Receiver<write::Packed>> = (0..threads).map(start).collect();
        for packed in threads.iter().cycle().take(pieces as usize) {
            interrupted()?;
            let failed = |_| Err(Error::no("cannot compress: a thread failed"));
            let (_, packed) = packed.recv().unwrap_or_else(failed)?;
            to.write_all(&packed).map_err(|e| Error::io("write", path.display(), &e))?;
        }
        Ok(())
    })
}

fn cores() -> usize {
    // more pieces at a time take more memory
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

fn read<'a>(source: &Source, at: u64, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let length = (source.bytes - at).min(buffer.len() as u64) as usize;
    let piece = &mut buffer[..length];
    source.file.read_exact_at(piece, at).map_err(|e| Error::io("read", &source.path, &e))?;
    Ok(piece)
}
