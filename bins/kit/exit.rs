//! Exit codes and the error that carries one. Owns the end of every program.
//!
//! An error knows its exit code where it arises; `main` only hands it on.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// What a program tells its caller, see `docs/exit-codes.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done; yes.
    Done = 0,
    /// Looked, and the answer is no: invalid, absent, different, or failed for good.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Some of several failed.
    Part = 3,
    /// A guardrail holds; the hint names what would lift it.
    Refused = 4,
    /// Server unreachable, lock held, disk full, interrupted: worth another try.
    Temporary = 5,
    /// PostgreSQL must stop: whatever it runs to restore its log answers above 125 when "not there"
    /// would be a lie, because any lower code means that to it (`xlogarchive.c`).
    Stop = 200,
}

impl Code {
    /// The code of a program's exit status.
    pub fn of(status: i32) -> Option<Self> {
        use Code::{Done, No, Part, Refused, Temporary, Usage};
        [Done, No, Usage, Part, Refused, Temporary].into_iter().find(|code| *code as i32 == status)
    }
}

/// A failure: its exit code, one line of what was attempted on what and why not, and hints.
#[derive(Debug, Clone)]
pub struct Error {
    code: Code,
    message: String,
    hints: Vec<String>,
}

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of the given code. The message is lower case, without a full stop.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), hints: Vec::new() }
    }

    /// [`Code::No`].
    pub fn no(message: impl Into<String>) -> Self {
        Self::new(Code::No, message)
    }

    /// [`Code::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// [`Code::Refused`].
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Code::Refused, message)
    }

    /// [`Code::Temporary`].
    pub fn temporary(message: impl Into<String>) -> Self {
        Self::new(Code::Temporary, message)
    }

    /// Ends the program quietly with 0: whoever read its output has read enough.
    pub fn read_enough() -> Self {
        Self::new(Code::Done, "")
    }

    /// `cannot VERB 'THING': cause`, with the code that the cause deserves: a full disk, quota
    /// or file size limit is worth a retry, the rest is not. One of these errors that comes within `cause`
    /// is given back as it is.
    pub fn io(verb: &str, thing: impl fmt::Display, cause: &io::Error) -> Self {
        if let Some(ours) = Self::within_io(cause) {
            return ours;
        }
        let code = match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Code::Temporary
            }
            _ => Code::No,
        };
        let thing = thing.to_string();
        let text = cause.to_string();
        // std appends " (os error 28)", which says nothing to the reader
        let text = text.split(" (os error").next().unwrap_or_default();
        let mut first = text.chars();
        let text: String = first.next().map_or(String::new(), |c| c.to_lowercase().chain(first).collect());
        Self::new(code, format!("cannot {verb} '{thing}': {text}"))
    }

    /// The one of these errors that an I/O error carries.
    pub fn within_io(cause: &io::Error) -> Option<Self> {
        cause.get_ref()?.downcast_ref::<Error>().cloned()
    }

    /// The same failure with another exit code.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Adds a full sentence that tells the reader what to do next.
    #[must_use]
    pub fn hint(mut self, sentence: impl Into<String>) -> Self {
        self.hints.push(sentence.into());
        self
    }

    /// Puts `what: ` before the message, keeping code and hints.
    #[must_use]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The exit code this error asks for.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The lines that [`report`] prints, without the program's name.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        std::iter::once(self.message.clone()).chain(self.hints.iter().map(|h| format!("hint: {h}")))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// `text` with control characters escaped (`\n`, `\u{1b}`), so that it cannot steer a terminal or
/// break a record in two.
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        // C1 controls and bidirectional overrides steer terminals too
        let steers = c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if steers { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

/// Prints an error as `tool: message` and `tool: hint: Sentence.` on standard error.
pub fn report(tool: &str, error: &Error) {
    let mut stderr = io::stderr().lock();
    for line in error.lines() {
        // a closed stderr must not turn an error into a panic
        let _ = writeln!(stderr, "{tool}: {}", plain(&line));
    }
}

/// Runs a program's body and turns its outcome into the exit status.
pub fn run(tool: &str, body: impl FnOnce() -> Result<Code>) -> ExitCode {
    let code = body().unwrap_or_else(|error| {
        if error.code() != Code::Done {
            report(tool, &error);
        }
        error.code()
    });
    ExitCode::from(code as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_temporary_and_a_missing_file_is_not() {
        let full = Error::io("write", "a", &io::Error::from(io::ErrorKind::StorageFull));
        let gone = Error::io("read", "b", &io::Error::from(io::ErrorKind::NotFound));
        assert_eq!((full.code(), gone.code()), (Code::Temporary, Code::No));
        assert_eq!(gone.to_string(), "cannot read 'b': entity not found");
    }
}
