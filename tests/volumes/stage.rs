//! A folder with a volume in it, and the programs that run there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::lab::{Ran, run, tool};

/// Kills our program the first time that it runs; afterwards writes a word down.
pub(crate) fn killing(word: &str) -> String {
    format!("[ -e killed ] || {{ : >killed; kill -9 $PPID; exit 0; }}; echo {word} >>log")
}

/// The status of a program that was killed.
pub(crate) const KILLED: i32 = 128 + 9;

/// A folder of one test.
pub(crate) struct Stage(TempDir);

impl Stage {
    /// An empty folder.
    pub(crate) fn new() -> Stage {
        Stage(tempfile::Builder::new().prefix("pgkeep-").tempdir_in("/tmp").unwrap())
    }

    /// A folder with a volume `data` of three files.
    pub(crate) fn with_data() -> Stage {
        let stage = Stage::new();
        for (path, text) in [("data/a", "one"), ("data/sub/b", "two"), ("data/sub/c", "")] {
            stage.write(path, text);
        }
        stage
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    pub(crate) fn there(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// The names in a folder, without those that begin with a dot.
    pub(crate) fn names(&self, below: &str) -> Vec<String> {
        let mut names = crate::lab::names(&self.path(below));
        names.retain(|n| !n.starts_with('.'));
        names
    }

    /// One of our programs, here.
    pub(crate) fn tool(&self, name: &str, args: &[&str]) -> Command {
        let mut command = tool(name, self.0.path());
        command.args(args);
        command
    }

    /// Restores under strace, which does to its system calls what `inject` says.
    pub(crate) fn restore_with(&self, inject: &str, args: &[&str]) -> Ran {
        let program = self.tool("volrestore", args);
        let mut strace = Command::new("strace");
        strace.current_dir(self.path("")).args(["-f", "-qq", "-o", "/dev/null", "-e", inject]);
        run(strace.arg(program.get_program()).args(program.get_args()))
    }

    #[track_caller]
    pub(crate) fn snap(&self, args: &[&str]) -> Ran {
        run(&mut self.tool("volsnap", args))
    }

    #[track_caller]
    pub(crate) fn restore(&self, args: &[&str]) -> Ran {
        run(&mut self.tool("volrestore", args))
    }

    /// Takes a snapshot of `data` and gives back its time.
    #[track_caller]
    pub(crate) fn stamp(&self) -> String {
        let ran = self.snap(&["dir:data"]).exits(0);
        Path::new(ran.line()).file_stem().unwrap().to_str().unwrap().to_owned()
    }

    /// A shell command, here.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> Ran {
        run(Command::new("sh").args(["-c", script]).current_dir(self.0.path()))
    }

    /// Everything below a folder, itself included: type, mode, owner, size, time of the last change, links
    /// and content of each, sorted.
    pub(crate) fn tree(&self, below: &str) -> Vec<String> {
        let mut lines = Vec::new();
        look(&self.path(below), &self.path(below), &mut lines);
        lines.sort();
        lines
    }
}

fn look(root: &Path, path: &Path, lines: &mut Vec<String>) {
    let meta = path.symlink_metadata().unwrap();
    let content = match meta.file_type() {
        t if t.is_symlink() => fs::read_link(path).unwrap().display().to_string(),
        t if t.is_file() => String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned(),
        _ => String::new(),
    };
    let size = if meta.is_file() { meta.len() } else { 0 };
    lines.push(format!(
        "{} {:o} {}:{} {size} {}.{:09} {}",
        path.strip_prefix(root).unwrap().display(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec(),
        content
    ));
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look(root, &entry.unwrap().path(), lines);
        }
    }
}
