//! Snapshots of Redis: `REDIS` and a version, the data, an end code and, since version 5, a CRC-64 of all before it
//! (Redis's `rdb.c`).

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::codec::read;
use crate::stamp::Stamp;

/// The code that ends the data, `RDB_OPCODE_EOF`.
pub const END: u8 = 0xff;
/// Bytes of the CRC behind it.
pub const CRC: usize = 8;
/// Bytes of `REDIS` and the version.
pub const HEADER: usize = 9;

/// Endings of their names.
const ENDINGS: [&str; 3] = [".rdb", ".rdb.gz", ".rdb.zst"];

/// The version that the beginning of a snapshot tells; `None` for what is none.
pub fn version(head: &[u8]) -> Option<u32> {
    std::str::from_utf8(head.get(..HEADER)?).ok()?.strip_prefix("REDIS")?.parse().ok()
}

/// Series of a snapshot's name, and the time in it; `None` for a name that is none of a snapshot.
pub fn parse(name: &str) -> Option<(&str, Option<Stamp>)> {
    let stem = ENDINGS.iter().find_map(|e| name.strip_suffix(e))?;
    let parts = stem.split_at_checked(stem.len().saturating_sub(16));
    let named =
        parts.and_then(|(prefix, rest)| Some((prefix, Stamp::parse_compact(rest.strip_prefix('_')?)?)));
    Some(named.map_or((stem, None), |(prefix, stamp)| (prefix, Some(stamp))))
}

/// What is wrong with a snapshot, as far as its ends tell: to read it all takes as long as it is large.
pub fn glance(file: &File, name: &str) -> Option<&'static str> {
    let head = read::peek(file, name, HEADER as u64).unwrap_or_default();
    let Some(version) = version(&head) else { return Some("it has no header of Redis") };
    let mut raw = [0; HEADER];
    // of a compressed one the end is not known without reading it
    if file.read_exact_at(&mut raw, 0).is_err() || raw != head[..] {
        return None;
    }
    let behind = if version >= 5 { CRC as u64 } else { 0 };
    let end = file.metadata().ok().and_then(|m| m.len().checked_sub(behind + 1));
    let mut code = [0];
    let ends = end.is_some_and(|at| file.read_exact_at(&mut code, at).is_ok() && code == [END]);
    (!ends).then_some("it is cut short: it does not end with Redis's end code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_headers() {
        let stamp = Stamp::parse_compact("20251127_143022");
        assert_eq!(parse("redis_20251127_143022.rdb.gz"), Some(("redis", stamp)));
        assert_eq!(parse("dump.rdb"), Some(("dump", None)));
        assert_eq!(parse("dump.sql"), None);
        assert_eq!(
            (version(b"REDIS0011\xfa"), version(b"REDIS"), version(b"PGDMP0011")),
            (Some(11), None, None)
        );
    }
}
