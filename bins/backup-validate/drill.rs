//! `--drill`: a restore into a throwaway server, proven there.

use std::path::Path;

use kit::exit::Result;
use kit::out::Speech;

use crate::cli::Args;
use crate::verdict::Verdict;

/// What all drills of a run have in common.
pub(crate) struct Drill;

/// Sees to it that drills can be held, before the first backup is read.
pub(crate) fn prepare(args: &Args, _speech: &Speech) -> Result<Option<Drill>> {
    Ok(args.drill.as_ref().map(|_| Drill))
}

impl Drill {
    /// Restores the backup and proves it.
    pub(crate) fn restore(&self, _path: &Path, verdict: &mut Verdict, _speech: &Speech) {
        verdict.note("not yet drilled");
    }
}
