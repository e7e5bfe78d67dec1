//! An archive into a directory of an engine's, through a container, and read again through one.

use std::io::{Read, Write};

use kit::buffer::Buffer;
use kit::child::interrupted;
use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::progress::Progress;
use kit::volume::helper::{self, Helper};
use kit::volume::set::Archive;
use kit::volume::tar::{Entry, Kind, Reader, Sink};
use kit::volume::verify::{Proven, pour};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Fills what `helper` reaches, which is empty, and proves that it holds what was put into it; messages call it `what`.
pub(crate) fn fill(
    helper: &Helper,
    archive: &Archive,
    proven: &Proven,
    what: &str,
    speech: &Speech,
) -> Result<()> {
    speech.phase(&format!("filling {what}"));
    let progress = |verb: &str| {
        let title = format!("{verb} {}", archive.label);
        Progress::start(&title, Some(archive.raw_bytes), speech.is_quiet())
    };
    let wanted = write(helper, archive, proven, &progress("filling"))?;
    let there = read(helper, &progress("reading"))?;
    if there != wanted {
        return Err(Error::no(format!("{what} does not hold what was put into it")));
    }
    Ok(())
}

/// Fills a directory; the sum of what it should hold then.
fn write(helper: &Helper, archive: &Archive, proven: &Proven, progress: &Progress) -> Result<Sum> {
    let mut running = helper.unpack()?;
    let mut stdin = running.stdin()?;
    let (mut reader, mut sum, mut closed) = (Reader::default(), Sum::default(), false);
    let poured = pour(&proven.file, &archive.file.name, archive, |bytes| {
        progress.advance(bytes.len() as u64);
        reader.feed(bytes, &mut sum)?;
        stdin.write_all(bytes).map_err(|e| {
            closed = true;
            Error::io("write to", "the container", &e)
        })
    });
    drop(stdin);
    interrupted()?;
    // whoever closed his input tells why
    if poured.is_ok() || closed {
        running.end()?;
    }
    poured.map(|()| sum)
}

/// The sum of what a directory holds.
fn read(helper: &Helper, progress: &Progress) -> Result<Sum> {
    let mut running = helper.read(helper::PACK)?;
    let mut stdout = running.stdout()?;
    let (mut reader, mut sum) = (Reader::default(), Sum::default());
    let mut chunk = Buffer::zeros(256 << 10);
    loop {
        let n = stdout.read(&mut chunk).map_err(|e| {
            interrupted().err().unwrap_or_else(|| Error::io("read from", "the container", &e))
        })?;
        if n == 0 {
            break;
        }
        progress.advance(n as u64);
        reader.feed(&chunk[..n], &mut sum)?;
    }
    running.end()?;
    reader.finish()?;
    Ok(sum)
}

/// A sum of names and contents, in whatever order they come: that of a disk is its own, and which of several
/// names of a file has its content is told by that order. Times are not in it, which tars keep to a different fineness.
#[derive(Default)]
struct Sum {
    entries: u64,
    paths: u64,
    contents: u64,
    file: Option<(Box<Xxh3>, u64, u64)>,
}

impl PartialEq for Sum {
    fn eq(&self, other: &Self) -> bool {
        (self.entries, self.paths, self.contents) == (other.entries, other.paths, other.contents)
    }
}

impl Sink for Sum {
    fn begin(&mut self, entry: &Entry) -> Result<()> {
        let path = kit::volume::entry::relative(&entry.path).map_err(Error::no)?;
        self.entries += 1;
        self.paths = self.paths.wrapping_add(xxh3_64(path.as_os_str().as_encoded_bytes()));
        if entry.kind == Kind::HardLink {
            return Ok(());
        }
        let mut hash = Box::new(Xxh3::new());
        let link: &[u8] = if entry.kind == Kind::Symlink { &entry.link } else { &[] };
        hash.update(format!("{:?} {:o} {} {} ", entry.kind, mode(entry), entry.uid, entry.gid).as_bytes());
        hash.update(link);
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        self.file = Some((hash, 0, size));
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if let Some((hash, at, _)) = &mut self.file {
            zeros(hash, offset - *at);
            hash.update(bytes);
            *at = offset + bytes.len() as u64;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some((mut hash, at, size)) = self.file.take() {
            zeros(&mut hash, size - at);
            self.contents = self.contents.wrapping_add(hash.digest());
        }
        Ok(())
    }
}

/// The mode of an entry; that of a link is nobody's.
fn mode(entry: &Entry) -> u32 {
    if entry.kind == Kind::Symlink { 0 } else { entry.mode }
}

/// What a hole reads as.
fn zeros(hash: &mut Xxh3, mut n: u64) {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while n > 0 {
        let some = n.min(ZEROS.len() as u64);
        hash.update(&ZEROS[..some as usize]);
        n -= some;
    }
}
