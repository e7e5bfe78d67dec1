//! One volume into one archive: a single pass, checked on the way as a restore will check it.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use kit::codec::write::write;
use kit::codec::{Codec, Kind};
use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::place::Part;
use kit::progress::Progress;
use kit::stamp::Stamp;
use kit::volume::entry::Check;
use kit::volume::helper;
use kit::volume::set::{self, Archive, Artifact};
use kit::volume::tar::Reader;

use crate::inspect::{Files, Seen, Source};
use crate::repack::Repack;
use crate::tree::{Live, Tree};

/// What all archives of a run have in common.
pub(crate) struct Taking<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) stamp: Stamp,
    pub(crate) codec: Codec,
    /// Bytes that may be read in a second.
    pub(crate) limit: Option<u64>,
    pub(crate) speech: &'a Speech,
}

impl Taking<'_> {
    /// Archives a volume, `live` if a server runs on it; `read` is called once its last byte has been read, before that is proven.
    pub(crate) fn take(
        &self,
        source: &Source,
        seen: &Seen,
        live: Option<Live>,
        read: impl FnOnce() -> Result<()>,
    ) -> Result<(Part, Archive)> {
        let (part, mut archive, left_out) = match &source.files {
            Files::Here(root) => {
                let mut tree = Tree::open(root)?.with(live);
                let (part, archive) = self.pack(source, seen, &mut tree, read)?;
                (part, archive, tree.left_out())
            }
            Files::Behind(helper) => {
                let mut running = helper.read(helper::PACK)?;
                let mut tar = Repack::new(running.stdout()?);
                let mut said = Vec::new();
                let ended = || {
                    said = running.end()?;
                    read()
                };
                let (part, archive) = self.pack(source, seen, &mut tar, ended)?;
                (part, archive, tar.left_out(&said))
            }
        };
        archive.left_out = left_out;
        Ok((part, archive))
    }

    /// Archives a tar as it comes; the rest as for [`Taking::take`].
    pub(crate) fn pack(
        &self,
        source: &Source,
        seen: &Seen,
        tar: impl Read,
        read: impl FnOnce() -> Result<()>,
    ) -> Result<(Part, Archive)> {
        let label = &source.volume.label;
        self.speech.phase(&format!("reading {}", source.volume.place));
        let name = set::archive_name(self.stamp, label, self.codec.kind);
        let path = self.dir.join(&name);
        let part = Part::create(&path)?;
        let (mut reader, mut check, mut wrong) = (Reader::default(), Check::default(), None);
        let progress = Progress::start(&format!("reading {label}"), None, self.speech.is_quiet());
        // what a restore would refuse is refused now
        let look = |bytes: &[u8], _: &mut Vec<u64>| {
            progress.advance(bytes.len() as u64);
            if wrong.is_none() {
                wrong = reader.feed(bytes, &mut check).err();
            }
        };
        let slow = Limited { inner: tar, rate: self.limit, begun: Instant::now(), read: 0 };
        let stream = AtEnd { inner: slow, then: Some(read) };
        let written = write(self.codec, stream, look, part.file(), &name)?;
        wrong.map_or_else(|| reader.finish(), Err).map_err(|e: Error| {
            e.within(format!("cannot archive {}", source.volume.place))
                .hint("It could not be put back: rename or remove that entry.")
        })?;
        let found = check.found();
        let archive = Archive {
            label: label.clone(),
            place: source.volume.place.to_string(),
            services: source.services.clone(),
            content: seen.content,
            data: seen.data.clone(),
            file: Artifact { name, bytes: written.bytes, sha256: written.sha256, codec: self.codec.kind },
            raw_bytes: written.raw_bytes,
            entries: found.entries,
            content_bytes: found.content_bytes,
            links: found.links,
            left_out: Vec::new(),
            frames: if self.codec.kind == Kind::None { Vec::new() } else { written.frames },
        };
        Ok((part, archive))
    }
}

/// A reader that does something once when its end is reached.
struct AtEnd<R, F> {
    inner: R,
    then: Option<F>,
}

impl<R: Read, F: FnOnce() -> Result<()>> Read for AtEnd<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n == 0
            && !buffer.is_empty()
            && let Some(then) = self.then.take()
        {
            then().map_err(io::Error::other)?;
        }
        Ok(n)
    }
}

/// A reader that takes its time.
struct Limited<R> {
    inner: R,
    /// Bytes a second; `None`: as fast as it goes.
    rate: Option<u64>,
    begun: Instant,
    read: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(rate) = self.rate.filter(|rate| *rate > 0) {
            let due = Duration::from_secs_f64(self.read as f64 / rate as f64);
            if let Some(early) = due.checked_sub(self.begun.elapsed()) {
                kit::child::pause(early).map_err(io::Error::other)?;
            }
        }
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        Ok(n)
    }
}
