//! The ends of pipes, deaf to nothing: reading and writing end when a signal comes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;

use super::signals::{interrupted, wait_for};
use crate::exit::{Error, Result};

/// A pipe (or standard input) whose `read` returns an error when a signal comes.
pub struct Source(File);

impl Source {
    /// The program's own standard input.
    pub fn stdin() -> Result<Self> {
        let fd =
            io::stdin().as_fd().try_clone_to_owned().map_err(|e| Error::io("read", "standard input", &e))?;
        Ok(Source(fd.into()))
    }

    pub(super) fn pipe(fd: OwnedFd) -> Self {
        // fewer and larger reads; where the limit is lower the default does
        let _ = rustix::pipe::fcntl_setpipe_size(&fd, 1 << 20);
        Source(fd.into())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait_for(Some((self.0.as_fd(), PollFlags::IN)), None)?;
        if interrupted().is_err() {
            // ErrorKind::Interrupted would be retried by std
            return Err(io::Error::other("interrupted"));
        }
        self.0.read(buffer)
    }
}

/// The writing end of a child's standard input, whose `write` returns an error when a signal comes.
pub struct Sink {
    pipe: File,
    /// How long a full one is left to its reader.
    rest: Duration,
}

impl Sink {
    pub(super) fn pipe(fd: OwnedFd) -> Self {
        let _ = rustix::pipe::fcntl_setpipe_size(&fd, 1 << 20);
        // so that a write takes what there is room for, and the wait for more is ours; the other end
        // is not touched by it
        let _ = rustix::fs::fcntl_setfl(&fd, rustix::fs::OFlags::NONBLOCK);
        // a nanosecond a byte: nobody reads so fast that it would be empty by then
        let size = rustix::pipe::fcntl_getpipe_size(&fd).unwrap_or_default();
        Sink { pipe: fd.into(), rest: Duration::from_nanos(size as u64) }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.pipe.write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            wait_for(Some((self.pipe.as_fd(), PollFlags::OUT)), None)?;
            // there is room for one page now; who waits for a little more need not come back for each
            wait_for(None, Some(self.rest))?;
            if interrupted().is_err() {
                return Err(io::Error::other("interrupted"));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
