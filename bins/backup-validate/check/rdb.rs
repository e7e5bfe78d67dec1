//! Redis's snapshots: `REDIS` and a version, the data, an end code and a CRC-64 of all before it
//! (Redis's `rdb.c`; the CRC is in versions since 5, and zero where the server was told to do without).

use std::fs::File;
use std::path::Path;

use kit::codec::read;
use kit::exit::Result;
use kit::manifest::Manifest;
use kit::redis::{CRC, END, HEADER, version};

use crate::verdict::Verdict;

/// Reads the snapshot and tells what is wrong with it.
pub(super) fn check(
    file: &File,
    real: &Path,
    manifest: Option<&Manifest>,
    verdict: &mut Verdict,
) -> Result<()> {
    let name = real.display().to_string();
    let mut snapshot = Snapshot::default();
    let seen = read::read(file, &name, None, |bytes| {
        snapshot.feed(bytes);
        Ok(())
    })?;
    verdict.note(format!("Redis, {}", super::packed(seen.kind)));
    verdict.fact("raw_bytes", seen.raw_bytes);
    verdict.fact("sha256", seen.sha256.clone());
    if is_empty(&snapshot.head) {
        verdict.warn("it holds no keys: was the server empty?");
    }
    match snapshot.finish() {
        Ok(true) => {}
        Ok(false) => verdict.warn("its checksum was turned off: damage in it would not be seen"),
        Err(why) => verdict.bad(why),
    }
    super::same_file(real, manifest, seen.bytes, &seen.sha256, verdict);
    Ok(())
}

/// How much of the beginning is kept: more than what Redis says of itself there.
const HEAD: usize = 4096;
/// The code before a thing that Redis says of itself, `RDB_OPCODE_AUX`.
const AUX: u8 = 0xfa;

/// Whether the end comes right behind what Redis says of itself: there are no databases, as it leaves empty ones out.
fn is_empty(head: &[u8]) -> bool {
    let mut rest = head.get(HEADER..).unwrap_or_default();
    while let Some(both) = rest.strip_prefix(&[AUX]) {
        let Some(behind) = behind_string(both).and_then(behind_string) else { return false };
        rest = behind;
    }
    rest.first() == Some(&END)
}

/// What comes behind a string, by the lengths of `rdbLoadLen`; what is packed is not in these.
fn behind_string(bytes: &[u8]) -> Option<&[u8]> {
    let (first, rest) = bytes.split_first()?;
    let low = usize::from(first & 0x3f);
    match first >> 6 {
        0 => rest.get(low..),
        1 => rest.get(1 + (low << 8 | usize::from(*rest.first()?))..),
        3 if low < 3 => rest.get(1 << low..),
        _ => None,
    }
}

/// A snapshot that passes by.
#[derive(Default)]
struct Snapshot {
    /// The first [`HEAD`] bytes.
    head: Vec<u8>,
    crc: Crc64,
    /// The last bytes, which are not in the CRC yet.
    tail: Vec<u8>,
    /// How many are in the CRC.
    settled: u64,
    bytes: u64,
    /// A second snapshot begins where a first one ends.
    is_joined: bool,
}

/// How a snapshot begins.
const MAGIC: &[u8] = b"REDIS";

impl Snapshot {
    fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let wanted = HEAD - self.head.len();
        self.head.extend(bytes.iter().take(wanted));
        self.tail.extend_from_slice(bytes);
        // the end code is in the CRC, but must be seen at the end
        let settled = self.tail.len().saturating_sub(CRC + 1);
        let mut done = 0;
        for at in memchr::memmem::find_iter(&self.tail, MAGIC).take_while(|at| *at < settled) {
            self.crc.update(&self.tail[done..at]);
            done = at;
            // the CRC of a snapshot with its own CRC behind it is that of nothing
            self.is_joined |= self.crc.0 == 0 && self.settled + at as u64 > HEADER as u64;
        }
        self.crc.update(&self.tail[done..settled]);
        self.settled += settled as u64;
        self.tail.drain(..settled);
    }

    /// Whether a checksum has proven it, or why it is not whole.
    fn finish(mut self) -> std::result::Result<bool, String> {
        let Some(version) = version(&self.head) else { return Err("it has no header of Redis".into()) };
        let (end, crc) = match (version >= 5, self.tail.split_first_chunk::<1>()) {
            (true, Some(([end], crc))) => (Some(*end), <[u8; CRC]>::try_from(crc).ok()),
            _ => (self.tail.last().copied(), None),
        };
        if end != Some(END) || self.bytes <= HEADER as u64 {
            return Err("it is cut short: it does not end with Redis's end code".into());
        }
        if self.is_joined {
            return Err("a second snapshot follows the first one".into());
        }
        let Some(crc) = crc.map(u64::from_le_bytes) else { return Ok(false) };
        if crc == 0 {
            return Ok(false);
        }
        self.crc.update(&[END]);
        match self.crc.0 == crc {
            true => Ok(true),
            false => Err("it is damaged: its CRC-64 differs".into()),
        }
    }
}

