//! Feeding a dump to psql, without the statements that are known to be wrong here.
//!
//! A cluster dump creates roles and tablespaces that are there already, and with `--clean` drops
//! the role we are and databases we have dropped: these statements are left out. No error of the
//! others is ignored.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

use kit::child::{Child, interrupted};
use kit::codec::read::Seen;
use kit::dump::lex::{Event, Lexer};
use kit::dump::scan::text_of;
use kit::dump::statement::{Statement, classify};
use kit::exit::{Error, Result};
use kit::guard::marked;
use kit::pg::{Server, UNHINDERED, literal_dbname};
use kit::progress::Progress;
use kit::source::Dump;

use crate::check::{Checked, sql};
use crate::plan::Plan;

/// How much of a statement is held back until it is clear what it is.
const HEAD: usize = 4096;

/// Restores: every statement of the dump goes to one psql, which stops at the first error.
pub(crate) fn feed(
    plan: &Plan,
    chosen: &Dump,
    checked: &Checked,
    server: &Server,
    quiet: bool,
) -> Result<()> {
    let single = checked.facts.databases.iter().all(|s| s.name.is_empty());
    let entrance =
        if single { plan.targets.first().map_or(&plan.entrance, |t| &t.name) } else { &plan.entrance };
    let mut command = server.psql(&literal_dbname(entrance)).command();
    let mut child = Child::spawn(&mut command, "psql", Stdio::piped(), Stdio::null())?;
    let stdin = child.stdin().ok_or_else(|| Error::no("cannot write to psql"))?;
    let mut filter = Filter {
        out: std::io::BufWriter::with_capacity(64 << 10, stdin),
        plan,
        key: if server.psql_knows_restrict()? { Some(key()?) } else { None },
        head: Vec::new(),
        deciding: true,
        dropping: false,
        only_drops: true,
        line: Vec::new(),
        failed: None,
    };
    filter.begin();
    let progress = Progress::start("restoring", Some(checked.facts.bytes), quiet);
    let mut lexer = Lexer::default();
    let fed = sql(chosen, |bytes| {
        progress.advance(bytes.len() as u64);
        lexer.feed(bytes, &mut |event| filter.event(event));
        filter.failed.take().map_or(Ok(()), |e| Err(Error::io("write to", "psql", &e)))
    });
    let fed = fed
        .and_then(|seen| unchanged(&seen, checked))
        .and_then(|()| filter.out.flush().map_err(|e| Error::io("write to", "psql", &e)));
    drop(filter);
    drop(progress);
    interrupted()?;
    // psql's own complaint says more than the broken pipe that followed from it
    let ended = child.wait()?;
    if !ended.ok() {
        return Err(ended.error().within(format!("cannot restore '{}'", chosen.name)));
    }
    fed
}

/// A key that nobody who wrote the dump can know. psql runs no meta-command until it is told the key
/// again, so that even where a dump makes it read strings in another way than we do (by
/// `standard_conforming_strings` or an encoding, hidden in a function) nothing but SQL is run.
fn key() -> Result<String> {
    let mut bytes = [0; 16];
    let fail = |e| Error::io("read", "/dev/urandom", &e);
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).map_err(fail)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// What was fed must be what was checked.
fn unchanged(seen: &Seen, checked: &Checked) -> Result<()> {
    if seen.sha256 == checked.sha256 {
        return Ok(());
    }
    Err(Error::no("the dump was changed by somebody while it was being restored"))
}

/// Hands on what the lexer finds, without what is to be left out.
struct Filter<'a, W: Write> {
    out: W,
    plan: &'a Plan,
    /// The key of `\restrict`, where psql knows that.
    key: Option<String>,
    /// The beginning of the present statement, until it is clear what it is.
    head: Vec<u8>,
    deciding: bool,
    dropping: bool,
    /// Nothing was made in this database yet: what `--clean` drops cannot be there.
    only_drops: bool,
    line: Vec<u8>,
    failed: Option<std::io::Error>,
}

impl<W: Write> Filter<'_, W> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Sql { bytes, .. } if self.deciding => {
                self.head.extend_from_slice(bytes);
                if self.head.len() >= HEAD {
                    self.decide();
                }
            }
            Event::Sql { .. } if self.dropping => {}
            Event::Sql { bytes, .. } | Event::Data { bytes, .. } => self.write(bytes),
            Event::SqlEnd { .. } => {
                if self.deciding {
                    self.decide();
                }
                if !self.dropping {
                    self.write(b"\n");
                }
                self.deciding = true;
            }
            Event::Meta { bytes, .. } => self.line.extend_from_slice(bytes),
            Event::MetaEnd { .. } => self.meta(),
            Event::DataEnd { crlf, .. } => self.write(if crlf { b"\\.\r\n" } else { b"\\.\n" }),
            Event::Comment { .. } | Event::CommentEnd | Event::DataBegin { .. } => {}
        }
    }

    fn decide(&mut self) {
        let head = std::mem::take(&mut self.head);
        self.dropping = self.leaves_out(&classify(&head));
        self.deciding = false;
        if !self.dropping {
            self.write(&head);
        }
    }

    fn leaves_out(&mut self, statement: &Statement) -> bool {
        match statement {
            Statement::CreateRole(name) => self.plan.roles.contains(&text_of(name)),
            Statement::CreateTablespace(name) => self.plan.tablespaces.contains(&text_of(name)),
            Statement::DropRole(_) | Statement::DropDatabase(_) | Statement::DropTablespace(_) => true,
            // we have made it ourselves
            Statement::CreateDatabase(name) => {
                self.plan.targets.iter().any(|t| t.name == text_of(name) && !t.by_dump)
            }
            Statement::Drop => self.only_drops,
            Statement::Session | Statement::SearchPath(_) | Statement::OnDatabase | Statement::DropPublic => {
                false
            }
            _ => {
                self.only_drops = false;
                false
            }
        }
    }

    /// A session begins: no meta-command from here on, and read-only by default no more.
    fn begin(&mut self) {
        if let Some(key) = &self.key {
            let restrict = format!("\\restrict {key}\n");
            self.write(restrict.as_bytes());
        }
        self.write(UNHINDERED.as_bytes());
        self.write(marked().as_bytes());
        self.write(b"\n");
    }

    fn meta(&mut self) {
        let line = std::mem::take(&mut self.line);
        let connect = line.starts_with(b"\\c");
        // the dump's own keys are known to whoever made it
        if !connect && !line.starts_with(b"\\encoding") {
            return;
        }
        if let Some(key) = &self.key {
            let unrestrict = format!("\\unrestrict {key}\n");
            self.write(unrestrict.as_bytes());
        }
        self.write(&line);
        self.write(b"\n");
        self.only_drops |= connect;
        self.begin();
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.out.write_all(bytes).err();
        }
    }
}
