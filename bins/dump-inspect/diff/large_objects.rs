//! What is in the large objects of a dump, as a hash of each.

use std::collections::BTreeMap;
use std::ops::Range;

use kit::dump::lex::{Event, Lexer};
use kit::dump::scan::text_of;
use kit::dump::statement::{LargeObject, large_object};
use kit::exit::Result;
use kit::source::Dump;
use xxhash_rust::xxh3::Xxh3;

/// A large object: its place in a list of databases, and its number.
type Key = (usize, String);

/// Reads the stretches that write large objects, each of a database; the hash of what is written into
/// each of them, in however many pieces.
pub(super) fn hashes(dump: &Dump, stretches: &[Range<u64>]) -> Result<BTreeMap<Key, u128>> {
    let mut found: BTreeMap<Key, Xxh3> = BTreeMap::new();
    let (mut lexer, mut last) = (Lexer::default(), 0);
    let (mut statement, mut open): (Vec<u8>, Option<String>) = (Vec::new(), None);
    dump.ranges(stretches, |i, bytes| {
        if i != last {
            (lexer, last, open) = (Lexer::default(), i, None);
            statement.clear();
        }
        lexer.feed(bytes, &mut |event| match event {
            Event::Sql { bytes, .. } => statement.extend_from_slice(bytes),
            Event::SqlEnd { .. } => {
                match large_object(&statement) {
                    Some(LargeObject::Opened(oid)) => {
                        let oid = text_of(&oid);
                        found.entry((i, oid.clone())).or_default();
                        open = Some(oid);
                    }
                    Some(LargeObject::Written(contents)) => {
                        if let Some(hash) = open.clone().and_then(|oid| found.get_mut(&(i, oid))) {
                            hash.update(&contents);
                        }
                    }
                    None => {}
                }
                statement.clear();
            }
            _ => {}
        });
        Ok(())
    })?;
    Ok(found.into_iter().map(|(key, hash)| (key, hash.digest128())).collect())
}
