//! `--against`: whether a live server could take the dump, by the guardrails of a restore.

use std::path::Path;

use crate::cli::Args;
use crate::verdict::Verdict;

/// Has the program that restores look at the dump and the server, and passes its judgement on.
pub(crate) fn against(_path: &Path, _args: &Args, verdict: &mut Verdict) {
    verdict.note("not yet held against a server");
}
