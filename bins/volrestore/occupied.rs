//! Whether a server runs on a directory that is to be replaced or removed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kit::child::pause;
use kit::exit::{Error, Result};
use kit::volume::live;

use crate::site::there;

/// How long the processes of a server may take to end behind it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Refuses a directory on which somebody runs.
pub(crate) fn nobody_on(dir: &Path) -> Result<()> {
    match user_of(dir)? {
        Some((pid, name)) => Err(Error::refused(format!(
            "cannot replace '{}': {name} (process {pid}) runs on it",
            dir.display()
        ))
        .hint("Name what stops it with --services, or with --stop and --start.")),
        None => Ok(()),
    }
}

/// Nothing is removed below the server of a run that was killed, whose folder lies in another TMPDIR.
pub(crate) fn nobody_replays_in(dir: &Path) -> Result<()> {
    // one that was just ended has children for a while
    let end = Instant::now() + PATIENCE;
    while user_of(dir)?.is_some() && Instant::now() < end {
        pause(Duration::from_millis(50))?;
    }
    match user_of(dir)? {
        Some((pid, name)) => Err(Error::temporary(format!(
            "cannot remove '{}': {name} (process {pid}) of a run that was killed runs on it",
            dir.display()
        ))
        .hint("Give this run the TMPDIR of that one, or end that process; then run this again.")),
        None => Ok(()),
    }
}

fn user_of(dir: &Path) -> Result<Option<(u32, String)>> {
    if !there(dir) {
        return Ok(None);
    }
    let data = live::data_directories(dir)?;
    Ok(std::iter::once(dir).chain(data.iter().map(PathBuf::as_path)).find_map(live::user_of))
}
