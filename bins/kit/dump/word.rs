//! The few words that change how a dump is read on.

/// A word of SQL that the lexer must recognise, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    None,
    Other,
    Begin,
    Case,
    ClientEncoding,
    Copy,
    Create,
    End,
    From,
    Insert,
    Or,
    Replace,
    /// FUNCTION or PROCEDURE.
    Routine,
    Set,
    StandardConformingStrings,
    Stdin,
    Values,
}

/// A word in lower case, as far as it matters: longer ones equal none of ours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    bytes: [u8; 32],
    len: usize,
}

impl Word {
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self.bytes.get_mut(self.len) {
                Some(slot) => *slot = byte.to_ascii_lowercase(),
                // too long for anything we know; one past the end says so
                None => {
                    self.len = self.bytes.len() + 1;
                    return;
                }
            }
            self.len += 1;
        }
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn is(&self, word: &[u8]) -> bool {
        self.get() == word
    }

    pub(super) fn keyword(&self) -> Keyword {
        match self.get() {
            b"begin" => Keyword::Begin,
            b"case" => Keyword::Case,
            b"client_encoding" => Keyword::ClientEncoding,
            b"copy" => Keyword::Copy,
            b"create" => Keyword::Create,
            b"end" => Keyword::End,
            b"from" => Keyword::From,
            b"insert" => Keyword::Insert,
            b"or" => Keyword::Or,
            b"replace" => Keyword::Replace,
            b"function" | b"procedure" => Keyword::Routine,
            b"set" => Keyword::Set,
            b"standard_conforming_strings" => Keyword::StandardConformingStrings,
            b"stdin" => Keyword::Stdin,
            b"values" => Keyword::Values,
            _ => Keyword::Other,
        }
    }

    /// The client-only encodings of PostgreSQL's documentation ("Character Set Support"), whose
    /// second bytes may be ASCII.
    pub(super) fn is_encoding_with_hidden_bytes(&self) -> bool {
        const NAMES: [&[u8]; 14] = [
            b"sjis",
            b"shift_jis",
            b"shiftjis",
            b"mskanji",
            b"win932",
            b"windows932",
            b"shift_jis_2004",
            b"big5",
            b"win950",
            b"gbk",
            b"win936",
            b"uhc",
            b"johab",
            b"gb18030",
        ];
        NAMES.iter().any(|name| self.is(name))
    }
}
