//! A session that reads the rows it loads by itself, and which tables it may load as new ones.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use kit::codec::seek::Stretches;
use kit::dump::scan::text_of;
use kit::dump::statement::{Qualified, Statement, classify};
use kit::exit::{Error, Result};
use kit::pg::Server;
use kit::progress::Progress;
use memchr::memmem::Finder;

use crate::feed::share::{Load, Share};
use crate::session::Session;
use crate::tables::stream::quoted;

/// Since when COPY knows FREEZE.
const FREEZE: u32 = 90_300;

/// What a session needs to read the dump by itself.
#[derive(Clone)]
pub(crate) struct Loader {
    pub(crate) stretches: Stretches,
    pub(crate) progress: Arc<Progress>,
}

impl Loader {
    /// Loads `share`, and waits until that is done; `wanted`: it is still of use.
    pub(crate) fn load(&self, share: &Share, session: &mut Session, wanted: &dyn Fn() -> bool) -> Result<()> {
        let (begin, end) = match &share.truncate {
            Some(truncate) => {
                let copy = share.copy.strip_suffix(b";").unwrap_or(&share.copy);
                let begin = [b"BEGIN;\n", truncate.as_slice(), b"\n", copy, b" WITH (FREEZE);\n"].concat();
                (begin, &b"\\.\nCOMMIT;\n"[..])
            }
            None => ([share.copy.as_slice(), b"\n"].concat(), &b"\\.\n"[..]),
        };
        session.write(&begin)?;
        self.rows(&share.rows, &mut |bytes| {
            if !wanted() {
                return Err(Error::no("nobody waits for these rows any more"));
            }
            session.write(bytes)
        })?;
        session.write(end)?;
        session.sync()
    }

    /// Hands on rows, each stretch of them from the beginning of one to the end of another.
    pub(crate) fn rows(
        &self,
        stretches: &[Range<u64>],
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut reader = self.stretches.reader();
        for rows in stretches {
            let mut lines = Lines::default();
            reader.read(rows, &mut |bytes| {
                lines.pass(bytes)?;
                self.progress.advance(bytes.len() as u64);
                sink(bytes)
            })?;
            lines.end()?;
        }
        Ok(())
    }
}

/// Looks at what is loaded as rows: the line that ends them for psql must not be among them, or what
/// follows it would be run as SQL that nobody has judged; and the last must have an end.
struct Lines {
    end: Finder<'static>,
    /// The last two bytes so far.
    last: [u8; 2],
}

impl Default for Lines {
    fn default() -> Self {
        Lines { end: Finder::new(b"\n\\."), last: *b"\n\n" }
    }
}

impl Lines {
    fn pass(&mut self, bytes: &[u8]) -> Result<()> {
        let seam: Vec<u8> = self.last.iter().chain(bytes.iter().take(2)).copied().collect();
        if self.end.find(bytes).is_some() || self.end.find(&seam).is_some() {
            return Err(not_rows());
        }
        self.last = match *bytes {
            [.., a, b] => [a, b],
            [b] => [self.last[1], b],
            [] => self.last,
        };
        Ok(())
    }

    fn end(&self) -> Result<()> {
        if self.last[1] == b'\n' { Ok(()) } else { Err(not_rows()) }
    }
}

fn not_rows() -> Error {
    Error::no("the dump's rows are not where its manifest says")
        .hint("'dump-inspect index' makes a manifest anew.")
}

/// What was fed is not what was checked.
pub(crate) fn changed() -> Error {
    Error::no("the dump was changed by somebody while it was being restored")
}

/// Finds out which of `loads` go into tables that are empty and plain. These are truncated in the very
/// transaction that fills them, as `pg_restore --jobs` does: where `wal_level` is minimal they need no
/// log, and their rows are visible to all from the beginning, so that nobody has to look at them again to
/// mark them so. What holds anything, such as an extension's own rows, is never truncated.
pub(crate) fn may_truncate(server: &Server, database: &str, loads: &mut [Load]) -> Result<()> {
    if server.facts().version < FREEZE {
        return Ok(());
    }
    // what a foreign key refers to cannot be truncated, and a trigger might look
    let sql = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind = 'r' AND pg_relation_size(c.oid) = 0 AND has_table_privilege(c.oid, 'TRUNCATE') \
        AND NOT EXISTS (SELECT 1 FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid) \
        AND NOT EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid);";
    let plain: HashSet<Vec<String>> = server.query(database, sql)?.into_iter().collect();
    let names: Vec<Option<Qualified>> = loads.iter().map(|l| name(&l.copy)).collect();
    for (load, name) in loads.iter_mut().zip(&names) {
        let Some(table) = name else { continue };
        // two runs of rows into one table: the second must not undo the first
        let once = names.iter().filter(|n| *n == name).count() == 1;
        let text = |name: &[u8]| String::from_utf8(name.to_vec()).ok();
        let known = table.schema.as_deref().and_then(text).zip(text(&table.name));
        if once && known.is_some_and(|(schema, table)| plain.contains(&vec![schema, table])) {
            load.truncate = Some([b"TRUNCATE ONLY ", quoted(table).as_slice(), b";"].concat());
        }
    }
    Ok(())
}

/// The name of the table that a COPY statement loads, without its schema.
pub(crate) fn table_of(copy: &[u8]) -> Option<String> {
    match classify(copy) {
        Statement::Copy(table) => Some(text_of(&table.name)),
        _ => None,
    }
}

/// The table, where the statement has no options that do not go with ours.
fn name(copy: &[u8]) -> Option<Qualified> {
    let oids = copy.windows(9).any(|w| w.eq_ignore_ascii_case(b"with oids"));
    match classify(copy) {
        Statement::Copy(table) if !oids => Some(table),
        _ => None,
    }
}
