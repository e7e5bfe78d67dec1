//! What a dump would do that no dump needs to: run programs, read files, or reach beyond its
//! database. Pure.
//!
//! A dump is untrusted. psql runs its meta-commands on the machine that restores, and the server its
//! SQL with the rights of whoever restores. What is listed here is what pg_dump does not write, or
//! writes only where the database had it: each finding is for a person to judge.

use super::lex::{Event, Lexer};
use super::scan::text_of;
use super::statement::{Name, Statement, classify, connect_target, is_expected};
use super::token::{Parser, Token};
use super::word::Word;

mod catalog;
mod judge;
mod place;

use judge::{dangers, fires};
use place::{Place, beginning};

/// How much of a statement is looked at.
const LONGEST: usize = 1 << 20;
/// How much of it is shown.
const SHOWN: usize = 200;

/// How many dropped databases are held back until they are made.
const HELD: usize = 100;
/// How much of a comment is looked at.
const COMMENT: usize = 100;
/// What COPY writes behind a backslash ("COPY, Text Format" in PostgreSQL's documentation); older ones
/// wrote the end of a line so.
const ESCAPES: &[u8] = b"bfnrtvN\\\n\r";

/// Something that a person must judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Raw offset.
    pub at: u64,
    /// What it is.
    pub what: String,
    /// Its beginning.
    pub text: String,
    /// psql would run it where the dump is restored.
    pub is_of_psql: bool,
}

/// A look in progress.
#[derive(Default)]
pub struct Guard {
    lexer: Lexer,
    found: Found,
}

#[derive(Default)]
struct Found {
    at: u64,
    statement: Vec<u8>,
    too_long: bool,
    line_at: u64,
    line: Vec<u8>,
    place: Place,
    /// A trigger or a rule of this database has passed by.
    fires: bool,
    /// Databases that are dropped, unless they are made right behind.
    dropped: Vec<(Name, Finding)>,
    /// The byte of rows before, where it says something of the next: a backslash or a lead byte.
    last: Option<u8>,
    /// What the bytes of the client encoding are that hide the byte behind them.
    leads: Leads,
    /// Rows of this COPY have been told of.
    told: bool,
}

impl Guard {
    /// Takes the next bytes; `sink` is told of each finding.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Finding)) {
        let found = &mut self.found;
        self.lexer.feed(bytes, &mut |event| found.event(event, sink));
    }

    /// Takes what another's lexer found next.
    pub fn event(&mut self, event: Event<'_>, sink: &mut dyn FnMut(Finding)) {
        self.found.event(event, sink);
    }

    /// The end of the dump, also where another's lexer told of it.
    pub fn finish(mut self, sink: &mut dyn FnMut(Finding)) {
        let found = &mut self.found;
        self.lexer.finish(&mut |event| found.event(event, sink));
        found.dropped.drain(..).for_each(|(_, finding)| sink(finding));
    }
}

