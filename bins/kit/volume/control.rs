//! What a data directory says of itself: `global/pg_control`, read without PostgreSQL.
//!
//! The layout is `ControlFileData` of `src/include/catalog/pg_control.h`. What is read here stands at
//! the same place in all versions since 12; the checksum behind it does not, so it is looked for.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::exit::{Error, Result};

/// Where it is, below the data directory.
pub const FILE: &str = "global/pg_control";

/// PostgreSQL's own bound for all versions (`PG_CONTROL_MAX_SAFE_SIZE`): one sector, written at once.
const SIZE: usize = 512;
/// `pg_control_version` of 12; before it, fields stand elsewhere.
const OLDEST: u32 = 1201;

/// The state that a cluster was left in (`DBState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// `initdb` has not ended.
    StartingUp,
    /// Stopped in order.
    ShutDown,
    /// Stopped in order, as a standby.
    ShutDownInRecovery,
    /// It was just stopping.
    ShuttingDown,
    /// In crash recovery.
    InCrashRecovery,
    /// A standby, or recovering from an archive.
    InArchiveRecovery,
    /// Running, or killed while it ran.
    InProduction,
}

/// What is known of a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Which cluster this is, since `initdb`; decimal, as `pg_controldata` prints it.
    pub system_identifier: String,
    /// `pg_control_version`, such as 1300.
    pub control_version: u32,
    /// The state it was left in.
    pub state: State,
    /// The timeline of the latest checkpoint.
    pub timeline: u32,
    /// Where the latest checkpoint's record is, such as `0/16B3D50`.
    pub checkpoint: Lsn,
    /// Where replay from that checkpoint begins.
    pub redo: Lsn,
    /// Bytes of a WAL segment.
    pub segment_bytes: u32,
}

/// A place in the WAL, as PostgreSQL writes it: two hexadecimal numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Lsn(pub u64);

impl Control {
    /// Reads that of the data directory `data`; `Ok(None)`: it is no data directory.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or is older than PostgreSQL 12.
    pub fn of(data: &Path) -> Result<Option<Self>> {
        let path = data.join(FILE);
        let file = match File::open(&path) {
            Err(e)
                if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            other => other.map_err(|e| Error::io("read", path.display(), &e))?,
        };
        let mut bytes = Vec::with_capacity(SIZE);
        file.take(SIZE as u64).read_to_end(&mut bytes).map_err(|e| Error::io("read", path.display(), &e))?;
        Self::parse(&bytes)
            .map(Some)
            .map_err(|cause| Error::no(format!("cannot read '{}': {cause}", path.display())))
    }

    /// Reads the beginning of the file, 512 bytes of it.
    ///
    /// # Errors
    /// Why it is no control file that can be believed.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, &'static str> {
        if bytes.len() < SIZE {
            return Err("it is cut short");
        }
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let control_version = u32_at(8);
        if control_version < OLDEST {
            return Err("its version is older than PostgreSQL 12, or of a big-endian machine");
        }
        // at 288 in 13 to 17, at 292 in 18
        let checked = |at: usize| u32_at(at) == crc32c::crc32c(&bytes[..at]);
        if !(LAST_FIELD..SIZE - 4).step_by(4).any(checked) {
            return Err("its checksum is wrong");
        }
        use State::{
            InArchiveRecovery, InCrashRecovery, InProduction, ShutDown, ShutDownInRecovery, ShuttingDown,
            StartingUp,
        };
        let states = [
            StartingUp,
            ShutDown,
            ShutDownInRecovery,
            ShuttingDown,
            InCrashRecovery,
            InArchiveRecovery,
            InProduction,
        ];
        Ok(Control {
            system_identifier: u64_at(0).to_string(),
            control_version,
            state: states.get(u32_at(16) as usize).copied().ok_or("its state is none that is known")?,
            checkpoint: Lsn(u64_at(32)),
            redo: Lsn(u64_at(40)),
            timeline: u32_at(48),
            segment_bytes: u32_at(228),
        })
    }
}

/// The end of what is read, which the checksum stands behind.
const LAST_FIELD: usize = 232;

impl State {
    /// Whether it was stopped in order, so that its files are all there is.
    pub fn is_clean(self) -> bool {
        matches!(self, State::ShutDown | State::ShutDownInRecovery)
    }
}

impl fmt::Display for State {
    /// As `pg_controldata` prints it in English.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::StartingUp => "starting up",
            State::ShutDown => "shut down",
            State::ShutDownInRecovery => "shut down in recovery",
            State::ShuttingDown => "shutting down",
            State::InCrashRecovery => "in crash recovery",
            State::InArchiveRecovery => "in archive recovery",
            State::InProduction => "in production",
        })
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl std::str::FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        // from_str_radix would take a sign
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_hexdigit());
        let half = |t: &str| u32::from_str_radix(t, 16).ok().filter(|_| digits(t)).map(u64::from);
        let (high, low) = text.split_once('/').unwrap_or_default();
        let whole = |high: Option<u64>, low: Option<u64>| Some(Lsn(high? << 32 | low?));
        whole(half(high), half(low)).ok_or_else(|| format!("'{text}' is no place in the WAL"))
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> String {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control file whose checksum stands at `crc_at`.
    fn made(crc_at: usize) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &7_300_000_000_000_000_123_u64.to_le_bytes());
        put(8, &1300_u32.to_le_bytes());
        put(16, &1_u32.to_le_bytes());
        put(32, &0x1_0000_0028_u64.to_le_bytes());
        put(40, &0x1_0000_0028_u64.to_le_bytes());
        put(48, &3_u32.to_le_bytes());
        put(228, &(16_u32 << 20).to_le_bytes());
        put(256, &[0x5a; 32]);
        let crc = crc32c::crc32c(&bytes[..crc_at]);
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn the_layouts_of_all_versions_and_no_damage() {
        for crc_at in [288, 292] {
            let bytes = made(crc_at);
            let control = Control::parse(&bytes).unwrap();
            assert_eq!(control.system_identifier, "7300000000000000123");
            assert_eq!((control.state, control.timeline), (State::ShutDown, 3));
            assert_eq!(control.checkpoint.to_string(), "1/28");
            for at in 0..crc_at + 4 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                assert!(Control::parse(&flipped).is_err(), "byte {at}");
            }
        }
        assert!(Control::parse(&made(288)[..511]).is_err());
    }

    #[test]
    fn places_in_the_wal_are_read_as_they_are_written() {
        for text in ["0/0", "1/28", "FF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        for text in ["", "1", "/", "1/100000000", "x/1", "-1/1"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }
}
