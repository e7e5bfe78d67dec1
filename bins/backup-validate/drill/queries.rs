//! The user's own questions to what was restored.

use std::path::Path;

use kit::dump::lex::{End, Event, Lexer};
use kit::exit::{Code, Error, Result};
use kit::out;
use kit::pg::Server;
use kit::place::open_regular;

use crate::cli::Query;
use crate::verdict::Verdict;

/// What stands between a query and its answer in a file; psql takes it for a comment.
const MARK: &str = "-- expect ";

/// Reads a file of queries, one a line; empty lines and comments alone are passed over.
pub(super) fn read(path: &Path) -> Result<Vec<Query>> {
    let text = open_regular(path).and_then(std::io::read_to_string);
    let queries = parse(&text.map_err(|e| Error::io("read", path.display(), &e))?);
    match queries.iter().find_map(|query| single(&query.sql).err()) {
        Some(why) => Err(Error::usage(format!("--queries: in '{}' {why}", path.display()))),
        None => Ok(queries),
    }
}

/// Holds a query to be one statement of SQL: a second one could leave the transaction that may not write,
/// and a command of psql runs here. `Err`: why it is none.
pub(crate) fn single(sql: &str) -> std::result::Result<(), String> {
    let (mut lexer, mut statements, mut within, mut of_psql) = (Lexer::default(), 0, false, false);
    let text = format!("{sql}\n;");
    let mut look = |event: Event<'_>| match event {
        Event::Sql { bytes, .. } => {
            statements += usize::from(!within && bytes != b";");
            within = true;
        }
        Event::SqlEnd { .. } => within = false,
        Event::Meta { .. } => of_psql = true,
        _ => {}
    };
    lexer.feed(text.as_bytes(), &mut look);
    let end = lexer.finish(&mut look);
    let why = match statements {
        _ if of_psql => "holds a command of psql",
        0 => "is empty",
        1 if end == End::InStatement => "does not end",
        1 => return Ok(()),
        _ => "is more than one statement",
    };
    Err(format!("'{}' {why}", out::plain(sql)))
}

fn parse(text: &str) -> Vec<Query> {
    let is_query = |line: &&str| !line.is_empty() && !line.starts_with("--");
    let query = |line: &str| match line.rsplit_once(MARK) {
        Some((sql, answer)) => Query { sql: sql.trim().into(), answer: Some(answer.trim().into()) },
        None => Query { sql: line.into(), answer: None },
    };
    text.lines().map(str::trim).filter(is_query).map(query).collect()
}

/// Puts a question; another answer than the expected one speaks against the backup.
pub(super) fn ask(server: &Server, database: &str, query: &Query, verdict: &mut Verdict) -> Result<()> {
    let sql = query.sql.trim_end_matches([';', ' ']);
    // what it changes is nobody's, but what follows shall see what was restored
    let rows = match server.ask(database, sql) {
        Err(error) if error.code() == Code::No => {
            verdict.bad(format!("drill: query '{sql}': {error}"));
            return Ok(());
        }
        other => other?,
    };
    let answer = rows.iter().map(|row| row.join("|")).collect::<Vec<_>>().join("\n");
    match &query.answer {
        Some(expected) if *expected != answer => {
            let (answer, expected) = (out::plain(&answer), out::plain(expected));
            verdict.bad(format!("drill: query '{sql}' answers '{answer}', not '{expected}'"));
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_one_statement_of_sql() {
        let why =
            |sql| single(sql).err().unwrap_or_default().split("' ").last().unwrap_or_default().to_owned();
        for sql in
            ["SELECT 1", " SELECT 1; ", "SELECT ';\\! x' -- ; \\!", "SELECT $$;$$;;", "-- a\nSELECT 1;"]
        {
            assert_eq!(why(sql), "", "{sql}");
        }
        for sql in ["", " ; ", "-- a", "/* a */"] {
            assert_eq!(why(sql), "is empty", "{sql}");
        }
        for sql in ["COMMIT; DELETE FROM t", "SELECT 'a\\'; COMMIT; DELETE FROM t"] {
            assert_eq!(why(sql), "is more than one statement", "{sql}");
        }
        for sql in ["\\! touch x", "SELECT 1 \\g x", "SELECT 1;\n\\! x"] {
            assert_eq!(why(sql), "holds a command of psql", "{sql}");
        }
        assert_eq!(why("SELECT 'a"), "does not end");
    }

    #[test]
    fn a_file_holds_a_query_a_line() {
        let text = "-- ours\n\nSELECT 1;  -- expect 1\nSELECT '-- expect x' -- expect a|b\n  SELECT 2\n";
        let found = parse(text);
        let query =
            |sql: &str, answer: Option<&str>| Query { sql: sql.into(), answer: answer.map(str::to_owned) };
        assert_eq!(
            found,
            [
                query("SELECT 1;", Some("1")),
                query("SELECT '-- expect x'", Some("a|b")),
                query("SELECT 2", None)
            ]
        );
    }
}
