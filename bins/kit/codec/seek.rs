//! Reading a few stretches of a compressed file: only the pieces that hold them are inflated.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use super::ordered::{ordered, workers};
use super::read::{Index, Piece, inflater};
use super::{Frame, Kind};
use crate::buffer::Buffer;
use crate::child::interrupted;
use crate::digest;
use crate::exit::{Error, Result};
use crate::medium::Medium;

/// A dump of which any thread can read any stretch, without the help of others.
#[derive(Clone)]
pub struct Stretches {
    pub(crate) file: Arc<dyn Medium>,
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    /// Where its pieces begin.
    pub(crate) frames: Arc<[Frame]>,
    pub(crate) raw_bytes: u64,
    /// Of each piece its [`digest::quick`], where that is known.
    pub(crate) sums: Arc<[u64]>,
}

impl Stretches {
    /// The same, of which every piece must be what it was when it gave these sums, see
    /// [`super::read::Seen::pieces`].
    pub fn known_by(self, sums: Vec<u64>) -> Self {
        Stretches { sums: sums.into(), ..self }
    }

    /// One who reads.
    pub fn reader(&self) -> Reader {
        let inflate = Box::new(inflater(self.kind, &self.name));
        Reader { of: self.clone(), inflate, last: None }
    }

    /// Raw bytes of the whole.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }
}

/// Reads stretches, one after the other.
pub struct Reader {
    of: Stretches,
    inflate: Box<dyn FnMut(Piece) -> Result<Buffer> + Send>,
    /// The latest piece and its place; the next stretch may begin in it.
    last: Option<(usize, Buffer)>,
}

impl Reader {
    /// Hands `sink` the raw bytes of `range`.
    ///
    /// # Errors
    /// [`crate::exit::Code::No`] when a piece is damaged or was changed, or the range lies beyond the end;
    /// what `sink` answers; a signal.
    pub fn read(&mut self, range: &Range<u64>, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Stretches { file, name, frames, raw_bytes, sums, .. } = &self.of;
        let fail = |e| Error::io("read", name, &e);
        if range.end > *raw_bytes {
            return Err(Error::no(format!("'{name}' has no bytes {} to {}", range.start, range.end)));
        }
        let index = Index { frames, raw_bytes: *raw_bytes };
        let bytes = file.bytes().map_err(fail)?;
        for i in needed(index, std::slice::from_ref(range)) {
            interrupted()?;
            let begin = frames[i];
            if self.last.as_ref().is_none_or(|(at, _)| *at != i) {
                let end = end_of(index, begin, bytes);
                let mut packed = Buffer::zeros((end.0 - begin.0) as usize);
                file.read_exact_at(&mut packed, begin.0).map_err(fail)?;
                if !sums.is_empty() && sums.get(i) != Some(&digest::quick(&packed)) {
                    return Err(Error::no(format!("'{name}' was changed by somebody while it was read")));
                }
                let piece = Piece { offset: begin.0, packed, raw_bytes: (end.1 - begin.1) as usize };
                self.last = Some((i, (self.inflate)(piece)?));
            }
            let Some((_, raw)) = &self.last else { continue };
            let (start, end) = (range.start.max(begin.1), range.end.min(begin.1 + raw.len() as u64));
            if start < end {
                sink(&raw[(start - begin.1) as usize..(end - begin.1) as usize])?;
            }
        }
        Ok(())
    }
}

/// Hands `sink` the raw bytes of each of `ranges`, which must ascend and not overlap, with the
/// place of the range in the list. Pieces are inflated on all cores, each once.
///
/// # Errors
/// [`crate::exit::Code::No`] when a piece is damaged or a range lies beyond the end; what `sink`
/// answers; a signal.
pub fn ranges(
    file: &dyn Medium,
    name: &str,
    kind: Kind,
    index: Index<'_>,
    ranges: &[Range<u64>],
    mut sink: impl FnMut(usize, &[u8]) -> Result<()> + Send,
) -> Result<()> {
    let bytes = file.bytes().map_err(|e| Error::io("read", name, &e))?;
    if let Some(beyond) = ranges.iter().find(|r| r.end > index.raw_bytes) {
        return Err(Error::no(format!("'{name}' has no bytes {} to {}", beyond.start, beyond.end)));
    }
    let needed = needed(index, ranges);
    let piece = |i: &usize| (index.frames[*i], end_of(index, index.frames[*i], bytes));
    let stretches: Vec<Range<u64>> = needed.iter().map(piece).map(|(begin, end)| begin.0..end.0).collect();
    let (mut next, mut reader) = (needed.iter().map(piece), file.stretches(&stretches));
    let take = || {
        interrupted()?;
        let Some((begin, end)) = next.next() else { return Ok(None) };
        let mut packed = Buffer::zeros((end.0 - begin.0) as usize);
        reader.read_exact(&mut packed).map_err(|e| Error::io("read", name, &e))?;
        let piece = Piece { offset: begin.0, packed, raw_bytes: (end.1 - begin.1) as usize };
        Ok(Some((begin.1, piece)))
    };
    let worker = || {
        let mut inflate = inflater(kind, name);
        move |(at, piece): (u64, Piece)| inflate(piece).map(|raw| (at, raw))
    };
    let mut first = 0;
    let hand_on = |(at, raw): (u64, Buffer)| {
        let piece = at..at + raw.len() as u64;
        while ranges.get(first).is_some_and(|r| r.end <= piece.start) {
            first += 1;
        }
        for (i, range) in ranges.iter().enumerate().skip(first) {
            if range.start >= piece.end {
                break;
            }
            let (start, end) = (range.start.max(piece.start), range.end.min(piece.end));
            if start < end {
                sink(i, &raw[(start - at) as usize..(end - at) as usize])?;
            }
        }
        Ok(())
    };
    // threads cost more than they bring where there is little to do
    ordered(if needed.len() > 2 { workers() } else { 1 }, take, worker, hand_on)
}

