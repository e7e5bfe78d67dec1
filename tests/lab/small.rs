//! A small disk, to be filled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;

/// A file system in memory, until it is dropped.
pub struct Small(PathBuf);

impl Small {
    /// One at `path`, of so many bytes as `24m`. `None`, which is told, where nobody may mount one.
    pub fn mount(path: PathBuf, size: &str) -> Option<Small> {
        fs::create_dir_all(&path).unwrap();
        let options = format!("size={size},mode=755");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        if mounted.unwrap().status.success() {
            return Some(Small(path));
        }
        eprintln!("nobody may mount a small disk here: what happens on a full one is not tested");
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Another size.
    pub fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        run(Command::new("mount").args(["-o", &options]).arg(&self.0)).exits(0);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
