//! What is stopped for a while is started again: after failure, after a panic, after signals, and, by
//! the next run of any of our programs, after a kill.
//!
//! Exactly what runs is stopped, so that a service that was down stays down. What will start it again
//! stands in a file of the backups' directory from before the stop until after the start; the file is
//! locked by the process that will do it, so that a file without a lock is a promise that was broken.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::child::{clean_up, pause};
use crate::exit::{Error, Result};
use crate::out::Speech;
use crate::patroni::Patroni;
use crate::place;

mod compose;

pub use compose::volumes;

/// Files of this name hold what is stopped; the number of the process follows.
const RECORD: &str = ".pgkeep.stopped.";

/// What is to stop: by commands, or by the names of services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A command for the shell.
    pub stop: Option<String>,
    /// The command that undoes it.
    pub start: Option<String>,
    /// Services of Docker Compose, instead of commands.
    pub services: Vec<String>,
    /// The compose file; `None`: that of the working directory.
    pub compose: Option<String>,
    /// Services that start last, once the others do and a member leads.
    pub last: Vec<String>,
    /// The REST API of Patroni, which tells whether one leads.
    pub patroni: Option<String>,
    /// Make and start all of the services at the end, also those that did not run.
    pub up: bool,
    /// A file that is there while nothing may start, whoever asks: absolute.
    pub hold: Option<PathBuf>,
}

/// How long a member may take until it leads: an election, or the replay of some WAL.
const PATIENCE: Duration = Duration::from_secs(180);

impl Wanted {
    /// Adds services, whose names are parted by blanks or commas.
    pub fn add(&mut self, names: &str) {
        self.services.extend(names.split([' ', ',']).filter(|n| !n.is_empty()).map(str::to_owned));
    }

    /// Whether anything is to stop.
    pub fn stop_something(&self) -> bool {
        self.stop.is_some() || !self.services.is_empty()
    }

    /// Whether anything is to start at the end.
    pub fn start_something(&self) -> bool {
        self.start.is_some() || !self.services.is_empty()
    }

    /// Whether both commands and services are named: services stop and start by themselves.
    pub fn contradict(&self) -> bool {
        !self.services.is_empty() && (self.stop.is_some() || self.start.is_some())
    }
}

/// Services that are down until this is dropped.
pub struct Stopped<'a> {
    start: Option<Start>,
    record: Option<(File, PathBuf)>,
    hold: Option<PathBuf>,
    since: Instant,
    speech: &'a Speech,
}

/// What starts services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    /// The command.
    first: String,
    /// The command for those that follow a leader.
    last: Option<String>,
    /// The REST API of Patroni that tells whether one leads by then.
    patroni: Option<String>,
}

/// What stands in a file while services are down.
#[derive(Serialize, Deserialize)]
struct Record {
    /// What starts them.
    start: Start,
    /// Where it is to run.
    directory: PathBuf,
    /// A file that is there while it must not run.
    hold: Option<PathBuf>,
}

/// Stops the services; from now on they will be started, even if the stop failed halfway. `dir` is
/// where the next run looks for a promise that a kill broke; it may be missing.
pub fn stop<'a>(wanted: &Wanted, dir: &Path, speech: &'a Speech) -> Result<Stopped<'a>> {
    crate::child::interrupted()?;
    let (stop, start) = match wanted.services.is_empty() {
        true => {
            let start = wanted.start.clone().map(|first| Start { first, last: None, patroni: None });
            (wanted.stop.clone(), start)
        }
        false => compose::plan(wanted, speech)?,
    };
    let record =
        start.as_ref().filter(|_| dir.is_dir()).map(|start| promise(dir, start, wanted)).transpose()?;
    if let (Some(stop), None) = (&stop, &start) {
        speech.say(&format!("what '{stop}' stops stays stopped: nothing is said to start it (--start)"));
    }
    let stopped = Stopped { start, record, hold: wanted.hold.clone(), since: Instant::now(), speech };
    if let Some(command) = stop {
        run_unless_interrupted(&command).map_err(|e| e.within("cannot stop what uses the database"))?;
    }
    Ok(stopped)
}

/// Writes down, durably, what will start what is about to stop.
fn promise(dir: &Path, start: &Start, wanted: &Wanted) -> Result<(File, PathBuf)> {
    let path = dir.join(format!("{RECORD}{}", std::process::id()));
    let fail = |e| Error::io("write", path.display(), &e);
    let directory = std::env::current_dir().map_err(fail)?;
    let record = Record { start: start.clone(), directory, hold: wanted.hold.clone() };
    let text = serde_json::to_vec(&record).map_err(|e| fail(e.into()))?;
    // one that is there, of a process that had our number, is a promise yet to be kept
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(fail)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| fail(e.into()))?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(fail)?;
    place::sync_dir(dir)?;
    Ok((file, path))
}

/// Keeps the promises of runs that were killed: starts what they stopped. Says so; one that cannot be
/// kept is told and stays for the next run. Whether there was one of a run that had got as far as to
/// replace what it stopped for.
pub fn mend(dir: &Path, speech: &Speech) -> bool {
    let mut replaced = false;
    for path in promises(dir) {
        match keep(&path, speech) {
            Ok(held) => replaced |= held,
            Err(error) => {
                replaced = true;
                speech.error(&error.within("cannot start what an earlier run left stopped"));
            }
        }
    }
    replaced
}

