//! Bringing what is written to the disk, while more is being written.
//!
//! Files are synced as they are finished, by a few threads, so that the file system's journal is
//! written for several at once; the disk works from the first file on. Of very many files each would
//! still wait for the journal: then the whole file system is synced once, which waits for what others
//! have written, too.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, spawn};

/// How many wait for the journal at a time.
const THREADS: usize = 4;
/// Files and directories that are synced one by one.
pub(crate) const FEW: usize = 4096;

/// Syncs files behind those who write them.
pub(crate) struct Durable {
    files: Option<SyncSender<(File, bool)>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    taken: Arc<AtomicUsize>,
}

impl Durable {
    /// Nothing is to be synced yet.
    pub(crate) fn new() -> Self {
        let (files, queue) = sync_channel(2 * THREADS);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..THREADS).map(|_| {
            let queue = Arc::clone(&queue);
            spawn(move || sync_all(&queue))
        });
        Durable { threads: threads.collect(), files: Some(files), taken: Arc::default() }
    }

    /// Has the disk begin with what there is of a large file; one that is busy is not hurried.
    pub(crate) fn early(&self, file: &File) {
        if let (Some(files), Ok(file)) = (&self.files, file.try_clone()) {
            let _ = files.try_send((file, false));
        }
    }

    /// Takes a file, or a directory, that is whole.
    pub(crate) fn whole(&self, file: File) {
        if self.taken.fetch_add(1, Ordering::Relaxed) < FEW
            && let Some(files) = &self.files
        {
            // a thread that failed has left, and tells at the end
            let _ = files.send((file, true));
        }
    }

    /// Waits until all of it is on the disk.
    ///
    /// # Errors
    /// The first that came up.
    pub(crate) fn finish(mut self, root: &OwnedFd) -> io::Result<()> {
        self.files = None;
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))?;
        }
        if self.taken.load(Ordering::Relaxed) > FEW {
            rustix::fs::syncfs(root)?;
        }
        Ok(())
    }
}

fn sync_all(queue: &Mutex<Receiver<(File, bool)>>) -> io::Result<()> {
    loop {
        // the lock is held while waiting: one waits for files, the others for it
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok((file, true)) => file.sync_all()?,
            // what fails here fails again when the file is whole
            Ok((file, false)) => drop(file.sync_data()),
            Err(_) => return Ok(()),
        }
    }
}