impl Found {
    fn event(&mut self, event: Event<'_>, sink: &mut dyn FnMut(Finding)) {
        match event {
            Event::Sql { at, bytes } => {
                if self.statement.is_empty() {
                    self.at = at;
                }
                let room = LONGEST - self.statement.len();
                self.too_long |= bytes.len() > room;
                self.statement.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Event::SqlEnd { .. } => {
                let too_long = std::mem::take(&mut self.too_long);
                let what = dangers(&self.statement, too_long)
                    .or_else(|| self.place.strange(&self.statement))
                    .or_else(|| self.fired());
                if let Some(what) = what {
                    let finding =
                        Finding { at: self.at, what, text: shown(&self.statement), is_of_psql: false };
                    match self.place.dropped(&self.statement) {
                        Some(name) if self.dropped.len() < HELD => self.dropped.push((name, finding)),
                        _ => sink(finding),
                    }
                }
                if let Statement::CreateDatabase(name) = classify(beginning(&self.statement)) {
                    self.dropped.retain(|(dropped, _)| *dropped != name);
                }
                self.leads = leads(&self.statement).unwrap_or(self.leads);
                self.statement.clear();
            }
            Event::Meta { at, bytes } => {
                if self.line.is_empty() {
                    self.line_at = at;
                }
                let room = LONGEST - self.line.len();
                self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Event::Comment { bytes, .. } => {
                let room = COMMENT.saturating_sub(self.line.len());
                self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Event::CommentEnd => self.place.comment(&std::mem::take(&mut self.line)),
            Event::DataBegin { .. } => (self.last, self.told) = (None, false),
            Event::Data { at, bytes } if !self.told => {
                if let Some(i) = unescaped(bytes, self.leads, &mut self.last) {
                    self.told = true;
                    let what = "rows that psql would run as commands where COPY fails".to_owned();
                    let at = (at + i as u64).saturating_sub(1);
                    sink(Finding { at, what, text: shown(&bytes[i.saturating_sub(1)..]), is_of_psql: false });
                }
            }
            Event::MetaEnd { .. } => {
                let line = std::mem::take(&mut self.line);
                let line = line.trim_ascii_end();
                if let Some(name) = connect_target(line) {
                    self.dropped.drain(..).for_each(|(_, finding)| sink(finding));
                    self.place.connected(name);
                    self.fires = false;
                } else if !is_expected(line) {
                    let what = "a command that psql would run".to_owned();
                    sink(Finding { at: self.line_at, what, text: shown(line), is_of_psql: true });
                }
            }
            _ => {}
        }
    }
}

impl Found {
    /// Rows that stand behind a trigger or a rule: it would run for them. pg_dump writes the rows first.
    fn fired(&mut self) -> Option<String> {
        let rows = matches!(classify(beginning(&self.statement)), Statement::Copy(_) | Statement::Insert(_));
        if rows {
            // once is enough
            let fires = std::mem::take(&mut self.fires);
            return fires.then(|| "rows behind a trigger or a rule, which runs for them".into());
        }
        self.fires |= fires(&self.statement);
        None
    }
}

/// Where something stands behind a backslash that COPY never writes there. If COPY fails, psql takes
/// the rows for SQL, and in SQL such a backslash begins a command.
fn unescaped(bytes: &[u8], leads: Leads, last: &mut Option<u8>) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        if let Some(last) = last.take() {
            if last == b'\\' && !ESCAPES.contains(&bytes[at]) {
                return Some(at);
            }
            at += 1;
        }
        let rest = &bytes[at.min(bytes.len())..];
        let found = match leads {
            Leads::None => memchr::memchr(b'\\', rest),
            Leads::High => rest.iter().position(|b| *b == b'\\' || *b >= 0x80),
            Leads::Japanese => rest.iter().position(|b| matches!(b, b'\\' | 0x80..=0xa0 | 0xe0..)),
        };
        *last = Some(rest[found?]);
        at += found? + 1;
    }
    None
}

/// Bytes that hide the one behind them.
#[derive(Clone, Copy, Default)]
enum Leads {
    #[default]
    None,
    High,
    /// The bytes in the middle are letters by themselves.
    Japanese,
}

/// Which bytes hide the one behind them from here on, of `SET client_encoding`.
fn leads(statement: &[u8]) -> Option<Leads> {
    let p = &mut Parser::new(&statement[..statement.len().min(SHOWN)]);
    if !(p.take("set") && p.take("client_encoding")) {
        return None;
    }
    let encoding = p.0.find_map(|token| match token {
        Token::String(name) | Token::Quoted(name) => Some(name),
        Token::Word(name) if name != b"to" => Some(name),
        _ => None,
    })?;
    let mut word = Word::default();
    word.extend(&encoding);
    let japanese =
        ["jis", "932", "kanji"].iter().any(|part| text_of(&encoding).to_lowercase().contains(part));
    Some(match (word.is_encoding_with_hidden_bytes(), japanese) {
        (false, _) => Leads::None,
        (true, false) => Leads::High,
        (true, true) => Leads::Japanese,
    })
}

fn shown(bytes: &[u8]) -> String {
    text_of(bytes[..bytes.len().min(SHOWN)].trim_ascii_end())
}

#[cfg(test)]
mod tests;
