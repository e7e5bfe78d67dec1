//! The throwaway folder of a server: private, and removed whatever happens. What a kill leaves is
//! found by the next run: its lock is free, so whoever made it is dead.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::{Programs, server_on};
use crate::exit::{Error, Result};

const LOCK: &str = "lock";
/// A folder without a lock is one that is just being made, unless it is older.
const MAKING: Duration = Duration::from_secs(60);
/// How long a server may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the path of a socket may be (`sun_path`), less its name.
const LONGEST: usize = 107 - "/.s.PGSQL.5432".len();

/// A folder of mode 0700 that belongs to whoever runs the server, below `TMPDIR`. Dropped, it is
/// removed with all that is in it; stop the server before.
pub struct Site {
    path: PathBuf,
    /// Held as long as we live.
    _lock: File,
}

impl Site {
    /// Makes one whose name begins with `tag`.
    ///
    /// # Errors
    /// [`crate::exit::Code::Refused`] when the path is too long for a socket.
    pub fn new(tag: &str, programs: &Programs) -> Result<Self> {
        let site = Self::bare(tag)?;
        programs.give(&site.path)?;
        Ok(site)
    }

    /// The same for ourselves, where the server is elsewhere.
    pub fn bare(tag: &str) -> Result<Self> {
        let temp = temp()?;
        let fail = |e| Error::io("create a folder in", temp.display(), &e);
        // 64 bits that nobody can guess, so that nobody was there before
        let mut random = [0; 8];
        File::open("/dev/urandom")
            .and_then(|mut f| std::io::Read::read_exact(&mut f, &mut random))
            .map_err(|e| Error::io("read", "/dev/urandom", &e))?;
        let path = temp.join(format!("{tag}-{:016x}", u64::from_ne_bytes(random)));
        if path.as_os_str().len() > LONGEST {
            return Err(Error::refused(format!(
                "'{}' is too long a path for a server's socket",
                path.display()
            ))
            .hint("TMPDIR names where it is made: choose a shorter one, such as /tmp."));
        }
        DirBuilder::new().mode(0o700).create(&path).map_err(fail)?;
        Self::locked(&path).inspect_err(|_| _ = fs::remove_dir_all(&path))
    }

    /// Takes the lock under another name first: who sees `lock` sees it held.
    fn locked(path: &Path) -> Result<Self> {
        let fresh = path.join("lock.new");
        let fail = |e: std::io::Error| Error::io("lock", path.display(), &e);
        let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(fail)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|e| fail(e.into()))?;
        fs::rename(&fresh, path.join(LOCK)).map_err(fail)?;
        Ok(Site { path: path.to_owned(), _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what runs that were killed have left: their servers are ended, their folders go. The
    /// paths of those folders, for a message.
    pub fn sweep(tag: &str) -> Result<Vec<PathBuf>> {
        let temp = temp()?;
        let mut swept = Vec::new();
        let entries = fs::read_dir(&temp).map_err(|e| Error::io("list", temp.display(), &e))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ours = name
                .to_str()
                .and_then(|n| n.strip_prefix(tag)?.strip_prefix('-'))
                .is_some_and(|random| random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit()));
            let path = entry.path();
            if ours && is_left_behind(&path) {
                end_servers(&path);
                // another sweeper may be quicker
                let _ = fs::remove_dir_all(&path);
                swept.push(path);
            }
        }
        Ok(swept)
    }
}

/// The folder that `TMPDIR` names, as one that does not depend on where a program stands: servers stand
/// in their data directories.
fn temp() -> Result<PathBuf> {
    let temp = std::env::temp_dir();
    std::path::absolute(&temp).map_err(|e| {
        Error::refused(Error::io("find", temp.display(), &e).to_string())
            .hint("TMPDIR names it: choose another.")
    })
}

impl Drop for Site {
    fn drop(&mut self) {
        // a server that was ended hard may still have children that write their last
        for _ in 0..50 {
            if fs::remove_dir_all(&self.path).is_ok() || !self.path.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether a folder of ours has lost its owner. Anybody may make a folder of such a name below
/// `TMPDIR`: ours are those that belong to us. Of root's the server's user has some, who may be anybody; a
/// folder that somebody else made up is his loss.
fn is_left_behind(path: &Path) -> bool {
    let Ok(meta) = path.symlink_metadata() else { return false };
    let we = rustix::process::geteuid();
    if !meta.is_dir() || meta.mode() & 0o077 != 0 || !(we.is_root() || we.as_raw() == meta.uid()) {
        return false;
    }
    let no_follow = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    match OpenOptions::new().write(true).custom_flags(no_follow).open(path.join(LOCK)) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        // that of a root's drill is not ours to judge
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => false,
        Err(_) => {
            let age = meta.modified().ok().and_then(|t| SystemTime::now().duration_since(t).ok());
            age.is_some_and(|age| age > MAKING)
        }
    }
}

/// Ends the servers whose data directories are in `site`, and the one that has its socket there, which a
/// container may be around.
fn end_servers(site: &Path) {
    for entry in fs::read_dir(site).into_iter().flatten().flatten() {
        end(|| server_on(&entry.path()));
    }
    end(|| listening_in(site));
}

fn end(server: impl Fn() -> Option<Pid>) {
    for signal in [Signal::QUIT, Signal::KILL] {
        let Some(pid) = server() else { break };
        let _ = kill_process(pid, signal);
        let end = Instant::now() + PATIENCE;
        while server().is_some() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A process that was started with its socket in `site`, a path that nobody could guess.
fn listening_in(site: &Path) -> Option<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = numbers.find(|number| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.windows(2).any(|pair| pair == [b"-k", site.as_os_str().as_bytes()])
    });
    Pid::from_raw(found?)
}
