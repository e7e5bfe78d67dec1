//! The tar that a container makes of a volume, whoever's tar that is, as the archive that a directory would
//! have become: the same headers, and the same left out.

use std::io::{self, Read};
use std::mem::take;
use std::os::unix::ffi::OsStrExt;

use kit::exit::{Error, Result};
use kit::volume::entry::relative;
use kit::volume::live::PID_FILE;
use kit::volume::tar::{BLOCK, Entry, Kind, Reader, Sink};

use crate::header::{Head, head};
use crate::tree::LeftOut;

/// Reads another's archive as one of ours.
pub(crate) struct Repack<R> {
    inner: R,
    reader: Option<Reader>,
    made: Made,
    /// How much of what is made has been read.
    read: usize,
    chunk: Vec<u8>,
}

/// What becomes of the entries.
#[derive(Default)]
struct Made {
    bytes: Vec<u8>,
    /// Bytes behind the data of the entry, or nothing: it is left out.
    padding: Option<usize>,
    left_out: LeftOut,
}

impl<R> Repack<R> {
    pub(crate) fn new(inner: R) -> Self {
        let chunk = vec![0; 256 << 10];
        Repack { inner, reader: Some(Reader::default()), made: Made::default(), read: 0, chunk }
    }

    /// What was left out, with the sockets that tar has told of on its standard error.
    pub(crate) fn left_out(mut self, said: &[String]) -> Vec<String> {
        let socket =
            |line: &String| Some(line.split_once(": ")?.1.strip_suffix(": socket ignored")?.to_owned());
        for path in said.iter().filter_map(socket) {
            self.made.left_out.add(path.trim_start_matches("./").as_ref());
        }
        self.made.left_out.list()
    }
}

impl<R: Read> Read for Repack<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.made.bytes.len() {
            self.made.bytes.clear();
            self.read = 0;
            let Some(reader) = &mut self.reader else { return Ok(0) };
            let n = self.inner.read(&mut self.chunk)?;
            if n > 0 {
                reader.feed(&self.chunk[..n], &mut self.made).map_err(io::Error::other)?;
            } else if take(&mut self.reader).is_some_and(|reader| reader.finish().is_ok()) {
                self.made.bytes.resize(2 * BLOCK, 0);
            }
            // else it was cut short, and so is ours
        }
        let rest = &self.made.bytes[self.read..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.read += n;
        Ok(n)
    }
}

impl Sink for Made {
    fn begin(&mut self, entry: &Entry) -> Result<()> {
        let path = relative(&entry.path).map_err(Error::no)?;
        if path.ends_with(PID_FILE) || matches!(entry.kind, Kind::Other(_)) {
            self.left_out.add(&path);
            self.padding = None;
            return Ok(());
        }
        let mut name = path.as_os_str().as_bytes().to_vec();
        if name.is_empty() {
            name.push(b'.');
        }
        let first;
        let (kind, link) = match entry.kind {
            Kind::Dir => (b'5', &[][..]),
            Kind::Symlink => (b'2', &entry.link[..]),
            Kind::HardLink => {
                first = relative(&entry.link).map_err(Error::no)?;
                (b'1', first.as_os_str().as_bytes())
            }
            _ => (b'0', &[][..]),
        };
        if kind == b'5' {
            name.push(b'/');
        }
        let (xattrs, sparse) = (&entry.xattrs[..], entry.parts.as_deref());
        self.bytes.extend(head(&Head { link, xattrs, sparse, ..Head::new(&name, kind, entry) }));
        self.padding = Some((entry.stored.next_multiple_of(BLOCK as u64) - entry.stored) as usize);
        Ok(())
    }

    fn data(&mut self, _: u64, bytes: &[u8]) -> Result<()> {
        if self.padding.is_some() {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let padding = self.padding.take().unwrap_or(0);
        self.bytes.resize(self.bytes.len() + padding, 0);
        Ok(())
    }
}