/// The stretches of raw bytes whose pieces can be inflated, each as long as it can be.
///
/// # Errors
/// When the file cannot be read at all; a signal. Damage is no error.
pub fn intact(file: &dyn Medium, name: &str, kind: Kind, index: Index<'_>) -> Result<Vec<Range<u64>>> {
    let bytes = file.bytes().map_err(|e| Error::io("read", name, &e))?;
    let mut frames = index.frames.iter();
    let take = || {
        interrupted()?;
        let Some(begin) = frames.next() else { return Ok(None) };
        let next = index.frames.partition_point(|f| f.0 <= begin.0);
        let raw_end = index.frames.get(next).map_or(index.raw_bytes, |f| f.1);
        let end = index.frames.get(next).map_or(bytes.max(begin.0), |f| f.0);
        // what is not there, or cannot be read, is as lost as what cannot be inflated
        let there = end <= bytes;
        let mut packed = Buffer::zeros(if there { (end - begin.0) as usize } else { 0 });
        let read = if there { file.read_exact_at(&mut packed, begin.0) } else { Ok(()) };
        // … but not what a store that is away does not give
        if let Some(error) = read.as_ref().err().and_then(Error::within_io) {
            return Err(error);
        }
        let piece = Piece { offset: begin.0, packed, raw_bytes: (raw_end - begin.1) as usize };
        Ok(Some((begin.1..raw_end, (there && read.is_ok()).then_some(piece))))
    };
    let worker = || {
        let mut inflate = inflater(kind, name);
        move |(raw, piece): (Range<u64>, Option<Piece>)| {
            Ok((raw, piece.is_some_and(|piece| inflate(piece).is_ok())))
        }
    };
    let mut good: Vec<Range<u64>> = Vec::new();
    let collect = |(raw, fine): (Range<u64>, bool)| {
        match good.last_mut() {
            Some(last) if fine && last.end == raw.start => last.end = raw.end,
            _ if fine => good.push(raw),
            _ => {}
        }
        Ok(())
    };
    ordered(workers(), take, worker, collect)?;
    Ok(good)
}

/// The places of the pieces that hold anything of `ranges`, ascending.
fn needed(index: Index<'_>, ranges: &[Range<u64>]) -> Vec<usize> {
    let mut needed: Vec<usize> = Vec::new();
    for range in ranges.iter().filter(|r| r.start < r.end) {
        let first = index.frames.partition_point(|f| f.1 <= range.start).saturating_sub(1);
        let last = index.frames.partition_point(|f| f.1 < range.end);
        let first = needed.last().map_or(first, |n| first.max(n + 1));
        needed.extend(first..last);
    }
    needed
}

fn end_of(index: Index<'_>, begin: Frame, bytes: u64) -> Frame {
    let next = index.frames.partition_point(|f| f.0 <= begin.0);
    index.frames.get(next).copied().unwrap_or(Frame(bytes, index.raw_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pieces_that_hold_something_are_read() {
        let frames = [Frame(0, 0), Frame(10, 100), Frame(20, 200), Frame(30, 300)];
        let index = Index { frames: &frames, raw_bytes: 400 };
        let needed = |ranges: &[(u64, u64)]| {
            let ranges: Vec<Range<u64>> = ranges.iter().map(|(a, b)| *a..*b).collect();
            super::needed(index, &ranges)
        };
        assert_eq!(needed(&[(0, 1)]), [0]);
        assert_eq!(needed(&[(99, 100)]), [0]);
        assert_eq!(needed(&[(99, 101), (150, 200)]), [0, 1]);
        assert_eq!(needed(&[(100, 100), (210, 220), (230, 301)]), [2, 3]);
        assert_eq!(needed(&[(0, 400)]), [0, 1, 2, 3]);
        assert_eq!(end_of(index, Frame(10, 100), 40), Frame(20, 200));
        assert_eq!(end_of(index, Frame(30, 300), 40), Frame(40, 400));
    }
}
