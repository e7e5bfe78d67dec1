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
    /// The error of a sibling, by its own words, hints and code: the last that it said.
    pub fn told(&self) -> Error {
        let words = |line: &String| line.split_once(": ").map_or(line.clone(), |(_, words)| words.to_owned());
        let said: Vec<String> = self.stderr.iter().map(words).collect();
        let last = said.iter().rposition(|line| !line.starts_with("hint: "));
        let (Some(code), Some(last)) = (self.status.code().and_then(Code::of), last) else {
            return self.error();
        };
        let hints = said[last + 1..].iter().filter_map(|line| line.strip_prefix("hint: "));
        hints.fold(Error::new(code, said[last].as_str()), |e, hint| e.hint(hint))
    }
}
