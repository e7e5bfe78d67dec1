//! One volume into one archive: a single pass, checked on the way as a restore will check it. Where services wait
//! for it, the volume is only copied first, and the pass is over the copy.

use std::io::{self, Read};
use std::path::Path;

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
use crate::spool::{Pace, Spool, Spooled};
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
                let (part, archive) = self.pack("reading", source, seen, self.limited(&mut tree), read)?;
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
                let (part, archive) = self.pack("reading", source, seen, self.limited(&mut tar), ended)?;
                (part, archive, tar.left_out(&said))
            }
        };
        archive.left_out = left_out;
        Ok((part, archive))
    }

    /// Puts a volume aside, to be archived when services run again; `None`: the disk is too full for that.
    pub(crate) fn set_aside(&self, source: &Source) -> Result<Option<Aside>> {
        self.speech.phase(&format!("copying {}", source.volume.place));
        let mut spool = Spool::create(self.dir, self.limit)?;
        match copy(source, &mut spool) {
            Ok((spooled, left_out)) => Ok(Some(Aside { spooled, left_out })),
            Err(_) if spool.is_full() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Archives what was put aside.
    pub(crate) fn archive(&self, source: &Source, seen: &Seen, aside: Aside) -> Result<(Part, Archive)> {
        let (part, mut archive) = self.pack("compressing", source, seen, aside.spooled, || Ok(()))?;
        archive.left_out = aside.left_out;
        Ok((part, archive))
    }

    /// A tar that is read no faster than it may be.
    pub(crate) fn limited<R>(&self, inner: R) -> impl Read + use<R>
    where
        R: Read,
    {
        Limited { inner, pace: Pace::new(self.limit) }
    }

    /// Archives a tar as it comes, which is told as `verb`; the rest as for [`Taking::take`].
    pub(crate) fn pack(
        &self,
        verb: &str,
        source: &Source,
        seen: &Seen,
        tar: impl Read,
        read: impl FnOnce() -> Result<()>,
    ) -> Result<(Part, Archive)> {
        let label = &source.volume.label;
        self.speech.phase(&format!("{verb} {}", source.volume.place));
        let name = set::archive_name(self.stamp, label, self.codec.kind);
        let path = self.dir.join(&name);
        let part = Part::create(&path)?;
        let (mut reader, mut check, mut wrong) = (Reader::default(), Check::default(), None);
        let progress = Progress::start(&format!("{verb} {label}"), None, self.speech.is_quiet());
        // what a restore would refuse is refused now
        let look = |bytes: &[u8], _: &mut Vec<u64>| {
            progress.advance(bytes.len() as u64);
            if wrong.is_none() {
                wrong = reader.feed(bytes, &mut check).err();
            }
        };
        let stream = AtEnd { inner: tar, then: Some(read) };
        let written = write(self.codec, stream, look, part.file(), &name)?;
        wrong.map_or_else(|| reader.finish(), Err).map_err(|e: Error| {
            e.within(format!("cannot archive {}", source.volume.place))
                .hint("It could not be put back: rename or remove that entry.")
        })?;
        let found = check.found();
        let archive = Archive {
            label: label.clone(),
            is_named: Some(source.volume.is_named),
            place: source.volume.place.to_string(),
            services: source.services.clone(),
            content: seen.content,
            data: seen.data.clone(),
            file: Artifact { name, bytes: written.bytes, sha256: written.sha256, codec: self.codec.kind },
            raw_bytes: written.raw_bytes,
            entries: found.entries,
            content_bytes: found.content_bytes,
            log_bytes: Some(found.log_bytes),
            links: found.links,
            left_out: Vec::new(),
            frames: if self.codec.kind == Kind::None { Vec::new() } else { written.frames },
        };
        Ok((part, archive))
    }
}

/// A volume that was put aside.
pub(crate) struct Aside {
    spooled: Spooled,
    /// Paths that are not in it.
    left_out: Vec<String>,
}

/// Puts the tar of a volume into `spool`; with it what was left out.
fn copy(source: &Source, spool: &mut Spool) -> Result<(Spooled, Vec<String>)> {
    let left_out = match &source.files {
        Files::Here(root) => {
            let mut tree = Tree::open(root)?;
            tree.spool(spool)?;
            tree.left_out()
        }
        Files::Behind(helper) => {
            let mut running = helper.read(helper::PACK)?;
            let mut tar = Repack::new(running.stdout()?);
            spool.add_all(&mut tar)?;
            tar.left_out(&running.end()?)
        }
    };
    Ok((spool.end()?, left_out))
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
    pace: Pace,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pace.wait().map_err(io::Error::other)?;
        let n = self.inner.read(buffer)?;
        self.pace.add(n as u64);
        Ok(n)
    }
}
