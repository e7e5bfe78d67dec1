//! A snapshot of a server that runs, from the stream of `pg_basebackup`: what may be far away, or on files that
//! we may not read. It needs a role that may replicate, and nothing of the data directory.
//!
//! The stream is a tar of its own (`-D - -Ft`), with the label first, the log that a recovery needs and the
//! control file behind the data, and last of all PostgreSQL's manifest, which tells where the backup ends.

use std::io::{self, Cursor, Read};
use std::process::Stdio;

use kit::child::Child;
use kit::exit::{Error, Result};
use kit::guard::{For, guard};
use kit::pg::Server;
use kit::place::Part;
use kit::settings::Settings;
use kit::volume::control::{Control, FILE, Lsn};
use kit::volume::entry::relative;
use kit::volume::set::{Archive, Content, Data, WalRange};
use kit::volume::tar::{BLOCK, Entry, Reader, Sink};
use kit::volume::{Volume, tar};
use kit::wal::base::Base;
use kit::wal::name::Segment;
use serde::Deserialize;

use crate::cli::TOOL;
use crate::inspect::{Files, Seen, Source};
use crate::take::Taking;

/// The oldest server that writes a manifest.
const OLDEST: u32 = 130_000;
const PROGRAM: &str = "pg_basebackup";
/// Files that tell of the backup: their last bytes are kept. A label has fewer, and what is looked for in a manifest, which
/// grows with the number of files, stands at its end.
const TELLING: [&str; 3] = ["backup_label", FILE, "backup_manifest"];
const KEPT: usize = 8192;

/// The server to take it of.
///
/// # Errors
/// It is of a kind that cannot be streamed whole.
pub(crate) fn server() -> Result<Server> {
    let server = Server::find(None, &Settings::load()?, None)?;
    let how = "Take the snapshot with --hot alone, where its files are.";
    if server.facts().version < OLDEST {
        let what = format!("PostgreSQL {} writes no manifest of a backup", server.facts().version_text);
        return Err(Error::refused(what).hint(how));
    }
    if server.facts().in_recovery {
        return Err(Error::refused("the server is a standby").hint("Take the snapshot of the primary."));
    }
    let sql = "SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global');";
    if let Some(space) = server.query(&server.facts().database, sql)?.into_iter().flatten().next() {
        let what = format!("one stream holds no tablespaces, and the server has '{space}'");
        return Err(Error::refused(what).hint(how));
    }
    let sql =
        "SELECT rolname FROM pg_roles WHERE rolname = current_user AND NOT (rolreplication OR rolsuper);";
    if let Some(role) = server.query(&server.facts().database, sql)?.into_iter().flatten().next() {
        return Err(Error::no(format!("role '{role}' may not replicate"))
            .hint("Its attribute REPLICATION is missing; ALTER ROLE … REPLICATION gives it."));
    }
    Ok(server)
}

/// The volume to which the snapshot belongs: where it is put back, and not looked at.
pub(crate) fn source(word: &str) -> Result<Source> {
    let here = std::env::current_dir().map_err(|e| Error::io("find", "the working directory", &e))?;
    let volume = Volume::parse(word, &here).map_err(kit::cli::usage)?;
    Ok(Source { volume, files: Files::Here(Default::default()), services: Vec::new() })
}

/// Reads the stream into an archive.
pub(crate) fn read(
    taking: &Taking<'_>,
    source: &Source,
    server: &Server,
) -> Result<(Vec<Part>, Vec<Archive>, Option<WalRange>)> {
    let _guard = guard(server, &server.facts().database, For::Backup, TOOL)?;
    let mode =
        server.query(&server.facts().database, "SELECT current_setting('data_directory_mode');")?.concat();
    let label = format!("--label={TOOL}");
    // the log comes along, kept by nothing but its being recent
    let options =
        ["--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--no-sync", &label];
    let mut command = server.via().run(PROGRAM).connecting().args(options).command();
    let mut child = Child::spawn(&mut command, PROGRAM, Stdio::null(), Stdio::piped())?;
    let mut stream = child.stdout().ok_or_else(|| Error::no(format!("cannot read from {PROGRAM}")))?;
    let mut first = Vec::new();
    stream.by_ref().take(BLOCK as u64).read_to_end(&mut first).map_err(|e| Error::io("read", PROGRAM, &e))?;
    let root = if first.len() == BLOCK { root(&first, &mode)? } else { Vec::new() };
    let stream = Cursor::new([root, first].concat()).chain(stream);
    let mut overheard = Overheard { inner: stream, reader: Reader::default(), told: Told::default() };
    let ended = || {
        let ended = child.wait()?;
        if ended.ok() { Ok(()) } else { Err(ended.error()) }
    };
    let seen = Seen { content: Content::Postgresql, data: Vec::new() };
    let (part, mut archive) = taking.pack("reading", source, &seen, taking.limited(&mut overheard), ended)?;
    let (control, range) = overheard.told.end()?;
    archive.data = vec![Data { path: String::new(), control }];
    Ok((vec![part], vec![archive], Some(range)))
}

