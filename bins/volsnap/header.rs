//! The header of a tar entry: ustar, GNU's for sparse files, PAX records for what does not fit.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use kit::volume::tar::Entry;

/// What a ustar header holds of a name, in bytes.
const NAME: usize = 100;
/// The largest owner's number in its seven octal digits.
const OWNER: u64 = 0o7_777_777;

/// What is written of one entry.
pub(crate) struct Head<'a> {
    /// Its path, relative; ends with a slash for a directory.
    pub(crate) path: &'a [u8],
    /// `0` a file, `1` a hard link, `2` a symbolic link, `5` a directory.
    pub(crate) kind: u8,
    /// Where a link leads.
    pub(crate) link: &'a [u8],
    /// Extended attributes, name and value.
    pub(crate) xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// Offset and length of the parts of a sparse file.
    pub(crate) sparse: Option<&'a [(u64, u64)]>,
    pub(crate) stat: Stat,
}

/// Owner, mode, time and size of an entry.
#[derive(Clone, Copy)]
pub(crate) struct Stat {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The last change: seconds since the epoch, and nanoseconds that count upwards.
    pub(crate) mtime: (i64, i64),
    /// Bytes of the file, holes included.
    pub(crate) size: u64,
}

impl From<&Metadata> for Stat {
    fn from(meta: &Metadata) -> Self {
        let mtime = (meta.mtime(), meta.mtime_nsec());
        Stat { mode: meta.mode(), uid: meta.uid(), gid: meta.gid(), mtime, size: meta.len() }
    }
}

impl From<&Entry> for Stat {
    fn from(entry: &Entry) -> Self {
        let mtime = (entry.mtime.tv_sec, entry.mtime.tv_nsec);
        Stat { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime, size: entry.size }
    }
}

impl<'a> Head<'a> {
    /// An entry without a link, attributes or holes.
    pub(crate) fn new(path: &'a [u8], kind: u8, stat: impl Into<Stat>) -> Self {
        Head { path, kind, link: b"", xattrs: &[], sparse: None, stat: stat.into() }
    }
}

/// The header as bytes, with all that belongs before and behind it: whole blocks.
pub(crate) fn head(entry: &Head<'_>) -> Vec<u8> {
    let stat = entry.stat;
    let mut records = Vec::new();
    let (uid, gid) = (u64::from(stat.uid), u64::from(stat.gid));
    if entry.path.len() > NAME {
        record(&mut records, b"path", entry.path);
    }
    if entry.link.len() > NAME {
        record(&mut records, b"linkpath", entry.link);
    }
    for (key, id) in [(&b"uid"[..], uid), (b"gid", gid)] {
        if id > OWNER {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    // a hard link is another name of what has its time already
    if entry.kind != b'1' && (stat.mtime.0 < 0 || stat.mtime.1 != 0) {
        record(&mut records, b"mtime", time(stat.mtime.0, stat.mtime.1).as_bytes());
    }
    for (name, value) in entry.xattrs {
        record(&mut records, &key(name), value);
    }
    let mut bytes = Vec::with_capacity(512);
    if !records.is_empty() {
        let mut header = tar::Header::new_ustar();
        fill(&mut header, b"././@PaxHeader", b'x', records.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&records);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    let parts = entry.sparse.unwrap_or_default();
    let stored = match entry.kind {
        b'0' if entry.sparse.is_some() => parts.iter().map(|p| p.1).sum(),
        b'0' => stat.size,
        _ => 0,
    };
    let kind = if entry.sparse.is_some() { b'S' } else { entry.kind };
    let mut header = if kind == b'S' { tar::Header::new_gnu() } else { tar::Header::new_ustar() };
    fill(&mut header, entry.path, kind, stored);
    let old = header.as_old_mut();
    let n = entry.link.len().min(NAME);
    old.linkname[..n].copy_from_slice(&entry.link[..n]);
    header.set_mode(stat.mode & 0o7777);
    header.set_uid(uid.min(OWNER));
    header.set_gid(gid.min(OWNER));
    header.set_mtime(u64::try_from(stat.mtime.0).unwrap_or(0));
    let (first, rest) = parts.split_at(parts.len().min(4));
    if let Some(gnu) = header.as_gnu_mut().filter(|_| kind == b'S') {
        gnu.set_real_size(stat.size);
        gnu.set_is_extended(!rest.is_empty());
        put(first, &mut gnu.sparse);
    }
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    let mut more = rest.chunks(21).peekable();
    while let Some(chunk) = more.next() {
        let mut extended = tar::GnuExtSparseHeader::new();
        put(chunk, &mut extended.sparse);
        extended.set_is_extended(more.peek().is_some());
        bytes.extend_from_slice(extended.as_bytes());
    }
    bytes
}

fn fill(header: &mut tar::Header, path: &[u8], kind: u8, size: u64) {
    let n = path.len().min(NAME);
    header.as_old_mut().name[..n].copy_from_slice(&path[..n]);
    header.as_old_mut().linkflag = [kind];
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
}

fn put(parts: &[(u64, u64)], into: &mut [tar::GnuSparseHeader]) {
    for ((offset, length), part) in parts.iter().zip(into) {
        part.set_offset(*offset);
        part.set_length(*length);
    }
}

/// Seconds since the epoch as a decimal number. The disk counts nanoseconds upwards, also before 1970.
fn time(seconds: i64, nanoseconds: i64) -> String {
    const BILLION: i64 = 1_000_000_000;
    let (sign, seconds, nanoseconds) = match (seconds < 0, nanoseconds) {
        (true, 1..) => ("-", (seconds + 1).unsigned_abs(), BILLION - nanoseconds),
        (true, _) => ("-", seconds.unsigned_abs(), 0),
        (false, _) => ("", seconds.unsigned_abs(), nanoseconds),
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The key of an extended attribute: `=` would end it, so GNU tar writes `=` and `%` as `%3D` and `%25`
/// (`xattr_encode_keyword` in its `xheader.c`).
fn key(name: &[u8]) -> Vec<u8> {
    let mut key = b"SCHILY.xattr.".to_vec();
    for byte in name {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            other => key.push(*other),
        }
    }
    key
}

/// Adds a PAX record: its length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() + rest > length {
        length = length.to_string().len() + rest;
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_and_fractions() {
        for (seconds, nanoseconds, want) in [
            (0, 500_000_000, "0.5"),
            (1_700_000_000, 1, "1700000000.000000001"),
            (-1, 500_000_000, "-0.5"),
            (-2, 999_999_999, "-1.000000001"),
            (-86_400, 0, "-86400"),
        ] {
            assert_eq!(time(seconds, nanoseconds), want);
        }
    }

    #[test]
    fn the_length_of_a_record_counts_its_own_digits() {
        for n in 0..1200 {
            let mut records = Vec::new();
            record(&mut records, b"path", &vec![b'a'; n]);
            let length: usize = String::from_utf8_lossy(&records).split(' ').next().unwrap().parse().unwrap();
            assert_eq!(length, records.len(), "{n}");
        }
    }
}
