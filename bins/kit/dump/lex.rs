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

mod sql;

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
        /// The line ends in a carriage return too, as the server then expects of every row.
        crlf: bool,
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

/// A string that has just ended, and that the next one may go on with.
#[derive(Debug)]
struct Ended {
    escapes: bool,
    /// The next string does.
    goes_on: bool,
    /// Something stands behind it on the same line.
    passed: bool,
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
    ended_string: Option<Ended>,
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
                sink(Event::DataEnd { at: self.at - seen as u64, crlf: seen == TERMINATOR.len() });
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
            sink(Event::DataEnd { at: self.at - seen as u64, crlf: seen == TERMINATOR.len() });
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
        // psql's scanner ends a comment at either
        let n = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
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
}
