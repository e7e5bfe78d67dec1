//! The archives of a snapshot: proven, and unpacked into new directories.

use std::path::Path;

use kit::exit::Result;
use kit::out::Speech;
use kit::place;
use kit::progress::Progress;
use kit::volume::set::Archive;
use kit::volume::tar::Reader;
use kit::volume::verify::{Proven, pour, verify, verify_on_the_way};

use crate::choose::Chosen;
use crate::cli::Args;
use crate::fill::{Fill, fill};
use crate::journal::Move;
use crate::plan::judge_links;
use crate::site::Site;
use crate::through;

/// All archives of the snapshot, proven before anything is done with them.
pub(crate) fn proven(args: &Args, chosen: &Chosen, speech: &Speech) -> Result<Vec<Proven>> {
    let mut all = Vec::new();
    for archive in &chosen.set.volumes {
        speech.phase(&format!("checking {}", archive.file.name));
        let progress = Progress::start(
            &format!("checking {}", archive.label),
            Some(archive.raw_bytes),
            speech.is_quiet(),
        );
        let proven = verify(chosen.dir(), archive, |n| progress.advance(n))?;
        judge_links(archive, &proven.found, args.allow_links)?;
        all.push(proven);
    }
    Ok(all)
}

/// Fills a new directory from an archive that is proven.
pub(crate) fn filled(archive: &Archive, proven: &Proven, m: &Move, speech: &Speech) -> Result<()> {
    if let Site::Behind(behind) = &m.site {
        behind.make(&m.staged)?;
        let helper = behind.helper().at(&m.staged);
        through::fill(&helper, archive, proven, &m.staged.display().to_string(), speech)?;
        return m.site.sync_dir(place::parent(&m.staged));
    }
    place::ensure_dir(place::parent(&m.live))?;
    unpacked(archive, &m.staged, speech, |fill, progress| {
        let mut reader = Reader::default();
        pour(&proven.file, &archive.file.name, archive, |bytes| {
            progress.advance(bytes.len() as u64);
            reader.feed(bytes, fill)
        })?;
        reader.finish()
    })
}

/// Fills a new directory from an archive and proves that on the way. When this fails what was filled in is
/// worth nothing.
pub(crate) fn filled_and_proven(
    args: &Args,
    chosen: &Chosen,
    archive: &Archive,
    target: &Path,
    speech: &Speech,
) -> Result<()> {
    let proven = unpacked(archive, target, speech, |fill, progress| {
        verify_on_the_way(chosen.dir(), archive, |n| progress.advance(n), fill)
    })?;
    judge_links(archive, &proven.found, args.allow_links)
}

fn unpacked<T>(
    archive: &Archive,
    target: &Path,
    speech: &Speech,
    pour: impl FnOnce(&mut Fill<'_>, &Progress) -> Result<T>,
) -> Result<T> {
    speech.phase(&format!("filling {}", target.display()));
    let progress =
        Progress::start(&format!("filling {}", archive.label), Some(archive.raw_bytes), speech.is_quiet());
    let (poured, lost) = fill(target, |fill| pour(fill, &progress))?;
    if !lost.is_empty() {
        let users: Vec<String> = lost.iter().map(u32::to_string).collect();
        speech.warn(&format!(
            "warning: files of user {} are yours now: only root may give them away",
            users.join(", ")
        ));
    }
    Ok(poured)
}
