//! Walks the records of the log, page by page, as PostgreSQL's `xlogreader.c` does: every record's
//! CRC-32C, its link to the one before, and what a recovery can be told to stop at.
//!
//! Memory does not depend on the length of a record. What stands behind a record that switches to
//! the next segment is not looked at; PostgreSQL does not either.

use super::Moment;
use super::header::{Page, SHORT, u16_at, u32_at, u64_at};
use super::name::Lsn;

/// Bytes of a record's own header, `SizeOfXLogRecord`.
const HEADER: usize = 24;
/// So much of a record is kept to look into: its header, and a restore point's 72 bytes behind the
/// headers of its data.
const KEPT: usize = 128;
/// `XLogRecordMaxSize`.
const LONGEST: u32 = 1020 << 20;

// Resource managers and their records (rmgrlist.h, xact.h, pg_control.h, tablespace.h)
const RM_XLOG: u8 = 0;
const RM_XACT: u8 = 1;
const XLOG_SWITCH: u8 = 0x40;
const XLOG_RESTORE_POINT: u8 = 0x70;
const XACT_COMMIT: u8 = 0x00;
const XACT_ABORT: u8 = 0x20;
const XACT_COMMIT_PREPARED: u8 = 0x30;
const XACT_ABORT_PREPARED: u8 = 0x40;
const RM_TBLSPC: u8 = 5;
const XLOG_TBLSPC_CREATE: u8 = 0x00;

/// What a record is to somebody who looks for a moment, or recovers to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A transaction committed.
    Commit {
        /// Its number; 0 where it was prepared first.
        xid: u32,
        /// When.
        at: Moment,
    },
    /// A transaction was given up.
    Abort {
        /// Its number.
        xid: u32,
        /// When.
        at: Moment,
    },
    /// `pg_create_restore_point`.
    RestorePoint {
        /// Its name.
        name: String,
        /// When.
        at: Moment,
    },
    /// A tablespace outside of the data directory was made.
    Tablespace {
        /// Where; of a long path only the beginning.
        path: String,
    },
}

impl What {
    /// When, where the record tells.
    pub fn at(&self) -> Option<Moment> {
        match self {
            What::Commit { at, .. } | What::Abort { at, .. } | What::RestorePoint { at, .. } => Some(*at),
            What::Tablespace { .. } => None,
        }
    }
}

/// A record of note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it begins.
    pub start: Lsn,
    /// Where the next one may begin.
    pub end: Lsn,
    /// What it is.
    pub what: What,
}

/// Why the log cannot be read further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No record follows: the log ends within this segment.
    Ends(String),
    /// Something is not what was written.
    Damaged(String),
}

impl Broken {
    /// What is wrong, and where.
    pub fn cause(self) -> String {
        match self {
            Broken::Ends(cause) | Broken::Damaged(cause) => cause,
        }
    }
}

/// A record of which not all has come.
struct Open {
    start: Lsn,
    total: u32,
    /// Bytes that have come.
    come: u32,
    /// Its beginning.
    kept: Vec<u8>,
    crc: u32,
}

enum State {
    /// The end of a record whose beginning was never seen; how much of it is to come is known from
    /// the page.
    Within,
    Between,
    Open(Open),
    /// Behind a switch: nothing until a segment begins there.
    Until(Lsn),
}

/// The records of consecutive pages.
pub struct Walker {
    segment_bytes: u64,
    state: State,
    /// Where the next page must stand.
    next: Option<Lsn>,
    /// Where the latest whole record began; what the next one must link to.
    previous: Option<Lsn>,
    /// Where the latest whole record ended.
    end: Option<Lsn>,
}

impl Walker {
    /// Begins at the first page that comes, which may begin within a record.
    pub fn new(segment_bytes: u64) -> Self {
        Walker { segment_bytes, state: State::Within, next: None, previous: None, end: None }
    }

    /// Where the latest whole record ended.
    pub fn end(&self) -> Option<Lsn> {
        self.end
    }

    /// Takes the next page, whole, and hands on what is of note.
    ///
    /// # Errors
    /// What is wrong, and where. Nothing behind it can be replayed.
    pub fn page(&mut self, page: &[u8], on: &mut impl FnMut(Event)) -> Result<(), Broken> {
        if let (State::Until(end), Some(next)) = (&self.state, self.next)
            && next < *end
        {
            self.next = Some(Lsn(next.0 + page.len() as u64));
            return Ok(());
        }
        let header = Page::parse(page).map_err(|e| self.wrong(&e))?;
        if self.next.is_some_and(|next| next != header.address) {
            return Err(self.wrong(&format!("the page says that it stands at {}", header.address)));
        }
        let base = header.address;
        self.next = Some(Lsn(base.0 + page.len() as u64));
        let mut at = header.length();
        match &self.state {
            State::Within if header.continues => {
                let end = at + header.remaining as usize;
                if end >= page.len() {
                    // the next page tells how much is left
                    return Ok(());
                }
                at = aligned(end);
                self.state = State::Between;
            }
            State::Open(open) => {
                if header.gives_up {
                    self.state = State::Between;
                } else if !header.continues || header.remaining != open.total - open.come {
                    return Err(self.wrong("a record does not go on where it should"));
                }
            }
            _ if header.continues => return Err(self.wrong("a record goes on that did not begin")),
            _ => self.state = State::Between,
        }
        self.records(page, base, at, on)
    }

