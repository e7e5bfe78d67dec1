//! Signals: caught, they are errors that travel up like any other.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::exit::{Error, Result};

struct Signals {
    seen: Arc<AtomicUsize>,
    // readable for ever once a signal has come; it is never drained
    wake: OwnedFd,
}

static SIGNALS: OnceLock<Signals> = OnceLock::new();

/// What is done now is done although a signal has come.
static CLEANING: AtomicBool = AtomicBool::new(false);

/// Begins to catch SIGINT, SIGTERM and SIGHUP. Called once, first thing in a program that makes
/// or changes anything.
pub fn catch_signals() -> Result<()> {
    let fail = |e| Error::io("catch", "signals", &e);
    let (wake, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| fail(e.into()))?;
    let seen = Arc::new(AtomicUsize::new(0));
    let ignored = ignored();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        if ignored >> (signal - 1) & 1 == 1 {
            continue;
        }
        signal_hook::flag::register_usize(signal, seen.clone(), signal as usize).map_err(fail)?;
        let end = write.try_clone().map_err(fail)?;
        signal_hook::low_level::pipe::register(signal, end).map_err(fail)?;
    }
    // caught, a file that grows beyond `ulimit -f` is an error of write() instead of our death
    let caught = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, caught).map_err(fail)?;
    // a second call changes nothing
    let _ = SIGNALS.set(Signals { seen, wake });
    Ok(())
}

/// The signals that our caller has us ignore (nohup, `&` of a shell), one bit each: they stay
/// ignored. Where `/proc` is not, none are.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).unwrap_or(0)
}

/// The error of a caught signal, once one has come.
pub fn interrupted() -> Result<()> {
    match SIGNALS.get().map_or(0, |s| s.seen.load(Ordering::Relaxed)) {
        0 => Ok(()),
        _ if CLEANING.load(Ordering::Relaxed) => Ok(()),
        signal => {
            let name = signal_hook::low_level::signal_name(signal as i32).unwrap_or("a signal");
            Err(Error::temporary(format!("interrupted by {name}")))
        }
    }
}

/// Runs what puts things back as they were: within it no signal counts, so keep it short.
pub fn clean_up<T>(work: impl FnOnce() -> T) -> T {
    CLEANING.store(true, Ordering::Relaxed);
    let result = work();
    CLEANING.store(false, Ordering::Relaxed);
    result
}

/// Waits until `fd` is ready (or `timeout` is over), or a signal comes.
pub(super) fn wait_for(fd: Option<(BorrowedFd<'_>, PollFlags)>, timeout: Option<Duration>) -> io::Result<()> {
    let mut fds = Vec::with_capacity(2);
    let wake = SIGNALS.get().filter(|_| !CLEANING.load(Ordering::Relaxed));
    fds.extend(wake.map(|s| PollFd::new(&s.wake, PollFlags::IN)));
    fds.extend(fd.map(|(fd, ready)| PollFd::from_borrowed_fd(fd, ready)));
    let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Err(rustix::io::Errno::INTR) | Ok(_) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Sleeps, unless a signal comes.
pub fn pause(time: Duration) -> Result<()> {
    wait_for(None, Some(time)).map_err(|e| Error::io("wait for", "a signal", &e))?;
    interrupted()
}
