//! The tokens of a statement's beginning, and a cursor over them. Pure.

/// An identifier as the server sees it: quotes undone, unquoted letters in lower case. Bytes,
/// because a dump may be in any encoding.
pub type Name = Vec<u8>;

/// A possibly qualified identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Qualified {
    /// The schema, when it is named.
    pub schema: Option<Name>,
    /// The object's own name.
    pub name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword or unquoted identifier, in lower case.
    Word(Name),
    /// A quoted identifier.
    Quoted(Name),
    /// A string's contents.
    String(Name),
    /// Any other byte.
    Mark(u8),
}

/// What stands for the beginning of `U&'…'` and `U&"…"`.
pub(super) const UNICODE: &[u8] = b"u&";

/// The tokens of SQL text, as far as they can be told from its beginning.
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
    /// What was left when the latest token began.
    begin: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Tokens { rest: text, begin: text }
    }

    /// How many bytes the latest token takes.
    pub(super) fn length(&self) -> usize {
        self.begin.len() - self.rest.len()
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl Tokens<'_> {
    /// What stands in quotes. `escapes`: a backslash hides the byte behind it.
    fn quoted(&mut self, quote: u8, escapes: bool) -> Name {
        let mut text = Vec::new();
        let mut i = 1;
        while let Some(mut byte) = self.rest.get(i) {
            i += 1;
            if *byte == quote {
                if self.rest.get(i) != Some(&quote) {
                    break;
                }
                i += 1;
            } else if escapes && *byte == b'\\' {
                byte = self.rest.get(i).unwrap_or(byte);
                i += 1;
            }
            text.push(*byte);
        }
        self.rest = &self.rest[i.min(self.rest.len())..];
        text
    }

    /// The `$tag$` that begins here.
    fn tag(&self) -> Option<&[u8]> {
        let inner = self.rest.strip_prefix(b"$")?;
        let end = inner.iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80))?;
        let is_tag = inner[end] == b'$' && !inner[0].is_ascii_digit();
        is_tag.then(|| &self.rest[..end + 2])
    }

    /// What stands between two of `tag`; up to the end where the second is missing.
    fn body(&mut self, tag: &[u8]) -> Name {
        let rest = &self.rest[tag.len()..];
        let end = memchr::memmem::find(rest, tag).unwrap_or(rest.len());
        self.rest = &rest[(end + tag.len()).min(rest.len())..];
        rest[..end].to_vec()
    }

    fn skip_line(&mut self) {
        self.rest = memchr::memchr2(b'\n', b'\r', self.rest).map_or(&[], |i| &self.rest[i + 1..]);
    }

    /// Comments of this kind stand within each other.
    fn skip_comment(&mut self) {
        let mut depth = 0;
        loop {
            match *self.rest {
                [b'/', b'*', ref rest @ ..] => (self.rest, depth) = (rest, depth + 1),
                [b'*', b'/', ref rest @ ..] => {
                    (self.rest, depth) = (rest, depth - 1);
                    if depth == 0 {
                        return;
                    }
                }
                [_, ref rest @ ..] => self.rest = rest,
                [] => return,
            }
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            self.begin = self.rest;
            match *self.rest {
                [b, ref rest @ ..] if b.is_ascii_whitespace() => self.rest = rest,
                [b'-', b'-', ..] => self.skip_line(),
                [b'/', b'*', ..] => self.skip_comment(),
                [b'"', ..] => return Some(Token::Quoted(self.quoted(b'"', false))),
                [b'\'', ..] => return Some(Token::String(self.quoted(b'\'', false))),
                [b'$', ..] if self.tag().is_some() => {
                    let tag = self.tag().unwrap_or_default().to_vec();
                    return Some(Token::String(self.body(&tag)));
                }
                [b'e' | b'E', ref rest @ ..] if rest.starts_with(b"'") => {
                    self.rest = rest;
                    return Some(Token::String(self.quoted(b'\'', true)));
                }
                // a name or string that tells letters by their numbers: the marks alone are a word
                [b'u' | b'U', b'&', ref rest @ ..] if matches!(rest.first(), Some(b'\'' | b'"')) => {
                    self.rest = rest;
                    return Some(Token::Word(UNICODE.to_vec()));
                }
                [b, ..] if b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80 => {
                    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'$' || *b >= 0x80;
                    let end = self.rest.iter().position(|b| !word(b)).unwrap_or(self.rest.len());
                    let (text, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    return Some(Token::Word(text.to_ascii_lowercase()));
                }
                [b, ref rest @ ..] => {
                    self.rest = rest;
                    return Some(Token::Mark(b));
                }
                [] => return None,
            }
        }
    }
}

