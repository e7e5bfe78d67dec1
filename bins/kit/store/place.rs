//! `s3://bucket/key`. Pure.

use std::fmt;
use std::path::Path;

use crate::exit::{Error, Result};

const SCHEME: &str = "s3://";

/// A place in a store: an object, or what begins with this key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    bucket: String,
    key: String,
}

impl Place {
    /// Whether a path is meant for a store; a folder called `s3:` is named as `./s3:`.
    pub fn is(path: &Path) -> bool {
        path.as_os_str().as_encoded_bytes().starts_with(SCHEME.as_bytes())
    }

    /// Reads `s3://bucket/key`; the key may be empty, and a slash at its end says nothing.
    ///
    /// # Errors
    /// [`crate::exit::Code::Usage`]: it is none, or its key cannot be asked for, because one of its parts
    /// is empty, `.` or `..`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::usage(format!("'{}' {why}", crate::exit::plain(text)));
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| wrong("does not begin with s3://"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let key = key.strip_suffix('/').unwrap_or(key);
        let good = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if bucket.is_empty() || !bucket.chars().all(good) {
            return Err(wrong("names no bucket"));
        }
        if !key.is_empty() && !is_plain(key) {
            return Err(wrong("has a part that is empty, '.', '..' or holds a control character"));
        }
        Ok(Place { bucket: bucket.into(), key: key.into() })
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key, without a slash at its end.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What stands behind the last slash.
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    /// What all keys of the same folder begin with: nothing, or up to and with the last slash.
    pub fn folder(&self) -> &str {
        &self.key[..self.key.len() - self.name().len()]
    }

    /// The key of what stands below it.
    pub fn below(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}/{name}", self.key) }
    }

    /// Another in the same bucket.
    #[must_use]
    pub fn at(&self, key: &str) -> Self {
        Place { bucket: self.bucket.clone(), key: key.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, self.key)
    }
}

/// Whether a key is also a path below a folder, and its URL asks for just that key.
pub(super) fn is_plain(key: &str) -> bool {
    let part = |part: &str| !["", ".", ".."].contains(&part);
    key.split('/').all(part) && !key.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_a_key() {
        let place = Place::parse("s3://b/daily/x.sql.gz").unwrap();
        assert_eq!((place.bucket(), place.folder(), place.name()), ("b", "daily/", "x.sql.gz"));
        assert_eq!(place.to_string(), "s3://b/daily/x.sql.gz");
        let all = Place::parse("s3://b").unwrap();
        assert_eq!((all.key(), all.folder(), all.name()), ("", "", ""));
        assert_eq!((all.below("x"), place.at("daily").below("x")), ("x".into(), "daily/x".into()));
        assert_eq!(Place::parse("s3://b/daily/").unwrap().key(), "daily");
        for wrong in ["s3://", "s3:///x", "s3://b/../x", "s3://b//x", "s3://b c/x", "http://b", "s3://b/x\n"]
        {
            assert_eq!(Place::parse(wrong).unwrap_err().code(), crate::exit::Code::Usage, "{wrong}");
        }
        assert!(Place::is(Path::new("s3://b/x")) && !Place::is(Path::new("./s3://b")));
    }
}
