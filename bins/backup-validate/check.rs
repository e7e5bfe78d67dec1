//! The check of one backup; a module for each kind of artifact.

use std::path::Path;

use kit::exit::Error;
use kit::out::Speech;

use crate::cli::Args;
use crate::verdict::Verdict;

/// Looks at a backup as closely as it is asked for.
pub(crate) fn check(path: &Path, _args: &Args, _speech: &Speech) -> Verdict {
    match path.metadata() {
        Ok(_) => Verdict::default(),
        Err(e) => Verdict::of(Error::io("read", path.display(), &e)),
    }
}