/// Whether an operator can be made of it ("Lexical Structure" in PostgreSQL's documentation).
pub(super) fn is_operator(byte: u8) -> bool {
    b"+-*/<>=~!@#%^&|`?".contains(&byte)
}

/// A cursor over tokens with one step of look-ahead.
pub(super) struct Parser<'a>(pub(super) std::iter::Peekable<Tokens<'a>>);

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Parser(Tokens::new(text).peekable())
    }

    pub(super) fn take(&mut self, word: &str) -> bool {
        self.0.next_if(|t| matches!(t, Token::Word(w) if w == word.as_bytes())).is_some()
    }

    pub(super) fn take_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|w| self.take(w))
    }

    pub(super) fn name(&mut self) -> Option<Name> {
        match self.0.next()? {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn qualified(&mut self) -> Option<Qualified> {
        let mut name = self.name()?;
        let mut schema = None;
        // a database before the schema is possible and says nothing new
        while self.0.next_if_eq(&Token::Mark(b'.')).is_some() {
            schema = Some(std::mem::replace(&mut name, self.name()?));
        }
        Some(Qualified { schema, name })
    }

    /// A possibly qualified operator, such as `public.===`.
    pub(super) fn operator(&mut self) -> Option<Qualified> {
        let is_sign = |t: &Token| matches!(t, Token::Mark(b) if is_operator(*b));
        let mut schema = None;
        while !self.0.peek().is_some_and(is_sign) {
            schema = Some(self.name()?);
            self.0.next_if_eq(&Token::Mark(b'.'))?;
        }
        let mut name = Name::new();
        while let Some(Token::Mark(sign)) = self.0.next_if(is_sign) {
            name.push(sign);
        }
        Some(Qualified { schema, name })
    }

    pub(super) fn skip_if_exists(&mut self) {
        if self.take("if") {
            self.take("not");
            self.take("exists");
        }
    }

    /// Whether this word is next.
    pub(super) fn peeks(&mut self, word: &str) -> bool {
        matches!(self.0.peek(), Some(Token::Word(w)) if w == word.as_bytes())
    }

    /// The relation after the next `word`, which stands outside of parentheses; `ONLY` is passed over.
    pub(super) fn after(&mut self, word: &str) -> Option<Qualified> {
        let mut depth = 0;
        while depth > 0 || !self.take(word) {
            match self.0.next()? {
                Token::Mark(b'(') => depth += 1,
                Token::Mark(b')') => depth -= 1,
                _ => {}
            }
        }
        self.take("only");
        self.qualified()
    }

    /// The relation of `schema.table.column`, or of `table.column`.
    pub(super) fn qualified_column(&mut self) -> Option<Qualified> {
        let mut parts = vec![self.name()?];
        while self.0.next_if_eq(&Token::Mark(b'.')).is_some() {
            parts.push(self.name()?);
        }
        parts.pop();
        let name = parts.pop()?;
        Some(Qualified { schema: parts.pop(), name })
    }

    /// The role after `OWNER TO`.
    pub(super) fn owner(&mut self) -> Option<Name> {
        let mut depth = 0;
        loop {
            match self.0.next()? {
                Token::Mark(b'(') => depth += 1,
                Token::Mark(b')') => depth -= 1,
                Token::Word(w) if depth == 0 && w == b"owner" && self.take("to") => return self.name(),
                _ => {}
            }
        }
    }
}
