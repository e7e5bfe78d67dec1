//! A snapshot restored into a new directory, touching nothing else.

use std::path::Path;

use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::place;

use crate::choose::Chosen;
use crate::cli::Args;
use crate::journal::there;
use crate::plan::room;
use crate::run::{filled, proven, restored};

/// Fills `dir/LABEL` for each volume; each appears when it is whole, and `finish` has seen it.
pub(crate) fn into(
    args: &Args,
    chosen: &Chosen,
    dir: &Path,
    speech: &Speech,
    account: &Account<'_>,
    mut finish: impl FnMut(&Path) -> Result<()>,
) -> Result<Code> {
    let targets: Vec<_> = chosen.set.volumes.iter().map(|a| dir.join(&a.label)).collect();
    if let Some(present) = targets.iter().find(|t| there(t)) {
        return Err(Error::refused(format!("cannot restore to '{}': it is there", present.display()))
            .hint("Name a new directory."));
    }
    let archives = proven(args, chosen, speech)?;
    let needs: Vec<(&Path, u64)> =
        targets.iter().zip(&archives).map(|(t, p)| (t.as_path(), p.found.room)).collect();
    room(&needs)?;
    // a recovery leads them elsewhere
    for link in archives.iter().flat_map(|p| &p.found.links).filter(|_| args.until.is_none()) {
        speech.warn(&format!(
            "warning: the link {} leads to {}: what runs on the copy writes there",
            out::plain(&link.path),
            out::plain(&link.target)
        ));
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    place::ensure_dir(dir)?;
    for ((target, archive), proven) in targets.iter().zip(&chosen.set.volumes).zip(&archives) {
        let part = place::with_suffix(target, place::PART);
        if there(&part) {
            return Err(Error::refused(format!("cannot restore to '{}': it is there", part.display()))
                .hint("Remove what a run that was killed has left."));
        }
        filled(archive, &proven.file, &part, speech).and_then(|()| finish(&part)).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(&part);
        })?;
        place::rename_new(&part, target).map_err(|e| Error::io("place", target.display(), &e))?;
        place::sync_dir(dir)?;
        restored(&target.display().to_string(), account)?;
    }
    Ok(Code::Done)
}
