//! Reading back what has been written, while the rest is still being made.
//!
//! A dump's producer keeps about one core busy; the proof takes what is left. Each piece is read
//! from the file after the disk has it, must be the bytes that were written, and must inflate to as
//! many bytes as went into it, by its own checksum. The SHA-256 of the file comes out of the same
//! reading, so that it is a digest of what the disk gave back.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::Receiver;

use xxhash_rust::xxh3::xxh3_64;

use super::Kind;
use super::ordered::step_back;
use super::read::{Piece, inflater};
use crate::buffer::Buffer;
use crate::digest::Sha;
use crate::exit::{Error, Result};

/// How much may be written before it is brought to the disk and read back.
const BATCH: u64 = 32 << 20;

/// What is known of a piece that was written.
pub(super) struct Receipt {
    offset: u64,
    bytes: usize,
    raw_bytes: usize,
    hash: u64,
}

impl Receipt {
    /// Of a piece about to be written at `offset`.
    pub(super) fn of(packed: &[u8], offset: u64, raw_bytes: usize) -> Self {
        Receipt { offset, bytes: packed.len(), raw_bytes, hash: xxh3_64(packed) }
    }
}

/// Proves all pieces in the order of their receipts; the SHA-256 of the file they make up.
pub(super) fn prove(file: &File, name: &str, kind: Kind, receipts: &Receiver<Receipt>) -> Result<String> {
    step_back();
    let mut inflate = inflater(kind, name);
    let mut sha = Sha::default();
    let mut batch = Vec::new();
    let mut waiting = 0;
    let mut open = true;
    while open {
        match receipts.recv() {
            Ok(receipt) => {
                waiting += receipt.bytes as u64;
                batch.push(receipt);
            }
            Err(_) => open = false,
        }
        if open && waiting < BATCH {
            continue;
        }
        waiting = 0;
        file.sync_data().map_err(|e| Error::io("sync", name, &e))?;
        for receipt in batch.drain(..) {
            let mut packed = Buffer::zeros(receipt.bytes);
            file.read_exact_at(&mut packed, receipt.offset).map_err(|e| Error::io("read back", name, &e))?;
            sha.update(&packed);
            if xxh3_64(&packed) != receipt.hash {
                return Err(Error::no(format!("'{name}' does not read back as it was written"))
                    .hint("The disk, its cable or the memory is failing."));
            }
            if kind != Kind::None {
                inflate(Piece { offset: receipt.offset, packed, raw_bytes: receipt.raw_bytes })?;
            }
        }
    }
    Ok(sha.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_byte_that_changed_on_its_way_is_noticed() {
        let file = tempfile::tempfile().unwrap();
        (&file).write_all(b"written").unwrap();
        let proof = |bytes: &[u8]| {
            let (send, receive) = std::sync::mpsc::channel();
            send.send(Receipt::of(bytes, 0, bytes.len())).unwrap();
            drop(send);
            prove(&file, "file", Kind::None, &receive)
        };
        assert_eq!(proof(b"written").unwrap().len(), 64);
        assert!(proof(b"writtem").is_err());
        assert!(proof(b"written and more").is_err());
    }
}
