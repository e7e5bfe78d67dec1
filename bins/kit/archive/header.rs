//! What an archive says of itself before its table of contents (`ReadHead`).

use super::Layout;
use super::source::Source;
use crate::exit::{Error, Result};

/// The first bytes of every archive, and of a folder's or tar's `toc.dat`.
pub(super) const MAGIC: &[u8] = b"PGDMP";
/// The newest version that we read; its revisions do not matter, as in `K_VERS_MAX`.
const NEWEST: (u8, u8) = (1, 16);
/// The largest integer that `ReadHead` takes, bytes.
const LARGEST_INT: u8 = 32;

/// The version of the format, which is not that of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 1.
    pub major: u8,
    /// 14 is that of PostgreSQL 12 to 15, 15 that of 16, 16 that of 17 and 18.
    pub minor: u8,
    /// 0.
    pub revision: u8,
}

/// How the data of an archive are compressed; the table of contents is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1950 in one file, RFC 1952 in a folder.
    Gzip,
    /// LZ4 frames.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// The header of an archive. Texts are in whatever encoding they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the format.
    pub version: Version,
    /// Of the data.
    pub compression: Compression,
    /// When it was made: second, minute, hour, day, month from 0, year since 1900, in the local
    /// time of the machine that made it, as they stand there. Since 1.4.
    pub created: Option<[i64; 6]>,
    /// The database it was made of, since 1.4.
    pub database: Option<Vec<u8>>,
    /// Version of the server, since 1.10.
    pub server_version: Option<Vec<u8>>,
    /// Version of pg_dump, since 1.10.
    pub dump_version: Option<Vec<u8>>,
    /// Of the archive.
    pub layout: Layout,
    /// Bytes of a place in the file.
    pub(super) offset_bytes: u8,
}

impl Header {
    /// Whether the version is 1.`minor` or newer.
    pub(super) fn since(&self, minor: u8) -> bool {
        self.version.minor >= minor
    }
}

pub(super) fn read(source: &mut Source<'_>, layout: Layout) -> Result<Header> {
    for expected in MAGIC {
        if source.byte()? != *expected {
            return Err(source.damaged("it does not begin as an archive does"));
        }
    }
    let (major, minor) = (source.byte()?, source.byte()?);
    if major != NEWEST.0 {
        return Err(source.damaged(format!("{major}.{minor} is no version of the format")));
    }
    if minor > NEWEST.1 {
        let text = format!("'{}' is of version {major}.{minor}, which is not known yet", source.name());
        return Err(Error::no(text).hint("A newer pg_dump made it; the pg_restore beside that reads it."));
    }
    source.signed = minor > 0;
    let revision = if minor > 0 { source.byte()? } else { 0 };
    source.int_bytes = source.byte()?;
    if !(1..=LARGEST_INT).contains(&source.int_bytes) {
        return Err(source.damaged(format!("integers of {} bytes", source.int_bytes)));
    }
    let offset_bytes = if minor >= 7 { source.byte()? } else { source.int_bytes };
    // the toc.dat of a folder calls itself tar, see _CloseArchive in pg_backup_directory.c
    let expected = if layout == Layout::Custom { 1 } else { 3 };
    if source.byte()? != expected {
        return Err(source.damaged("it calls itself another layout than it is"));
    }
    let compression = compression(source, minor)?;
    if layout == Layout::Tar && compression != Compression::None {
        return Err(source.damaged("a tar archive is never compressed inside"));
    }
    let mut header = Header {
        version: Version { major, minor, revision },
        compression,
        created: None,
        database: None,
        server_version: None,
        dump_version: None,
        layout,
        offset_bytes,
    };
    if minor >= 4 {
        let mut created = [0; 6];
        for field in &mut created {
            *field = source.int()?;
        }
        // daylight saving time, or not
        source.int()?;
        header.created = Some(created);
        header.database = source.string()?;
    }
    if minor >= 10 {
        header.server_version = source.string()?;
        header.dump_version = source.string()?;
    }
    Ok(header)
}

fn compression(source: &mut Source<'_>, minor: u8) -> Result<Compression> {
    let level = match minor {
        15.. => {
            return match source.byte()? {
                0 => Ok(Compression::None),
                1 => Ok(Compression::Gzip),
                2 => Ok(Compression::Lz4),
                3 => Ok(Compression::Zstd),
                other => Err(source.damaged(format!("compression {other} is not known"))),
            };
        }
        4.. => source.int()?,
        2.. => i64::from(source.byte()?),
        _ => -1,
    };
    Ok(if level == 0 { Compression::None } else { Compression::Gzip })
}
