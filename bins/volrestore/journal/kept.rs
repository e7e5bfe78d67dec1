//! Restores that are done, and what is kept of before them.

use std::path::PathBuf;

use kit::exit::Result;
use kit::out::Speech;
use kit::place;

use super::{DONE, Journal, Move, any, read};
use crate::site::Sites;

/// The latest restore that can be undone: of which something from before is there.
pub(crate) fn latest(sites: Sites<'_>) -> Result<Option<(PathBuf, Journal)>> {
    for (path, journal) in ended(sites)? {
        if any(&journal.moves, Move::has_before)? {
            return Ok(Some((path, journal)));
        }
    }
    Ok(None)
}

/// All that are done, the latest first.
fn ended(sites: Sites<'_>) -> Result<Vec<(PathBuf, Journal)>> {
    let names = place::names(sites.dir)?.into_iter().rev();
    let paths = names.filter(|n| n.starts_with(DONE) && n.ends_with(".json")).map(|n| sites.dir.join(n));
    paths.filter_map(|path| Some(read(&path, sites).transpose()?.map(|journal| (path, journal)))).collect()
}

/// Keeps what was before the latest `keep` restores, and before the one of time `spared`; removes the
/// rest.
pub(crate) fn tidy(sites: Sites<'_>, keep: usize, spared: Option<&str>, speech: &Speech) -> Result<()> {
    let mut left = 0;
    for (path, journal) in ended(sites)? {
        let is_left = any(&journal.moves, Move::has_before)?;
        left += usize::from(is_left);
        if is_left && (left <= keep || spared == Some(&journal.stamp)) {
            continue;
        }
        for m in &journal.moves {
            if m.has_before()? {
                speech.say(&format!("removing {}", m.before.display()));
                m.site.remove_tree(&m.before)?;
            }
        }
        place::remove_if_there(&path)?;
    }
    Ok(())
}
