//! What is stopped for a restore is started again: after failure, after a panic, after signals.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use kit::child::converse;
use kit::exit::{Error, Result};
use kit::out::Speech;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::cli::Args;

/// How Docker Compose is called on one machine or another.
const COMPOSE: [&[&str]; 4] =
    [&["docker", "compose"], &["docker-compose"], &["podman", "compose"], &["podman-compose"]];

/// Services that are down until this is dropped.
pub(crate) struct Stopped<'a> {
    start: Option<String>,
    speech: &'a Speech,
}

/// Runs what stops the services; from now on what starts them will be run, even if that failed halfway.
pub(crate) fn stop<'a>(args: &Args, speech: &'a Speech) -> Result<Stopped<'a>> {
    kit::child::interrupted()?;
    let (stop, start) = match args.services.as_slice() {
        [] => (args.stop.clone(), args.start.clone()),
        services => of_compose(services, speech)?,
    };
    let stopped = Stopped { start, speech };
    if let Some(command) = stop {
        run_unless_interrupted(&command).map_err(|e| e.within("cannot stop what uses the database"))?;
    }
    Ok(stopped)
}

/// The commands that stop and start those of `services` that run now.
fn of_compose(services: &[String], speech: &Speech) -> Result<(Option<String>, Option<String>)> {
    let compose = COMPOSE.iter().find(|words| answer(words, &["version"]).is_ok()).ok_or_else(|| {
        Error::refused("cannot find Docker Compose")
            .hint("Name what stops and starts it with --stop and --start.")
    })?;
    let known = answer(compose, &["config", "--services"])?;
    if let Some(unknown) = services.iter().find(|s| !known.contains(s)) {
        return Err(Error::refused(format!("'{unknown}' is no service here"))
            .hint(format!("There are: {}.", known.join(", "))));
    }
    let running = answer(compose, &["ps", "--services", "--filter", "status=running"])?;
    let running: Vec<&str> = services.iter().filter(|s| running.contains(s)).map(String::as_str).collect();
    if running.is_empty() {
        speech.say("none of the services runs");
        return Ok((None, None));
    }
    // the names of services need no quotes: letters, digits, '.', '_', '-'
    let command = |verb: &str| format!("{} {verb} {}", compose.join(" "), running.join(" "));
    speech.say(&format!("services that stop, and start again at the end: {}", running.join(" ")));
    Ok((Some(command("stop")), Some(command("start"))))
}

/// The lines that a command of compose prints.
fn answer(compose: &[&str], words: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new(compose[0]);
    let name = compose.join(" ");
    let (ended, output) = converse(command.args(&compose[1..]).args(words), &name, "")?;
    if !ended.ok() {
        return Err(ended.error());
    }
    Ok(String::from_utf8_lossy(&output).lines().map(str::to_owned).collect())
}

impl Stopped<'_> {
    /// Starts the services and tells whether that worked.
    pub(crate) fn start(mut self) -> Result<()> {
        self.start
            .take()
            .map_or(Ok(()), |command| run(&command).map_err(|e| e.within("cannot start what was stopped")))
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Some(command) = self.start.take()
            && let Err(error) = run(&command)
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
