//! Programs of this toolkit that one another run.

use std::path::PathBuf;

use super::Ended;
use crate::exit::{Code, Error};

/// A program that stands beside this one, else one of that name in `PATH`.
pub fn sibling(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(name)));
    beside.filter(|path| path.is_file()).unwrap_or(name.into())
}

impl Ended {
    /// The error of a sibling, by its own words, hints and code.
    pub fn told(&self) -> Error {
        let mut said = self.stderr.iter().map(|l| l.split_once(": ").map_or(l.as_str(), |(_, words)| words));
        let error = match (self.status.code().and_then(Code::of), said.next()) {
            (Some(code), Some(first)) => Error::new(code, first),
            _ => return self.error(),
        };
        said.filter_map(|line| line.strip_prefix("hint: ")).fold(error, |e, hint| e.hint(hint))
    }
}
