//! Volumes: what a snapshot is taken of and put back to.
//!
//! A volume is a directory of this machine, or a named volume of Docker or Podman. [`set`] is the
//! record of a snapshot, [`control`] what PostgreSQL says of a data directory in it, [`tar`] how an
//! archive is read and [`entry`] what may stand in one.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::exit::{self, Error};

pub mod control;
pub mod engine;
pub mod entry;
pub mod helper;
pub mod listing;
pub mod live;
pub mod set;
pub mod snapshot;
pub mod tar;
pub mod verify;

/// The journal of a restore in the folder of snapshots, while volumes are emptied or change names: until that is
/// ended, no volume of it is what it seems.
pub const SWAPPING: &str = ".swap.json";

/// Where a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A directory, absolute.
    Dir(PathBuf),
    /// A named volume of Docker.
    Docker(String),
    /// A named volume of Podman.
    Podman(String),
}

/// Refuses volumes of which a restore, told of elsewhere, has replaced some and not yet others: by the name of each,
/// and the names beside it.
pub fn no_half(volumes: &[(String, Vec<String>)]) -> exit::Result<()> {
    let stamps = |infix: &str| -> BTreeSet<String> {
        let beside = volumes.iter().flat_map(|(name, beside)| beside.iter().map(move |other| (name, other)));
        let stamp = |(name, other): (&String, &String)| {
            Some(other.strip_prefix(name.as_str())?.strip_prefix(infix)?.to_owned())
        };
        beside.filter_map(stamp).collect()
    };
    let (staged, before) = (stamps(".restore_"), stamps(".before_"));
    let Some(stamp) = staged.intersection(&before).next() else { return Ok(()) };
    Err(Error::refused(format!(
        "a restore was cut off while names changed, and its journal is elsewhere: what was there ends in '.before_{stamp}'"
    ))
    .hint("Run that restore again with its own --dir, which ends it."))
}

/// A volume: where it is, and the short name that its archive bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What archives and messages call it: letters, digits, `.`, `_` and `-`.
    pub label: String,
    /// Whether somebody gave it that name, by which it is then known wherever it is.
    pub is_named: bool,
    /// Where it is.
    pub place: Place,
}

impl Volume {
    /// Reads `[LABEL=]docker:NAME`, `[LABEL=]podman:NAME` or `[LABEL=]dir:PATH`. A relative path is
    /// one of `here`. Without a label it is the volume's name, or the last part of the path.
    ///
    /// # Errors
    /// One sentence that tells what is wrong with the text.
    pub fn parse(text: &str, here: &Path) -> Result<Self, String> {
        let kinds = ["docker:", "podman:", "dir:"];
        let begins = |t: &str| kinds.iter().any(|k| t.starts_with(k));
        let (label, rest) = match text.split_once('=') {
            Some((label, rest)) if !begins(text) => (Some(label), rest),
            _ => (None, text),
        };
        let place = Place::parse(rest, here)?;
        let is_named = label.is_some();
        let label = label.map_or_else(|| place.name(), str::to_owned);
        if !is_label(&label) {
            return Err(format!(
                "'{label}' is no label (letters, digits, '.', '_', '-'); give one as LABEL={place}"
            ));
        }
        Ok(Volume { label, is_named, place })
    }
}

impl Place {
    /// Reads `docker:NAME`, `podman:NAME` or `dir:PATH`.
    ///
    /// # Errors
    /// One sentence that tells what is wrong with the text.
    pub fn parse(text: &str, here: &Path) -> Result<Self, String> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let named = |make: fn(String) -> Place| match is_label(name) {
            true => Ok(make(name.to_owned())),
            false => Err(format!("'{name}' is no name of a volume")),
        };
        match kind {
            "docker" => named(Place::Docker),
            "podman" => named(Place::Podman),
            "dir" if !name.is_empty() && !name.chars().any(char::is_control) => {
                Ok(Place::Dir(tidy(&here.join(name))))
            }
            _ => Err(format!("'{text}' is none of docker:NAME, podman:NAME, dir:PATH")),
        }
    }

    fn name(&self) -> String {
        match self {
            Place::Dir(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Place::Docker(name) | Place::Podman(name) => name.clone(),
        }
    }
}

/// Bytes on the disk of all that is in a directory; of files that have several names each name counts if
/// `shared`, else none: their bytes stay when the directory goes.
pub fn used(dir: &Path, shared: bool) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = match entry.metadata() {
            // somebody works there
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if meta.is_dir() {
            bytes += match used(&entry.path(), shared) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
                other => other?,
            };
        }
        bytes += if meta.is_dir() || meta.nlink() == 1 || shared { meta.blocks() * 512 } else { 0 };
    }
    Ok(bytes)
}

/// A path without `.` and `..`; links are not looked at.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}

/// Whether a name can stand in a file's name and in an argument: Docker's rule for volumes.
pub fn is_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.len() <= 128 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Dir(path) => write!(f, "dir:{}", path.display()),
            Place::Docker(name) => write!(f, "docker:{name}"),
            Place::Podman(name) => write!(f, "podman:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_volumes() {
        let here = Path::new("/home/me");
        for (text, label, place) in [
            ("docker:patroni1-data", "patroni1-data", "docker:patroni1-data"),
            ("one=docker:a", "one", "docker:a"),
            ("podman:x", "x", "podman:x"),
            ("dir:/srv/pg/./data/", "data", "dir:/srv/pg/data"),
            ("dir:.dev/../data", "data", "dir:/home/me/data"),
            ("x=dir:/a=b", "x", "dir:/a=b"),
            ("dir:/a=b/c", "c", "dir:/a=b/c"),
        ] {
            let volume = Volume::parse(text, here).unwrap();
            assert_eq!((volume.label.as_str(), volume.place.to_string().as_str()), (label, place), "{text}");
        }
        for text in [
            "",
            "x",
            "docker:",
            "docker:a/b",
            "docker:-a",
            "dir:",
            "dir:/",
            "a b=dir:/x",
            "dir:/a\nb",
            "../x=dir:/y",
        ] {
            assert!(Volume::parse(text, here).is_err(), "{text:?}");
        }
    }
}
