//! zstd's own seek table: a skippable frame at the end of a file that tells where each frame begins
//! ("Zstandard Seekable Format" 0.1.0, `contrib/seekable_format` of zstd). Written by `t2sz`, `zeekstd`
//! and others; every zstd passes over it.

use super::Frame;
use crate::medium::Medium;

/// The skippable frame's magic number, and that of the footer, little-endian.
const SKIPPABLE: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
const SEEKABLE: [u8; 4] = 0x8F92_EAB1_u32.to_le_bytes();
/// Number of frames, descriptor, magic number.
const FOOTER: u64 = 9;
/// A table that claims more is not believed: it is held in memory.
const MOST_FRAMES: u64 = 1 << 20;

/// Where each frame begins and what the whole inflates to, in bytes; `None` where there is no such
/// table, or one that does not fit the file. Nothing else is believed of it: every frame that is read
/// must give what the table says.
pub fn seek_table(file: &dyn Medium) -> Option<(Vec<Frame>, u64)> {
    let length = file.bytes().ok()?;
    let mut footer = [0; FOOTER as usize];
    file.read_exact_at(&mut footer, length.checked_sub(FOOTER)?).ok()?;
    let [a, b, c, d, descriptor, magic @ ..] = footer;
    let frames = u64::from(u32::from_le_bytes([a, b, c, d]));
    // bit 7: a checksum in each entry; bits 2 to 6 are reserved and zero
    let size = if descriptor & 0x80 == 0 { 8 } else { 12 };
    if magic != SEEKABLE || descriptor & 0x7c != 0 || frames > MOST_FRAMES {
        return None;
    }
    let begin = length.checked_sub(FOOTER + frames * size + 8)?;
    let mut table = vec![0; (8 + frames * size) as usize];
    file.read_exact_at(&mut table, begin).ok()?;
    let (head, entries) = table.split_at(8);
    let claimed = u32::from_le_bytes(head[4..].try_into().ok()?);
    if head[..4] != SKIPPABLE || u64::from(claimed) != frames * size + FOOTER {
        return None;
    }
    let mut at = Frame(0, 0);
    let mut found = Vec::new();
    for entry in entries.chunks_exact(size as usize) {
        let number = |i: usize| Some(u64::from(u32::from_le_bytes(entry[i..i + 4].try_into().ok()?)));
        found.push(at);
        at = Frame(at.0 + number(0)?, at.1 + number(4)?);
    }
    (at.0 == begin && !found.is_empty()).then_some((found, at.1))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_table_that_fits_and_those_that_do_not() {
        let (a, b) =
            (zstd::encode_all(&b"first"[..], 1).unwrap(), zstd::encode_all(&b"second!"[..], 1).unwrap());
        for checksums in [false, true] {
            let size = if checksums { 12 } else { 8_u32 };
            let mut file = [a.as_slice(), &b, &SKIPPABLE, &(2 * size + 9).to_le_bytes()].concat();
            for (frame, raw) in [(&a, 5_u32), (&b, 7)] {
                file.extend_from_slice(&(frame.len() as u32).to_le_bytes());
                file.extend_from_slice(&raw.to_le_bytes());
                file.extend_from_slice(&[7; 4][..if checksums { 4 } else { 0 }]);
            }
            file.extend_from_slice(&[2, 0, 0, 0, if checksums { 0x80 } else { 0 }]);
            file.extend_from_slice(&SEEKABLE);
            let told = |bytes: &[u8]| {
                let mut f = tempfile::tempfile().unwrap();
                f.write_all(bytes).unwrap();
                seek_table(&f)
            };
            assert_eq!(told(&file), Some((vec![Frame(0, 0), Frame(a.len() as u64, 5)], 12)));
            assert_eq!(zstd::decode_all(file.as_slice()).unwrap(), b"firstsecond!");
            for i in a.len() + b.len()..file.len() {
                let mut wrong = file.clone();
                wrong[i] ^= 0x41;
                // a wrong checksum or raw size is found when the frame is read
                let fits = told(&wrong);
                assert!(fits.is_none_or(|(frames, _)| frames[1].0 == a.len() as u64), "byte {i}");
            }
            assert_eq!(told(&file[..file.len() - 1]), None);
        }
        assert_eq!(seek_table(&tempfile::tempfile().unwrap()), None);
    }
}
