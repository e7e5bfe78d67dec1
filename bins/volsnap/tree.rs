//! A directory as a tar stream, made as it is read: one pass, no copy, nothing held but names.
//!
//! Owners by number, modes, hard links, symbolic links, extended attributes and holes are kept. Names
//! are relative and in the order of the disk. Sockets, pipes and devices are left out, and so is the
//! file by which a running PostgreSQL is known.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::{File, Metadata, ReadDir};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use kit::buffer::Buffer;
use kit::exit::{Error, Result};
use kit::volume::control::FILE;
use kit::volume::live::PID_FILE;

use crate::header::{Head, Stat, head};
use crate::holes::parts;
use crate::hot::{Taken, taken};
use crate::spool::{LARGE, Spool};

const BLOCK: u64 = 512;

/// Reads a directory as a tar archive.
pub(crate) struct Tree {
    root: PathBuf,
    /// Directories that are being read: the innermost last, with its path below the root.
    open: Vec<(ReadDir, PathBuf)>,
    /// Headers and padding that are to be read next.
    ready: VecDeque<u8>,
    /// The file whose data come after that.
    body: Option<Body>,
    /// Names of files that have several: by device and number.
    names: HashMap<(u64, u64), PathBuf>,
    left_out: LeftOut,
    /// Set where a server runs on it.
    live: Option<Live>,
    /// Files that come last: where they stand, and their path below the root.
    later: VecDeque<(PathBuf, PathBuf)>,
    ended: bool,
}

/// What is done differently where a server runs.
pub(crate) struct Live {
    /// The path of its data directory, below the root; `None`: it is another volume's.
    pub(crate) data: Option<PathBuf>,
    /// Asked for what belongs behind all files, once they have been read.
    pub(crate) last: Option<Last>,
}

/// Gives what belongs behind all files.
pub(crate) type Last = Box<dyn FnOnce() -> Result<Vec<Extra>> + Send>;

/// A file of the archive that is not read where it stands: its path below the root, and its content.
#[derive(Debug)]
pub(crate) enum Extra {
    /// What it holds.
    Bytes(PathBuf, Vec<u8>),
    /// Where it stands.
    File(PathBuf, PathBuf),
}

/// Paths of what no archive holds.
#[derive(Default)]
pub(crate) struct LeftOut(BTreeSet<String>);

struct Body {
    file: File,
    path: PathBuf,
    parts: std::vec::IntoIter<(u64, u64)>,
    offset: u64,
    left: u64,
    padding: u64,
    /// Size and time of the last change, when it was opened; `None`: it may change.
    state: Option<(u64, i64, i64)>,
}

