//! Rows of a restored table that its dump writes in another way than the dump it came from: with its columns
//! in another order, as where a parent table had one added after the child was made, or from its partitions
//! instead of its root (`--load-via-partition-root`).

use std::io::Read;
use std::process::Stdio;

use kit::buffer::Buffer;
use kit::child::{Child, interrupted};
use kit::digest::{Depth, Rows};
use kit::dump::names::quoted as quoted_name;
use kit::dump::statement::{Name, Qualified};
use kit::exit::{Error, Result};
use kit::pg::{Server, UNHINDERED, literal, literal_dbname};

use crate::tables::stream::quoted;

/// What pg_dump sets of what changes how values are written (`setup_connection` of its pg_dump.c).
const AS_DUMPED: &str = "SET datestyle = ISO;\nSET intervalstyle = postgres;\nSET extra_float_digits = 3;\n\
    SET row_security = off;\nSET search_path = '';\n";

/// Number and hash of the rows of `table`, with `columns` in this order, in `encoding`. `whole`: those of its
/// partitions are among them.
pub(super) fn rows(
    server: &Server,
    database: &str,
    encoding: &str,
    table: &Qualified,
    columns: &[Name],
    whole: bool,
) -> Result<(u64, Option<u128>)> {
    let names: Vec<Vec<u8>> = columns.iter().map(|name| quoted_name(name, b'"')).collect();
    let only: &[u8] = if whole { b"" } else { b"ONLY " };
    let copy =
        [b"COPY (SELECT ", &*names.join(&b", "[..]), b" FROM ", only, &quoted(table), b") TO STDOUT;\n"];
    let settings = format!("SET client_encoding = {};\n{UNHINDERED}\n{AS_DUMPED}", literal(encoding));
    let sql = [settings.as_bytes(), &copy.concat()].concat();
    let mut command = server.psql(&literal_dbname(database)).command();
    let mut child = Child::spawn(&mut command, "psql", Stdio::piped(), Stdio::piped())?;
    let (stdin, stdout) = (child.stdin(), child.stdout());
    let mut output = stdout.ok_or_else(|| Error::no("cannot read from psql"))?;
    if let Some(mut stdin) = stdin {
        // it fits into the pipe; a psql that does not read it tells why by its status
        let _ = std::io::Write::write_all(&mut stdin, &sql);
    }
    let (mut rows, mut buffer) = (Rows::new(Depth::Hash), Buffer::zeros(256 << 10));
    loop {
        let read = output.read(&mut buffer);
        let n =
            read.map_err(|e| interrupted().err().unwrap_or_else(|| Error::io("read from", "psql", &e)))?;
        if n == 0 {
            break;
        }
        rows.update(&buffer[..n]);
    }
    let ended = child.wait()?;
    if !ended.ok() {
        return Err(ended.error().within(format!("cannot read the rows of '{database}' to compare them")));
    }
    Ok(rows.finish())
}
