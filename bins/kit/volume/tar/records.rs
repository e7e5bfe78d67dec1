//! What stands before a header and tells of the entry to come: GNU's long names, and PAX records.

/// What was told, as far as it was.
#[derive(Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<i64>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
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
            b"mtime" => self.mtime = text().split('.').next().and_then(|t| t.parse().ok()),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if key.starts_with(b"GNU.sparse.") {
                    return Err(
                        "sparse files as PAX records are not understood (tar --format=gnu writes others)"
                            .into(),
                    );
                }
                // the rest are names of owners, times and comments
            }
        }
        Ok(())
    }
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
