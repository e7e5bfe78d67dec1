//! Removing whole sets: what no rule keeps, and what a kill left half there.

use std::path::Path;

use kit::catalog;
use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::place;
use kit::retention::{Policy, Verdict, plan};
use kit::stamp::Stamp;
use kit::volume::set::{self, Kin, Set};
use kit::volume::snapshot::{Snapshot, scan};

/// The verdict on each snapshot of `dir`, newest first.
pub(crate) fn verdicts(dir: &Path, policy: &Policy, now: Stamp) -> Result<Vec<(Snapshot, Verdict)>> {
    let snapshots = if dir.is_dir() { scan(dir)? } else { Vec::new() };
    let candidates: Vec<_> = snapshots.iter().map(Snapshot::candidate).collect();
    let verdicts = plan::<Kin>(policy, now, &candidates);
    Ok(snapshots.into_iter().zip(verdicts).collect())
}

/// Removes what no rule keeps, set by set. The caller holds the directory's lock. `made`: the record
/// of this very run, which stays whatever the clocks say.
pub(crate) fn rotate(dir: &Path, policy: &Policy, made: &Path, speech: &Speech) -> Result<()> {
    for (snapshot, verdict) in verdicts(dir, policy, Stamp::now())? {
        let Verdict::Remove(why) = verdict else { continue };
        if snapshot.path == made {
            continue;
        }
        // from now on it is no snapshot, and if we are killed the next run ends it
        let gone = place::with_suffix(&snapshot.path, place::PART);
        std::fs::rename(&snapshot.path, &gone)
            .map_err(|e| Error::io("remove", snapshot.path.display(), &e))?;
        place::sync_dir(dir)?;
        remove(dir, &gone)?;
        speech.say(&format!("removed {}: {why}", snapshot.stem()));
    }
    Ok(())
}

/// Removes what runs that were killed have left: archives in the making, and sets whose record did not
/// get its name.
pub(crate) fn sweep(dir: &Path, speech: &Speech) -> Result<()> {
    for name in place::names(dir)? {
        if name.strip_suffix(place::PART).is_some_and(|n| set::parse_record(n).is_some()) {
            remove(dir, &dir.join(&name))?;
            speech.say(&format!("removed {name}, left by a run that did not end"));
        }
    }
    for name in place::sweep(dir, |name| set::parse(name).is_some())? {
        speech.say(&format!("removed {name}, left by a run that did not end"));
    }
    Ok(())
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