/// Tells what [`mend`] would start, for a dry run, which starts nothing.
pub fn tell_of_mending(dir: &Path, speech: &Speech) {
    for path in promises(dir) {
        match abandoned(&path) {
            Ok(Some((_, Some(record)))) => {
                let start = record.start.first;
                speech.warn(&format!(
                    "an earlier run left stopped what '{start}' starts: a dry run does not start it"
                ));
            }
            Ok(_) => {}
            Err(error) => speech.error(&error),
        }
    }
}

fn promises(dir: &Path) -> Vec<PathBuf> {
    let names = if dir.is_dir() { place::names(dir).unwrap_or_default() } else { Vec::new() };
    names.iter().filter(|n| n.starts_with(RECORD)).map(|name| dir.join(name)).collect()
}

/// Keeps one promise; whether it was to be held while something was replaced.
fn keep(path: &Path, speech: &Speech) -> Result<bool> {
    let Some((_file, record)) = abandoned(path)? else { return Ok(false) };
    if let Some(record) = &record {
        nothing_holds(record.hold.as_deref())?;
        speech.warn(&format!("starting what an earlier run left stopped: {}", record.start.first));
        record.start.run(Some(&record.directory)).map_err(|e| e.hint(how_to_end(path)))?;
    }
    place::remove_if_there(path)?;
    Ok(record.is_some_and(|record| record.hold.is_some()))
}

/// A promise that nobody is there to keep, locked; without a record where it was killed while it wrote: nothing was
/// stopped yet.
fn abandoned(path: &Path) -> Result<Option<(File, Option<Record>)>> {
    let fail = |e| Error::io("read", path.display(), &e);
    let file = match place::open_regular(path) {
        // another run was quicker
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(fail)?,
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        // its process lives and will do it
        return Ok(None);
    }
    place::ours_alone(&file, path)?;
    let record = serde_json::from_reader(&file).ok();
    Ok(Some((file, record)))
}

/// Refuses to start anything while the file is there.
fn nothing_holds(hold: Option<&Path>) -> Result<()> {
    if hold.is_some_and(Path::exists) {
        return Err(Error::temporary("what it was doing must be ended first")
            .hint("Run that restore again, or undo it: either ends what was begun."));
    }
    Ok(())
}

/// How to be rid of a promise that cannot be kept.
fn how_to_end(path: &Path) -> String {
    format!("The next run tries again; start it by hand and remove '{}' to end that.", path.display())
}

impl Stopped<'_> {
    /// Starts the services and tells whether that worked, and how long they were down; `None`: none
    /// was stopped.
    pub fn start(mut self) -> Result<Option<Duration>> {
        let Some(start) = self.start.take() else { return Ok(None) };
        start.run(None).map_err(|e| self.broken(e))?;
        self.kept();
        Ok(Some(self.since.elapsed()))
    }

    /// Why the services do not start, and how to end the tries of later runs.
    fn broken(&self, error: Error) -> Error {
        let error = match &self.record {
            Some((_, path)) => error.hint(how_to_end(path)),
            None => error,
        };
        error.within("cannot start what was stopped")
    }

    /// The promise is kept. What cannot be removed does no harm but to start again what runs.
    fn kept(&mut self) {
        if let Some((_file, path)) = self.record.take()
            && let Err(error) = place::remove_if_there(&path)
        {
            self.speech.error(&error);
        }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let Some(start) = self.start.take() else { return };
        // either way the promise stays for the next run
        if let Err(error) = nothing_holds(self.hold.as_deref()) {
            return self.speech.error(&error.within("what was stopped stays stopped"));
        }
        match start.run(None) {
            Ok(()) => self.kept(),
            Err(error) => self.speech.error(&self.broken(error)),
        }
    }
}

impl Start {
    /// Starts the services, whatever signals have come.
    fn run(&self, directory: Option<&Path>) -> Result<()> {
        clean_up(|| {
            run(&self.first, directory)?;
            let Some(last) = &self.last else { return Ok(()) };
            if let Some(urls) = &self.patroni {
                wait_for_leader(urls).map_err(|e| e.hint(format!("Not started yet: {last}")))?;
            }
            run(last, directory)
        })
    }
}

/// Waits until a member leads; at first nobody may answer.
fn wait_for_leader(urls: &str) -> Result<()> {
    let (patroni, until) = (Patroni::new(urls)?, Instant::now() + PATIENCE);
    loop {
        match patroni.leader(until) {
            Err(_) if Instant::now() < until => pause(Duration::from_millis(500))?,
            other => return other.map(drop),
        }
    }
}

/// Runs a shell command to its end. Its output is speech.
fn run(command: &str, directory: Option<&Path>) -> Result<()> {
    let mut sh = shell(command)?;
    directory.map(|dir| sh.current_dir(dir));
    let status = sh.status().map_err(|e| Error::io("run", command, &e))?;
    judged(command, status)
}

/// The same, but a signal ends the command.
fn run_unless_interrupted(command: &str) -> Result<()> {
    let mut child: Child = shell(command)?.spawn().map_err(|e| Error::io("run", command, &e))?;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| Error::io("wait for", command, &e))? {
            return judged(command, status);
        }
        if let Err(interrupted) = crate::child::pause(Duration::from_millis(20)) {
            let _ = kill_process_group(Pid::from_child(&child), Signal::TERM);
            let _ = child.wait();
            return Err(interrupted);
        }
    }
}

fn shell(command: &str) -> Result<Command> {
    let fail = |e| Error::io("run", command, &e);
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(fail)?;
    // in a group of its own: ctrl-C at the terminal must not end what starts the services
    let mut sh = Command::new("sh");
    sh.args(["-c", command]).stdin(Stdio::null()).stdout(stderr).process_group(0);
    Ok(sh)
}

fn judged(command: &str, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(Error::no(format!("'{command}' failed ({status})"))) }
}
