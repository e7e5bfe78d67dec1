//! The tar format: `toc.dat`, then the members with data in the order of the table of contents, a
//! `restore.sql` that nobody needs, and blocks of zeros (`pg_backup_tar.c`).

use std::collections::HashMap;

use super::entry::{Entry, Place};
use super::header::Header;
use super::source::Source;
use super::unpack::{Packing, unpack};
use super::{Give, Piece};
use crate::exit::Result;

const BLOCK: usize = 512;

pub(super) struct Members<'a> {
    pub(super) source: Source<'a>,
    /// Where the member ends that was opened last, and where the next begins.
    end: u64,
    next: u64,
    /// Where members begin (their heads) that were passed over.
    passed: HashMap<Vec<u8>, u64>,
    /// Where the part ends that was gone through in order.
    scanned: u64,
    /// Bytes of zeros that were seen after the last member.
    zeros: u64,
}

impl<'a> Members<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Members { source, end: 0, next: 0, passed: HashMap::new(), scanned: 0, zeros: 0 }
    }

    /// Opens the first member, for the source to be read as `toc.dat`.
    pub(super) fn table_of_contents(&mut self) -> Result<()> {
        match self.open_next()? {
            Some(name) if name == b"toc.dat" => Ok(()),
            _ => Err(self.source.damaged("it does not begin with toc.dat")),
        }
    }

    /// Opens the member after this one; `None` at the end.
    fn open_next(&mut self) -> Result<Option<Vec<u8>>> {
        self.source.limit(None);
        let rest = self.next - self.source.at();
        self.source.skip(rest)?;
        let mut head = Vec::with_capacity(BLOCK);
        loop {
            if self.source.peek()?.is_empty() {
                return Ok(None);
            }
            head.clear();
            self.source.exactly(BLOCK as u64, &mut |bytes| {
                head.extend_from_slice(bytes);
                Ok(())
            })?;
            if head.iter().any(|byte| *byte != 0) {
                break;
            }
            self.zeros += BLOCK as u64;
        }
        if self.zeros > 0 {
            return Err(self.source.damaged("other bytes follow its end"));
        }
        // the checksum's own eight bytes count as spaces
        let sum: u64 = head.iter().map(|byte| u64::from(*byte)).sum();
        let own: u64 = head[148..156].iter().map(|byte| u64::from(*byte)).sum();
        if number(&head[148..156]) != Some(sum - own + 8 * 32) {
            return Err(self.source.damaged("the checksum of a tar head is wrong"));
        }
        let Some(size) = number(&head[124..136]) else {
            return Err(self.source.damaged("the size in a tar head is no number"));
        };
        self.end = self.source.at().saturating_add(size);
        self.next = self.end.saturating_add(size.wrapping_neg() % BLOCK as u64);
        self.source.limit(Some(size));
        let name = head[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Some(name.to_vec()))
    }

    /// Goes behind the table of contents, which must fill its member.
    pub(super) fn leave(&mut self) -> Result<()> {
        self.source.end()?;
        self.scanned = self.next;
        Ok(())
    }

    pub(super) fn of(&mut self, header: &Header, entry: &Entry, give: &mut Give<'_>) -> Result<()> {
        if entry.desc == b"BLOBS" {
            return self.large_objects(header, entry, give);
        }
        let Place::File(name) = &entry.offset else {
            return Err(self.source.damaged(format!("entry {} names no member", entry.dump_id)));
        };
        self.find(name)?;
        self.bytes(give)
    }

    fn find(&mut self, name: &[u8]) -> Result<()> {
        if self.source.seeks() {
            self.next = self.passed.get(name).copied().unwrap_or(self.scanned);
            self.source.limit(None);
            self.source.seek(self.next)?;
        }
        loop {
            let head = self.next;
            match self.open_next()? {
                Some(found) if found == name => break,
                Some(found) => _ = self.passed.insert(found, head),
                None => return Err(self.missing(name)),
            }
            self.scanned = self.scanned.max(self.next);
        }
        self.scanned = self.scanned.max(self.next);
        Ok(())
    }

    fn missing(&self, name: &[u8]) -> crate::exit::Error {
        let text = String::from_utf8_lossy(name);
        if self.passed.contains_key(name) {
            let error = self.source.damaged(format!("member '{text}' is not in order"));
            return error.hint("Give it as a file, not through a pipe.");
        }
        self.source.damaged(format!("member '{text}' is missing"))
    }

    /// Gives the opened member.
    fn bytes(&mut self, give: &mut Give<'_>) -> Result<()> {
        let outcome = unpack(Packing::None, &mut self.source, &mut |bytes| give(Piece::Bytes(bytes)));
        outcome.map_err(|fault| fault.told(self.source.name(), |why| self.source.damaged(why)))?;
        if self.source.at() == self.end { Ok(()) } else { Err(self.source.damaged("it is cut short")) }
    }

    /// `blob_OID.dat` up to their list, `blobs.toc` or, since 1.16, `blobs_ID.toc`: several groups,
    /// each with its first OID in the tag.
    fn large_objects(&mut self, header: &Header, entry: &Entry, give: &mut Give<'_>) -> Result<()> {
        let mut name = if header.since(16) {
            let digits = entry.tag.iter().take_while(|byte| byte.is_ascii_digit());
            let first = [b"blob_", digits.copied().collect::<Vec<u8>>().as_slice(), b".dat"].concat();
            self.find(&first)?;
            first
        } else {
            self.first_object()?
        };
        loop {
            if name.starts_with(b"blobs") {
                // the list holds no more than the names that were just read
                return Ok(());
            }
            let digits = name.strip_prefix(b"blob_").and_then(|rest| rest.strip_suffix(b".dat"));
            let oid = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            let Some(oid) = oid.filter(|oid| *oid != 0) else {
                let text = format!("'{}' among large objects", String::from_utf8_lossy(&name));
                return Err(self.source.damaged(text));
            };
            give(Piece::Object(oid))?;
            self.bytes(give)?;
            give(Piece::ObjectEnd)?;
            match self.open_next()? {
                Some(next) => name = next,
                None => return Err(self.source.damaged("the list of large objects is missing")),
            }
            self.scanned = self.scanned.max(self.next);
        }
    }

    /// Before 1.16 there is one group, and it is sought by its names.
    fn first_object(&mut self) -> Result<Vec<u8>> {
        if self.source.seeks() {
            self.next = self.scanned;
            self.source.limit(None);
            self.source.seek(self.next)?;
        }
        loop {
            let head = self.next;
            let Some(found) = self.open_next()? else {
                return Err(self.source.damaged("the list of large objects is missing"));
            };
            self.scanned = self.scanned.max(self.next);
            if found.starts_with(b"blob") {
                return Ok(found);
            }
            self.passed.insert(found, head);
        }
    }

    pub(super) fn finish(&mut self, header: &Header) -> Result<()> {
        if self.source.seeks() {
            self.next = self.scanned;
            self.source.limit(None);
            self.source.seek(self.next)?;
        }
        while self.open_next()?.is_some() {}
        // pg_dump of old wrote one block only
        let expected = if header.since(13) { 2 } else { 1 };
        if self.zeros < expected * BLOCK as u64 {
            return Err(self.source.damaged("it is cut short"));
        }
        Ok(())
    }
}

/// `read_tar_number`: octal digits, or since 9.6 base 256 when the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let high_is_clear = high.iter().enumerate().all(|(i, byte)| *byte == if i == 0 { 0x80 } else { 0 });
        let value = low.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        return (high_is_clear && i64::try_from(value).is_ok()).then_some(value);
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}
