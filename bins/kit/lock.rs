//! One run at a time in a directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::exit::{Error, Result};

/// The lock file's name. It stays behind, empty of meaning when nobody holds it: removing it
/// would let two runs lock two different files of one name.
pub const NAME: &str = ".pgkeep.lock";

/// Held until dropped, or until the process ends however it ends.
pub struct Lock(#[allow(dead_code)] File);

impl Lock {
    /// Takes the lock of `dir`, waiting up to `wait` for another run to end. `pause` is how to wait
    /// for a moment; its error ends the waiting.
    pub fn take(dir: &Path, wait: Duration, pause: impl FnMut(Duration) -> Result<()>) -> Result<Self> {
        Self::attempt(dir, wait, pause)?.map_err(|held| held.hint("Wait for it to end."))
    }

    /// The same for a program whose `--lock-timeout` is `seconds`, which its hint names.
    pub fn take_within(dir: &Path, seconds: u64, pause: impl FnMut(Duration) -> Result<()>) -> Result<Self> {
        Self::attempt(dir, Duration::from_secs(seconds), pause)?.map_err(|held| {
            held.hint("Wait for it to end.").hint("--lock-timeout SECONDS waits so long for it.")
        })
    }

    /// The lock, or that another holds it.
    fn attempt(
        dir: &Path,
        wait: Duration,
        mut pause: impl FnMut(Duration) -> Result<()>,
    ) -> Result<Result<Self>> {
        let path = dir.join(NAME);
        let fail = |e: std::io::Error| {
            let error = Error::io("lock", dir.display(), &e);
            match (e.kind(), path.metadata()) {
                (std::io::ErrorKind::PermissionDenied, Ok(meta)) => error.hint(format!(
                    "'{}' belongs to user {}: let the same user make all backups of a directory.",
                    path.display(),
                    std::os::unix::fs::MetadataExt::uid(&meta)
                )),
                _ => error,
            }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        let give_up = Instant::now() + wait;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < give_up => {
                    pause(Duration::from_millis(50))?;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Err(Self::held(dir, &mut file))),
                Err(e) => return Err(fail(e.into())),
            }
        }
        // who holds it: for the other's message only
        file.set_len(0)
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
            .map_err(fail)?;
        Ok(Ok(Lock(file)))
    }

    fn held(dir: &Path, file: &mut File) -> Error {
        let mut pid = String::new();
        let _ = file.take(20).read_to_string(&mut pid);
        Error::temporary(format!(
            "cannot lock '{}': another run holds it{}",
            dir.display(),
            match pid.trim() {
                // it has only just got it
                "" => String::new(),
                pid => format!(" (process {pid})"),
            }
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    #[test]
    fn the_second_is_told_to_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let nap = |time| {
            std::thread::sleep(time);
            Ok(())
        };
        let first = Lock::take(dir.path(), Duration::ZERO, nap).unwrap();
        let second = Lock::take(dir.path(), Duration::from_millis(60), nap).err().unwrap();
        assert_eq!(second.code(), Code::Temporary);
        assert!(second.to_string().contains(&std::process::id().to_string()));
        drop(first);
        Lock::take(dir.path(), Duration::ZERO, nap).unwrap();
    }
}
