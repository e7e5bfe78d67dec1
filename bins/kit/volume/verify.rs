//! Proving an archive to its last byte, before anything depends on it.

use std::fs::File;
use std::path::Path;

use super::control::{Control, FILE};
use super::entry::{Check, Found, relative};
use super::set::Archive;
use super::tar::{Entry, Reader, Sink};
use crate::codec::read::{Index, read};
use crate::exit::{Error, Result};
use crate::place;

/// An archive that is open and proven: what comes out of it later is held against the same digest.
#[derive(Debug)]
pub struct Proven {
    /// The archive, open.
    pub file: File,
    /// What is in it.
    pub found: Found,
}

/// Reads an archive of the snapshot in `dir` whole: its digest, every piece, every entry, and what its
/// data directories say of themselves. `progress` is told how many raw bytes have been read.
///
/// # Errors
/// [`crate::exit::Code::No`] when it is damaged or not what its record says;
/// [`crate::exit::Code::Refused`] when an entry may not be written.
pub fn verify(dir: &Path, archive: &Archive, progress: impl FnMut(u64) + Send) -> Result<Proven> {
    verify_on_the_way(dir, archive, progress, &mut Nowhere)
}

/// The same on the way to `then`, which gets each entry that may be written, before it is known whether all
/// the rest is as it should be: what it makes of them is worth nothing when this fails.
///
/// # Errors
/// Those of [`verify`], and what `then` answers.
pub fn verify_on_the_way(
    dir: &Path,
    archive: &Archive,
    mut progress: impl FnMut(u64) + Send,
    then: &mut (impl Sink + Send),
) -> Result<Proven> {
    let path = dir.join(&archive.file.name);
    let name = path.display().to_string();
    let file = place::open_regular(&path).map_err(|e| Error::io("read", &name, &e))?;
    let mut checked = Checked {
        check: Check::default(),
        archive,
        control: None,
        found: Vec::new(),
        then,
        is_their_fault: false,
    };
    let mut reader = Reader::default();
    pour(&file, &name, archive, |bytes| {
        progress(bytes.len() as u64);
        reader.feed(bytes, &mut checked).map_err(|e| match checked.is_their_fault {
            true => e,
            false => e.within(format!("cannot use '{name}'")),
        })
    })?;
    reader.finish().map_err(|e| e.within(format!("cannot use '{name}'")))?;
    let Checked { check, found: controls, .. } = checked;
    let found = check.found();
    let wrong = |what: &str| Err(Error::no(format!("'{name}' is not what its record says: {what}")));
    if found.entries != archive.entries || found.content_bytes != archive.content_bytes {
        return wrong("it has other entries");
    }
    // whether a recovery may write is judged by those of the record, before the archive is read
    if found.links != archive.links {
        return wrong("it has other links that lead out");
    }
    for data in &archive.data {
        match controls.iter().find(|(path, _)| *path == data.path) {
            Some((_, control)) if *control == data.control => {}
            Some((_, control)) if control.system_identifier != data.control.system_identifier => {
                return wrong(&format!(
                    "it holds cluster {} instead of {}",
                    control.system_identifier, data.control.system_identifier
                ));
            }
            _ => return wrong("its pg_control is another one"),
        }
    }
    Ok(Proven { file, found })
}

/// Hands `sink` the raw bytes of an archive, in order.
///
/// # Errors
/// It is damaged, or is not the one of its record; what `sink` answers.
pub fn pour(
    file: &File,
    name: &str,
    archive: &Archive,
    mut sink: impl FnMut(&[u8]) -> Result<()> + Send,
) -> Result<()> {
    let index = Index { frames: &archive.frames, raw_bytes: archive.raw_bytes };
    let mut raw = 0;
    let seen = read(file, name, Some(index), |bytes| {
        raw += bytes.len() as u64;
        // a bomb is no larger than its record
        if raw > archive.raw_bytes {
            return Err(Error::no(format!("'{name}' inflates to more than its record says")));
        }
        sink(bytes)
    })?;
    if (seen.sha256.as_str(), seen.raw_bytes) != (archive.file.sha256.as_str(), archive.raw_bytes) {
        return Err(Error::no(format!("'{name}' is damaged: its digest is not that of its record")));
    }
    Ok(())
}

/// Checks entries, and keeps what the data directories say of themselves.
struct Checked<'a, S> {
    check: Check,
    archive: &'a Archive,
    /// The data directory whose control file is being read, and what there is of it.
    control: Option<(String, Vec<u8>)>,
    found: Vec<(String, Control)>,
    then: &'a mut S,
    /// What failed is no fault of the archive's.
    is_their_fault: bool,
}

impl<S: Sink> Checked<'_, S> {
    fn onward(&mut self, step: impl FnOnce(&mut S) -> Result<()>) -> Result<()> {
        step(self.then).inspect_err(|_| self.is_their_fault = true)
    }
}

impl<S: Sink> Sink for Checked<'_, S> {
    fn begin(&mut self, entry: &Entry) -> Result<()> {
        self.check.begin(entry)?;
        if let Ok(path) = relative(&entry.path) {
            let of = |data: &&super::set::Data| path == Path::new(&data.path).join(FILE);
            self.control = self.archive.data.iter().find(of).map(|data| (data.path.clone(), Vec::new()));
        }
        self.onward(|then| then.begin(entry))
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if let Some((_, text)) = &mut self.control {
            let missing = 512_usize.saturating_sub(text.len()).min(bytes.len());
            text.extend_from_slice(&bytes[..missing]);
        }
        self.onward(|then| then.data(offset, bytes))
    }

    fn end(&mut self) -> Result<()> {
        if let Some((path, text)) = self.control.take()
            && let Ok(control) = Control::parse(&text)
        {
            self.found.push((path, control));
        }
        self.onward(Sink::end)
    }
}

/// Who makes nothing of what he gets.
struct Nowhere;

impl Sink for Nowhere {
    fn begin(&mut self, _: &Entry) -> Result<()> {
        Ok(())
    }

    fn data(&mut self, _: u64, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}
