//! Removing what no rule keeps. The plan is `kit::retention`'s; this carries it out.

use std::path::Path;

use kit::catalog::{self, Backup};
use kit::exit::Result;
use kit::manifest;
use kit::out::Speech;
use kit::place;
use kit::retention::{Candidate, Policy, Verdict, plan};
use kit::stamp::Stamp;

/// The verdict on each backup of one series. `coming`: a backup that is about to be made, for a
/// dry run.
pub(crate) fn verdicts(
    dir: &Path,
    series: &str,
    policy: &Policy,
    now: Stamp,
    coming: Option<Candidate>,
) -> Result<Vec<(Option<Backup>, String, Verdict)>> {
    let backups = if dir.is_dir() { catalog::scan(dir, Some(series))? } else { Vec::new() };
    let candidates: Vec<Candidate> =
        coming.iter().cloned().chain(backups.iter().map(Backup::candidate)).collect();
    let verdicts = plan(policy, now, &candidates);
    let backups = coming.iter().map(|_| None).chain(backups.into_iter().map(Some));
    Ok(backups.zip(candidates).zip(verdicts).map(|((b, c), v)| (b, c.name, v)).collect())
}

/// Removes what no rule keeps from one series. The caller holds the directory's lock.
/// `made`: the backup of this very run, which stays whatever the clocks say.
pub(crate) fn rotate(
    dir: &Path,
    series: &str,
    policy: &Policy,
    made: Option<&str>,
    speech: &Speech,
) -> Result<()> {
    let verdicts = verdicts(dir, series, policy, Stamp::now(), None)?;
    let gone: Vec<(&Backup, &String)> = verdicts
        .iter()
        .filter_map(|(backup, _, verdict)| match (backup, verdict) {
            (Some(backup), Verdict::Remove(why)) if made != Some(&backup.name) => Some((backup, why)),
            _ => None,
        })
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    // the list first: `sha256sum -c` must never miss a file
    let names: Vec<&str> = gone.iter().map(|(b, _)| b.name.as_str()).collect();
    catalog::update_sums(dir, &names, None)?;
    for (backup, why) in gone {
        // a manifest without its file is no backup; a file without its manifest would look foreign
        place::remove_if_there(&backup.path)?;
        place::remove_if_there(&manifest::path_of(&backup.path))?;
        speech.say(&format!("removed {}: {why}", backup.name));
    }
    place::sync_dir(dir)
}
