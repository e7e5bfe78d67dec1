//! Whether somebody runs on a data directory: found by looking at processes, not by trusting a file.
//!
//! PostgreSQL and Redis work in their data directory, so the working directory of some process is that
//! directory, whatever name it has there and whichever container the process is in. Where another
//! user's processes cannot be looked at, `postmaster.pid` names one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::control::FILE;
use crate::exit::{Error, Result};

/// Programs that own the files they stand among.
const OWNERS: [&str; 5] = ["postgres", "postmaster", "redis-server", "valkey-server", "etcd"];
/// How deep below a volume a data directory may be: `pgdata`, `15/main`, `postgresql/15/main`.
const DEPTH: usize = 3;

/// The file by which a running PostgreSQL is known.
pub const PID_FILE: &str = "postmaster.pid";

/// The data directories in `root`, itself included, in the order of their names.
pub fn data_directories(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    look(root, DEPTH, &mut found)?;
    found.sort();
    Ok(found)
}

fn look(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if dir.join(FILE).symlink_metadata().is_ok() {
        found.push(dir.to_owned());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(dir).map_err(|e| Error::io("list", dir.display(), &e))? {
        let entry = entry.map_err(|e| Error::io("list", dir.display(), &e))?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            look(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

/// The process that runs on `dir`: its number and name.
pub fn user_of(dir: &Path) -> Option<(u32, String)> {
    let own = dir.metadata().ok().map(|m| (m.dev(), m.ino()))?;
    let mut unseen = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Some(name) = name_of(pid).filter(|n| OWNERS.contains(&n.as_str())) else { continue };
        match fs::metadata(entry.path().join("cwd")) {
            Ok(meta) if (meta.dev(), meta.ino()) == own => return Some((pid, name)),
            Ok(_) => {}
            Err(_) => unseen.push((pid, name)),
        }
    }
    // another user's: then the number in the file decides, if that process may be the one
    let text = fs::read_to_string(dir.join(PID_FILE)).ok()?;
    let pid: u32 = text.lines().next()?.trim().parse().ok()?;
    unseen.into_iter().find(|(p, _)| *p == pid)
}

/// A process's name, as the kernel knows it.
fn name_of(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_directories_are_found_where_images_put_them() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            fs::create_dir_all(dir.path().join(path).join("global")).unwrap();
            fs::write(dir.path().join(path).join(FILE), "").unwrap();
        };
        make("pgdata");
        make("postgresql/15/main");
        make("too/deep/by/far");
        let found = data_directories(dir.path()).unwrap();
        assert_eq!(found, ["pgdata", "postgresql/15/main"].map(|p| dir.path().join(p)));
        assert_eq!(data_directories(&found[0]).unwrap(), [found[0].clone()]);
        assert!(data_directories(&dir.path().join("none")).is_err());
    }

    #[test]
    fn a_directory_where_nobody_runs_is_free() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(user_of(dir.path()), None);
        // left by a crash; its number is another process's by now
        fs::write(dir.path().join(PID_FILE), format!("{}\n", std::process::id())).unwrap();
        assert_eq!(user_of(dir.path()), None);
    }
}
