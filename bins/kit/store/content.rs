//! What an object shall hold.

use std::fs::File;
use std::io::{self, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::buffer::Buffer;
use crate::medium::At;

/// How much of a file is read at a time.
const CHUNK: usize = 256 << 10;

/// The first `bytes` of a file.
pub struct Content<'a> {
    /// The file.
    pub file: &'a File,
    /// Bytes.
    pub bytes: u64,
    /// A digest of the writer's own, kept with the object as `x-amz-meta-digest`.
    pub digest: Option<String>,
}

impl Content<'_> {
    /// From its beginning, wherever others who read the file stand.
    pub(super) fn reader(&self) -> impl Read {
        At::start(self.file).take(self.bytes)
    }

    /// CRC-32C as `x-amz-checksum-crc32c` has it: big-endian, base64.
    pub(super) fn sum(&self) -> io::Result<String> {
        let (mut sum, mut reader, mut buffer) = (0u32, self.reader(), Buffer::zeros(CHUNK));
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(BASE64_STANDARD.encode(sum.to_be_bytes())),
                n => sum = crc32c::crc32c_append(sum, &buffer[..n]),
            }
        }
    }
}
