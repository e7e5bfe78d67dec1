//! The digests of what an archive holds as it came: files that no codec gives a checksum.
//!
//! Beside them stand lists such as `0000000100000000.xxh128`, one for each 4 GiB of the log: a line
//! `DIGEST  NAME` for each file, which `xxh128sum -c` reads. A line is on stable storage before its
//! file gets its name, so a file without one was not put there by us. Lines are only ever added: a
//! name may have several, of attempts that ended otherwise, and any of them that fits is a proof.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::name::Name;

/// The ending of a list.
pub const SUFFIX: &str = ".xxh128";

/// The list that tells of `name`, which is kept in `folder`.
pub fn list(folder: &Path, name: Name) -> PathBuf {
    let name = name.to_string();
    // the timeline and the upper half of the address; of a history file the timeline
    let begin = name.split('.').next().unwrap_or_default();
    folder.join(format!("{}{SUFFIX}", &begin[..begin.len().min(16)]))
}

/// Adds a line; the caller brings the list to stable storage, by the file that it gets.
pub fn add(folder: &Path, name: Name, digest: u128) -> io::Result<File> {
    let mut file =
        OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(list(folder, name))?;
    // a line that a full disk cut in two must not swallow this one
    let begin = if ends_with_newline(&file)? { "" } else { "\n" };
    // one write: lines of several processes do not mix
    file.write_all(format!("{begin}{digest:032x}  {name}\n").as_bytes())?;
    Ok(file)
}

fn ends_with_newline(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last == [b'\n'])
}

/// The digests that were written down for `name`.
pub fn find(folder: &Path, name: Name) -> io::Result<Vec<u128>> {
    match std::fs::read(list(folder, name)) {
        Ok(text) => Ok(lines(&String::from_utf8_lossy(&text), &name.to_string())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn lines(text: &str, name: &str) -> Vec<u128> {
    let fits = text.lines().filter_map(|line| line.split_once("  ")).filter(|(_, of)| *of == name);
    fits.filter(|(digest, _)| digest.len() == 32)
        .filter_map(|(digest, _)| u128::from_str_radix(digest, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_in_two_swallows_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let name = |text: &str| text.parse::<Name>().unwrap();
        let (one, two) = (name("000000010000000000000001"), name("000000010000000000000002"));
        add(dir.path(), one, 7).unwrap();
        let mut list = OpenOptions::new().append(true).open(list(dir.path(), one)).unwrap();
        list.write_all(b"00000000000000000000").unwrap();
        add(dir.path(), two, 8).unwrap();
        add(dir.path(), two, 9).unwrap();
        assert_eq!(find(dir.path(), one).unwrap(), [7]);
        assert_eq!(find(dir.path(), two).unwrap(), [8, 9]);
        assert_eq!(find(dir.path(), name("00000002.history")).unwrap(), [0; 0]);
    }
}
