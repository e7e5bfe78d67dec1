//! An archive as SQL: by us, and by the pg_restore that is installed.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use kit::archive::{Archive, Input};
use kit::exit::Result;

use crate::lab::bin;

/// The newest format that pg_restore of PostgreSQL 15, the oldest we test with, reads.
pub(crate) const KNOWN_TO_15: u8 = 14;

/// All SQL of an archive.
pub(crate) fn sql(input: Input<'_>) -> Result<Vec<u8>> {
    let mut sql = Vec::new();
    Archive::open(input, "sample")?.sql(&mut |piece| {
        assert!(!piece.is_empty() && piece.len() <= 1 << 20, "a piece of {} bytes", piece.len());
        sql.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(sql)
}

/// The archive's SQL, read in every way that its kind allows, which must not differ.
pub(crate) fn by_us(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        return sql(Input::Directory(path));
    }
    let file = sql(Input::File(&File::open(path).unwrap()))?;
    let stream = sql(Input::Stream(&mut Dribble(File::open(path).unwrap(), 0)))?;
    same(&stream, &file);
    Ok(file)
}

/// A reader that gives bytes in portions of odd sizes.
pub(crate) struct Dribble<R>(pub(crate) R, pub(crate) usize);

impl<R: std::io::Read> std::io::Read for Dribble<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = (self.1 * 31 + 7) % 70_001;
        let n = buffer.len().min(1 + self.1);
        self.0.read(&mut buffer[..n])
    }
}

/// What pg_restore writes, without its `\restrict` and `\unrestrict`; `None` when it fails.
pub(crate) fn by_pg_restore(path: &Path) -> Option<Vec<u8>> {
    let mut command = Command::new(bin("pg_restore"));
    let ran =
        command.args(["-f", "-"]).arg(path).stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
    ran.status.success().then(|| unrestricted(ran.stdout))
}

fn unrestricted(mut sql: Vec<u8>) -> Vec<u8> {
    for (line, last) in [(b"\n\\restrict ".as_slice(), false), (b"\n\\unrestrict ", true)] {
        let found = if last { memchr::memmem::rfind(&sql, line) } else { memchr::memmem::find(&sql, line) };
        let Some(at) = found.map(|at| at + 1) else { continue };
        let end = at + memchr::memmem::find(&sql[at..], b"\n\n").unwrap() + 2;
        sql.drain(at..end);
    }
    sql
}

/// Panics where `ours` and `theirs` part.
#[track_caller]
pub(crate) fn same(ours: &[u8], theirs: &[u8]) {
    if ours != theirs {
        let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        let around = |sql: &[u8]| {
            let end = sql.len().min(at + 200);
            String::from_utf8_lossy(&sql[at.saturating_sub(200).min(end)..end]).into_owned()
        };
        panic!("they part at byte {at}\nours:\n{}\n\ntheirs:\n{}", around(ours), around(theirs));
    }
}
