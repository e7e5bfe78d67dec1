//! An object as something to read from at any place.
//!
//! Its beginning is fetched when it is opened: that tells what it is, how long it is and which version of
//! it there is, in one request. From then on that version alone is read. Stretches that are told
//! beforehand are fetched ahead, several at a time; of each reader no more is held than is on its way.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use super::{Begun, RANGE, READERS, Store};
use crate::buffer::Buffer;
use crate::child::interrupted;
use crate::exit::{Error, Result};
use crate::medium::Medium;

/// How much is fetched first: the longest block of zstd, without which nothing of it inflates, and what
/// stands around it.
const HEAD: u64 = (128 << 10) + 512;
/// How much one request fetches ahead. [`READERS`] of them are held at a time, beside all that is inflated.
const PIECE: u64 = 2 << 20;
/// How long to wait before looking for a signal.
const LOOK: Duration = Duration::from_millis(100);

/// A version of an object.
pub struct Remote {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    /// It, and its first bytes: [`HEAD`] of them or all.
    begun: Begun,
}

impl Remote {
    /// The object of a key as it is now; `None` when the store says that there is none.
    ///
    /// # Errors
    /// Those of [`Store::look`].
    pub fn open(store: &Arc<Store>, key: &str) -> Result<Option<Self>> {
        let found = store.begin(key, HEAD)?;
        Ok(found.map(|begun| Remote { inner: Arc::new(Inner { store: store.clone(), begun }) }))
    }
}

impl Inner {
    /// A stretch that lies within the object.
    fn get(&self, from: u64, into: &mut [u8]) -> Result<()> {
        let first = usize::try_from(from).ok();
        let known = first.and_then(|from| self.begun.head.get(from..from.checked_add(into.len())?));
        match known {
            Some(known) => into.copy_from_slice(known),
            None => self.store.range(&self.begun.object, from, into)?,
        }
        Ok(())
    }
}

impl Medium for Remote {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.inner.begun.object.bytes)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let head = self.inner.begun.head.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
        let left = self.inner.begun.object.bytes.saturating_sub(at);
        let within = if head.is_empty() { left } else { head.len() as u64 };
        let n = within.min(into.len() as u64).min(RANGE) as usize;
        self.inner.get(at, &mut into[..n]).map_err(io::Error::other)?;
        Ok(n)
    }

    fn stretches(&self, stretches: &[Range<u64>]) -> Box<dyn Read + '_> {
        Box::new(Ahead::start(&self.inner, pieces(stretches, self.inner.begun.object.bytes)))
    }

    fn modified(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.inner.begun.modified?.unix()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

/// The requests for stretches of an object of `bytes`: those that touch are one, and the long ones several.
fn pieces(stretches: &[Range<u64>], bytes: u64) -> Vec<Range<u64>> {
    let mut pieces: Vec<Range<u64>> = Vec::new();
    for stretch in stretches {
        let (mut at, end) = (stretch.start, stretch.end.min(bytes));
        while at < end {
            let last = pieces.last_mut().filter(|p| p.end == at && p.end - p.start < PIECE);
            let from = last.as_ref().map_or(at, |p| p.start);
            let to = end.min(from + PIECE);
            match last {
                Some(piece) => piece.end = to,
                None => pieces.push(at..to),
            }
            at = to;
        }
    }
    pieces
}

/// Pieces that are fetched ahead, in order.
struct Ahead {
    /// Those who fetch: he in front has the next piece, or is about to.
    fetchers: VecDeque<Receiver<Result<Buffer>>>,
    /// Pieces that are to come.
    left: usize,
    piece: Buffer,
    /// How much of it was read.
    at: usize,
}

impl Ahead {
    fn start(inner: &Arc<Inner>, pieces: Vec<Range<u64>>) -> Self {
        let (left, pieces) = (pieces.len(), Arc::<[Range<u64>]>::from(pieces));
        let fetchers = (0..READERS.min(left)).map(|first| {
            // it begins the next one when this one is taken
            let (give, take) = sync_channel(0);
            let (inner, pieces) = (inner.clone(), pieces.clone());
            // whoever has read enough does not wait for what is on its way
            thread::spawn(move || {
                for piece in pieces.iter().skip(first).step_by(READERS) {
                    let mut buffer = Buffer::zeros((piece.end - piece.start) as usize);
                    let got = inner.get(piece.start, &mut buffer).map(|()| buffer);
                    if give.send(got).is_err() {
                        return;
                    }
                }
            });
            take
        });
        Ahead { fetchers: fetchers.collect(), left, piece: Buffer::default(), at: 0 }
    }

    fn next(&mut self) -> Result<()> {
        let died = || Error::no("a thread that reads from a store died");
        let fetcher = self.fetchers.pop_front().ok_or_else(died)?;
        self.piece = loop {
            interrupted()?;
            match fetcher.recv_timeout(LOOK) {
                Ok(piece) => break piece?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(died()),
            }
        };
        (self.at, self.left) = (0, self.left - 1);
        self.fetchers.push_back(fetcher);
        Ok(())
    }
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && self.left > 0 {
            // what was read is not held while the next one comes
            self.piece = Buffer::default();
            self.at = 0;
            self.next().map_err(io::Error::other)?;
        }
        let n = into.len().min(self.piece.len() - self.at);
        into[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_touches_is_one_request_and_what_is_long_several() {
        let pieces = |stretches: &[(u64, u64)], bytes| {
            let stretches: Vec<Range<u64>> = stretches.iter().map(|(a, b)| *a..*b).collect();
            super::pieces(&stretches, bytes)
        };
        assert_eq!(pieces(&[(0, 10), (10, 20), (20, 20), (30, 40)], 100), [0..20, 30..40]);
        assert_eq!(pieces(&[(0, 10), (90, u64::MAX), (200, 300)], 100), [0..10, 90..100]);
        let long = [0..PIECE, PIECE..2 * PIECE, 2 * PIECE..2 * PIECE + 5];
        assert_eq!(pieces(&[(0, PIECE - 1), (PIECE - 1, 2 * PIECE + 5)], u64::MAX), long);
        assert_eq!(pieces(&[], 9), []);
    }
}