/// The entry of the data directory itself, which the stream lacks: of the owner of the first entry, which is the
/// server's own, and of the mode that the server tells, in octal digits.
fn root(first: &[u8], mode: &[String]) -> Result<Vec<u8>> {
    let wrong = || Error::no(format!("{PROGRAM} does not tell whose the data are"));
    let mode = mode.first().and_then(|m| u32::from_str_radix(m, 8).ok()).ok_or_else(wrong)?;
    let mut header = ::tar::Header::from_byte_slice(first).clone();
    header.set_path("./").map_err(|_| wrong())?;
    header.set_entry_type(::tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(mode);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

/// A reader of a tar that keeps what it tells of the backup.
struct Overheard<R> {
    inner: R,
    reader: Reader,
    told: Told,
}

impl<R: Read> Read for Overheard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.reader.feed(&buffer[..n], &mut self.told).map_err(io::Error::other)?;
        Ok(n)
    }
}

/// The last bytes of each of [`TELLING`].
#[derive(Default)]
struct Told {
    files: [Vec<u8>; 3],
    /// Which of them the entry is that is being read.
    now: Option<usize>,
}

impl Sink for Told {
    fn begin(&mut self, entry: &Entry) -> Result<()> {
        let path = relative(&entry.path).unwrap_or_default();
        let telling = || TELLING.iter().position(|name| path.as_os_str() == *name);
        self.now = (entry.kind == tar::Kind::File).then(telling).flatten();
        Ok(())
    }

    fn data(&mut self, _: u64, bytes: &[u8]) -> Result<()> {
        if let Some(now) = self.now {
            let kept = &mut self.files[now];
            kept.extend_from_slice(bytes);
            kept.drain(..kept.len().saturating_sub(KEPT));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.now = None;
        Ok(())
    }
}

/// What PostgreSQL's manifest says of the log (manual, "Backup Manifest Format").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    timeline: u32,
    #[serde(rename = "End-LSN")]
    end: Lsn,
}

impl Told {
    fn end(self) -> Result<(Control, WalRange)> {
        let [label, control, manifest] = self.files;
        let wrong = |what: &str, why: &str| Error::no(format!("the backup's {what}: {why}"));
        let base = Base::parse(&String::from_utf8_lossy(&label)).map_err(|e| wrong(TELLING[0], &e))?;
        let control = Control::parse(&control).map_err(|e| wrong(TELLING[1], e))?;
        let stop = last(&String::from_utf8_lossy(&manifest), base.timeline)
            .ok_or_else(|| wrong(TELLING[2], "it does not tell where the backup ends"))?;
        let segment = |lsn| Segment::at(base.timeline, lsn, control.segment_bytes.into()).to_string();
        let range = WalRange {
            timeline: base.timeline,
            start: base.start,
            stop,
            first: segment(base.start),
            last: segment(Lsn(stop.0 - 1)),
            included: true,
        };
        Ok((control, range))
    }
}

/// Where a backup on `timeline` ends, by the end of its manifest.
fn last(manifest: &str, timeline: u32) -> Option<Lsn> {
    let (_, ranges) = manifest.rsplit_once("\"WAL-Ranges\":")?;
    let ranges: Vec<Range> = serde_json::Deserializer::from_str(ranges).into_iter().next()?.ok()?;
    ranges.into_iter().find(|r| r.timeline == timeline && r.end.0 > 0).map(|r| r.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_manifest_tells_the_end_of_the_backup() {
        let text = "est\": \"x\", \"Size\": 1 }],\n\"WAL-Ranges\": [\n\
            { \"Timeline\": 2, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }\n],\n\
            \"Manifest-Checksum\": \"00\"}\n";
        assert_eq!(last(text, 2), Some(Lsn(0x200_0100)));
        assert_eq!((last(text, 1), last("{}", 2), last(&text[..80], 2)), (None, None, None));
    }
}
