//! Child processes and signals: every child is waited for, and ends when we are told to.
//!
//! SIGINT, SIGTERM and SIGHUP do not kill the program: whatever it is waiting for returns
//! [`interrupted`]'s error, so that ordinary cleanup runs (part files go, children end, services
//! start again) and the exit code is 5.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::exit::{Code, Error, Result};

mod ask;
mod pipe;
mod sibling;
mod signals;

pub use ask::ask;
pub use pipe::{Sink, Source};
pub use sibling::sibling;
pub use signals::{catch_signals, clean_up, interrupted, pause};

/// How long a child may take to end after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// How many of a child's last lines of standard error are kept.
pub const TAIL: usize = 20;

/// A running child. Dropped before it was waited for, it is ended.
pub struct Child {
    inner: std::process::Child,
    name: String,
    group: bool,
    ended: Option<ExitStatus>,
    stderr: Receiver<VecDeque<String>>,
}

/// How a child ended, and its last words.
#[derive(Debug)]
pub struct Ended {
    /// What was run, for messages: the program's name without its arguments.
    pub name: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// The last lines of its standard error.
    pub stderr: Vec<String>,
}

impl Child {
    /// Starts `command`; `name` is what messages call it. Its standard error is kept for messages.
    /// Standard input is closed unless the caller set it.
    pub fn spawn(command: &mut Command, name: &str, stdin: Stdio, stdout: Stdio) -> Result<Self> {
        interrupted()?;
        // At a terminal the child stays in our process group: it may ask for a password, and
        // ctrl-C reaches it by itself. Elsewhere it gets its own, so that its children end with it.
        let group = !crate::out::stdin_is_terminal();
        if group {
            command.process_group(0);
        }
        let mut inner = command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().map_err(|e| {
            let error = Error::io("run", name, &e);
            match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                    Error::refused(error.to_string()).hint("Is it installed, and is its folder in PATH?")
                }
                _ => error,
            }
        })?;
        let (send, stderr) = channel();
        if let Some(pipe) = inner.stderr.take() {
            std::thread::spawn(move || {
                let _ = send.send(tail(pipe));
            });
        }
        Ok(Child { inner, name: name.to_owned(), group, ended: None, stderr })
    }

    /// The reading end of the child's standard output, once.
    pub fn stdout(&mut self) -> Option<Source> {
        self.inner.stdout.take().map(|out| Source::pipe(out.into()))
    }

    /// The writing end of the child's standard input, once. Dropping it is the end of its input.
    pub fn stdin(&mut self) -> Option<Sink> {
        self.inner.stdin.take().map(|pipe| Sink::pipe(pipe.into()))
    }

    /// Waits for the end of the child, or for a signal.
    pub fn wait(mut self) -> Result<Ended> {
        let fail = |e| Error::io("wait for", &self.name, &e);
        let mut nap = Duration::from_micros(500);
        let status = loop {
            if let Some(status) = self.inner.try_wait().map_err(fail)? {
                break status;
            }
            pause(nap)?;
            nap = (nap * 2).min(Duration::from_millis(20));
        };
        self.ended = Some(status);
        // a grandchild may hold the pipe open for longer than we care to wait
        let stderr = self.stderr.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        Ok(Ended { name: self.name.clone(), status, stderr: stderr.into() })
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.inner.id() as i32) {
            let _ = if self.group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.signal(Signal::TERM);
        let end = Instant::now() + GRACE;
        while Instant::now() < end {
            if !matches!(self.inner.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.signal(Signal::KILL);
        let _ = self.inner.wait();
    }
}

impl Ended {
    /// Whether it ended with status 0.
    pub fn ok(&self) -> bool {
        self.status.success()
    }

    /// The error of a child that failed, with its last words as the cause. A server that is away
    /// is worth a retry, and so is a full disk on the other side.
    pub fn error(&self) -> Error {
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("{} ended with status {code}", self.name),
            (None, Some(signal)) => {
                format!(
                    "{} was killed by {}",
                    self.name,
                    signal_hook::low_level::signal_name(signal).unwrap_or("a signal")
                )
            }
            _ => format!("{} failed", self.name),
        };
        let words: Vec<String> = self.stderr.iter().map(|l| crate::out::plain(l)).collect();
        let said = words.join("; ");
        // the shell's and env's words for a program that is not there, or must not be run
        if let Some(126 | 127) = self.status.code() {
            return Error::refused(format!("{how}: {said}"))
                .hint("Is it installed there, and is its folder in PATH?");
        }
        // 128 and a signal: a container that stops ends what `docker exec` runs in it, without a word
        if let Some(137 | 143) = self.status.code() {
            return Error::temporary(
                format!("{how}, as when its container stops: {said}").trim_end_matches(": "),
            );
        }
        let temporary = TEMPORARY.iter().any(|t| said.contains(t)) && !FINAL.iter().any(|t| said.contains(t));
        let code = if temporary { Code::Temporary } else { Code::No };
        Error::new(code, if said.is_empty() { how } else { format!("{how}: {said}") })
    }
}

