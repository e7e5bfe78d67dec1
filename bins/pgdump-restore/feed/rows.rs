//! Rows: to the crew, in pieces or as stretches that it reads by itself, or to the main session.

use std::ops::Range;

use kit::exit::Result;

use super::Feeder;
use super::load::table_of;
use super::share::Load;

/// How many bytes of rows a worker gets at a time.
const PIECE: usize = 512 << 10;

impl Feeder<'_> {
    /// Has the rows loaded that belong to the present COPY statement.
    pub(super) fn rows_of_table(&mut self, rows: &[Range<u64>]) -> Result<()> {
        match (&self.copy, &self.loader) {
            _ if self.router.leaves_rows_out() => {}
            (Some(copy), _) => {
                let table = table_of(copy);
                self.loads.push(Load { table, copy: copy.clone(), truncate: None, rows: rows.to_vec() });
            }
            (None, Some(loader)) => loader.rows(rows, &mut |bytes| self.main.write(bytes))?,
            (None, None) => {}
        }
        Ok(())
    }

    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if self.router.leaves_rows_out() {
            return Ok(());
        }
        if self.copy.is_none() {
            return self.main.write(bytes);
        }
        self.rows.extend_from_slice(bytes);
        if self.rows.len() >= PIECE { self.deal(false) } else { Ok(()) }
    }

    /// Gives the crew the rows that are at hand, as far as they are whole; all of a row that is longer
    /// than a piece goes to the same worker.
    fn deal(&mut self, all: bool) -> Result<()> {
        let (Some(copy), Some(crew)) = (&self.copy, &mut self.crew) else { return Ok(()) };
        if crew.is_within_row() {
            let end = memchr::memchr(b'\n', &self.rows).map_or(self.rows.len(), |i| i + 1);
            let rest = self.rows.split_off(end);
            crew.rows(copy, std::mem::replace(&mut self.rows, rest))?;
        }
        let end = memchr::memrchr(b'\n', &self.rows).map_or(0, |i| i + 1);
        let long = end == 0 && self.rows.len() >= PIECE;
        let end = if all || long { self.rows.len() } else { end };
        if end > 0 {
            let rest = self.rows.split_off(end);
            crew.rows(copy, std::mem::replace(&mut self.rows, rest))?;
        }
        Ok(())
    }

    pub(super) fn end_data(&mut self, crlf: bool) -> Result<()> {
        if self.router.leaves_rows_out() {
            return Ok(());
        }
        if self.copy.is_none() {
            return self.main.write(if crlf { b"\\.\r\n" } else { b"\\.\n" });
        }
        self.deal(true)?;
        self.copy = None;
        Ok(())
    }
}
