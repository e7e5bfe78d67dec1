//! What stands before a header and tells of the entry to come: GNU's long names, and PAX records.

use rustix::fs::Timespec;

/// What was told, as far as it was.
#[derive(Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Timespec>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a sparse file: its name, its size with the holes, and its parts (GNU tar's `--sparse-version=0.1`).
    pub(super) sparse: Sparse,
}

/// What GNU tar tells of a sparse file in PAX records.
#[derive(Default)]
pub(super) struct Sparse {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) parts: Option<Vec<(u64, u64)>>,
}

impl Records {
    /// Takes the text of a header of `kind`: `L` a long path, `K` a long link, else PAX records.
    pub(super) fn take(&mut self, kind: u8, mut text: Vec<u8>) -> Result<(), String> {
        let without_zeros = |text: &mut Vec<u8>| {
            let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
            text.truncate(end);
        };
        match kind {
            b'L' => {
                without_zeros(&mut text);
                self.path = Some(text);
            }
            b'K' => {
                without_zeros(&mut text);
                self.link = Some(text);
            }
            _ => {
                for (key, value) in pax(&text)? {
                    self.record(key, value)?;
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let text = || String::from_utf8_lossy(value).into_owned();
        let number = || text().parse::<u64>().map_err(|_| format!("'{}' is no number", text()));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" => self.sparse.size = Some(number()?),
            b"GNU.sparse.map" => self.sparse.parts = Some(map(&text()).ok_or("a map of parts is damaged")?),
            b"GNU.sparse.numblocks" => {}
            b"mtime" => {
                self.mtime = Some(time(&text()).ok_or_else(|| format!("'{}' is no time", text()))?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((attribute(name), value.to_vec()));
                } else if key.starts_with(b"GNU.sparse.") {
                    return Err(
                        "sparse files of this kind are not understood (tar --sparse-version=0.1 writes others)"
                            .into(),
                    );
                }
                // the rest are names of owners, times and comments
            }
        }
        Ok(())
    }
}

/// A decimal number of seconds, with a fraction or without; what is finer than nanoseconds is cut off.
fn time(text: &str) -> Option<Timespec> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if ![seconds, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanoseconds): (i64, i64) = (seconds.parse().ok()?, digits.parse().ok()?);
    Some(match (negative, nanoseconds) {
        (false, _) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        (true, 0) => Timespec { tv_sec: -seconds, tv_nsec: 0 },
        // nanoseconds count upwards
        (true, _) => Timespec { tv_sec: -seconds - 1, tv_nsec: 1_000_000_000 - nanoseconds },
    })
}

/// The parts of a sparse file: offset and length by turns, parted by commas.
fn map(text: &str) -> Option<Vec<(u64, u64)>> {
    let numbers: Vec<u64> = text.split(',').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let (pairs, []) = numbers.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[offset, length]| (*offset, *length)).collect())
}

/// The name of an extended attribute, in which GNU tar writes `=` and `%` as `%3D` and `%25`. Another
/// `%` stands for itself.
fn attribute(mut key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    while let Some((first, rest)) = key.split_first() {
        let (byte, rest) = match rest.split_at_checked(2) {
            Some((b"3D", rest)) if *first == b'%' => (b'=', rest),
            Some((b"25", rest)) if *first == b'%' => (b'%', rest),
            _ => (*first, rest),
        };
        name.push(byte);
        key = rest;
    }
    name
}

/// Key and value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// The records of a PAX header: `LENGTH KEY=VALUE\n`, where a value may be any bytes.
fn pax(mut text: &[u8]) -> Result<Vec<Record<'_>>, String> {
    let mut records = Vec::new();
    while !text.is_empty() {
        let record = || {
            let space = text.iter().position(|b| *b == b' ')?;
            let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
            let record = text.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|b| *b == b'=')?;
            Some((&record[..equals], &record[equals + 1..], length))
        };
        let (key, value, length) = record().ok_or("a PAX record is damaged")?;
        records.push((key, value));
        text = &text[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, want) in [
            ("0", Some((0, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            ("-1.000000001", Some((-2, 999_999_999))),
            ("-86400", Some((-86_400, 0))),
            ("1.0000000019", Some((1, 1))),
            ("", None),
            ("--1", None),
            ("1.-5", None),
            ("9223372036854775808", None),
        ] {
            assert_eq!(time(text).map(|t| (t.tv_sec, t.tv_nsec)), want, "{text}");
        }
        assert!(time("-9223372036854775807.9").is_some());
    }

    #[test]
    fn parts_of_sparse_files() {
        assert_eq!(map("0,512,4096,0"), Some(vec![(0, 512), (4096, 0)]));
        for text in ["", "0", "0,1,2", "0,-1", "a,b", "0,1,"] {
            assert_eq!(map(text), None, "{text}");
        }
    }

    #[test]
    fn names_of_attributes() {
        for (key, want) in
            [("user.a", "user.a"), ("a%3Db%25", "a=b%"), ("%253D", "%3D"), ("50%", "50%"), ("%2", "%2")]
        {
            assert_eq!(attribute(key.as_bytes()), want.as_bytes(), "{key}");
        }
    }
}