/// What libpq, the server and the shell say when a retry may help (libpq's `fe-connect.c`,
/// the server's `errcodes.txt` classes 08, 53 and 57).
const TEMPORARY: [&str; 24] = [
    "connection to server",
    "could not connect",
    "could not translate host name",
    "server closed the connection",
    "connection not open",
    "no connection to the server",
    "the database system is",
    "terminating connection",
    "too many clients",
    "remaining connection slots",
    "No space left on device",
    // a block that fits in part is no error to the system
    "Check free disk space",
    // what could not be written is told to the server's log alone
    "checkpoint request failed",
    "due to lock timeout",
    // what --lock-wait-timeout of pg_dump ends with
    "due to statement timeout",
    "Connection refused",
    "Connection timed out",
    "Connection reset",
    "Connection closed by",
    "Network is unreachable",
    "No route to host",
    "Could not resolve hostname",
    // docker compose exec, docker exec
    "is not running",
    "Cannot connect to the Docker daemon",
];

/// … and when it will not, although the sentence begins alike.
const FINAL: [&str; 7] = [
    "unrecognized configuration parameter",
    "password authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "authentication failed",
    "permission denied",
];

fn tail(pipe: impl Read) -> VecDeque<String> {
    let mut last = VecDeque::with_capacity(TAIL);
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    // a line without end must not fill the memory
    while matches!(reader.by_ref().take(4096).read_until(b'\n', &mut line), Ok(n) if n > 0) {
        if last.len() == TAIL {
            last.pop_front();
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !text.is_empty() {
            last.push_back(text);
        }
        line.clear();
    }
    last
}

/// Runs a child to its end with `input` on its standard input; gives back its standard output.
/// For short conversations: the output is held in memory.
pub fn converse(
    command: &mut Command,
    name: &str,
    input: impl AsRef<[u8]> + Sync,
) -> Result<(Ended, Vec<u8>)> {
    let mut child = Child::spawn(command, name, Stdio::piped(), Stdio::piped())?;
    let (stdin, stdout) = (child.stdin(), child.stdout());
    let mut output = Vec::new();
    let input = input.as_ref();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // a child that does not read to the end tells why by its status
            let _ = stdin.map(|mut pipe| pipe.write_all(input));
        });
        stdout.map(|mut pipe| pipe.read_to_end(&mut output)).transpose()
    })
    .map_err(|e| interrupted().err().unwrap_or_else(|| Error::io("read from", name, &e)))?;
    Ok((child.wait()?, output))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_conversation_has_a_status_an_output_and_last_words() {
        let (ended, output) = converse(&mut sh("cat; echo why >&2; exit 7"), "sh", "hello").unwrap();
        assert_eq!((ended.status.code(), output.as_slice()), (Some(7), b"hello".as_slice()));
        assert_eq!(ended.error().to_string(), "sh ended with status 7: why");
    }

    #[test]
    fn a_server_that_is_away_is_temporary_and_a_wrong_password_is_not() {
        let code = |words: &str| {
            converse(&mut sh(&format!("echo '{words}' >&2; exit 1")), "psql", "").unwrap().0.error().code()
        };
        assert_eq!(
            code("psql: error: connection to server at \"h\" failed: Connection refused"),
            Code::Temporary
        );
        let wrong =
            "connection to server at \"h\" failed: FATAL:  password authentication failed for user \"u\"";
        assert_eq!(code(wrong), Code::No);
    }

    #[test]
    fn a_container_that_stops_is_temporary() {
        let (ended, _) = converse(&mut sh("exit 137"), "docker", "").unwrap();
        assert_eq!(ended.error().code(), Code::Temporary);
        assert!(ended.error().to_string().ends_with("as when its container stops"));
    }

    #[test]
    fn dropping_a_child_ends_it() {
        let started = Instant::now();
        let child = Child::spawn(&mut sh("sleep 30"), "sh", Stdio::null(), Stdio::null()).unwrap();
        drop(child);
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_missing_program_is_refused() {
        let error = converse(&mut Command::new("no-such-program-here"), "no-such", "").err().unwrap();
        assert_eq!(error.code(), Code::Refused);
    }
}
