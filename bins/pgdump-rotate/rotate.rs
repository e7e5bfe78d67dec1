//! Removing what no rule keeps. The plan is `kit::retention`'s; this carries it out.

use std::path::Path;

use kit::catalog::{self, Backup};
use kit::exit::Result;
use kit::manifest::{self, Kin};
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
    // whose server is not known yet: taken for that of the newest one that is like it
    let coming = coming.map(|mut coming| {
        let server = coming.kin.as_ref().and_then(|kin| of_like(kin, &backups)).and_then(|kin| kin.server);
        coming.kin = coming.kin.map(|kin| Kin { server, ..kin });
        coming
    });
    let candidates: Vec<Candidate> =
        coming.iter().cloned().chain(backups.iter().map(Backup::candidate)).collect();
    let verdicts = plan(policy, now, &candidates);
    let backups = coming.iter().map(|_| None).chain(backups.into_iter().map(Some));
    Ok(backups.zip(candidates).zip(verdicts).map(|((b, c), v)| (b, c.name, v)).collect())
}

/// The kin of the newest proven backup that is of the same thing, on whatever server.
fn of_like(kin: &Kin, backups: &[Backup]) -> Option<Kin> {
    let proven = backups.iter().filter(|b| b.fault.is_none()).filter_map(Backup::kin);
    proven.into_iter().find(|k| Kin { server: None, ..k.clone() } == *kin)
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
    let mut kins: Vec<Kin> = Vec::new();
    for kin in verdicts.iter().filter_map(|(b, ..)| b.as_ref().filter(|b| b.fault.is_none())?.kin()) {
        if !kins.contains(&kin) {
            kins.push(kin);
        }
    }
    if kins.len() > 1 {
        let list: Vec<String> = kins.iter().map(Kin::to_string).collect();
        speech.say(&format!("'{series}' holds backups of {}: each is counted by itself", list.join("; ")));
    }
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
