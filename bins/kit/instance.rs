//! A PostgreSQL server of our own, for a while: private, reached by its socket alone, and gone
//! afterwards.
//!
//! [`Programs`] finds the server's programs and who may run them, [`Site`] is the throwaway folder in
//! which it lives, and [`Instance`] the running server, on a data directory that was just made or
//! one that came out of a backup. Dropped, it is stopped.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::child::pause;
use crate::exit::{Code, Error, Result, plain};
use crate::settings::Settings;

mod programs;
mod site;

pub use programs::{Inside, Programs, remove_container};
pub use site::Site;

/// The port in the socket's name; nobody listens on the network.
pub const PORT: &str = "5432";
/// The superuser of a server that is made here.
pub const SUPERUSER: &str = "postgres";

/// How long a server may take to stop before it is stopped hard.
const GRACE: Duration = Duration::from_secs(60);
/// How much of the end of its log is told when it does not start.
const TAIL: u64 = 4096;
const TOLD: usize = 6;

/// A running server.
pub struct Instance {
    data: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    postmaster: Option<Child>,
}

/// Makes an empty cluster in `data`, which must not be there: superuser [`SUPERUSER`], who needs no
/// password, and locale C, with which databases may have any encoding; `encoding` is that of those
/// that name none.
///
/// # Errors
/// What initdb says.
pub fn init(programs: &Programs, data: &Path, encoding: &str) -> Result<()> {
    let mut command = programs.command("initdb", crate::place::parent(data));
    command.args(["--username", SUPERUSER, "--auth=trust", "--no-sync", "--locale=C"]);
    command.arg("--encoding").arg(encoding).arg("--pgdata").arg(data);
    let (ended, _) = crate::child::converse(&mut command, "initdb", "")?;
    if ended.ok() { Ok(()) } else { Err(ended.error().within("cannot make a server")) }
}

impl Instance {
    /// Starts a server on the data directory `data`, which belongs to whoever runs it; its socket and
    /// log are in `site`. `settings` come last and win; no address is listened on. Waits up to `wait`
    /// until it takes connections: a server in recovery does as soon as it may be read, where
    /// `hot_standby` is on, else when it has recovered.
    ///
    /// # Errors
    /// [`crate::exit::Code::No`] when it ends before that, with the end of its log as the cause;
    /// [`crate::exit::Code::Temporary`] when the time is over; [`crate::exit::Code::Refused`] when it cannot
    /// even be tried; a signal.
    pub fn start(
        programs: &Programs,
        site: &Site,
        data: &Path,
        settings: &[(&str, &str)],
        wait: Duration,
    ) -> Result<Self> {
        forget_pid(data)?;
        let (socket, log) = (site.path().to_owned(), site.path().join("server.log"));
        let fail = |e| Error::io("write", log.display(), &e);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(fail)?;
        let mut command = programs.command("postgres", data);
        command.arg("-D").arg(data).arg("-k").arg(&socket);
        let private = [("listen_addresses", ""), ("port", PORT), ("unix_socket_permissions", "0700")];
        // a log of its own would hide from us why it ends
        let told = [("logging_collector", "off"), ("log_destination", "stderr"), ("lc_messages", "C")];
        for (name, value) in private.iter().chain(&told).chain(settings) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let other = file.try_clone().map_err(fail)?;
        // ctrl-C is for us alone; we stop it in good order
        command.process_group(0).stdin(Stdio::null()).stdout(other).stderr(file);
        let postmaster = command.spawn().map_err(|e| {
            let what = Error::io("run", "postgres", &e).within(format!("in '{}'", data.display()));
            what.with_code(Code::Refused).hint("Whoever runs the server must be able to enter that folder.")
        })?;
        let mut instance = Instance { data: data.to_owned(), socket, log, postmaster: Some(postmaster) };
        instance.wait(wait)?;
        Ok(instance)
    }

    fn wait(&mut self, most: Duration) -> Result<()> {
        let end = Instant::now() + most;
        loop {
            // its last line tells, since PostgreSQL 10
            let state = fs::read_to_string(self.data.join(PID_FILE)).unwrap_or_default();
            if let Some("ready" | "standby") = state.lines().nth(7).map(str::trim_end) {
                return Ok(());
            }
            if !self.is_running() {
                return Err(Error::no(format!("the server does not start: {}", self.last_words())));
            }
            if Instant::now() > end {
                let seconds = most.as_secs();
                let what = format!("the server is not ready within {seconds} s: {}", self.last_words());
                return Err(Error::temporary(what));
            }
            pause(Duration::from_millis(10))?;
        }
    }

