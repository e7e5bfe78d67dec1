//! The archives of `pg_dump -Fc`, `-Ft` and `-Fd`, read without PostgreSQL's help and told as SQL.
//!
//! [`Archive::open`] reads header and table of contents, [`Archive::sql`] the data: it writes what
//! `pg_restore -f -` would. Nothing that an archive claims is believed: lengths are read in steps,
//! and what its table of contents promises must be there to the last byte, for an archive has no
//! trailer that would tell. Rules and formats are those of `src/bin/pg_dump/pg_backup_*.c`.

mod custom;
mod directory;
mod encoding;
mod entry;
mod header;
mod name;
mod order;
mod script;
mod source;
mod sql;
mod tar;
mod unpack;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use crate::exit::{Error, Result};
use crate::medium::{At, Medium, Onward};
pub use entry::{Entry, Place, Section};
pub use header::{Compression, Header, Version};

use custom::Blocks;
use directory::Folder;
use source::{Raw, Source};
use tar::Members;

/// How an archive is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `-Fc`: one file.
    Custom,
    /// `-Ft`: a tar file.
    Tar,
    /// `-Fd`: a folder with `toc.dat`.
    Directory,
}

/// What the first bytes of a file say; 262 are enough. `None`: no archive that is one file.
///
/// As lenient as `isValidTarHeader`, which takes `ustar` of POSIX, of GNU tar and of pg_dump before
/// 9.3. [`is_directory`] knows the third layout.
pub fn detect(head: &[u8]) -> Option<Layout> {
    let tar = head.get(257..262) == Some(b"ustar") && head.starts_with(b"toc.dat\0");
    match head {
        _ if head.starts_with(header::MAGIC) => Some(Layout::Custom),
        _ if tar => Some(Layout::Tar),
        _ => None,
    }
}

/// Whether `path` is a folder that `pg_dump -Fd` wrote: it holds a `toc.dat`.
pub fn is_directory(path: &Path) -> bool {
    directory::find(path, "toc.dat").is_some()
}

/// Where an archive is.
pub enum Input<'a> {
    /// A file, read from its beginning. What is not in order in a regular file is sought.
    File(&'a File),
    /// The same of anything that can be sought.
    Medium(&'a dyn Medium),
    /// Bytes that come once, in order: a pipe, or what a decoder gives.
    Stream(&'a mut dyn Read),
    /// The folder of `-Fd`.
    Directory(&'a Path),
}

/// An archive whose header and table of contents were read.
pub struct Archive<'a> {
    header: Header,
    entries: Vec<Entry>,
    data: Data<'a>,
    name: String,
}

enum Data<'a> {
    Custom(Blocks<'a>),
    Tar(Members<'a>),
    Directory(Folder),
}

/// What an entry's data are made of, in order.
enum Piece<'p> {
    /// Bytes of a table, or of the large object that was begun.
    Bytes(&'p [u8]),
    /// A large object begins.
    Object(u32),
    /// It ends.
    ObjectEnd,
}

/// Takes pieces of data.
type Give<'g> = dyn FnMut(Piece<'_>) -> Result<()> + 'g;

impl<'a> Archive<'a> {
    /// Reads header and table of contents; `name` is what messages call the archive.
    ///
    /// # Errors
    /// [`crate::exit::Code::No`] when it is no archive, damaged or too new; what reading answers.
    pub fn open(input: Input<'a>, name: &str) -> Result<Self> {
        let fail = |e: io::Error| source::failed(name, &e);
        let mut head = Vec::with_capacity(512);
        let input = match input {
            Input::File(file) if file.metadata().map_err(fail)?.is_file() => Input::Medium(file),
            other => other,
        };
        let raw = match input {
            Input::File(file) => {
                file.take(512).read_to_end(&mut head).map_err(fail)?;
                Raw::Stream(Box::new(Cursor::new(head.clone()).chain(file)))
            }
            Input::Medium(medium) => {
                At::start(medium).take(512).read_to_end(&mut head).map_err(fail)?;
                Raw::Onward(Onward::start(medium), medium.bytes().map_err(fail)?)
            }
            Input::Stream(stream) => {
                stream.take(512).read_to_end(&mut head).map_err(fail)?;
                Raw::Stream(Box::new(Cursor::new(head.clone()).chain(stream)))
            }
            Input::Directory(path) => return Self::open_directory(path, name),
        };
        let source = Source::new(raw, name)?;
        match detect(&head) {
            Some(Layout::Tar) => {
                let mut members = Members::new(source);
                members.table_of_contents()?;
                let (header, entries) = contents(&mut members.source, Layout::Tar)?;
                members.leave()?;
                Ok(Archive { header, entries, data: Data::Tar(members), name: name.into() })
            }
            Some(_) => {
                let mut source = source;
                let (header, entries) = contents(&mut source, Layout::Custom)?;
                let data = Data::Custom(Blocks::new(source, &header));
                Ok(Archive { header, entries, data, name: name.into() })
            }
            None if head.is_empty() => Err(Error::no(format!("'{name}' is empty"))),
            None => Err(Error::no(format!("'{name}' is no archive of pg_dump"))),
        }
    }

    fn open_directory(path: &Path, name: &str) -> Result<Self> {
        let folder = Folder::new(path, name);
        let mut raw = folder.open("toc.dat")?;
        let mut source = Source::new(Raw::Stream(Box::new(&mut raw)), name)?;
        let (header, entries) = contents(&mut source, Layout::Directory)?;
        source.end()?;
        drop(source);
        Ok(Archive { header, entries, data: Data::Directory(folder), name: name.into() })
    }

    /// What the archive says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The table of contents, in its order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Hands the whole archive as SQL to `sink`, in pieces of at most 1 MiB: byte for byte what the
    /// `pg_restore -f -` of the archive's generation writes, without its `\restrict` lines. An
    /// archive of version 1.14 or older is written as PostgreSQL 15 does, 1.15 as 16, 1.16 as 18.
    ///
    /// Memory: some MiB besides the table of contents, 40 MiB for zstd with its largest windows.
    ///
    /// # Errors
    /// [`crate::exit::Code::No`] when data are damaged, cut short or not there, with all SQL before
    /// them handed on; what `sink` answers; a signal.
    pub fn sql(self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        sql::write(&self.name, &self.header, &self.entries, self.data, sink)
    }
}

fn contents(source: &mut Source<'_>, layout: Layout) -> Result<(Header, Vec<Entry>)> {
    let header = header::read(source, layout)?;
    let entries = entry::read_all(source, &header)?;
    Ok((header, entries))
}

impl Data<'_> {
    /// Gives the data of an entry that has some.
    fn of(&mut self, header: &Header, entry: &Entry, give: &mut Give<'_>) -> Result<()> {
        match self {
            Data::Custom(blocks) => blocks.of(entry, give),
            Data::Tar(members) => members.of(header, entry, give),
            Data::Directory(folder) => folder.of(header, entry, give),
        }
    }

    /// What is left must be whole, and belong to the archive.
    fn finish(&mut self, header: &Header) -> Result<()> {
        match self {
            Data::Custom(blocks) => blocks.finish(),
            Data::Tar(members) => members.finish(header),
            Data::Directory(_) => Ok(()),
        }
    }
}
