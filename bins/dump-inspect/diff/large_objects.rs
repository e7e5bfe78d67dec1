//! What is in the large objects of a dump, as a hash of each.

use std::collections::BTreeMap;
use std::ops::Range;

use kit::dump::large::Contents;
use kit::dump::lex::Lexer;
use kit::dump::scan::text_of;
use kit::exit::Result;
use kit::source::Dump;

/// A large object: its place in a list of databases, and its number.
type Key = (usize, String);

/// Reads the stretches that write large objects, each of a database; the hash of what is written into
/// each of them.
pub(super) fn hashes(dump: &Dump, stretches: &[Range<u64>]) -> Result<BTreeMap<Key, u128>> {
    let mut found: BTreeMap<Key, u128> = BTreeMap::new();
    let (mut lexer, mut contents, mut last) = (Lexer::default(), Contents::default(), 0);
    let mut note = |i, number: Vec<u8>, hash: u128| {
        let sum = found.entry((i, text_of(&number))).or_default();
        *sum = sum.wrapping_add(hash);
    };
    dump.ranges(stretches, |i, bytes| {
        if i != last {
            contents.end(&mut |number, hash| note(last, number, hash));
            (lexer, contents, last) = (Lexer::default(), Contents::default(), i);
        }
        lexer.feed(bytes, &mut |event| contents.event(event, &mut |number, hash| note(i, number, hash)));
        Ok(())
    })?;
    contents.end(&mut |number, hash| note(last, number, hash));
    Ok(found)
}
