//! What must hold in a database that was restored, beyond its rows and its schema, which the program
//! that restores has compared.

use kit::child::converse;
use kit::exit::{Code, Result};
use kit::pg::Server;

use crate::verdict::Verdict;

/// How many things that are wrong are told one by one.
const TOLD: usize = 5;

/// Indexes that PostgreSQL itself does not trust.
const INDEXES: &str = "SELECT format('index %s is invalid', indexrelid::regclass) FROM pg_index \
    WHERE NOT (indisvalid AND indisready AND indislive) ORDER BY 1;";

/// Constraints that the dump itself says were never held against the rows that were there.
const UNVALIDATED: &str = "SELECT format('constraint %s of %s is NOT VALID', quote_ident(conname), \
    coalesce(nullif(conrelid, 0)::regclass::text, contypid::regtype::text)) \
    FROM pg_constraint WHERE NOT convalidated ORDER BY 1;";

/// Foreign keys and checks are held against all rows once more, by the server itself: it does so for
/// those that count as not validated. All of it is undone. Functions in a check find what they use by the
/// path of the database's sessions, as they do for whoever writes a row; one that fails is a fault of that
/// constraint alone, unless it is the server that fails (classes 53, 57 and 58 of `errcodes.txt`).
const VALIDATE: &str = "BEGIN;
DO $$ BEGIN
  PERFORM pg_catalog.set_config('pgkeep.path', pg_catalog.current_setting('search_path'), true);
END $$;
SET LOCAL search_path = pg_catalog;
SET LOCAL session_replication_role = replica; -- event triggers of the database are not for this
CREATE TEMPORARY TABLE pgkeep_faults (what text) ON COMMIT DROP;
DO $$ DECLARE c record; validate text; BEGIN
  FOR c IN SELECT o.oid, conname, conrelid::regclass AS of FROM pg_constraint o
    JOIN pg_class r ON r.oid = conrelid
    WHERE contype IN ('f', 'c') AND convalidated AND relkind = 'r' ORDER BY conrelid, conname
  LOOP
    BEGIN
      UPDATE pg_constraint SET convalidated = false WHERE oid = c.oid;
      validate := format('ALTER TABLE %s VALIDATE CONSTRAINT %I', c.of, c.conname);
      PERFORM set_config('search_path', current_setting('pgkeep.path'), true);
      EXECUTE validate;
      PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
    EXCEPTION WHEN integrity_constraint_violation THEN
      INSERT INTO pg_temp.pgkeep_faults
        VALUES (format('constraint %I of %s does not hold: %s', c.conname, c.of, SQLERRM));
    WHEN OTHERS THEN
      IF left(SQLSTATE, 2) IN ('53', '57', '58') THEN RAISE; END IF;
      INSERT INTO pg_temp.pgkeep_faults
        VALUES (format('constraint %I of %s cannot be checked: %s', c.conname, c.of, SQLERRM));
    END;
  END LOOP;
END $$;
SELECT what FROM pg_temp.pgkeep_faults;
ROLLBACK;";

/// The databases that can be connected to.
pub(super) fn databases(server: &Server) -> Result<Vec<String>> {
    let sql = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1;";
    Ok(server.query("postgres", sql)?.into_iter().flatten().collect())
}

/// Proves indexes and constraints of a database.
pub(super) fn prove(server: &Server, database: &str, verdict: &mut Verdict) -> Result<()> {
    for (sql, is_fault) in [(INDEXES, true), (VALIDATE, true), (UNVALIDATED, false)] {
        let found: Vec<String> = server.query(database, sql)?.into_iter().flatten().collect();
        let more = found.len().saturating_sub(TOLD);
        for what in found.iter().take(TOLD) {
            let what = format!("drill: database '{database}': {what}");
            if is_fault { verdict.bad(what) } else { verdict.warn(what) }
        }
        if more > 0 {
            verdict.warn(format!("drill: database '{database}': and {more} more"));
        }
    }
    Ok(())
}

/// Has every page of tables and indexes looked at, where PostgreSQL's own program for that is there.
pub(super) fn amcheck(server: &Server, jobs: usize, verdict: &mut Verdict) -> Result<()> {
    let program = "pg_amcheck";
    let available = "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck';";
    let jobs = format!("--jobs={jobs}");
    let words = ["--all", "--install-missing", "--heapallindexed", &jobs];
    let mut command = server.via().run(program).connecting().args(words).command();
    let asked = match server.query("postgres", available)?.is_empty() {
        true => None,
        false => match converse(&mut command, program, "") {
            Err(error) if error.code() == Code::Refused => None,
            asked => Some(asked?).filter(|(ended, _)| ended.ok() || ended.error().code() != Code::Refused),
        },
    };
    let Some((ended, output)) = asked else {
        verdict.note("pg_amcheck is not installed");
        return Ok(());
    };
    let found = String::from_utf8_lossy(&output);
    // corruption goes to its standard output, with status 2
    let mut lines = found.lines();
    match (ended.ok(), lines.next()) {
        (true, None) => {}
        (_, Some(first)) => {
            // what is wrong with it stands in a line of its own
            let why = lines.next().filter(|_| first.ends_with(':')).map_or("", str::trim);
            let first = [first, why].join(" ");
            verdict.bad(format!("drill: pg_amcheck found damage: {}", first.trim_end()));
        }
        (false, None) => verdict.fault(ended.error().within("drill")),
    }
    Ok(())
}
