//! Patterns of names, as psql's `\d` and pg_dump's `-t` read them: unquoted letters in lower case,
//! `*` for any text, `?` for any character, double quotes for what is meant literally. Pure.

/// One part of a pattern: characters to match, or wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sign {
    Literal(char),
    Any,
    One,
}

/// A pattern for a table, or for a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    database: Option<Vec<Sign>>,
    schema: Option<Vec<Sign>>,
    name: Vec<Sign>,
}

impl Pattern {
    /// `[[DB.]SCHEMA.]TABLE`.
    pub(crate) fn of_table(text: &str) -> Result<Self, String> {
        let mut parts = split(text)?;
        let wrong = || format!("'{text}' is no [[DB.]SCHEMA.]TABLE");
        let name = parts.pop().filter(|p| !p.is_empty()).ok_or_else(wrong)?;
        let (schema, database) = (parts.pop(), parts.pop());
        if !parts.is_empty() || schema.as_ref().is_some_and(Vec::is_empty) {
            return Err(wrong());
        }
        Ok(Pattern { text: text.to_owned(), database, schema, name })
    }

    /// `SCHEMA`.
    pub(crate) fn of_schema(text: &str) -> Result<Self, String> {
        match <[Vec<Sign>; 1]>::try_from(split(text)?) {
            Ok([name]) if !name.is_empty() => {
                Ok(Pattern { text: text.to_owned(), database: None, schema: None, name })
            }
            _ => Err(format!("'{text}' is no name of a schema")),
        }
    }

    /// As it was given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it means this table. A table without a schema is in `public`.
    pub(crate) fn is_table(&self, database: Option<&str>, schema: Option<&str>, name: &str) -> bool {
        let fits = |signs: &Option<Vec<Sign>>, text: &str| signs.as_ref().is_none_or(|s| matches(s, text));
        matches(&self.name, name)
            && fits(&self.schema, schema.unwrap_or("public"))
            && fits(&self.database, database.unwrap_or_default())
    }

    /// Whether it means this schema.
    pub(crate) fn is_schema(&self, schema: &str) -> bool {
        matches(&self.name, schema)
    }

    /// The name without wildcards, to look for what is like it.
    pub(crate) fn letters(&self) -> String {
        let letter = |s: &Sign| if let Sign::Literal(c) = s { Some(*c) } else { None };
        self.name.iter().filter_map(letter).collect()
    }
}

fn split(text: &str) -> Result<Vec<Vec<Sign>>, String> {
    let mut parts = vec![Vec::new()];
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        let sign = match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                Sign::Literal('"')
            }
            '"' => {
                quoted = !quoted;
                continue;
            }
            c if quoted => Sign::Literal(c),
            '.' => {
                parts.push(Vec::new());
                continue;
            }
            '*' => Sign::Any,
            '?' => Sign::One,
            c => Sign::Literal(c.to_ascii_lowercase()),
        };
        if let Some(part) = parts.last_mut() {
            part.push(sign);
        }
    }
    if quoted { Err(format!("'{text}' lacks a closing quote")) } else { Ok(parts) }
}

/// Whether the signs match all of the text. Time grows with the product of both lengths at most.
fn matches(signs: &[Sign], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut sign, mut at) = (0, 0);
    // where to go on if this does not work out: behind the last `*`, one character further
    let mut retry = None;
    while at < text.len() {
        match signs.get(sign) {
            Some(Sign::Any) => {
                retry = Some((sign, at));
                sign += 1;
                continue;
            }
            Some(Sign::One) => {}
            Some(Sign::Literal(c)) if *c == text[at] => {}
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                (sign, at) = (star + 1, from + 1);
                continue;
            }
        }
        sign += 1;
        at += 1;
    }
    signs[sign..].iter().all(|s| *s == Sign::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_wildcards() {
        for (pattern, table, want) in [
            ("t", ("d", "public", "t"), true),
            ("T", ("d", "public", "t"), true),
            ("\"T\"", ("d", "public", "t"), false),
            ("\"T\"", ("d", "public", "T"), true),
            ("s.t", ("d", "public", "t"), false),
            ("s.*", ("d", "s", "anything"), true),
            ("d.s.t", ("d", "s", "t"), true),
            ("e.s.t", ("d", "s", "t"), false),
            ("*", ("d", "s", "t"), true),
            ("a*b*c", ("d", "s", "axxbyybzc"), true),
            ("a*b*c", ("d", "s", "axxbyybz"), false),
            ("a?c", ("d", "s", "aüc"), true),
            ("a?c", ("d", "s", "ac"), false),
            ("\"a.b*\"", ("d", "s", "a.b*"), true),
            ("\"a\"\"b\"", ("d", "s", "a\"b"), true),
            ("****************x", ("d", "s", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), false),
        ] {
            let (database, schema, name) = table;
            let pattern = Pattern::of_table(pattern).unwrap();
            assert_eq!(pattern.is_table(Some(database), Some(schema), name), want, "{pattern:?}");
        }
        for bad in ["", ".", "a.", ".a", "a.b.c.d", "\"a"] {
            assert!(Pattern::of_table(bad).is_err(), "{bad}");
        }
        assert!(Pattern::of_schema("a.b").is_err());
    }
}
