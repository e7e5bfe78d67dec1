//! What is stopped for a restore is started again: after failure, after a panic, after signals.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use kit::exit::{Error, Result};
use kit::out::Speech;
use rustix::process::{Pid, Signal, kill_process_group};

/// Services that are down until this is dropped.
pub(crate) struct Stopped<'a> {
    start: Option<&'a str>,
    speech: &'a Speech,
}

/// Runs `stop`; from now on `start` will be run, even if `stop` failed halfway.
pub(crate) fn stop<'a>(
    stop: Option<&str>,
    start: Option<&'a str>,
    speech: &'a Speech,
) -> Result<Stopped<'a>> {
    kit::child::interrupted()?;
    let stopped = Stopped { start, speech };
    if let Some(command) = stop {
        run_unless_interrupted(command).map_err(|e| e.within("cannot stop what uses the database"))?;
    }
    Ok(stopped)
}

impl Stopped<'_> {
    /// Starts the services and tells whether that worked.
    pub(crate) fn start(mut self) -> Result<()> {
        self.start
            .take()
            .map_or(Ok(()), |command| run(command).map_err(|e| e.within("cannot start what was stopped")))
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Some(command) = self.start.take()
            && let Err(error) = run(command)
        {
            self.speech.error(&error.within("cannot start what was stopped"));
        }
    }
}

/// Runs a shell command to its end, whatever signals have come. Its output is speech.
fn run(command: &str) -> Result<()> {
    let status = spawn(command)?.wait().map_err(|e| Error::io("wait for", command, &e))?;
    judged(command, status)
}

/// The same, but a signal ends the command.
fn run_unless_interrupted(command: &str) -> Result<()> {
    let mut child = spawn(command)?;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| Error::io("wait for", command, &e))? {
            return judged(command, status);
        }
        if let Err(interrupted) = kit::child::pause(Duration::from_millis(20)) {
            let _ = kill_process_group(Pid::from_child(&child), Signal::TERM);
            let _ = child.wait();
            return Err(interrupted);
        }
    }
}

fn spawn(command: &str) -> Result<Child> {
    let fail = |e| Error::io("run", command, &e);
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(fail)?;
    // in a group of its own: ctrl-C at the terminal must not end what starts the services
    let mut sh = Command::new("sh");
    sh.args(["-c", command]).stdin(Stdio::null()).stdout(stderr).process_group(0).spawn().map_err(fail)
}

fn judged(command: &str, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(Error::no(format!("'{command}' failed ({status})"))) }
}
