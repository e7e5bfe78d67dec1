//! Statements and rows of a few tables, on their way into a session.

use std::io::Read;

use kit::buffer::Buffer;
use kit::child::{Source, interrupted};
use kit::digest::{Depth, Rows};
use kit::dump::columns::Columns;
use kit::dump::lex::{Event, Lexer};
use kit::dump::names;
use kit::dump::needs;
use kit::dump::object::describe;
use kit::dump::scan::display;
use kit::dump::statement::{Qualified, Statement, classify};
use kit::exit::{Error, Result};

use crate::cli::Table;
use crate::session::Session;
use crate::tables::There;
use crate::tables::sql::count;

/// How much of a statement is held; a longer one passes through as it comes.
const LONGEST: usize = 1 << 20;

/// Rows that were loaded.
pub(crate) struct Load {
    /// The table, quoted, in the encoding of the dump.
    pub(crate) table: Vec<u8>,
    pub(crate) rows: u64,
}

/// Hands all of `output` to the session, in the way that is asked for.
pub(crate) fn stream(
    mut output: Source,
    session: &mut Session,
    how: &Table,
    present: &[There],
    loads: &mut Vec<Load>,
) -> Result<()> {
    let mut stream = Stream {
        session,
        how,
        present,
        loads,
        at: 0,
        statement: Vec::new(),
        passing: false,
        upsert: None,
        rows: Rows::new(Depth::Count),
    };
    let mut lexer = Lexer::default();
    let mut buffer = Buffer::zeros(256 << 10);
    loop {
        let read = output.read(&mut buffer);
        let n = read
            .map_err(|e| interrupted().err().unwrap_or_else(|| Error::io("read from", "dump-inspect", &e)))?;
        if n == 0 {
            return Ok(());
        }
        let mut outcome = Ok(());
        lexer.feed(&buffer[..n], &mut |event| {
            if outcome.is_ok() {
                outcome = stream.event(event);
            }
        });
        outcome?;
    }
}

struct Stream<'a> {
    session: &'a mut Session,
    how: &'a Table,
    present: &'a [There],
    loads: &'a mut Vec<Load>,
    /// The one that the rows at hand belong to.
    at: usize,
    statement: Vec<u8>,
    /// The statement is longer than what is held: its beginning has been handed on.
    passing: bool,
    /// What brings the rows at hand into their table.
    upsert: Option<Vec<u8>>,
    rows: Rows,
}

impl Stream<'_> {
    fn event(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Sql { bytes, .. } if self.passing => self.session.write(bytes),
            Event::Sql { bytes, .. } => {
                self.statement.extend_from_slice(bytes);
                if self.statement.len() >= LONGEST {
                    self.passing = true;
                    if let Statement::Insert(table) = classify(&self.statement) {
                        self.insert(&table)?;
                    }
                    return self.session.write(&std::mem::take(&mut self.statement));
                }
                Ok(())
            }
            Event::SqlEnd { rows, .. } => {
                let statement = std::mem::take(&mut self.statement);
                if std::mem::take(&mut self.passing) {
                    self.add(rows);
                    return self.session.write(b"\n");
                }
                self.statement(statement, rows)
            }
            Event::Data { bytes, .. } => {
                self.rows.update(bytes);
                self.session.write(bytes)
            }
            Event::DataEnd { .. } => {
                self.session.write(b"\\.\n")?;
                let rows = std::mem::replace(&mut self.rows, Rows::new(Depth::Count));
                self.add(rows.finish().0);
                self.upsert.take().map_or(Ok(()), |sql| self.session.write(&sql))
            }
            // the session takes none
            Event::Meta { .. } | Event::MetaEnd { .. } => Ok(()),
            Event::Comment { .. } | Event::CommentEnd | Event::DataBegin { .. } => Ok(()),
        }
    }

    /// Rows of `table` follow: how many it has before is noted.
    fn begin(&mut self, table: &Qualified) -> Result<()> {
        let name = quoted(table);
        // a name in the encoding of the dump may be another's bytes
        if *self.how == Table::Replace && name.is_ascii() && self.find(&name).is_none() {
            let what = format!("{} is no partition of what is replaced", display(table));
            return Err(Error::refused(what).hint("Name it with -t, too, if it is to be replaced."));
        }
        let known = self.loads.iter().position(|l| l.table == name);
        self.at = known.unwrap_or(self.loads.len());
        if known.is_some() {
            return Ok(());
        }
        let of = [&names::quoted(&name, b'\'')[..], b"::pg_catalog.regclass, "].concat();
        let before = [b"INSERT INTO pg_temp.pgkeep_before SELECT ", &of[..], &count(&name), b";\n"];
        self.session.write(&before.concat())?;
        self.loads.push(Load { table: name, rows: 0 });
        Ok(())
    }

    fn find(&self, name: &[u8]) -> Option<&There> {
        self.present.iter().find(|t| t.sql().as_bytes() == name)
    }

    fn insert(&mut self, table: &Qualified) -> Result<()> {
        if *self.how == Table::Upsert {
            let what = format!("the rows of {} are INSERT statements", display(table));
            return Err(Error::refused(what).hint("Only rows of COPY can be upserted; --replace takes them."));
        }
        self.begin(table)
    }

    fn add(&mut self, rows: u64) {
        if let Some(load) = self.loads.get_mut(self.at) {
            load.rows += rows;
        }
    }

    fn statement(&mut self, mut text: Vec<u8>, rows: u64) -> Result<()> {
        match classify(&text) {
            Statement::Copy(table) => self.copy(&table, &text),
            Statement::Insert(table) => {
                self.insert(&table)?;
                self.add(rows);
                self.session.write(&text)?;
                self.session.write(b"\n")
            }
            _ => {
                self.fits_encoding(&text)?;
                let object = describe(&text);
                if object.kind == "SEQUENCE SET" && !self.present.is_empty() {
                    text = raised(&text, &object.name);
                }
                self.session.write(&text)?;
                self.session.write(b"\n")
            }
        }
    }

    /// A new name is written in UTF-8, which a dump in another encoding does not read so.
    fn fits_encoding(&self, text: &[u8]) -> Result<()> {
        let Table::As(new) = self.how else { return Ok(()) };
        match needs::set(text) {
            Some((name, Some(encoding)))
                if name == b"client_encoding"
                    && !encoding.eq_ignore_ascii_case(b"UTF8")
                    && !new.is_ascii() =>
            {
                let encoding = String::from_utf8_lossy(&encoding).into_owned();
                Err(Error::refused(format!("the dump is in {encoding}, in which '{new}' cannot be told"))
                    .hint("Take a name of ASCII letters, and rename the table afterwards."))
            }
            _ => Ok(()),
        }
    }

    fn copy(&mut self, table: &Qualified, text: &[u8]) -> Result<()> {
        let name = quoted(table);
        self.begin(table)?;
        if *self.how != Table::Upsert {
            self.session.write(text)?;
            return self.session.write(b"\n");
        }
        let Some(there) = self.find(&name) else {
            let error = Error::refused(format!("{} is a partition", display(table)));
            return Err(error.hint("Name each partition with -t, or give --replace."));
        };
        let (into, upsert) = upsert(&name, &Columns::of_copy(text).map_or(Vec::new(), |c| c.names), there);
        self.upsert = Some(upsert);
        self.session.write(&into)
    }
}