    /// Whether it has not ended: a server may end by itself, such as one that recovers to a target
    /// and then shuts down.
    pub fn is_running(&mut self) -> bool {
        self.postmaster.as_mut().is_some_and(|p| matches!(p.try_wait(), Ok(None)))
    }

    /// Whether it goes on running, or ends within that time: its connections go before it does.
    pub fn stays(&mut self, most: Duration) -> bool {
        let end = Instant::now() + most;
        while self.is_running() && Instant::now() < end && pause(Duration::from_millis(10)).is_ok() {}
        self.is_running()
    }

    /// How to reach it, with nothing of the environment's own server in it.
    pub fn settings(&self) -> Settings {
        Settings::alone(self.environment())
    }

    /// Variables for programs that shall reach it.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let host = self.socket.display().to_string();
        [("PGHOST", host), ("PGPORT", PORT.into()), ("PGUSER", SUPERUSER.into())]
    }

    /// What its log says of its end: what it gave up for, else the last lines.
    pub fn last_words(&self) -> String {
        let mut text = Vec::new();
        let read = File::open(&self.log).and_then(|mut log| {
            let bytes = log.metadata()?.len();
            log.seek(SeekFrom::Start(bytes.saturating_sub(TAIL)))?;
            log.take(TAIL).read_to_end(&mut text)
        });
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
        // clients that come too early are no reason
        let cause = |l: &&str| {
            (l.contains("FATAL:") || l.contains("PANIC:")) && !l.contains("the database system is")
        };
        let from = lines.iter().rposition(cause).unwrap_or(lines.len().saturating_sub(TOLD));
        match (read, lines.is_empty()) {
            (Ok(_), false) => plain(&lines[from..].iter().take(TOLD).copied().collect::<Vec<_>>().join("; ")),
            _ => "it said nothing".into(),
        }
    }

    /// Stops it in good order, or hard where that takes too long.
    ///
    /// # Errors
    /// When it cannot be stopped at all.
    pub fn stop(mut self) -> Result<()> {
        self.end(Signal::INT).map_err(|e| Error::io("stop", self.data.display(), &e))
    }

    /// Ends it by `signal`, then by harder ones.
    fn end(&mut self, signal: Signal) -> std::io::Result<()> {
        let Some(mut postmaster) = self.postmaster.take() else { return Ok(()) };
        // KILL is for a server that hangs: its children end when they notice
        for signal in [signal, Signal::QUIT, Signal::KILL] {
            let end = Instant::now() + GRACE;
            while Instant::now() < end {
                if postmaster.try_wait()?.is_some() {
                    return Ok(());
                }
                let _ = kill_process(Pid::from_child(&postmaster), signal);
                for _ in 0..50 {
                    if postmaster.try_wait()?.is_some() {
                        return Ok(());
                    }
                    std::thread::sleep(Duration::from_millis(4));
                }
            }
        }
        Err(std::io::Error::other("it does not end"))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // nothing in it is worth a checkpoint
        let _ = self.end(Signal::QUIT);
    }
}

/// Where a server says which process it is, in its data directory.
const PID_FILE: &str = "postmaster.pid";

/// The process of the server that runs on `data`. A number in a pid file may by now be any process:
/// only one that stands in that directory counts.
fn server_on(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join(PID_FILE)).ok()?;
    // a server of one session, as initdb runs it, writes its number with a minus (`CreateLockFile`)
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    let pid = Pid::from_raw(number.checked_abs()?)?;
    let stands_in = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).ok()?;
    (stands_in == data.canonicalize().ok()?).then_some(pid)
}

/// Removes the pid file that came with a copy of a data directory: PostgreSQL would not start where
/// any process has that number.
fn forget_pid(data: &Path) -> Result<()> {
    if let Some(pid) = server_on(data) {
        let what = format!("a server runs on '{}' (process {})", data.display(), pid.as_raw_nonzero());
        return Err(Error::temporary(what).hint("Stop it first."));
    }
    // without /proc nobody knows, and PostgreSQL decides
    if Path::new("/proc/self").exists() {
        crate::place::remove_if_there(&data.join(PID_FILE))
    } else {
        Ok(())
    }
}
