//! SQL itself: where words, strings, comments and bodies begin and end.

use memchr::{memchr, memchr2};

use super::{Ended, Event, Lexer, State};
use crate::dump::word::Keyword;

fn is_word_start(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

fn is_word(b: u8) -> bool {
    is_word_start(b) || b == b'$'
}

impl Lexer {
    /// Goes through SQL until the chunk, the statement, or SQL as such is over.
    pub(super) fn sql<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(Event<'a>)) -> usize {
        // where the statement's piece begins in `rest`; blanks before a statement belong to none
        let mut begin = self.in_statement.then_some(0);
        let mut i = 0;
        let mut over = None;
        while i < rest.len() && over.is_none() {
            let byte = rest[i];
            match self.state {
                State::Code => {
                    if byte.is_ascii_whitespace() {
                        self.blank(byte);
                        i += 1;
                        continue;
                    }
                    if byte == b'\\' {
                        over = Some(State::Meta);
                        continue;
                    }
                    let dash = byte == b'-' || byte == b'/';
                    if begin.is_none() && !dash {
                        begin = Some(i);
                        self.in_statement = true;
                    }
                    i += 1;
                    self.code(byte);
                    if self.state == State::Code && byte == b';' && self.parens == 0 && self.begins == 0 {
                        over = Some(if self.copy_in { State::AwaitData } else { State::Code });
                    }
                }
                State::Word => {
                    let n = rest[i..].iter().position(|b| !is_word(*b)).unwrap_or(rest.len() - i);
                    self.word.extend(&rest[i..i + n]);
                    i += n;
                    if i < rest.len() {
                        self.end_word(rest[i]);
                    }
                }
                State::Dash | State::Slash => {
                    let comment = if self.state == State::Dash { b'-' } else { b'*' };
                    if byte == comment {
                        self.state = if comment == b'-' {
                            State::LineComment
                        } else {
                            State::BlockComment { depth: 1, last: 0 }
                        };
                        i += 1;
                        if comment == b'-' && begin.is_none() {
                            over = Some(State::LineComment);
                        }
                        continue;
                    }
                    self.ended_string = None;
                    // an operator; it begins a statement if none has begun
                    if begin.is_none() {
                        self.in_statement = true;
                        begin = Some(i.saturating_sub(1));
                        if i == 0 {
                            // it came with the chunk before
                            let operator = if comment == b'-' { b"-" } else { b"/" };
                            sink(Event::Sql { at: self.at - 1, bytes: operator });
                        }
                    }
                    self.state = State::Code;
                }
                State::LineComment => {
                    i = memchr2(b'\n', b'\r', &rest[i..]).map_or(rest.len(), |n| i + n);
                    if i < rest.len() {
                        self.state = State::Code;
                    }
                }
                State::BlockComment { depth, last } => {
                    let found = memchr2(b'/', b'*', &rest[i..]).unwrap_or(rest.len() - i);
                    let last = if found > 0 { 0 } else { last };
                    i += found;
                    if i < rest.len() {
                        let byte = rest[i];
                        i += 1;
                        self.state = match (last, byte) {
                            (b'/', b'*') => State::BlockComment { depth: depth + 1, last: 0 },
                            (b'*', b'/') if depth == 1 => State::Code,
                            (b'*', b'/') => State::BlockComment { depth: depth - 1, last: 0 },
                            _ => State::BlockComment { depth, last: byte },
                        };
                    } else {
                        self.state = State::BlockComment { depth, last };
                    }
                }
                State::Quoted => {
                    i = memchr(b'"', &rest[i..]).map_or(rest.len(), |n| i + n + 1);
                    // a doubled quote opens it again at once
                    if rest[i - 1] == b'"' {
                        self.state = State::Code;
                    }
                }
                State::String { escapes } => i += self.string(escapes, &rest[i..]),
                State::StringQuote { escapes } => {
                    if byte == b'\'' {
                        self.state = State::String { escapes };
                        i += 1;
                    } else {
                        self.state = State::Code;
                        self.ended_string = Some(Ended { escapes, goes_on: false, passed: false });
                    }
                }
                State::StringSkip { escapes } => {
                    self.state = State::String { escapes };
                    i += 1;
                }
                State::DollarTag => {
                    if byte == b'$' {
                        self.tag.push(byte);
                        self.state = State::DollarBody { matched: 0 };
                        i += 1;
                    } else if self.tag.len() < 128
                        && (is_word_start(byte) && (self.tag.len() > 1 || !byte.is_ascii_digit()))
                    {
                        self.tag.push(byte);
                        i += 1;
                    } else {
                        // `$1`, or a lone `$`: no body begins
                        self.state = State::Code;
                    }
                }
                State::DollarBody { matched } => i += self.dollar_body(matched, &rest[i..]),
                State::Start { .. }
                | State::Meta
                | State::AwaitData
                | State::DataLine { .. }
                | State::Data => break,
            }
        }
        self.leave_sql(&rest[..i], begin, over, sink);
        i
    }

    /// Hands on what `sql` went through, and enters what comes after it.
    fn leave_sql<'a>(
        &mut self,
        through: &'a [u8],
        begin: Option<usize>,
        over: Option<State>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let at = self.at;
        self.at += through.len() as u64;
        if let Some(begin) = begin.filter(|b| *b < through.len()) {
            sink(Event::Sql { at: at + begin as u64, bytes: &through[begin..] });
        }
        match over {
            Some(state @ (State::Code | State::AwaitData)) => {
                sink(Event::SqlEnd { at: self.at, rows: self.take_rows() });
                self.end_statement();
                self.state = state;
            }
            Some(State::LineComment) => {
                // its dashes may have come with an earlier chunk
                sink(Event::Comment { at: self.at - 2, bytes: b"--" });
            }
            Some(state) => self.state = state,
            None => {}
        }
    }

    fn take_rows(&self) -> u64 {
        // `INSERT … DEFAULT VALUES`
        if self.values && self.rows == 0 { 1 } else { self.rows }
    }

    /// A blank outside of everything. The server goes on with a string on a later line; psql, which sees
    /// one line at a time, does so only behind a lone carriage return (`xqs` in `psqlscan.l`).
    fn blank(&mut self, byte: u8) {
        self.word.clear();
        if let Some(ended) = &mut self.ended_string {
            // where nothing stands between the string and the end of its line, the next line decides
            if byte == b'\n' && ended.passed {
                self.ended_string = None;
            } else if byte != b'\n' {
                (ended.passed, ended.goes_on) = (true, ended.goes_on || byte == b'\r');
            }
        }
    }

    /// A byte of SQL that is no blank, outside of everything.
    fn code(&mut self, byte: u8) {
        // a comment may stand between the two halves of a string
        let continued = if byte == b'-' { None } else { self.ended_string.take() };
        if let Some(ended) = &mut self.ended_string {
            ended.passed = true;
        }
        match byte {
            b'\'' => {
                let escapes = match continued {
                    Some(Ended { escapes, goes_on: true, .. }) => escapes,
                    _ => self.has_escapes(),
                };
                self.state = State::String { escapes };
                self.value.clear();
            }
            b'"' => {
                self.state = State::Quoted;
                self.previous = Keyword::None;
            }
            b'$' => {
                self.tag.clear();
                self.tag.push(b'$');
                self.state = State::DollarTag;
            }
            b'&' if self.word.is(b"u") => return self.word.extend(b"&"),
            b'-' => self.state = State::Dash,
            b'/' => self.state = State::Slash,
            b'(' => {
                if self.parens == 0 && self.values {
                    self.rows += 1;
                }
                self.parens += 1;
            }
            b')' => self.parens = self.parens.saturating_sub(1),
            b if is_word_start(b) => {
                self.word.clear();
                self.word.extend(&[b]);
                self.state = State::Word;
                return;
            }
            _ => {}
        }
        self.word.clear();
    }

    /// Whether a backslash escapes in the string that begins, by the word just before it with nothing
    /// between: always in `E'…'`, never in `B'…'`, `X'…'` and `U&'…'`.
    fn has_escapes(&self) -> bool {
        let never = [&b"b"[..], b"x", b"u&"].iter().any(|prefix| self.word.is(prefix));
        self.word.is(b"e") || (!never && !self.standard_strings)
    }

    /// A word has ended before `next`.
    fn end_word(&mut self, next: u8) {
        self.state = State::Code;
        let keyword = self.word.keyword();
        if self.count < self.words.len() {
            self.words[self.count] = keyword;
        }
        self.count += 1;
        let first = self.words[0];
        if self.parens == 0 {
            match keyword {
                Keyword::Stdin if first == Keyword::Copy && self.previous == Keyword::From => {
                    self.copy_in = true
                }
                Keyword::Values if first == Keyword::Insert => self.values = true,
                // `ON CONFLICT (…)` lists no row
                Keyword::Other if first == Keyword::Insert && self.rows > 0 => self.values = false,
                Keyword::Begin if self.creates_routine() => self.begins += 1,
                Keyword::Case if self.begins > 0 => self.begins += 1,
                Keyword::End if self.begins > 0 => self.begins -= 1,
                _ => {}
            }
        }
        if first == Keyword::Set && self.count > 2 {
            self.value = self.word;
        }
        self.previous = keyword;
        // only a quote that follows at once makes it a prefix, or `&` and a quote
        if next != b'\'' && next != b'&' {
            self.word.clear();
        }
    }

    /// `CREATE [OR REPLACE] FUNCTION | PROCEDURE`: only there does psql look for BEGIN and END.
    fn creates_routine(&self) -> bool {
        let routine = |k: Keyword| k == Keyword::Routine;
        match self.words {
            [Keyword::Create, Keyword::Or, Keyword::Replace, k] => routine(k),
            [Keyword::Create, k, ..] => routine(k),
            _ => false,
        }
    }

    fn string(&mut self, escapes: bool, rest: &[u8]) -> usize {
        let found = match (escapes, self.hidden_bytes) {
            (false, _) => memchr(b'\'', rest),
            (true, false) => memchr2(b'\'', b'\\', rest),
            (true, true) => rest.iter().position(|b| *b == b'\'' || *b == b'\\' || *b >= 0x80),
        };
        let n = found.unwrap_or(rest.len());
        if self.words[0] == Keyword::Set {
            self.value.extend(&rest[..n]);
        }
        match found.map(|i| rest[i]) {
            Some(b'\'') => self.state = State::StringQuote { escapes },
            Some(_) => self.state = State::StringSkip { escapes },
            None => return n,
        }
        n + 1
    }

    fn dollar_body(&mut self, matched: usize, rest: &[u8]) -> usize {
        let (n, matched) = match matched {
            0 => match memchr(b'$', rest) {
                Some(i) => (i + 1, 1),
                None => (rest.len(), 0),
            },
            m if rest[0] == self.tag[m] => (1, m + 1),
            // the closing tag's only dollars are its ends, so a mismatch can only restart at one
            _ if rest[0] == b'$' => (1, 1),
            _ => (1, 0),
        };
        self.state = if matched == self.tag.len() { State::Code } else { State::DollarBody { matched } };
        n
    }

    fn end_statement(&mut self) {
        if self.words[0] == Keyword::Set {
            match self.words[1] {
                Keyword::StandardConformingStrings => {
                    self.standard_strings =
                        !["off", "false", "no", "0"].iter().any(|w| self.value.is(w.as_bytes()));
                }
                Keyword::ClientEncoding => self.hidden_bytes = self.value.is_encoding_with_hidden_bytes(),
                _ => {}
            }
        }
        self.in_statement = false;
        self.parens = 0;
        self.begins = 0;
        self.word.clear();
        self.words = [Keyword::None; 4];
        self.count = 0;
        self.previous = Keyword::None;
        self.copy_in = false;
        self.values = false;
        self.rows = 0;
        self.ended_string = None;
        self.value.clear();
    }
}
