//! What is in the large objects of a dump, which statements write in pieces. Pure.

use xxhash_rust::xxh3::Xxh3;

use super::lex::Event;
use super::statement::{LargeObject, Name, large_object};

/// How much of a statement is held to be understood; pg_dump writes pieces of 16 KiB.
const LONGEST: usize = 1 << 20;

/// A look in progress.
#[derive(Default)]
pub struct Contents {
    statement: Vec<u8>,
    is_longer: bool,
    /// The one that is being written.
    open: Option<(Name, Box<Xxh3>)>,
}

impl Contents {
    /// Takes what the lexer found next. `done` is told of each object that has been written: its number, and
    /// the hash of what is in it, in however many pieces that came.
    pub fn event(&mut self, event: Event<'_>, done: &mut dyn FnMut(Name, u128)) {
        match event {
            Event::Sql { bytes, .. } if self.is_longer => self.update(bytes),
            Event::Sql { bytes, .. } => {
                self.statement.extend_from_slice(bytes);
                if self.statement.len() > LONGEST {
                    // whatever it writes is compared as it is written
                    self.is_longer = true;
                    let beginning = std::mem::take(&mut self.statement);
                    self.update(&beginning);
                }
            }
            Event::SqlEnd { .. } => {
                let statement = std::mem::take(&mut self.statement);
                match large_object(&statement) {
                    _ if std::mem::take(&mut self.is_longer) => {}
                    Some(LargeObject::Written(contents)) => self.update(&contents),
                    Some(LargeObject::Opened(number)) => {
                        self.end(done);
                        self.open = Some((number, Box::default()));
                    }
                    None => self.end(done),
                }
                self.statement = statement;
                self.statement.clear();
            }
            _ => {}
        }
    }

    /// Nothing follows, or nothing that belongs to what came before.
    pub fn end(&mut self, done: &mut dyn FnMut(Name, u128)) {
        if let Some((number, hash)) = self.open.take() {
            done(number, hash.digest128());
        }
    }

    fn update(&mut self, contents: &[u8]) {
        if let Some((_, hash)) = &mut self.open {
            hash.update(contents);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::lex::Lexer;

    fn of(sql: &str) -> Vec<(String, u128)> {
        let (mut contents, mut found) = (Contents::default(), Vec::new());
        let mut done = |number, hash| found.push((String::from_utf8(number).unwrap(), hash));
        Lexer::default().feed(sql.as_bytes(), &mut |event| contents.event(event, &mut done));
        contents.end(&mut done);
        found
    }

    #[test]
    fn pieces_do_not_matter_and_contents_do() {
        let write = |pieces: &[&str]| {
            let pieces: String =
                pieces.iter().map(|p| format!("SELECT pg_catalog.lowrite(0, '\\x{p}');\n")).collect();
            of(&format!(
                "SELECT pg_catalog.lo_open('7', 131072);\n{pieces}SELECT pg_catalog.lo_close(0);\nSELECT 1;\n"
            ))
        };
        let whole = write(&["00ff5c2e"]);
        assert_eq!((whole.len(), whole[0].0.as_str()), (1, "7"));
        assert_eq!(write(&["00ff", "5c2e"]), whole);
        assert_ne!(write(&["00ff", "5c2f"]), whole);
        assert_ne!(write(&[]), whole);
        let long = "ab".repeat(LONGEST);
        assert_ne!(write(&[&long]), write(&[&long[2..], "ac"]));
    }
}