/// The table as SQL names it, in the encoding of the dump.
pub(crate) fn quoted(table: &Qualified) -> Vec<u8> {
    let schema = table.schema.as_deref().unwrap_or(b"public");
    [names::quoted(schema, b'"'), names::quoted(&table.name, b'"')].join(&b'.')
}

/// The value of a sequence, unless it is further than that already: numbers that were given away since
/// the dump must not be given again.
fn raised(text: &[u8], sequence: &Qualified) -> Vec<u8> {
    let call = text.strip_suffix(b";").unwrap_or(text);
    let value = text.rsplit(|b| *b == b'\'').next().unwrap_or_default();
    let value: Vec<u8> = value.iter().copied().filter(|b| b.is_ascii_digit() || *b == b'-').collect();
    let name = quoted(sequence);
    let of = names::quoted(&name, b'\'');
    // some count downwards
    let up: &[u8] = b"::pg_catalog.regclass)).increment > 0) FROM ";
    let further =
        [b" > last_value) = ((pg_catalog.pg_sequence_parameters(", of.as_slice(), up, &name].concat();
    [call, b" WHERE (SELECT NOT is_called OR (", &value, &further, b");"].concat()
}

/// What loads rows aside, and what brings them into the table from there.
fn upsert(name: &[u8], columns: &[Vec<u8>], there: &There) -> (Vec<u8>, Vec<u8>) {
    let list = |names: &[Vec<u8>], around: &dyn Fn(&[u8]) -> Vec<u8>| {
        names.iter().map(|n| around(&names::quoted(n, b'"'))).collect::<Vec<_>>().join(&b", "[..])
    };
    let own = |n: &[u8]| n.to_vec();
    let all = list(columns, &own);
    let key: Vec<Vec<u8>> = there.key.iter().map(|k| k.clone().into_bytes()).collect();
    let fixed =
        |c: &&Vec<u8>| !key.contains(c) && !there.numbered.iter().any(|n| n.as_bytes() == c.as_slice());
    let set: Vec<Vec<u8>> = columns.iter().filter(fixed).cloned().collect();
    let set = list(&set, &|n| [n, b" = EXCLUDED.", n].concat());
    let action = if set.is_empty() { b"NOTHING".to_vec() } else { [b"UPDATE SET ", set.as_slice()].concat() };
    let into = [
        &b"CREATE TEMP TABLE pgkeep_rows AS SELECT "[..],
        &all,
        b" FROM ",
        name,
        b" WITH NO DATA;\nCOPY pg_temp.pgkeep_rows (",
        &all,
        b") FROM stdin;\n",
    ];
    let key_list = list(&key, &own);
    let from = [
        &b"INSERT INTO "[..],
        name,
        b" (",
        &all,
        b") OVERRIDING SYSTEM VALUE SELECT ",
        &all,
        b" FROM pg_temp.pgkeep_rows ON CONFLICT (",
        &key_list,
        b") DO ",
        &action,
        // a trigger may have dropped rows on the way
        b";\nDO $pgkeep$ BEGIN IF (SELECT count(*) FROM pg_temp.pgkeep_rows) <> (SELECT count(*) FROM ",
        name,
        b" JOIN pg_temp.pgkeep_rows USING (",
        &key_list,
        b")) THEN RAISE EXCEPTION 'not all rows have arrived in %', ",
        &names::quoted(name, b'\''),
        b"; END IF; END $pgkeep$;\nDROP TABLE pg_temp.pgkeep_rows;\n",
    ];
    (into.concat(), from.concat())
}
