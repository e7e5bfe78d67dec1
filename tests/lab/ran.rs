//! Running a program to its end, and what came of it.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What hangs for so long is ended, and its test fails.
pub const LIMIT: Duration = Duration::from_secs(100);

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; 128 and the signal for one that was killed.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ran {
    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "exit status\nstderr: {}\nstdout: {}", self.err, self.out);
        self
    }

    /// Asserts that standard error holds `words`.
    #[track_caller]
    pub fn says(self, words: &str) -> Ran {
        assert!(self.err.contains(words), "'{words}' is not in stderr: {}", self.err);
        self
    }

    /// The lines of standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    /// The only line of standard output.
    #[track_caller]
    pub fn line(&self) -> &str {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0]
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Runs a command to its end, its standard input as the caller left it.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    end(child.unwrap_or_else(|e| panic!("{command:?}: {e}")))
}

/// Runs a command to its end with `input` on its standard input.
#[track_caller]
pub fn feed(command: &mut Command, input: impl AsRef<[u8]>) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.as_ref());
    std::thread::scope(|scope| {
        // one that does not read to the end tells why by its status
        scope.spawn(move || stdin.write_all(input).is_ok());
        end(child)
    })
}

/// Waits for a child whose output is piped, within [`LIMIT`].
pub fn end(child: Child) -> Ran {
    let pid = Pid::from_child(&child);
    let (done, waits) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if waits.recv_timeout(LIMIT).is_err() {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let output = child.wait_with_output().unwrap();
        done.send(()).expect("it did not end in time");
        Ran::from(output)
    })
}

/// Whether whoever runs the tests has them ignore this signal (`nohup`, `&` of a shell): then the
/// programs ignore it too, as they should, and cannot be ended by it.
pub fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
}

/// Waits until something is so, within [`LIMIT`].
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < LIMIT, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// The names in a folder, sorted; none where there is no folder.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