    fn records(
        &mut self,
        page: &[u8],
        base: Lsn,
        mut at: usize,
        on: &mut impl FnMut(Event),
    ) -> Result<(), Broken> {
        loop {
            let mut open = match std::mem::replace(&mut self.state, State::Between) {
                State::Open(open) => open,
                _ if at + 4 > page.len() => return Ok(()),
                _ => {
                    let start = Lsn(base.0 + at as u64);
                    let total = u32_at(page, at).unwrap_or_default();
                    if total == 0 {
                        return Err(Broken::Ends(self.beyond("there is no record")));
                    }
                    if (total as usize) < HEADER || total > LONGEST {
                        return Err(self.wrong("there is no record"));
                    }
                    Open { start, total, come: 0, kept: Vec::with_capacity(KEPT), crc: 0 }
                }
            };
            let bytes = &page[at..page.len().min(at + (open.total - open.come) as usize)];
            open.take(bytes);
            if open.come < open.total {
                self.state = State::Open(open);
                return Ok(());
            }
            at = aligned(at + bytes.len());
            let end = Lsn(base.0 + at as u64);
            self.close(&open, end, on)?;
            if matches!(self.state, State::Until(_)) {
                return Ok(());
            }
        }
    }

    /// A record is whole.
    fn close(&mut self, open: &Open, end: Lsn, on: &mut impl FnMut(Event)) -> Result<(), Broken> {
        let head = &open.kept;
        let crc = crc32c::crc32c_append(open.crc, &head[..20]);
        if Some(crc) != u32_at(head, 20) {
            return Err(Broken::Damaged(format!("the record at {} has a wrong checksum", open.start)));
        }
        let previous = u64_at(head, 8).map(Lsn);
        if self.previous.is_some() && self.previous != previous {
            return Err(Broken::Damaged(format!(
                "the record at {} does not follow the one before it",
                open.start
            )));
        }
        self.previous = Some(open.start);
        self.end = Some(end);
        let (kind, manager) = (head[16] & 0xf0, head[17]);
        if (manager, kind) == (RM_XLOG, XLOG_SWITCH) {
            let segment = self.segment_bytes;
            let end = Lsn((open.start.0 / segment + 1) * segment);
            self.state = State::Until(end);
            self.end = Some(end);
        }
        if let Some(what) = what(manager, kind, head) {
            on(Event { start: open.start, end, what });
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> Broken {
        Broken::Damaged(self.beyond(what))
    }

    fn beyond(&self, what: &str) -> String {
        let at = self.end.or(self.next).unwrap_or_default();
        format!("the log cannot be read beyond {at}: {what}")
    }
}

impl Open {
    fn take(&mut self, bytes: &[u8]) {
        let header_to_come = HEADER.saturating_sub(self.come as usize).min(bytes.len());
        // the checksum is of what follows the header, then of the header up to itself
        self.crc = crc32c::crc32c_append(self.crc, &bytes[header_to_come..]);
        let room = KEPT - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.come += bytes.len() as u32;
    }
}

/// Records begin at multiples of eight (`MAXALIGN`).
fn aligned(at: usize) -> usize {
    at.next_multiple_of(8)
}

fn what(manager: u8, kind: u8, record: &[u8]) -> Option<What> {
    let xid = u32_at(record, 4)?;
    let data = || main_data(&record[HEADER..]);
    let at = |data: &[u8]| u64_at(data, 0).map(|t| Moment::of_postgres(t as i64));
    match (manager, kind & 0x70) {
        (RM_XACT, XACT_COMMIT | XACT_COMMIT_PREPARED) => Some(What::Commit { xid, at: at(data()?)? }),
        (RM_XACT, XACT_ABORT | XACT_ABORT_PREPARED) => Some(What::Abort { xid, at: at(data()?)? }),
        (RM_XLOG, _) if kind == XLOG_RESTORE_POINT => {
            let data = data()?;
            let name = data.get(8..72)?.split(|b| *b == 0).next()?;
            Some(What::RestorePoint { name: String::from_utf8_lossy(name).into_owned(), at: at(data)? })
        }
        (RM_TBLSPC, _) if kind == XLOG_TBLSPC_CREATE => {
            // behind its object identifier
            let path = data()?.get(4..)?.split(|b| *b == 0).next()?;
            let path = String::from_utf8_lossy(path).into_owned();
            (!path.is_empty()).then_some(What::Tablespace { path })
        }
        _ => None,
    }
}

/// What a record without pages of a table carries, behind the headers that tell of it
/// (`xlogrecord.h`).
fn main_data(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match *rest.first()? {
            255 => return rest.get(2..),
            254 => return rest.get(5..),
            // the origin of a replicated transaction
            253 if u16_at(rest, 1).is_some() => rest = rest.get(3..)?,
            // the transaction that this one is a part of
            252 => rest = rest.get(5..)?,
            _ => return None,
        }
    }
}

const _: () = assert!(SHORT.is_multiple_of(8) && KEPT >= HEADER + 5 + 72);
