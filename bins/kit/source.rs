//! Any dump as SQL, from a file or standard input: the whole of it, or a few stretches.
//!
//! A dump is opened once; whatever name it is given meanwhile, the same bytes are read again. Its
//! manifest is believed where it tells of a file of this size. An archive of pg_dump is the SQL that
//! pg_restore would make of it; offsets in it are offsets in that.

mod remote;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::archive::{self, Archive, Input};
use crate::buffer::Buffer;
use crate::child::{Source, interrupted};
use crate::codec::seek::Stretches;
use crate::codec::table::seek_table;
use crate::codec::{Frame, Kind, read, seek};
use crate::digest::Sha;
use crate::exit::{Error, Result};
use crate::manifest::{Manifest, Text};
use crate::medium::Medium;
use crate::place::open_regular;

/// How much of a file is read at a time; it stays in the processor's cache.
const CHUNK: usize = 256 << 10;

/// How much tells what a file is: the head of a tar archive.
const HEAD: u64 = 262;

/// An open dump.
pub struct Dump {
    /// The file, or the copy of what came from standard input; of a folder its `toc.dat`.
    pub file: Arc<dyn Medium>,
    /// The copy of standard input, to be handed to another program.
    pub kept: Option<File>,
    /// The folder of `pg_dump -Fd`.
    folder: Option<PathBuf>,
    /// For messages.
    pub name: String,
    /// Where the file is; `None` for standard input.
    pub path: Option<PathBuf>,
    /// The manifest beside it, if it has one that can be read.
    pub text: Option<Arc<Text>>,
    /// What its manifest says, if it has one.
    pub manifest: Option<Manifest>,
    /// Why its manifest cannot be read, if it has one that cannot.
    pub fault: Option<Error>,
    /// The manifest is believed although the file has another size.
    trusted: bool,
    /// zstd's own seek table, and what the whole inflates to, once somebody has asked.
    table: OnceLock<Option<(Vec<Frame>, u64)>>,
    /// The first bytes, inflated, once somebody has asked.
    head: OnceLock<Vec<u8>>,
}

