//! The header of a segment's first page, and of every page (`xlog_internal.h`). Pure.

use super::name::{Lsn, Segment, is_segment_size};

/// Bytes of the header of an ordinary page.
pub const SHORT: usize = 24;
/// Bytes of the header of a segment's first page.
pub const LONG: usize = 40;

/// `XLOG_PAGE_MAGIC` of each major version.
const MAGIC: [(u16, u32); 6] =
    [(0xD106, 13), (0xD10D, 14), (0xD110, 15), (0xD113, 16), (0xD116, 17), (0xD118, 18)];
/// What versions to come may have: the number only ever grew, and the rest of the header tells too.
const PLAUSIBLE: std::ops::RangeInclusive<u16> = 0xD106..=0xD1FF;

/// The page begins within a record that began on an earlier one.
const FIRST_IS_CONTRECORD: u16 = 0x0001;
const LONG_HEADER: u16 = 0x0002;
/// The record that an earlier page began was given up in a crash; it does not go on here.
const FIRST_IS_OVERWRITE_CONTRECORD: u16 = 0x0008;
const ALL_FLAGS: u16 = 0x000f;

/// What every page says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The format's version.
    pub magic: u16,
    /// The timeline on which the page was begun.
    pub timeline: u32,
    /// Where in the log it stands.
    pub address: Lsn,
    /// Bytes of a record from before, with which it begins.
    pub remaining: u32,
    /// Whether it begins with such bytes.
    pub continues: bool,
    /// Whether the record from before was given up.
    pub gives_up: bool,
    /// Whether the long header follows.
    pub is_long: bool,
}

impl Page {
    /// Reads a page's header.
    ///
    /// # Errors
    /// The reason why it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (Some(magic), Some(info), Some(timeline), Some(address), Some(remaining)) =
            (u16_at(bytes, 0), u16_at(bytes, 2), u32_at(bytes, 4), u64_at(bytes, 8), u32_at(bytes, 16))
        else {
            return Err("it is cut short".into());
        };
        if !PLAUSIBLE.contains(&magic) {
            return Err(format!("its magic number {magic:04X} is of no PostgreSQL from 13 on"));
        }
        if info & !ALL_FLAGS != 0 || timeline == 0 {
            return Err("a page's header is damaged".into());
        }
        Ok(Page {
            magic,
            timeline,
            address: Lsn(address),
            remaining,
            continues: info & FIRST_IS_CONTRECORD != 0,
            gives_up: info & FIRST_IS_OVERWRITE_CONTRECORD != 0,
            is_long: info & LONG_HEADER != 0,
        })
    }

    /// Where records begin on the page.
    pub fn length(&self) -> usize {
        if self.is_long { LONG } else { SHORT }
    }

    /// The major version that writes this magic number, where it is known.
    pub fn major(&self) -> Option<u32> {
        MAGIC.iter().find(|(magic, _)| *magic == self.magic).map(|(_, major)| *major)
    }
}

/// What a segment's first page says of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What every page says.
    pub page: Page,
    /// The system identifier of the server that wrote it.
    pub system_identifier: u64,
    /// `wal_segment_size`, bytes.
    pub segment_bytes: u64,
    /// Bytes of a page.
    pub block_bytes: usize,
}

impl Header {
    /// Reads the long header at a segment's beginning.
    ///
    /// # Errors
    /// The reason why it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let page = Page::parse(bytes)?;
        let (Some(system_identifier), Some(segment_bytes), Some(block_bytes)) =
            (u64_at(bytes, 24), u32_at(bytes, 32), u32_at(bytes, 36))
        else {
            return Err("it is cut short".into());
        };
        let segment_bytes = u64::from(segment_bytes);
        let block_fits = block_bytes.is_power_of_two() && (1024..=65_536).contains(&block_bytes);
        if !page.is_long || !is_segment_size(segment_bytes) || !block_fits {
            return Err("it does not begin as a segment does".into());
        }
        Ok(Header { page, system_identifier, segment_bytes, block_bytes: block_bytes as usize })
    }

    /// Holds the header against the name and the size of its file.
    ///
    /// # Errors
    /// The reason why they do not belong together.
    pub fn check(&self, segment: Segment, file_bytes: u64) -> Result<(), String> {
        let bytes = self.segment_bytes;
        if file_bytes != bytes {
            return Err(format!("it has {file_bytes} bytes, and its header says {bytes}"));
        }
        if !segment.exists(bytes) || self.page.address != segment.start(bytes) {
            return Err(format!(
                "its header says that it begins at {}, and its name does not",
                self.page.address
            ));
        }
        // the segment in which a timeline begins is a copy of its parent's up to there
        if self.page.timeline > segment.timeline {
            return Err(format!(
                "its header is of timeline {}, and its name of {}",
                self.page.timeline, segment.timeline
            ));
        }
        Ok(())
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (value, width) in
            [(0xD110, 2), (2, 2), (1, 4), (0x0500_0000, 8), (0, 4), (0, 4), (77, 8), (1 << 24, 4), (8192, 4)]
        {
            bytes.extend_from_slice(&u64::to_le_bytes(value)[..width]);
        }
        bytes
    }

    #[test]
    fn a_header_belongs_to_its_name_and_size() {
        let parsed = Header::parse(&header()).unwrap();
        assert_eq!((parsed.system_identifier, parsed.page.major()), (77, Some(15)));
        let segment = |timeline, part| Segment { timeline, log: 0, part };
        assert_eq!(parsed.check(segment(1, 5), 1 << 24), Ok(()));
        assert_eq!(parsed.check(segment(2, 5), 1 << 24), Ok(()), "a copy of its parent's");
        for (segment, bytes) in [(segment(1, 6), 1 << 24), (segment(1, 5), 1 << 23), (segment(1, 5), 0)] {
            assert!(parsed.check(segment, bytes).is_err());
        }
    }

    #[test]
    fn what_is_no_header_is_told() {
        for at in [0, 2, 32, 36] {
            let mut bytes = header();
            bytes[at] = 0x55;
            bytes[at + 1] = 0x55;
            assert!(Header::parse(&bytes).is_err(), "{at}");
        }
        assert!(Header::parse(&header()[..39]).is_err());
    }
}
