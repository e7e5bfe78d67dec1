//! The programs in pipelines: producers that fail, readers that leave, disks that fill, two at once.
//!
//! Dumps come from files and generators; no server is needed. Each test has a folder of its own with
//! a whole dump in `dump.sql`, and `$ROTATE` is the program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../lab/mod.rs"]
mod lab;

mod disk;
mod metrics;
mod names;
mod notify;
mod producer;
mod reader;
mod shrink;
mod signals;
mod size;

mod tls;
mod together;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lab::Ran;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A folder with a dump to back up.
struct Place(TempDir);

/// Rows of the dump in each [`Place`].
const ROWS: usize = 5000;

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        fs::write(place.path("dump.sql"), dump(ROWS)).unwrap();
        place
    }

    /// One that holds a good backup, which nothing that fails may touch.
    fn with_backup() -> Place {
        let place = Place::new();
        place.rotate(&["--tag", "good", "--", "cat", "dump.sql"]).exits(0);
        place.holds(1);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command with no more than PATH and `$ROTATE` in its environment.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("ROTATE", program_path()).env("HOME", self.0.path());
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Runs a shell script in the folder.
    #[track_caller]
    fn sh(&self, script: &str) -> Ran {
        lab::run(self.command("sh").args(["-c", script, "sh"]))
    }

    /// The program, ready to be given its words.
    fn tool(&self) -> Command {
        self.command(program_path())
    }

    /// A run of the program that a test looks at from outside.
    #[track_caller]
    fn start(&self, words: &[&str]) -> Running {
        Running::start(self.tool().args(words))
    }

    /// Waits until a run has something on the disk.
    #[track_caller]
    fn until_midway(&self) {
        lab::wait_until("a part file is there", || self.names().iter().any(|n| n.ends_with(".part")));
    }

    #[track_caller]
    fn rotate(&self, words: &[&str]) -> Ran {
        lab::run(self.tool().args(words))
    }

    /// The names in `backups`.
    fn names(&self) -> Vec<String> {
        lab::names(&self.path("backups"))
    }

    /// The dumps in `backups`, newest first.
    fn dumps(&self) -> Vec<String> {
        let ends = [".sql", ".sql.gz", ".sql.zst", ".dump"];
        let is_dump = |n: &String| ends.iter().any(|e| n.ends_with(e));
        self.names().into_iter().rev().filter(is_dump).collect()
    }

    /// Everything in `backups` but the lock, with its contents.
    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let lock = |n: &String| n != ".pgkeep.lock";
        let read = |n: String| (n.clone(), fs::read(self.path("backups").join(n)).unwrap());
        self.names().into_iter().filter(lock).map(read).collect()
    }

    /// Asserts that `backups` holds so many whole backups of `dump.sql`, and nothing else.
    #[track_caller]
    fn holds(&self, backups: usize) {
        let (dumps, names) = (self.dumps(), self.names());
        assert_eq!(dumps.len(), backups, "{names:?}");
        let mut expected = vec![".pgkeep.lock".to_owned(), "SHA256SUMS".into()];
        expected.extend(dumps.iter().flat_map(|n| [n.clone(), format!("{n}.json")]));
        expected.sort();
        assert_eq!(names, expected);
        let listed = self.rotate(&["--list"]).exits(0).out;
        assert_eq!(listed.lines().filter(|l| l.ends_with("\tproven")).count(), backups, "{listed}");
        let script = "cd backups && sha256sum --strict --quiet -c SHA256SUMS && \
            for f in *.sql.gz; do zcat \"$f\" | cmp - ../dump.sql || exit; done";
        self.sh(script).exits(0);
        let sums = fs::read_to_string(self.path("backups/SHA256SUMS")).unwrap();
        assert_eq!(sums.lines().count(), backups, "{sums}");
    }

    /// The manifest of a dump in `backups`.
    fn manifest(&self, name: &str) -> serde_json::Value {
        let text = fs::read(self.path("backups").join(format!("{name}.json"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

/// A run that goes on meanwhile, and ends with the test, however that ends.
struct Running(Option<Child>);

impl Running {
    /// Starts a command whose output is looked at in the end.
    #[track_caller]
    fn start(command: &mut Command) -> Running {
        Running(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    fn send(&mut self, signal: Signal) {
        kill_process(Pid::from_child(self.child()), signal).unwrap();
    }

    #[track_caller]
    fn end(mut self) -> Ran {
        lab::end(self.0.take().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.0 else { return };
        // it ends what it started, unless it is what is being tested that hangs
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        for _ in 0..600 {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn program_path() -> &'static str {
    env!("CARGO_BIN_EXE_pgdump-rotate")
}

/// A dump as pg_dump writes it, of one table.
fn dump(rows: usize) -> String {
    let row =
        |n: usize| format!("{n}\trow number {n}, and what is in it: {}\n", n.wrapping_mul(2_654_435_761));
    format!("{HEAD}{}{FOOT}", (0..rows).map(row).collect::<String>())
}

const HEAD: &str = "--
-- PostgreSQL database dump
--

-- Dumped from database version 15.2
-- Dumped by pg_dump version 15.2

SET standard_conforming_strings = on;

CREATE TABLE public.numbers (id integer, text text);

COPY public.numbers (id, text) FROM stdin;
";

const FOOT: &str = "\\.


--
-- PostgreSQL database dump complete
--

";

/// The files of a folder and below, by their names; for what must not be touched.
fn is_empty(dir: &Path) -> bool {
    lab::names(dir).iter().all(|n| n == ".pgkeep.lock")
}
