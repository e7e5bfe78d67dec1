//! Where a key of a manifest stands in its text, so that all the rest can stay byte for byte.

use std::io::{self, BufRead};
use std::ops::Range;

/// Where the value of a key stands, or where the key may be put.
pub(super) struct Place {
    pub(super) value: Range<u64>,
    pub(super) is_there: bool,
}

impl Place {
    /// Goes through the text of a JSON object up to the value of its own key `key`, which is plain ASCII
    /// and no longer than 16 bytes. `None`: it is no object.
    pub(super) fn find(input: impl BufRead, key: &str) -> io::Result<Option<Place>> {
        let (mut at, mut depth, mut opened) = (0, 0_u32, 0);
        // the string that is open or was the last one, and where the value of the key began
        let (mut quoted, mut escaped, mut string, mut begun) = (false, false, Vec::new(), None);
        for byte in input.bytes() {
            let byte = byte?;
            at += 1;
            if quoted {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => quoted = false,
                    _ if depth == 1 && string.len() <= 16 => string.push(byte),
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => {
                    quoted = true;
                    string.clear();
                }
                b'{' | b'[' => {
                    depth += 1;
                    if depth == 1 {
                        opened = at;
                    }
                }
                b':' if depth == 1 && string == key.as_bytes() => begun = Some(at),
                b',' | b'}' if depth == 1 && begun.is_some() => {
                    return Ok(begun.map(|start| Place { value: start..at - 1, is_there: true }));
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok((opened > 0).then_some(Place { value: opened..opened, is_there: false }))
    }
}
