//! The lexer of plain dumps: a resumable state machine over chunks of bytes, without copies.
//!
//! It follows psql's own rules (`src/fe_utils/psqlscan.l`, `src/bin/psql/copy.c`), because psql is
//! what a dump is written for: where psql sees a statement end, this does; what psql takes for COPY
//! data, this takes for COPY data. So a function body that holds `\connect`, a COPY line or the
//! completeness footer fools neither.
//!
//! What it knows: `'…'`, `E'…'` and `standard_conforming_strings`, `"…"`, `$tag$…$tag$`, `--`, nested
//! `/* */`, parentheses, `BEGIN ATOMIC` bodies, psql meta-commands, `COPY … FROM stdin` and its data,
//! and client encodings whose second byte may look like a backslash (SJIS, GBK, …). Offsets are
//! bytes from the beginning of the stream; bytes need not be in any encoding.

use memchr::{memchr, memchr2, memmem};

use super::word::{Keyword, Word};

/// What the lexer found. Pieces of one thing follow each other, cut wherever a chunk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of a statement, from its first byte that is neither blank nor comment to its `;`.
    Sql {
        /// Offset of the piece.
        at: u64,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The statement is over; `rows` are the rows an INSERT lists after VALUES.
    SqlEnd {
        /// Offset behind the `;`.
        at: u64,
        /// Rows of an INSERT, else 0.
        rows: u64,
    },
    /// A piece of a `--` comment between statements, with its dashes, without its newline.
    Comment {
        /// Offset of the piece.
        at: u64,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The comment is over.
    CommentEnd,
    /// A piece of a psql meta-command, from its backslash, without its newline.
    Meta {
        /// Offset of the piece.
        at: u64,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The meta-command is over.
    MetaEnd {
        /// Offset of the newline.
        at: u64,
    },
    /// COPY data begins.
    DataBegin {
        /// Offset of the first row.
        at: u64,
    },
    /// A piece of COPY data: rows with their newlines, without the line `\.`.
    Data {
        /// Offset of the piece.
        at: u64,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// COPY data is over.
    DataEnd {
        /// Offset of the line `\.`.
        at: u64,
    },
}

/// Where the stream ended, see [`Lexer::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Between statements.
    Clean,
    /// Within a statement, a string, a comment or a body.
    InStatement,
    /// Within COPY data.
    InData,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the very beginning, behind so many bytes of a byte-order mark.
    Start {
        seen: usize,
    },
    /// Between tokens, within a statement or not.
    Code,
    Word,
    /// A character that may begin `--` or `/*`.
    Dash,
    Slash,
    LineComment,
    BlockComment {
        depth: u32,
        last: u8,
    },
    Quoted,
    String {
        escapes: bool,
    },
    /// After a `'`: the string ends, unless another one follows.
    StringQuote {
        escapes: bool,
    },
    /// After a backslash, or a lead byte, in a string: the next byte is no quote.
    StringSkip {
        escapes: bool,
    },
    /// Within `$tag`, before its second `$`.
    DollarTag,
    /// Within a dollar-quoted body; so many bytes of the closing tag have matched.
    DollarBody {
        matched: usize,
    },
    Meta,
    /// After `COPY … FROM stdin;`: data begins on the next line.
    AwaitData,
    /// At the beginning of a line of data, or behind `\`, `\.`, `\.\r` there.
    DataLine {
        seen: usize,
    },
    Data,
}

/// The byte-order mark of UTF-8, which is no statement.
const MARK: &[u8] = b"\xef\xbb\xbf";
const TERMINATOR: &[u8] = b"\\.\r";

/// The state between chunks.
#[derive(Debug)]
pub struct Lexer {
    state: State,
    /// Offset of the next byte.
    at: u64,
    in_statement: bool,
    parens: u32,
    /// Depth of `BEGIN … CASE … END` in a function's SQL body.
    begins: u32,
    word: Word,
    /// The statement's first words, and the word before the present one.
    words: [Keyword; 4],
    count: usize,
    previous: Keyword,
    copy_in: bool,
    values: bool,
    rows: u64,
    tag: Vec<u8>,
    /// A string has just ended: a string on a later line goes on with it (SQL's continuation).
    ended_string: Option<(bool, bool)>,
    standard_strings: bool,
    /// Lead bytes of the client encoding hide the byte behind them.
    hidden_bytes: bool,
    /// The value that a `SET` of one of these two is given.
    value: Word,
}

impl Default for Lexer {
    fn default() -> Self {
        Lexer {
            state: State::Start { seen: 0 },
            at: 0,
            in_statement: false,
            parens: 0,
            begins: 0,
            word: Word::default(),
            words: [Keyword::None; 4],
            count: 0,
            previous: Keyword::None,
            copy_in: false,
            values: false,
            rows: 0,
            tag: Vec::new(),
            ended_string: None,
            standard_strings: true,
            hidden_bytes: false,
            value: Word::default(),
        }
    }
}

fn is_word_start(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

fn is_word(b: u8) -> bool {
    is_word_start(b) || b == b'$'
}

impl Lexer {
    /// Takes the next chunk and hands what it holds to `sink`.
    pub fn feed<'a>(&mut self, chunk: &'a [u8], sink: &mut impl FnMut(Event<'a>)) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let n = match self.state {
                State::Start { seen } => self.start(seen, rest[0], sink),
                State::Data => self.data(rest, sink),
                State::DataLine { seen } => self.data_line(seen, rest, sink),
                State::AwaitData => self.await_data(rest, sink),
                State::Meta => self.meta(rest, sink),
                State::LineComment if !self.in_statement => self.comment(rest, sink),
                _ => self.sql(rest, sink),
            };
            rest = &rest[n..];
        }
    }

    /// Ends the stream: what is pending is handed on, and the place where it ended is told.
    pub fn finish(&mut self, sink: &mut impl FnMut(Event<'static>)) -> End {
        let end = match self.state {
            State::Meta => {
                sink(Event::MetaEnd { at: self.at });
                End::Clean
            }
            State::LineComment if !self.in_statement => {
                sink(Event::CommentEnd);
                End::Clean
            }
            // psql takes a last `\.` without its newline
            State::DataLine { seen } if seen >= 2 => {
                sink(Event::DataEnd { at: self.at - seen as u64 });
                End::Clean
            }
            State::DataLine { seen } => {
                if seen > 0 {
                    sink(Event::Data { at: self.at - seen as u64, bytes: &TERMINATOR[..seen] });
                }
                End::InData
            }
            State::Data | State::AwaitData => End::InData,
            State::Code | State::Start { seen: 0 } if !self.in_statement => End::Clean,
            _ => End::InStatement,
        };
        self.state = State::Code;
        end
    }

    /// Bytes taken so far.
    pub fn offset(&self) -> u64 {
        self.at
    }

    fn start<'a>(&mut self, seen: usize, byte: u8, sink: &mut impl FnMut(Event<'a>)) -> usize {
        if byte == MARK[seen] {
            self.at += 1;
            self.state = if seen + 1 < MARK.len() { State::Start { seen: seen + 1 } } else { State::Code };
            return 1;
        }
        self.state = State::Code;
        if seen > 0 {
            // no mark after all, but the first bytes of a word
            sink(Event::Sql { at: 0, bytes: &MARK[..seen] });
            self.in_statement = true;
            self.word.extend(&MARK[..seen]);
            self.state = State::Word;
        }
        0
    }

    fn data<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(Event<'a>)) -> usize {
        // `\.` can only stand at the beginning of a line: data doubles its backslashes
        let (data, taken, state) = match memmem::find(rest, b"\n\\.") {
            Some(i) => (i + 1, i + 1, State::DataLine { seen: 0 }),
            None if rest.ends_with(b"\n") => (rest.len(), rest.len(), State::DataLine { seen: 0 }),
            // the backslash waits for what follows it
            None if rest.ends_with(b"\n\\") => (rest.len() - 1, rest.len(), State::DataLine { seen: 1 }),
            None => (rest.len(), rest.len(), State::Data),
        };
        sink(Event::Data { at: self.at, bytes: &rest[..data] });
        self.at += taken as u64;
        self.state = state;
        taken
    }

    fn data_line<'a>(&mut self, seen: usize, rest: &'a [u8], sink: &mut impl FnMut(Event<'a>)) -> usize {
        let byte = rest[0];
        if seen >= 2 && byte == b'\n' {
            sink(Event::DataEnd { at: self.at - seen as u64 });
            self.state = State::Code;
            self.at += 1;
            return 1;
        }
        if seen < TERMINATOR.len() && byte == TERMINATOR[seen] {
            self.state = State::DataLine { seen: seen + 1 };
            self.at += 1;
            return 1;
        }
        // no terminator after all: what looked like one is data
        if seen > 0 {
            sink(Event::Data { at: self.at - seen as u64, bytes: &TERMINATOR[..seen] });
        }
        self.state = State::Data;
        if byte == b'\n' {
            // an empty line, the row of a table without columns: the next may be the terminator
            sink(Event::Data { at: self.at, bytes: &rest[..1] });
            self.state = State::DataLine { seen: 0 };
            self.at += 1;
            return 1;
        }
        0
    }

    fn await_data<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(Event<'a>)) -> usize {
        let Some(i) = memchr(b'\n', rest) else {
            self.at += rest.len() as u64;
            return rest.len();
        };
        self.at += i as u64 + 1;
        self.state = State::DataLine { seen: 0 };
        sink(Event::DataBegin { at: self.at });
        i + 1
    }

    fn meta<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(Event<'a>)) -> usize {
        let n = memchr(b'\n', rest).unwrap_or(rest.len());
        if n > 0 {
            sink(Event::Meta { at: self.at, bytes: &rest[..n] });
        }
        self.at += n as u64;
        if n < rest.len() {
            sink(Event::MetaEnd { at: self.at });
            self.state = State::Code;
        }
        n
    }

    fn comment<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(Event<'a>)) -> usize {
        let n = memchr(b'\n', rest).unwrap_or(rest.len());
        if n > 0 {
            sink(Event::Comment { at: self.at, bytes: &rest[..n] });
        }
        self.at += n as u64;
        if n < rest.len() {
            sink(Event::CommentEnd);
            self.state = State::Code;
        }
        n
    }

    /// Goes through SQL until the chunk, the statement, or SQL as such is over.
    fn sql<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(Event<'a>)) -> usize {
        // where the statement's piece begins in `rest`; blanks before a statement belong to none
        let mut begin = self.in_statement.then_some(0);
        let mut i = 0;
        let mut over = None;
        while i < rest.len() && over.is_none() {
            let byte = rest[i];
            match self.state {
                State::Code => {
                    if byte.is_ascii_whitespace() {
                        if byte == b'\n'
                            && let Some((_, line)) = &mut self.ended_string
                        {
                            *line = true;
                        }
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
                    i = memchr(b'\n', &rest[i..]).map_or(rest.len(), |n| i + n);
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
                        self.ended_string = Some((escapes, false));
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

    /// A byte of SQL that is no blank, outside of everything.
    fn code(&mut self, byte: u8) {
        let continued = self.ended_string.take();
        match byte {
            b'\'' => {
                let escapes = match (continued, self.previous_is_adjacent_e()) {
                    (Some((escapes, true)), _) => escapes,
                    (_, adjacent) => adjacent || !self.standard_strings,
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

    /// Whether the word just before, with nothing between, is the `E` of `E'…'`.
    fn previous_is_adjacent_e(&self) -> bool {
        self.word.is(b"e")
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
        // only a quote that follows at once makes it a prefix
        if next != b'\'' {
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
