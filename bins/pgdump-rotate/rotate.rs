//! Removing what no rule keeps. The plan is `kit::retention`'s; this carries it out.

use std::path::Path;

use kit::catalog::{self, Backup};
use kit::exit::Result;
use kit::manifest::{self, Kin};
use kit::out::Speech;
use kit::place;
use kit::retention::{Candidate, Policy, Verdict, plan};
use kit::stamp::Stamp;
use kit::watch;

/// What becomes of the backups of one series.
pub(crate) struct Verdicts {
    /// Each backup (`None` for one that is only coming), its name, and the verdict.
    pub(crate) all: Vec<(Option<Backup>, String, Verdict)>,
    /// Why some stay that no rule keeps: a line for each kin.
    pub(crate) held: Vec<String>,
}

/// The verdict on each backup of one series. `coming`: a backup that is about to be made, for a
/// dry run.
pub(crate) fn verdicts(
    dir: &Path,
    series: &str,
    policy: &Policy,
    allow_shrink: bool,
    now: Stamp,
    coming: Option<Candidate>,
) -> Result<Verdicts> {
    let backups = if dir.is_dir() { catalog::scan(dir, Some(series))? } else { Vec::new() };
    // whose server is not known yet: taken for that of the newest one that is like it
    let coming = coming.map(|mut coming| {
        let server = coming.kin.as_ref().and_then(|kin| of_like(kin, &backups)).and_then(|kin| kin.server);
        coming.kin = coming.kin.map(|kin| Kin { server, ..kin });
        coming
    });
    let candidates: Vec<Candidate> =
        coming.iter().cloned().chain(backups.iter().map(Backup::candidate)).collect();
    let mut verdicts = plan(policy, now, &candidates);
    let mut held = Vec::new();
    for line in watch::lines(&backups, now).iter().filter(|_| !allow_shrink) {
        let Some(why) = watch::drop_of(&line.backups, watch::SUSPICIOUS) else { continue };
        let of_kin = candidates.iter().zip(&mut verdicts).filter(|(c, _)| c.kin.as_ref() == Some(&line.kin));
        let mut any = false;
        for (_, verdict) in of_kin.filter(|(_, v)| matches!(v, Verdict::Remove(_))) {
            *verdict = Verdict::Keep(watch::HELD_BACK.into());
            any = true;
        }
        if any {
            held.push(format!("{}: {why}", line.newest().name));
        }
    }
    let backups = coming.iter().map(|_| None).chain(backups.into_iter().map(Some));
    let all = backups.zip(candidates).zip(verdicts).map(|((b, c), v)| (b, c.name, v)).collect();
    Ok(Verdicts { all, held })
}

/// The kin of the newest proven backup that is of the same thing, on whatever server.
fn of_like(kin: &Kin, backups: &[Backup]) -> Option<Kin> {
    let proven = backups.iter().filter(|b| b.fault.is_none()).filter_map(Backup::kin);
    proven.into_iter().find(|k| Kin { server: None, ..k.clone() } == *kin)
}

/// Removes what no rule keeps from one series. The caller holds the directory's lock.
/// `made`: the backup of this very run, which stays whatever the clocks say. Gives back why some stay
/// that no rule keeps.
pub(crate) fn rotate(
    dir: &Path,
    series: &str,
    policy: &Policy,
    allow_shrink: bool,
    made: Option<&str>,
    speech: &Speech,
) -> Result<Vec<String>> {
    let Verdicts { all: verdicts, held } = verdicts(dir, series, policy, allow_shrink, Stamp::now(), None)?;
    for why in &held {
        speech.warn(&format!("warning: nothing older is removed: {why}"));
        speech.warn("hint: If that is right, --allow-shrink with the next backup makes it the measure.");
    }
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
        return Ok(held);
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
    place::sync_dir(dir)?;
    Ok(held)
}
