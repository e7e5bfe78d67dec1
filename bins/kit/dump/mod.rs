//! Reading plain dumps: what is in them, whether they are whole, what they would do.
//!
//! [`lex`] splits bytes as psql would, [`statement`] tells what a statement is from its beginning,
//! [`scan`] draws the two together into facts.

pub mod columns;
pub mod guard;
pub mod inserted;
pub mod large;
pub mod lex;
pub mod names;
pub mod needs;
pub mod object;
pub mod scan;
pub mod statement;
mod token;
mod word;

#[cfg(test)]
mod lex_tests;
