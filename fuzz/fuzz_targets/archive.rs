//! An archive of any bytes: SQL or an error, never a panic.
#![no_main]

use kit::archive::{Archive, Input};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = data;
    if let Ok(archive) = Archive::open(Input::Stream(&mut input), "fuzz") {
        let mut bytes = 0;
        let _ = archive.sql(&mut |piece| {
            bytes += piece.len();
            // a bomb is no finding: it is written as it comes, and not held
            if bytes > 16 << 20 { Err(kit::exit::Error::no("enough")) } else { Ok(()) }
        });
    }
});
