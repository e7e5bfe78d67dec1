//! What programs say: records on standard output, speech on standard error.
//!
//! A record that cannot be written is an error, except that a reader which has gone away ends a
//! listing quietly. Names that come from a dump or a file system are made harmless before they
//! reach a terminal.

use std::io::{self, BufWriter, IsTerminal, Write};

pub use crate::exit::plain;
use crate::exit::{Error, Result};

/// Writes one record and its newline to standard output. `Ok(false)`: the reader is gone.
pub fn record(line: &str) -> Result<bool> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::io("write", "standard output", &e)),
    }
}

/// Standard output for many records, or for gigabytes of SQL: written in large pieces.
pub struct Output(BufWriter<io::Stdout>);

impl Output {
    /// Nothing is written yet.
    pub fn new() -> Self {
        Output(BufWriter::with_capacity(256 << 10, io::stdout()))
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// [`Error::read_enough`] when the reader is gone; a disk that is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).map_err(|e| Self::failed(&e))
    }

    /// Ends the output; without it the last of it may be lost.
    pub fn finish(mut self) -> Result<()> {
        self.0.flush().map_err(|e| Self::failed(&e))
    }

    fn failed(e: &io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Error::read_enough(),
            _ => Error::io("write", "standard output", e),
        }
    }
}

impl Default for Output {
    fn default() -> Self {
        Output::new()
    }
}

/// Speech on standard error, for one program, silenced by `--quiet`.
#[derive(Clone, Debug)]
pub struct Speech {
    tool: &'static str,
    quiet: bool,
}

impl Speech {
    /// Speech of `tool`.
    pub fn new(tool: &'static str, quiet: bool) -> Self {
        Speech { tool, quiet }
    }

    /// Whether `--quiet` was given.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says how it goes; not under `--quiet`.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.warn(line);
        }
    }

    /// Says what begins now, where no line that moves tells of it.
    pub fn phase(&self, line: &str) {
        if !stderr_is_terminal() {
            self.say(line);
        }
    }

    /// Says what must be heard, even under `--quiet`.
    pub fn warn(&self, line: &str) {
        // nobody to hear it is no reason to fail
        let _ = writeln!(io::stderr().lock(), "{}: {}", self.tool, plain(line));
    }

    /// Reports an error without ending the program.
    pub fn error(&self, error: &Error) {
        crate::exit::report(self.tool, error);
    }
}

/// Whether standard error is a terminal.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard input is a terminal.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Rows as text: aligned under a header on a terminal, else tab-separated without one.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let clean: Vec<Vec<String>> = rows.iter().map(|r| r.iter().map(|c| plain(c)).collect()).collect();
    if !io::stdout().is_terminal() {
        for row in &clean {
            if !record(&row.join("\t"))? {
                break;
            }
        }
        return Ok(());
    }
    let cell = |row: &[String], i: usize| row.get(i).map_or(0, |c| c.chars().count());
    let width: Vec<usize> = (0..header.len())
        .map(|i| clean.iter().map(|r| cell(r, i)).chain([header[i].len()]).max().unwrap_or(0))
        .collect();
    let head: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(&head).chain(&clean) {
        let line: Vec<String> = row.iter().zip(&width).map(|(c, w)| format!("{c:<w$}")).collect();
        if !record(line.join("  ").trim_end())? {
            break;
        }
    }
    Ok(())
}

/// A number of bytes for people: `512 B`, `1.4 MiB`.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A number for people, in groups of three: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_cannot_steer_a_terminal() {
        assert_eq!(plain("a\n\u{1b}[2Jü\t\u{202e}"), "a\\n\\u{1b}[2Jü\\t\\u{202e}");
    }

    #[test]
    fn sizes_and_counts() {
        assert_eq!(
            (bytes(999), bytes(1024), bytes(1 << 30)),
            ("999 B".into(), "1.0 KiB".into(), "1.0 GiB".into())
        );
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
    }
}
