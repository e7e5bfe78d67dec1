//! The names that a statement mentions.

use super::scan::text_of;
use super::token::{Token, Tokens};

/// Every `schema.name` in a statement, outside of strings, and those in strings that are names by
/// themselves, such as that of `nextval('schema.name'::regclass)`. Columns of tables count too: what
/// is no object is for the caller to pass over.
pub fn qualified(statement: &[u8]) -> Vec<(Option<String>, String)> {
    let mut found = Vec::new();
    collect(statement, true, &mut found);
    found
}

/// The schema of `CREATE EXTENSION … SCHEMA name`.
pub fn schema_of_extension(statement: &[u8]) -> Option<String> {
    let mut tokens = Tokens::new(statement);
    tokens.find(|t| *t == Token::Word(b"schema".to_vec()))?;
    match tokens.next()? {
        Token::Word(name) | Token::Quoted(name) => Some(text_of(&name)),
        _ => None,
    }
}

fn collect(text: &[u8], strings: bool, found: &mut Vec<(Option<String>, String)>) {
    let mut before: Option<Vec<u8>> = None;
    let mut dotted = false;
    for token in Tokens::new(text) {
        match token {
            Token::Word(name) | Token::Quoted(name) => {
                if let (true, Some(schema)) = (dotted, &before) {
                    found.push((Some(text_of(schema)), text_of(&name)));
                }
                before = Some(name);
                dotted = false;
            }
            Token::Mark(b'.') => dotted = before.is_some(),
            Token::String(inner) if strings => {
                collect(&inner, false, found);
                (before, dotted) = (None, false);
            }
            _ => (before, dotted) = (None, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_statements() {
        let names = |sql: &str| -> Vec<String> {
            qualified(sql.as_bytes())
                .into_iter()
                .map(|(s, n)| format!("{}/{n}", s.unwrap_or_default()))
                .collect()
        };
        assert_eq!(
            names("CREATE TABLE public.t (a public.mood DEFAULT nextval('s.\"Q\"'::regclass), b int);"),
            ["public/t", "public/mood", "s/Q"]
        );
        assert_eq!(names("SELECT 1.5, a . b"), ["1/5", "a/b"]);
    }
}