impl Tree {
    /// Begins with the directory itself.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let fail = |e| Error::io("read", root.display(), &e);
        let meta = root.metadata().map_err(fail)?;
        let mut tree = Tree {
            root: root.to_owned(),
            open: vec![(std::fs::read_dir(root).map_err(fail)?, PathBuf::new())],
            ready: VecDeque::new(),
            body: None,
            names: HashMap::new(),
            left_out: LeftOut::default(),
            live: None,
            later: VecDeque::new(),
            ended: false,
        };
        let xattrs = crate::xattr::of(root).map_err(fail)?;
        tree.ready.extend(head(&Head { xattrs: &xattrs, ..Head::new(b"./", b'5', &meta) }));
        Ok(tree)
    }

    /// Reads it while a server runs on it: what changes or vanishes meanwhile is mended by the log.
    pub(crate) fn with(mut self, live: Option<Live>) -> Self {
        self.live = live;
        self
    }

    /// What was left out, by path.
    pub(crate) fn left_out(&self) -> Vec<String> {
        self.left_out.list()
    }

    /// Puts the whole archive into `spool`; what is large is copied by the kernel.
    pub(crate) fn spool(&mut self, spool: &mut Spool) -> Result<()> {
        let mut buffer = Buffer::zeros(256 << 10);
        loop {
            if let Some(body) = self.body.as_mut().filter(|_| self.ready.is_empty()) {
                body.copy(spool)?;
            }
            if !spool.add_some(self, &mut buffer)? {
                return Ok(());
            }
        }
    }

    /// Makes the next header; at the end of all, the end of the archive.
    fn next(&mut self) -> Result<()> {
        let Some((names, below)) = self.open.last_mut() else {
            if let Some(last) = self.live.as_mut().and_then(|live| live.last.take()) {
                return last()?.into_iter().try_for_each(|extra| self.append(extra));
            }
            if let Some((path, name)) = self.later.pop_front() {
                return self.add_last(path, &name);
            }
            if !self.ended {
                self.ready.resize(2 * BLOCK as usize, 0);
                self.ended = true;
            }
            return Ok(());
        };
        let dir = self.root.join(&*below);
        let Some(entry) = names.next() else {
            self.open.pop();
            return Ok(());
        };
        let entry = entry.map_err(|e| Error::io("read", dir.display(), &e))?;
        let (path, name) = (entry.path(), below.join(entry.file_name()));
        match path.symlink_metadata() {
            Err(e) if self.live.is_some() && e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("read", path.display(), &e)),
            Ok(meta) => self.add(path, name, &meta),
        }
    }

    /// A file that must be there.
    fn add_last(&mut self, path: PathBuf, name: &Path) -> Result<()> {
        if !path.exists() {
            return Err(Error::no(format!("cannot read '{}': it is gone", path.display())));
        }
        self.add_file(path, name, &[])
    }

    /// What becomes of a path where a server runs.
    fn taken(&self, name: &Path) -> Taken {
        let data = self.live.as_ref().and_then(|live| live.data.as_ref());
        data.and_then(|data| name.strip_prefix(data).ok()).map_or(Taken::Whole, taken)
    }

    /// Puts a file behind all others.
    fn append(&mut self, extra: Extra) -> Result<()> {
        match extra {
            Extra::File(name, path) => self.later.push_back((path, name)),
            Extra::Bytes(name, bytes) => {
                let meta = self.root.metadata().map_err(|e| Error::io("read", self.root.display(), &e))?;
                let path = name.as_os_str().as_bytes();
                // of the directory's owner and reach, without its right to enter
                let mode = meta.mode() & 0o666;
                let stat = Stat { mode, size: bytes.len() as u64, ..Stat::from(&meta) };
                self.ready.extend(head(&Head::new(path, b'0', stat)));
                let padding = (bytes.len() as u64).next_multiple_of(BLOCK) as usize;
                let end = self.ready.len() + padding;
                self.ready.extend(bytes);
                self.ready.resize(end, 0);
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, name: PathBuf, meta: &Metadata) -> Result<()> {
        let fail = |e| Error::io("read", path.display(), &e);
        let kind = meta.file_type();
        if name.ends_with(PID_FILE)
            || kind.is_socket()
            || kind.is_fifo()
            || kind.is_block_device()
            || kind.is_char_device()
        {
            self.left_out.add(&name);
            return Ok(());
        }
        let taken = self.taken(&name);
        if taken == Taken::No {
            // it is not left out, but comes last
            if !name.ends_with(FILE) {
                self.left_out.add(&name);
            }
            return Ok(());
        }
        let bytes = name.as_os_str().as_bytes();
        if taken == Taken::Empty {
            // a directory also where a link leads elsewhere: the log there is not this backup's
            let meta = path.metadata().map_err(fail)?;
            self.ready.extend(head(&Head::new(&[bytes, b"/"].concat(), b'5', &meta)));
            return Ok(());
        }
        let xattrs = if kind.is_symlink() {
            Vec::new()
        } else {
            match crate::xattr::of(&path) {
                Err(e) if self.live.is_some() && e.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other.map_err(fail)?,
            }
        };
        if kind.is_symlink() {
            let target = std::fs::read_link(&path).map_err(fail)?;
            let link = target.as_os_str().as_bytes();
            self.ready.extend(head(&Head { link, ..Head::new(bytes, b'2', meta) }));
        } else if kind.is_dir() {
            let names = match std::fs::read_dir(&path) {
                Err(e) if self.live.is_some() && e.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other.map_err(fail)?,
            };
            self.ready
                .extend(head(&Head { xattrs: &xattrs, ..Head::new(&[bytes, b"/"].concat(), b'5', meta) }));
            self.open.push((names, name));
        } else if let Some(first) = self.names.get(&(meta.dev(), meta.ino())) {
            let link = first.as_os_str().as_bytes();
            self.ready.extend(head(&Head { link, ..Head::new(bytes, b'1', meta) }));
        } else {
            self.add_file(path, &name, &xattrs)?;
        }
        Ok(())
    }

    fn add_file(&mut self, path: PathBuf, name: &Path, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let fail = |e| Error::io("read", path.display(), &e);
        let live = self.live.is_some();
        let file = match kit::place::open_regular(&path) {
            Err(e) if live && e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(fail)?,
        };
        // that of the open file: what the name means may have changed
        let meta = file.metadata().map_err(fail)?;
        if meta.nlink() > 1 {
            self.names.insert((meta.dev(), meta.ino()), name.to_owned());
        }
        // a hole may be filled while it is read
        let parts = if live { None } else { parts(&file, &meta).map_err(fail)? };
        let bytes = name.as_os_str().as_bytes();
        let sparse = parts.as_deref();
        self.ready.extend(head(&Head { xattrs, sparse, ..Head::new(bytes, b'0', &meta) }));
        let parts = parts.unwrap_or_else(|| vec![(0, meta.len())]);
        let stored: u64 = parts.iter().map(|p| p.1).sum();
        if stored > 0 {
            let padding = stored.next_multiple_of(BLOCK) - stored;
            let state = (!live).then_some((meta.len(), meta.mtime(), meta.mtime_nsec()));
            self.body =
                Some(Body { file, path, parts: parts.into_iter(), offset: 0, left: 0, padding, state });
        }
        Ok(())
    }
}

impl LeftOut {
    /// A few are named: the record is no place for a million sockets.
    pub(crate) fn add(&mut self, name: &Path) {
        if self.0.len() < 100 {
            self.0.insert(name.to_string_lossy().into_owned());
        }
    }

    /// In order.
    pub(crate) fn list(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

impl Body {
    fn changed(&self) -> Error {
        Error::temporary(format!(
            "cannot read '{}': it changed meanwhile: something writes to the volume",
            self.path.display()
        ))
        .hint("Stop it with --services, or with --stop and --start.")
    }

    /// Has the kernel copy what is next and large; what is not copied is there to be read.
    fn copy(&mut self, spool: &mut Spool) -> Result<()> {
        while self.left >= LARGE || self.left == 0 && !self.parts.as_slice().is_empty() {
            if self.left == 0 {
                (self.offset, self.left) = self.parts.next().unwrap_or_default();
            }
            let n = if self.left < LARGE { 0 } else { spool.copy(&self.file, self.offset, self.left)? };
            if n == 0 {
                break;
            }
            self.offset += n;
            self.left -= n;
        }
        Ok(())
    }

    /// The next bytes of the file; 0 at its end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while self.left == 0 {
            let Some((offset, length)) = self.parts.next() else {
                // what changed under our hands may be half of the old and half of the new
                let now = self.file.metadata().map_err(|e| Error::io("read", self.path.display(), &e))?;
                if self.state.is_some_and(|s| s != (now.len(), now.mtime(), now.mtime_nsec())) {
                    return Err(self.changed());
                }
                return Ok(0);
            };
            (self.offset, self.left) = (offset, length);
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        match self.file.read_at(&mut buffer[..most], self.offset) {
            Ok(0) if self.state.is_some() => Err(self.changed()),
            // cut off meanwhile: its header has been written, and the log will cut it off again
            Ok(0) => {
                buffer[..most].fill(0);
                self.offset += most as u64;
                self.left -= most as u64;
                Ok(most)
            }
            Ok(n) => {
                self.offset += n as u64;
                self.left -= n as u64;
                Ok(n)
            }
            Err(e) => Err(Error::io("read", self.path.display(), &e)),
        }
    }
}

impl Read for Tree {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if buffer.is_empty() {
                return Ok(0);
            }
            if !self.ready.is_empty() {
                return self.ready.read(buffer);
            }
            if let Some(body) = &mut self.body {
                match body.read(buffer).map_err(io::Error::other)? {
                    0 => {
                        self.ready.resize(body.padding as usize, 0);
                        self.body = None;
                    }
                    n => return Ok(n),
                }
                continue;
            }
            if self.ended {
                return Ok(0);
            }
            kit::child::interrupted().and_then(|()| self.next()).map_err(io::Error::other)?;
        }
    }
}
