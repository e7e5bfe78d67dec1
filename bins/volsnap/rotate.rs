//! Removing whole sets: what no rule keeps, and what a kill left half there.

use std::path::Path;

use kit::catalog::{self, Backup};
use kit::exit::{Code, Error, Result};
use kit::out::Speech;
use kit::place;
use kit::retention::{Policy, Verdict};
use kit::stamp::Stamp;
use kit::volume::set::{self, Set};
use kit::watch::{self, Fates, Turn};

/// The snapshots of one series in `dir`, newest first. What cannot be read may be one of them: it stays, and a dry run
/// tells why.
pub(crate) fn snapshots(dir: &Path, series: &str) -> Result<Vec<Backup>> {
    let mut snapshots = if dir.is_dir() { watch::snapshots(dir)? } else { Vec::new() };
    snapshots.retain(|s| s.series.as_deref() == Some(series) || s.manifest.is_none());
    Ok(snapshots)
}

/// Removes what no rule keeps, set by set, of the kin of the `set` that this very run has `made`. The caller holds the
/// directory's lock. Gives back why some stay that no rule keeps.
pub(crate) fn rotate(
    made: &Path,
    set: &Set,
    policy: &Policy,
    allow_shrink: bool,
    speech: &Speech,
) -> Result<Vec<String>> {
    let dir = place::parent(made);
    let name = made.file_name().unwrap_or_default().to_string_lossy();
    let snapshots = snapshots(dir, &set.series())?;
    let fates = Fates::of(policy, Stamp::now(), &snapshots, Turn::Made(&name), allow_shrink);
    fates.tell(speech);
    // the oldest first: a kill never leaves what is older than a drop that was allowed without that
    for (snapshot, verdict) in snapshots.iter().zip(fates.verdicts).rev() {
        let Verdict::Remove(why) = verdict else { continue };
        // from now on it is no snapshot, and if we are killed the next run ends it
        let gone = place::with_suffix(&snapshot.path, place::PART);
        std::fs::rename(&snapshot.path, &gone)
            .map_err(|e| Error::io("remove", snapshot.path.display(), &e))?;
        place::sync_dir(dir)?;
        remove(dir, &gone)?;
        speech.say(&format!("removed {}: {why}", set::stem(&snapshot.name)));
    }
    Ok(fates.held)
}

/// Removes what runs that were killed have left: archives in the making, and sets whose record did not
/// get its name.
pub(crate) fn sweep(dir: &Path, speech: &Speech) -> Result<()> {
    let names = place::names(dir)?;
    let is_record =
        |name: &&String| name.strip_suffix(place::PART).is_some_and(|n| set::parse_record(n).is_some());
    let mut kept = Ok(());
    for name in names.iter().filter(is_record) {
        match remove(dir, &dir.join(name)) {
            Ok(()) => speech.say(&format!("removed {name}, left by a run that did not end")),
            // another try will not help, and what is left beside it goes all the same
            Err(error) => kept = kept.and(Err(error.with_code(Code::No))),
        }
    }
    for name in place::sweep(dir, |name| set::parse(name).is_some())? {
        speech.say(&format!("removed {name}, left by a run that did not end"));
    }
    kept
}

/// Removes the archives that the record at `part` names, and then it.
fn remove(dir: &Path, part: &Path) -> Result<()> {
    // one that is cut was being written: then no archive had its name yet
    if let Ok(set) = Set::read(part) {
        let names: Vec<&str> = set.volumes.iter().map(|a| a.file.name.as_str()).collect();
        // the list first: `sha256sum -c` must never miss a file
        catalog::update_sums(dir, &names, None)?;
        for name in names {
            place::remove_if_there(&dir.join(name))?;
        }
    }
    place::remove_if_there(part)?;
    place::sync_dir(dir)
}
