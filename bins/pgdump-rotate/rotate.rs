//! Removing what no rule keeps. The plan is `kit::retention`'s; this carries it out.

use std::path::Path;

use kit::catalog::{self, Backup};
use kit::exit::Result;
use kit::manifest::{self, Kin};
use kit::out::Speech;
use kit::place;
use kit::retention::{Policy, Verdict};
use kit::stamp::Stamp;
use kit::watch::{Fates, Turn};

/// The backups of one series, newest first.
pub(crate) fn backups(dir: &Path, series: &str) -> Result<Vec<Backup>> {
    if dir.is_dir() { catalog::scan(dir, Some(series)) } else { Ok(Vec::new()) }
}

/// Removes what no rule keeps from one series. The caller holds the directory's lock. Gives back why some stay that
/// no rule keeps.
pub(crate) fn rotate(
    dir: &Path,
    series: &str,
    policy: &Policy,
    allow_shrink: bool,
    turn: Turn<'_>,
    speech: &Speech,
) -> Result<Vec<String>> {
    let backups = backups(dir, series)?;
    let fates = Fates::of(policy, Stamp::now(), &backups, turn, allow_shrink);
    fates.tell(speech);
    let mut kins: Vec<Kin> = Vec::new();
    for kin in backups.iter().filter(|b| b.fault.is_none()).filter_map(Backup::kin) {
        if !kins.contains(&kin) {
            kins.push(kin);
        }
    }
    if kins.len() > 1 {
        let list: Vec<String> = kins.iter().map(Kin::to_string).collect();
        speech.say(&format!("'{series}' holds backups of {}: each is counted by itself", list.join("; ")));
    }
    let gone: Vec<(&Backup, &String)> = backups
        .iter()
        .zip(&fates.verdicts)
        .filter_map(|(backup, verdict)| match verdict {
            Verdict::Remove(why) => Some((backup, why)),
            Verdict::Keep(_) => None,
        })
        .collect();
    if gone.is_empty() {
        return Ok(fates.held);
    }
    // the list first: `sha256sum -c` must never miss a file
    let names: Vec<&str> = gone.iter().map(|(b, _)| b.name.as_str()).collect();
    catalog::update_sums(dir, &names, None)?;
    // the oldest first: a kill never leaves what is older than a drop that was allowed without that
    for (backup, why) in gone.into_iter().rev() {
        // a manifest without its file is no backup; a file without its manifest would look foreign
        place::remove_if_there(&backup.path)?;
        place::remove_if_there(&manifest::path_of(&backup.path))?;
        speech.say(&format!("removed {}: {why}", backup.name));
    }
    place::sync_dir(dir)?;
    Ok(fates.held)
}
