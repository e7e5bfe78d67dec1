//! Compression: ordinary gzip and zstd files made of independent pieces.
//!
//! A compressed dump is a run of gzip members or zstd frames of about 1 MiB of raw data each, with
//! breaks where a table's data begins and ends. `zcat`, `gzip -t` and `zstd -d` read it as one
//! stream; we check and inflate it on all cores, and find one table with one seek.
//!
//! [`mod@write`] makes such files, [`read`] reads these and any foreign gzip or zstd stream.

mod ordered;
mod prove;
pub mod read;
pub mod seek;
pub mod table;
pub mod walk;
pub mod write;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cli;
use crate::exit;
use crate::settings::Settings;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Not at all.
    None,
    /// RFC 1952 members.
    Gzip,
    /// RFC 8878 frames.
    Zstd,
}

impl Kind {
    /// What the first bytes of a file say; names are never asked.
    pub fn detect(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Kind::Gzip,
            // a frame, or a skippable frame (0x184D2A50 to 5F) as pzstd writes first
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Kind::Zstd,
            _ => Kind::None,
        }
    }

    /// The program that inflates what is compressed in a way we do not read, by its first bytes.
    pub fn foreign(first: &[u8]) -> Option<&'static str> {
        match first {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some("lz4"),
            _ => None,
        }
    }

    /// The ending of a file name: empty, `.gz` or `.zst`.
    pub fn suffix(self) -> &'static str {
        match self {
            Kind::None => "",
            Kind::Gzip => ".gz",
            Kind::Zstd => ".zst",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::None => "none",
            Kind::Gzip => "gzip",
            Kind::Zstd => "zstd",
        })
    }
}

/// A kind and its level, as in `gzip`, `gzip:6`, `zstd:19`, `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    /// The kind.
    pub kind: Kind,
    /// Level 1 to 9 of gzip, 1 to 19 of zstd; `None` for the default.
    pub level: Option<i32>,
}

impl Codec {
    /// The value of `--compress`, just read.
    ///
    /// # Errors
    /// A usage error for what is no codec.
    pub fn of_option(parser: &mut lexopt::Parser) -> exit::Result<Self> {
        Self::named(&cli::text(parser, "--compress")?, "--compress")
    }

    /// What `--compress` said, else `BACKUP_COMPRESS`, else the default.
    ///
    /// # Errors
    /// A usage error for a variable that names no codec.
    pub fn chosen(option: Option<Self>, settings: &Settings) -> exit::Result<Self> {
        let variable = "BACKUP_COMPRESS";
        option.map_or_else(
            || settings.get(variable).map_or(Ok(Self::default()), |v| Self::named(v, variable)),
            Ok,
        )
    }

    fn named(text: &str, name: &str) -> exit::Result<Self> {
        text.parse().map_err(|e| cli::usage(format!("{name}: {e}")))
    }
}

impl Default for Codec {
    fn default() -> Self {
        Codec { kind: Kind::Gzip, level: None }
    }
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = text.split_once(':').map_or((text, None), |(n, l)| (n, Some(l)));
        let (kind, most) = match name {
            "none" => (Kind::None, 0),
            "gzip" => (Kind::Gzip, 9),
            "zstd" => (Kind::Zstd, 19),
            _ => return Err(format!("'{text}' is none of none, gzip[:1-9], zstd[:1-19]")),
        };
        let Some(digits) = level else { return Ok(Codec { kind, level: None }) };
        match digits.parse() {
            Ok(level) if (1..=most).contains(&level) => Ok(Codec { kind, level: Some(level) }),
            _ => Err(format!("'{text}' is none of none, gzip[:1-9], zstd[:1-19]")),
        }
    }
}