impl Dump {
    /// Opens a file.
    ///
    /// # Errors
    /// One that cannot be read, or is no file. A manifest that cannot be read is none.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let folder = archive::is_directory(path).then(|| path.to_owned());
        let opened = folder.as_ref().map_or(path.to_owned(), |f| f.join("toc.dat"));
        let file = open_regular(&opened).map_err(|e| {
            let error = Error::io("open", &name, &e);
            match path.metadata() {
                Ok(meta) if !meta.is_file() => {
                    error.hint("A dump from a pipe is taken from standard input, as '-'.")
                }
                _ => error,
            }
        })?;
        // a link is another name of a backup, whose manifest stands beside the backup
        let real = path.canonicalize().unwrap_or(path.to_owned());
        let dump = Dump { folder, path: Some(real.clone()), ..Self::of(Arc::new(file), name) };
        Ok(dump.with(Text::beside(&real)))
    }

    fn of(file: Arc<dyn Medium>, name: String) -> Self {
        Dump {
            file,
            kept: None,
            folder: None,
            name,
            path: None,
            text: None,
            manifest: None,
            fault: None,
            trusted: false,
            table: OnceLock::new(),
            head: OnceLock::new(),
        }
    }

    /// The same with its manifest, if it has one.
    fn with(mut self, text: Result<Option<Text>>) -> Self {
        match text.and_then(|text| text.map(|text| Ok((text.manifest()?, text))).transpose()) {
            Ok(Some((manifest, text))) => (self.manifest, self.text) = (Some(manifest), Some(Arc::new(text))),
            Ok(None) => {}
            Err(error) => self.fault = Some(error),
        }
        self
    }

    /// Keeps standard input in an unnamed file, because a dump is read more than once.
    ///
    /// # Errors
    /// When standard input is a terminal, or does not fit; a signal.
    pub fn stdin() -> Result<Self> {
        if crate::out::stdin_is_terminal() {
            return Err(Error::usage("-: standard input is a terminal, not a dump").hint("Try --help."));
        }
        let mut file = tempfile::tempfile().map_err(|e| Error::io("create", "a temporary file", &e))?;
        let copied = io::copy(&mut Source::stdin()?, &mut file).and_then(|_| file.rewind());
        let kept = copied.and_then(|()| file.try_clone());
        let kept = kept.map_err(|e| {
            interrupted().err().unwrap_or_else(|| {
                Error::io("keep", "standard input", &e).hint("TMPDIR names the directory where it is kept.")
            })
        })?;
        Ok(Dump { kept: Some(kept), ..Self::of(Arc::new(file), "standard input".into()) })
    }

    /// Whether it is the folder of `pg_dump -Fd`.
    pub fn is_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        let Some(folder) = &self.folder else { return self.file.bytes().unwrap_or(0) };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
    }

    /// The manifest, where it tells of a file of this size.
    pub fn believed(&self) -> Option<&Manifest> {
        self.manifest.as_ref().filter(|m| self.trusted || m.file.bytes == self.bytes())
    }

    /// Whether the file has another SHA-256 than its manifest, where that is believed, says.
    ///
    /// # Errors
    /// When it cannot be read; a signal.
    pub fn differs(&self) -> Result<bool> {
        let Some(manifest) = self.believed() else { return Ok(false) };
        let (mut sha, mut buffer, mut all) = (Sha::default(), Buffer::zeros(CHUNK), self.file.all());
        loop {
            interrupted()?;
            let n = all.read(&mut buffer).map_err(|e| Error::io("read", &self.name, &e))?;
            if n == 0 {
                return Ok(sha.hex() != manifest.file.sha256);
            }
            sha.update(&buffer[..n]);
        }
    }

    /// From now on, believes the manifest of a file that was cut: its pieces stand where they stood.
    pub fn trust(&mut self) {
        self.trusted = true;
    }

    /// Where its pieces begin, if that is known.
    pub fn index(&self) -> Option<read::Index<'_>> {
        let of_manifest = self.believed().map(|m| read::Index { frames: &m.frames, raw_bytes: m.raw_bytes });
        let of_file = || {
            // no other file can have one
            let table = self.table.get_or_init(|| {
                self.kind().ok().filter(|kind| *kind == Kind::Zstd).and_then(|_| seek_table(&*self.file))
            });
            table.as_ref().map(|(frames, raw_bytes)| read::Index { frames, raw_bytes: *raw_bytes })
        };
        of_manifest.or_else(of_file)
    }

    /// The first bytes, inflated: so many that they tell what it is.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn beginning(&self) -> Result<&[u8]> {
        if let Some(head) = self.head.get() {
            return Ok(head);
        }
        let head = read::peek(&*self.file, &self.name, HEAD)?;
        Ok(self.head.get_or_init(|| head))
    }

    /// How the file is compressed, by its content.
    pub fn kind(&self) -> Result<Kind> {
        read::detect(&*self.file).map_err(|e| Error::io("read", &self.name, &e))
    }

    /// Whether it is an archive of pg_dump, perhaps compressed once more.
    pub fn is_archive(&self) -> Result<bool> {
        Ok(self.folder.is_some() || archive::detect(self.beginning()?).is_some())
    }

    /// Refuses what is no dump, by its first bytes. `then`: where a hint sends what it makes of it, such as
    /// `| psql`.
    pub fn readable(&self, then: &str) -> Result<()> {
        let head = self.beginning()?;
        let refused = |what: &str, how: &str| {
            let error = Error::refused(format!("'{}' is {what}", self.name));
            Err(error.hint(format!("Turn it into SQL on the way: {how} FILE {then}")))
        };
        if let Some(program) = Kind::foreign(head) {
            return refused(&format!("compressed by {program}"), &format!("{program} -dc"));
        }
        // such as `>` of PowerShell writes
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return refused("UTF-16", "iconv -f UTF-16 -t UTF-8");
        }
        if head.get(257..262) == Some(b"ustar") && archive::detect(head).is_none() {
            let what = Error::refused(format!("'{}' is a tar file, but not one of pg_dump", self.name));
            return Err(what.hint("Take the dump out of it: tar -xf FILE"));
        }
        Ok(())
    }

    fn archive(&self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut inflated;
        let input = match (&self.folder, self.kind()?) {
            (Some(folder), _) => Input::Directory(folder),
            (None, Kind::None) => Input::Medium(&*self.file),
            (None, kind) => {
                inflated = read::inflated(&*self.file, &self.name, kind)?;
                Input::Stream(&mut *inflated)
            }
        };
        Archive::open(input, &self.name)?.sql(sink)
    }

    /// Hands the whole dump to `sink`, in order.
    ///
    /// # Errors
    /// When it is damaged; what `sink` answers; a signal.
    pub fn whole(&self, mut sink: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<()> {
        if self.is_archive()? {
            return self.archive(&mut sink);
        }
        if self.kind()? != Kind::None {
            return read::read(&*self.file, &self.name, self.index(), sink).map(|_| ());
        }
        let (mut all, mut buffer) = (self.file.all(), Buffer::zeros(CHUNK));
        loop {
            interrupted()?;
            let n = all.read(&mut buffer).map_err(|e| Error::io("read", &self.name, &e))?;
            if n == 0 {
                return Ok(());
            }
            sink(&buffer[..n])?;
        }
    }

    /// Hands `sink` the raw bytes of each of `ranges`, which must ascend and not overlap, with the
    /// place of the range in the list. Of a file with an index only what is needed is read.
    ///
    /// # Errors
    /// When it is damaged or a range lies beyond its end; what `sink` answers; a signal.
    pub fn ranges(
        &self,
        ranges: &[Range<u64>],
        mut sink: impl FnMut(usize, &[u8]) -> Result<()> + Send,
    ) -> Result<()> {
        let ascend =
            ranges.windows(2).all(|w| w[0].end <= w[1].start) && ranges.iter().all(|r| r.start <= r.end);
        if !ascend {
            return Err(Error::no(format!("the manifest of '{}' is wrong: its parts overlap", self.name))
                .hint("Remove it; the dump can be read without."));
        }
        match (self.kind()?, self.index()) {
            _ if self.is_archive()? => self.sliced(ranges, sink),
            (Kind::None, _) => self.plain(ranges, &mut sink),
            (kind, Some(index)) if index.fits(self.believed().map_or(self.bytes(), |m| m.file.bytes)) => {
                seek::ranges(&*self.file, &self.name, kind, index, ranges, sink)
            }
            _ => self.sliced(ranges, sink),
        }
    }

    /// The dump for several threads that read stretches of it; `None` where it can only be read from its
    /// beginning.
    pub fn stretches(&self) -> Result<Option<Stretches>> {
        let kind = self.kind()?;
        let index = self.index().filter(|i| i.fits(self.believed().map_or(self.bytes(), |m| m.file.bytes)));
        let (frames, raw_bytes) = match (kind, index) {
            _ if self.is_archive()? => return Ok(None),
            (Kind::None, _) => {
                let bytes = self.bytes();
                ((0..bytes).step_by(read::CHUNK).map(|at| Frame(at, at)).collect(), bytes)
            }
            (_, Some(index)) => (index.frames.into(), index.raw_bytes),
            _ => return Ok(None),
        };
        let (file, name, sums) = (self.file.clone(), self.name.as_str().into(), Arc::default());
        Ok(Some(Stretches { file, name, kind, frames, raw_bytes, sums }))
    }

    /// Which stretches of a compressed file with an index can be inflated; `None` where that is not
    /// known piece by piece.
    pub fn intact(&self) -> Result<Option<Vec<Range<u64>>>> {
        let Some(m) = &self.manifest else { return Ok(None) };
        let index = read::Index { frames: &m.frames, raw_bytes: m.raw_bytes };
        match self.kind()? {
            // a file that was cut has fewer bytes than its manifest says
            kind if kind != Kind::None && index.fits(m.file.bytes) && !self.is_archive()? => {
                seek::intact(&*self.file, &self.name, kind, index).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn plain(&self, ranges: &[Range<u64>], sink: &mut impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let (mut reader, mut buffer) = (self.file.stretches(ranges), Buffer::zeros(CHUNK));
        for (i, range) in ranges.iter().enumerate() {
            let mut left = range.end - range.start;
            while left > 0 {
                interrupted()?;
                let n = left.min(CHUNK as u64) as usize;
                reader.read_exact(&mut buffer[..n]).map_err(|e| Error::io("read", &self.name, &e))?;
                sink(i, &buffer[..n])?;
                left -= n as u64;
            }
        }
        Ok(())
    }

    /// Goes through the dump up to the end of the last range.
    fn sliced(
        &self,
        ranges: &[Range<u64>],
        mut sink: impl FnMut(usize, &[u8]) -> Result<()> + Send,
    ) -> Result<()> {
        let (mut at, mut first, mut enough) = (0, 0, false);
        if ranges.is_empty() {
            return Ok(());
        }
        let outcome = self.whole(|bytes| {
            let chunk = at..at + bytes.len() as u64;
            at = chunk.end;
            while let Some(range) = ranges.get(first) {
                let (start, end) = (range.start.max(chunk.start), range.end.min(chunk.end));
                if start < end {
                    sink(first, &bytes[(start - chunk.start) as usize..(end - chunk.start) as usize])?;
                }
                if range.end > chunk.end {
                    return Ok(());
                }
                first += 1;
            }
            enough = true;
            Err(Error::no("no more is needed"))
        });
        match ranges.get(first) {
            _ if enough => Ok(()),
            Some(range) if outcome.is_ok() => {
                Err(Error::no(format!("'{}' ends before byte {}", self.name, range.end)))
            }
            _ => outcome,
        }
    }
}
