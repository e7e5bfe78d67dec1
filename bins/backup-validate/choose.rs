//! Which backups are meant: paths, names and times, those of a folder, or lines of standard input.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use kit::archive;
use kit::catalog::{self, Backup, located};
use kit::child::{Source, interrupted};
use kit::cli::usage;
use kit::exit::{Error, Result};
use kit::out;
use kit::place;
use kit::stamp::Stamp;
use kit::volume::set::Set;
use kit::volume::snapshot;

use crate::cli::Which;

/// Where snapshots of volumes are, in a folder of backups.
const SNAPSHOTS: &str = "snapshots";

/// Hands the path of each to `each`, as soon as it is known.
///
/// # Errors
/// A folder that cannot be listed; a time of which there is none; what `each` answers.
pub(crate) fn each(
    which: &Which,
    dir: &Path,
    series: Option<&str>,
    each: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<()> {
    match which {
        Which::Named(names) => names.iter().try_for_each(|name| named(name, dir, each)),
        Which::Stdin => lines(each),
        Which::All => all(dir, series)?.iter().try_for_each(|b| each(&b.path)),
        Which::Latest => latest(all(dir, series)?).iter().try_for_each(|path| each(path)),
    }
}

fn named(name: &str, dir: &Path, each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let path = located(name, dir);
    if let Some(stamp) = Stamp::parse_compact(name).filter(|_| !path.exists()) {
        let mut of = all(dir, None)?;
        of.retain(|b| b.named == Some(stamp));
        if of.is_empty() {
            return Err(Error::no(format!("'{}' holds no backup of {name}", dir.display())));
        }
        return of.iter().try_for_each(|b| each(&b.path));
    }
    // a folder of several, as older scripts made one for each run
    if path.is_dir()
        && !archive::is_directory(&path)
        && let Ok(of) = all(&path, None)
    {
        return of.iter().try_for_each(|b| each(&b.path));
    }
    each(&path)
}

/// A path a line; nothing that came in is no success, because whoever made the list may have failed.
fn lines(each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    if out::stdin_is_terminal() {
        return Err(usage("nothing to look at: give FILE, --latest or --all, or paths on standard input"));
    }
    let mut input = BufReader::new(Source::stdin()?);
    let (mut line, mut any) = (String::new(), false);
    loop {
        line.clear();
        let read = input.read_line(&mut line);
        let n =
            read.map_err(|e| interrupted().err().unwrap_or_else(|| Error::io("read", "standard input", &e)))?;
        let path = line.trim_end_matches('\n');
        if n == 0 {
            break;
        }
        if !path.is_empty() {
            any = true;
            each(Path::new(path))?;
        }
    }
    match any {
        true => Ok(()),
        false => Err(Error::no("no path came on standard input: nothing was proven")),
    }
}

/// A backup of any kind in a folder.
struct Found {
    path: PathBuf,
    time: Stamp,
    /// The time in its name.
    named: Option<Stamp>,
    /// What it is one of: only the newest of these is the latest.
    of: String,
}

/// All backups in `dir`, newest first; `series` leaves those of one only.
fn all(dir: &Path, series: Option<&str>) -> Result<Vec<Found>> {
    let mut dumps = catalog::scan(dir, series)?;
    dumps.extend(
        catalog::vanished(dir)?.into_iter().filter(|b| series.is_none() || b.series.as_deref() == series),
    );
    let mut found: Vec<Found> = dumps.into_iter().map(Found::dump).collect();
    for name in place::names(dir)? {
        let Some((prefix, named)) = rdb(&name).filter(|(prefix, _)| series.is_none_or(|s| s == *prefix))
        else {
            continue;
        };
        let backup = Backup::at(&dir.join(&name))?;
        let of = format!("{prefix} {:?}", backup.kin());
        found.push(Found { path: backup.path, time: named.unwrap_or(backup.time), named, of });
    }
    for folder in [dir.to_owned(), dir.join(SNAPSHOTS)] {
        // snapshots are of no series
        let snapshots =
            if folder.is_dir() && series.is_none() { snapshot::scan(&folder)? } else { Vec::new() };
        found.extend(snapshots.into_iter().map(|s| Found {
            of: format!("snapshot {:?}", s.set.as_ref().map(Set::kin)),
            named: Some(s.time),
            time: s.time,
            path: s.path,
        }));
    }
    if found.is_empty() {
        return Err(Error::no(format!("'{}' holds no backup", dir.display())));
    }
    found.sort_by(|a, b| (b.time, &b.path).cmp(&(a.time, &a.path)));
    Ok(found)
}

impl Found {
    fn dump(backup: Backup) -> Self {
        let of = format!("{:?} {:?}", backup.series, backup.kin());
        let named = catalog::parse(&backup.name).map(|(_, stamp)| stamp);
        Found { path: backup.path, time: backup.time, named, of }
    }
}

/// Series of the name of a Redis snapshot, and the time in it.
fn rdb(name: &str) -> Option<(&str, Option<Stamp>)> {
    let stem = [".rdb", ".rdb.gz", ".rdb.zst"].iter().find_map(|e| name.strip_suffix(e))?;
    let parts = stem.split_at_checked(stem.len().saturating_sub(16));
    let named =
        parts.and_then(|(prefix, rest)| Some((prefix, Stamp::parse_compact(rest.strip_prefix('_')?)?)));
    Some(named.map_or((stem, None), |(prefix, stamp)| (prefix, Some(stamp))))
}

/// The newest of each that can stand for one another.
fn latest(found: Vec<Found>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    found.into_iter().filter(|f| seen.insert(f.of.clone())).map(|f| f.path).collect()
}