/// Where an independent piece begins: in the file, and in what the file inflates to. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame(pub u64, pub u64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Result;
    use std::io::{Read as _, Write as _};

    #[test]
    fn codecs_by_name() {
        let parse = |t: &str| t.parse::<Codec>().map(|c| (c.kind, c.level));
        assert_eq!(parse("gzip:9"), Ok((Kind::Gzip, Some(9))));
        assert_eq!(parse("zstd"), Ok((Kind::Zstd, None)));
        for bad in ["", "gzip:0", "gzip:10", "zstd:20", "none:1", "lz4", "gzip:", "gzip:1:2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    fn sample() -> Vec<u8> {
        (0..400_000u32)
            .flat_map(|n| format!("{n}\t{}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
            .collect()
    }

    fn packed(codec: &str, raw: &[u8]) -> (std::fs::File, write::Written) {
        let file = tempfile::tempfile().unwrap();
        // a cut every 100 kB, as if tables ended there
        let mut at = 0u64;
        let look = |bytes: &[u8], cuts: &mut Vec<u64>| {
            let end = at + bytes.len() as u64;
            cuts.extend((at.div_ceil(100_000)..=end / 100_000).map(|n| n * 100_000));
            at = end;
        };
        let written = write::write(codec.parse().unwrap(), raw, look, &file, "sample").unwrap();
        (file, written)
    }

    fn unpacked(file: &std::fs::File, frames: Option<read::Index<'_>>) -> Result<(Vec<u8>, read::Seen)> {
        let mut raw = Vec::new();
        let seen = read::read(file, "sample", frames, |bytes| {
            raw.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok((raw, seen))
    }

    #[test]
    fn what_is_written_is_read_back_by_us_and_by_everyone() {
        let raw = sample();
        for codec in ["none", "gzip", "gzip:1", "zstd", "zstd:9"] {
            let (file, written) = packed(codec, &raw);
            let index = read::Index { frames: &written.frames, raw_bytes: written.raw_bytes };
            let (got, seen) = unpacked(&file, Some(index)).unwrap();
            assert!(got == raw, "{codec}");
            assert_eq!((seen.sha256, seen.bytes), (written.sha256.clone(), written.bytes), "{codec}");
            let (got, seen) = unpacked(&file, None).unwrap();
            assert!(got == raw && seen.sha256 == written.sha256, "{codec} without the index");
        }
        let (mut file, _) = packed("gzip", &raw);
        std::io::Seek::rewind(&mut file).unwrap();
        let mut foreign = Vec::new();
        flate2::read::MultiGzDecoder::new(&file).read_to_end(&mut foreign).unwrap();
        assert!(foreign == raw);
    }

    #[test]
    fn pieces_break_where_tables_do() {
        let (_, written) = packed("zstd", &sample());
        assert!(written.frames.iter().all(|f| f.1 % 100_000 == 0));
        assert!(written.frames.len() > 40);
    }

    #[test]
    fn a_cut_or_flipped_file_is_never_whole() {
        let raw = sample();
        for codec in ["gzip", "zstd"] {
            let (mut file, written) = packed(codec, &raw);
            let mut bytes = Vec::new();
            std::io::Seek::rewind(&mut file).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            let index = || Some(read::Index { frames: &written.frames, raw_bytes: written.raw_bytes });
            let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
                let mut copy = bytes.clone();
                change(&mut copy);
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&copy).unwrap();
                file
            };
            for at in [0, 5, 1000, bytes.len() / 2, bytes.len() - 1] {
                let flipped = damaged(&|b| b[at] ^= 0x10);
                let whole = |r: Result<(Vec<u8>, read::Seen)>| {
                    r.is_ok_and(|(got, seen)| got == raw && seen.sha256 == written.sha256)
                };
                assert!(!whole(unpacked(&flipped, index())), "{codec} flipped at {at}");
                assert!(!whole(unpacked(&flipped, None)), "{codec} flipped at {at}, no index");
                let cut = damaged(&|b| b.truncate(at));
                assert!(!whole(unpacked(&cut, index())), "{codec} cut at {at}");
                assert!(!whole(unpacked(&cut, None)), "{codec} cut at {at}, no index");
            }
        }
    }
}
