//! The user's own questions to what was restored.

use std::path::Path;

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
    Ok(parse(&text.map_err(|e| Error::io("read", path.display(), &e))?))
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
    let asked = server.query(database, &format!("BEGIN READ ONLY;\n{sql}\n;\nROLLBACK;"));
    let rows = match asked {
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