/// CRC-64 with the polynomial of Jones, reflected, as Redis's `crc64.c` computes it.
#[derive(Default)]
struct Crc64(u64);

const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// What each value of a byte does, at each of eight places.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut n = 0;
    while n < 256 {
        let (mut crc, mut bit) = (n as u64, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][n] = crc;
        n += 1;
    }
    let mut place = 1;
    while place < 8 {
        let mut n = 0;
        while n < 256 {
            let before = tables[place - 1][n];
            tables[place][n] = tables[0][(before & 0xff) as usize] ^ before >> 8;
            n += 1;
        }
        place += 1;
    }
    tables
}

impl Crc64 {
    fn update(&mut self, bytes: &[u8]) {
        let (eights, rest) = bytes.as_chunks::<8>();
        for eight in eights {
            let word = (self.0 ^ u64::from_le_bytes(*eight)).to_le_bytes();
            self.0 = (0..8).fold(0, |sum, i| sum ^ TABLES[7 - i][usize::from(word[i])]);
        }
        for byte in rest {
            self.0 = TABLES[0][usize::from(self.0 as u8 ^ byte)] ^ self.0 >> 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::default();
        crc.update(bytes);
        crc.0
    }

    fn snapshot(version: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = [b"REDIS", version.as_bytes(), data, &[END]].concat();
        bytes.extend(crc(&bytes).to_le_bytes());
        bytes
    }

    fn judged(bytes: &[u8], step: usize) -> std::result::Result<bool, String> {
        let mut snapshot = Snapshot::default();
        bytes.chunks(step).for_each(|chunk| snapshot.feed(chunk));
        snapshot.finish()
    }

    #[test]
    fn the_crc_is_that_of_redis() {
        // the vector in Redis's crc64.c
        assert_eq!(crc(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn one_without_keys_is_known() {
        let empty = |data: &[u8]| is_empty(&snapshot("0011", data));
        let about =
            b"\xfa\x09redis-ver\x057.0.0\xfa\x0aredis-bits\xc0\x40\xfa\x05ctime\xc2abcd\xfa\x40\x01x\x00";
        assert!(empty(b"") && empty(about));
        let with = |more: &[u8]| empty(&[about, more].concat());
        assert!(!with(b"\xfe\x00\xfb\x01\x00\x00\x01k\x01v") && !with(b"\xf5\x03abc"));
        assert!(!is_empty(b"REDIS0011") && !is_empty(b"REDIS0011\xfa\xff"));
    }

    #[test]
    fn snapshots_are_whole_or_not() {
        let good = snapshot("0011", b"\xfa\x05redis-ver\x057.0.0 and so on");
        for step in [1, 3, 8, 1000] {
            assert_eq!(judged(&good, step), Ok(true));
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert!(judged(&bad, step).is_err(), "flipped at {at}");
                assert!(judged(&good[..at], step).is_err(), "cut at {at}");
            }
            // the CRC of both is right
            assert!(judged(&[&good[..], &good].concat(), step).is_err());
        }
        // a value may look like a beginning
        let strange = snapshot("0011", b"\xfe\x00REDIS0011REDIS");
        assert_eq!(judged(&strange, 4), Ok(true));
        let without = [&good[..good.len() - CRC], &[0; CRC]].concat();
        assert_eq!(judged(&without, 7), Ok(false));
        assert_eq!(judged(b"REDIS0003\xfe\x00\xff", 4), Ok(false));
    }
}
