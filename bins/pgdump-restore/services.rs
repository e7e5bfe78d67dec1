//! What is stopped for a restore is started again: after failure, after a panic, after signals.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use kit::exit::{Error, Result};
use kit::out::Speech;

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
        run(command).map_err(|e| e.within("cannot stop what uses the database"))?;
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
    let fail = |e| Error::io("run", command, &e);
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(fail)?;
    let status = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(stderr)
        .status()
        .map_err(fail)?;
    if status.success() { Ok(()) } else { Err(Error::no(format!("'{command}' failed ({status})"))) }
}
