//! Filling what takes the places of volumes: beside them, or, where there was no room for that, in the
//! midst of a restore that a kill has cut off.

use std::path::Path;

use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::volume::verify::Proven;

use crate::choose::{Chosen, choose};
use crate::cli::{Args, Which};
use crate::journal::{Journal, Move, Room};
use crate::plan;
use crate::unpack::{filled, proven};

/// Fills all of it: from the archives, and with nothing what is to be emptied. `finish` sees each volume of the
/// snapshot before the next.
pub(crate) fn fill_all(
    chosen: &Chosen,
    proven: &[Proven],
    journal: &Journal,
    speech: &Speech,
    finish: impl Fn(&Move) -> Result<()>,
) -> Result<()> {
    for m in &journal.moves {
        let all = chosen.set.volumes.iter().zip(proven);
        let Some((archive, proven)) = all.into_iter().find(|(archive, _)| archive.label == m.label) else {
            m.site.empty_like(&m.live, &m.staged)?;
            continue;
        };
        filled(archive, proven, m, speech)?;
        finish(m)?;
    }
    Ok(())
}

/// Empties and fills again what a restore without room has left, and gives back the time of the snapshot
/// that it took: the one that is asked for now, if that is of the same volumes, else the one of the journal.
pub(crate) fn again(args: &Args, journal: &Journal, dir: &Path, speech: &Speech) -> Result<String> {
    let Room::Emptying(record) = &journal.room else { return Ok(journal.snapshot.clone()) };
    let begun = Which::Named(record.display().to_string());
    let fits = |chosen: &Chosen| {
        let filled = journal.moves.iter().filter(|m| kit::volume::is_label(&m.label));
        let labels: Vec<&String> = filled.map(|m| &m.label).collect();
        labels.len() == chosen.set.volumes.len()
            && chosen.set.volumes.iter().all(|a| labels.contains(&&a.label))
    };
    let same = args.into.is_none() && args.until.is_none() && plan::asked(args)? == journal.asked;
    let take = || {
        let asked = match args.which().filter(|which| same && **which != Which::Pick) {
            Some(which) => Some(choose(which, dir)?).filter(fits).filter(|chosen| !chosen.set.needs_log()),
            None => None,
        };
        let chosen = asked.map_or_else(|| choose(&begun, dir), Ok)?;
        let proven = proven(args, &chosen, speech)?;
        journal.empty()?;
        fill_all(&chosen, &proven, journal, speech, |_| Ok(()))?;
        Ok(chosen.stem())
    };
    take().map_err(|error: Error| {
        error
            .within("its volumes are emptied, and only a snapshot can end that")
            .hint("Mend that and run it again, or restore another snapshot of the same volumes, which takes its place.")
    })
}
