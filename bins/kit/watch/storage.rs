//! How much room a directory takes.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::exit::{Error, Result};

/// Bytes of all files in `dir` and below it. A file with several names counts once, as on the disk; links
/// are not followed.
pub fn used(dir: &Path) -> Result<u64> {
    let mut total = 0;
    let mut linked = BTreeSet::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let fail = |e| Error::io("list", dir.display(), &e);
        for entry in std::fs::read_dir(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            // what another run removes meanwhile takes no room
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                dirs.push(entry.path());
            } else if meta.is_file() && (meta.nlink() == 1 || linked.insert((meta.dev(), meta.ino()))) {
                total += meta.len();
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let daily = dir.path().join("daily");
        std::fs::create_dir(&daily).unwrap();
        std::fs::write(dir.path().join("a"), [0; 1000]).unwrap();
        std::fs::hard_link(dir.path().join("a"), daily.join("a")).unwrap();
        std::fs::write(daily.join("b"), [0; 10]).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("latest")).unwrap();
        assert_eq!(used(dir.path()).unwrap(), 1010);
    }
}
