//! One volume into one archive: a single pass, checked on the way as a restore will check it.

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
use kit::volume::set::{self, Archive, Artifact};
use kit::volume::tar::Reader;

use crate::inspect::{Seen, Source};
use crate::tree::Tree;

/// What all archives of a run have in common.
pub(crate) struct Taking<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) stamp: Stamp,
    pub(crate) codec: Codec,
    pub(crate) speech: &'a Speech,
}

impl Taking<'_> {
    /// Archives a volume; `read` is called once its last byte has been read, before that is proven.
    pub(crate) fn take(
        &self,
        source: &Source,
        seen: &Seen,
        read: impl FnOnce() -> Result<()>,
    ) -> Result<(Part, Archive)> {
        let label = &source.volume.label;
        self.speech.phase(&format!("reading {}", source.volume.place));
        let name = set::archive_name(self.stamp, label, self.codec.kind);
        let path = self.dir.join(&name);
        let part = Part::create(&path)?;
        let mut tree = Tree::open(&source.root)?;
        let (mut reader, mut check, mut wrong) = (Reader::default(), Check::default(), None);
        let progress = Progress::start(&format!("reading {label}"), None, self.speech.is_quiet());
        // what a restore would refuse is refused now
        let look = |bytes: &[u8], _: &mut Vec<u64>| {
            progress.advance(bytes.len() as u64);
            if wrong.is_none() {
                wrong = reader.feed(bytes, &mut check).err();
            }
        };
        let stream = AtEnd { inner: &mut tree, then: Some(read) };
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
            left_out: tree.left_out(),
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
