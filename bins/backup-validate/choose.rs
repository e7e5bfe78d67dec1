//! Which backups are meant: paths, names and times, those of a folder, or lines of standard input.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kit::archive;
use kit::catalog::{Backup, located};
use kit::child::{Source, interrupted};
use kit::cli::usage;
use kit::exit::{Error, Result};
use kit::out;
use kit::stamp::Stamp;
use kit::store::Place;
use kit::watch;

use crate::cli::Which;

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

/// Each backup at a path: itself, or those in a folder of several.
pub(crate) fn within(path: &Path, each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    // a folder of several, as older scripts made one for each run
    if path.is_dir()
        && !archive::is_directory(path)
        && let Ok(of) = all(path, None)
    {
        return of.iter().try_for_each(|b| each(&b.path));
    }
    each(path)
}

fn named(name: &OsStr, dir: &Path, each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let Some(name) = name.to_str() else { return each(Path::new(name)) };
    if Place::is(Path::new(name)) {
        return each(Path::new(name));
    }
    let path = located(name, dir);
    if let Some(stamp) = Stamp::parse_compact(name).filter(|_| !path.exists()) {
        let mut of = all(dir, None)?;
        of.retain(|b| watch::named(&b.name) == Some(stamp));
        if of.is_empty() {
            return Err(Error::no(format!("'{}' holds no backup of {name}", dir.display())));
        }
        return of.iter().try_for_each(|b| each(&b.path));
    }
    within(&path, each)
}

/// A path a line; nothing that came in is no success, because whoever made the list may have failed.
fn lines(each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    if out::stdin_is_terminal() {
        return Err(usage("nothing to look at: give FILE, --latest or --all, or paths on standard input"));
    }
    let mut input = BufReader::new(Source::stdin()?);
    let (mut line, mut any) = (Vec::new(), false);
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        let n =
            read.map_err(|e| interrupted().err().unwrap_or_else(|| Error::io("read", "standard input", &e)))?;
        let path = line.strip_suffix(b"\n").unwrap_or(&line);
        if n == 0 {
            break;
        }
        if !path.is_empty() {
            any = true;
            each(Path::new(OsStr::from_bytes(path)))?;
        }
    }
    match any {
        true => Ok(()),
        false => Err(Error::no("no path came on standard input: nothing was proven")
            .hint("The backups of a folder are chosen by --all or --latest.")),
    }
}

/// All backups in `dir`, newest first; `series` leaves those of one only.
fn all(dir: &Path, series: Option<&str>) -> Result<Vec<Backup>> {
    let mut found = watch::backups(dir)?;
    found.retain(|b| series.is_none() || b.series.as_deref() == series);
    if found.is_empty() {
        let of = series.map_or(String::new(), |name| format!(" by the name of '{name}'"));
        return Err(Error::no(format!("'{}' holds no backup{of}", dir.display())));
    }
    Ok(found)
}

/// The newest of each that can stand for one another.
fn latest(found: Vec<Backup>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let of = |b: &Backup| format!("{:?} {:?}", b.series, b.kin());
    found.into_iter().filter(|b| seen.insert(of(b))).map(|b| b.path).collect()
}
