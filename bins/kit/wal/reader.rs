//! Reads segments of an archive one after another as the one log that they are.

use super::archive::{Archive, Fault, Proof, Stored};
use super::header::Header;
use super::name::{Lsn, Segment};
use super::record::{Broken, Event, Walker};
use crate::exit::Error;

/// How a segment was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What speaks for its bytes.
    pub proof: Proof,
    /// Whether the log ends within it.
    pub ends: bool,
}

/// Follows the records from segment to segment.
pub struct Reader<'a> {
    archive: &'a Archive,
    walker: Option<(Walker, Segment)>,
    /// The log ended within the latest segment.
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Of this archive.
    pub fn new(archive: &'a Archive) -> Self {
        Reader { archive, walker: None, ended: false }
    }

    /// Where the latest whole record ended; `None` behind what could not be read.
    pub fn end(&self) -> Option<Lsn> {
        self.walker.as_ref().and_then(|(walker, _)| walker.end())
    }

    /// Reads a segment, proves it, and hands on what is of note in it. It goes on where the latest one
    /// ended, if that was the one before it on its timeline.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or its records are. The next one begins anew.
    pub fn read(&mut self, stored: &Stored, mut on: impl FnMut(Event)) -> Result<Seen, Fault> {
        let Some(segment) = stored.name.segment() else {
            return Err(Fault::Taker(Error::no(format!("{} is no segment", stored.name))));
        };
        let mut walker = None;
        let mut page_bytes = 0;
        let mut broken = None;
        let follows = |last: Segment| self.archive.segment_bytes().is_some_and(|b| last.next(b) == segment);
        let mut followed = self.walker.take().filter(|(_, last)| follows(*last) && !self.ended);
        let proof = self.archive.read(stored, |bytes| {
            if walker.is_none() {
                // what is no header is told when all is read
                let Ok(header) = Header::parse(bytes) else { return Ok(()) };
                page_bytes = header.block_bytes;
                walker =
                    followed.take().map(|(walker, _)| walker).or(Some(Walker::new(header.segment_bytes)));
            }
            let Some(walker) = walker.as_mut().filter(|_| broken.is_none()) else { return Ok(()) };
            broken = bytes.chunks_exact(page_bytes).find_map(|page| walker.page(page, &mut on).err());
            crate::child::interrupted()
        })?;
        let ends = match broken {
            None => false,
            Some(Broken::Ends(_)) => true,
            Some(Broken::Damaged(cause)) => {
                return Err(Fault::Damaged(Error::no(format!(
                    "'{}' is damaged: {cause}",
                    stored.path.display()
                ))));
            }
        };
        self.ended = ends;
        self.walker = walker.map(|walker| (walker, segment));
        Ok(Seen { proof, ends })
    }
}
