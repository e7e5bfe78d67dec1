//! Where PostgreSQL's programs are installed on this machine.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::major_of;
use crate::child::converse;

/// A directory with client programs.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) major: u32,
    pub(crate) dir: PathBuf,
}

/// Where client programs are installed, newest version first. Debian's `/usr/bin/pg_dump` is a
/// wrapper that guesses a version; the directories behind it are taken instead.
pub(crate) fn homes() -> Vec<Home> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    for (base, end) in [
        ("/usr/lib/postgresql", "bin"),
        ("/usr", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
    ] {
        let Ok(entries) = std::fs::read_dir(base) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let named = base == "/usr/lib/postgresql"
                || name.starts_with("pgsql-")
                || name.starts_with("postgresql@");
            if named {
                dirs.push(entry.path().join(end));
            }
        }
    }
    // PATH first: of two equal versions, the one that the user chose
    let path =
        which::which("pg_dump").ok().filter(|p| p.canonicalize().is_ok_and(|p| !p.ends_with("pg_wrapper")));
    dirs.splice(0..0, path.as_deref().and_then(Path::parent).map(Path::to_owned));
    // it is often one of the others
    let mut seen = HashSet::new();
    dirs.retain(|dir| seen.insert(dir.clone()));
    let mut homes: Vec<Home> = dirs.into_iter().filter_map(home).collect();
    homes.sort_by_key(|h| std::cmp::Reverse(h.major));
    homes
}

/// The directory as a home, if all four programs are in it and pg_dump tells its version.
fn home(dir: PathBuf) -> Option<Home> {
    let complete = ["pg_dump", "pg_dumpall", "psql", "pg_restore"].iter().all(|p| dir.join(p).is_file());
    let mut ask = std::process::Command::new(dir.join("pg_dump"));
    let (_, output) = complete.then(|| converse(ask.arg("--version"), "pg_dump", "").ok()).flatten()?;
    Some(Home { major: major_of(&String::from_utf8_lossy(&output))?, dir })
}
