//! A database that is emptied and filled in one transaction: it stays the same database, and its
//! sessions stay.
//!
//! For servers where nobody may create or rename databases. Others see the old rows until the end, or
//! wait where they would change what is being replaced.

use kit::exit::Result;
use kit::out::Speech;
use kit::pg::{Server, identifier};

use crate::check::Table;
use crate::prove::tell_proof;
use crate::session::Session;
use crate::swap::AS_IT_WAS;
use crate::tables::sql::proof;
use crate::tables::stream::quoted;

/// Begins the transaction and takes away all that a user has made in the database.
pub(crate) fn begin(session: &mut Session, server: &Server, database: &str) -> Result<()> {
    // a dump sets the limit to none again
    session.write(b"SET search_path = pg_catalog;\nSET client_min_messages = warning;\nSET lock_timeout = '10s';\nBEGIN;\n")?;
    session.write(EMPTY.as_bytes())?;
    session.write(public(server, database)?.as_bytes())
}

/// A database that is filled and not committed yet.
pub(crate) struct Filled {
    session: Session,
    tables: usize,
    rows: u64,
}

impl Filled {
    /// Counts the rows of all tables: it fails unless they are as many as in the dump.
    pub(crate) fn count(mut session: Session, tables: &[Table]) -> Result<Self> {
        for table in tables {
            session.write(&proof(&quoted(&table.table), table.rows, b"0"))?;
        }
        session.sync()?;
        Ok(Filled { session, tables: tables.len(), rows: tables.iter().map(|t| t.rows).sum() })
    }

    /// Commits it.
    pub(crate) fn commit(self, server: &Server, speech: &Speech) -> Result<()> {
        self.session.commit(server, AS_IT_WAS)?;
        // they were counted before; since then others may have written
        tell_proof(self.tables, self.rows, None, speech);
        Ok(())
    }
}

/// What stands in no schema first, then extensions with what they made, then schemas with all in them. What
/// an extension or a type has made by itself (the cast of a range to its multirange) goes with that, and may
/// not go alone.
const EMPTY: &str = "DO $pgkeep$
DECLARE it record;
BEGIN
    FOR it IN WITH owned AS (SELECT classid, objid FROM pg_depend WHERE deptype IN ('e', 'i'))
        SELECT format('DROP EVENT TRIGGER %I', evtname) AS sql FROM pg_event_trigger t
            WHERE NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_event_trigger'::regclass AND objid = t.oid)
        UNION ALL SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication
        UNION ALL SELECT format('DROP CAST (%s AS %s)', castsource::regtype, casttarget::regtype)
            FROM pg_cast c WHERE oid >= 16384 AND NOT EXISTS
                (SELECT FROM owned WHERE classid = 'pg_cast'::regclass AND objid = c.oid)
        UNION ALL SELECT format('DROP EXTENSION IF EXISTS %I CASCADE', extname) FROM pg_extension WHERE extname <> 'plpgsql'
        UNION ALL SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) FROM pg_namespace
            WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
        UNION ALL SELECT format('DROP FOREIGN DATA WRAPPER IF EXISTS %I CASCADE', fdwname) FROM pg_foreign_data_wrapper
        UNION ALL SELECT format('DROP LANGUAGE IF EXISTS %I CASCADE', lanname) FROM pg_language WHERE oid >= 16384
        UNION ALL SELECT format('DROP ACCESS METHOD IF EXISTS %I CASCADE', amname) FROM pg_am WHERE oid >= 16384
        UNION ALL SELECT format('SELECT lo_unlink(%s)', oid) FROM pg_largeobject_metadata
    LOOP
        EXECUTE it.sql;
    END LOOP;
END $pgkeep$;
";

/// The schema that every database is born with, as this server makes it.
fn public(server: &Server, database: &str) -> Result<String> {
    let sql = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database();";
    let owner = server.query(database, sql)?.concat().concat();
    // since PostgreSQL 15 it belongs to whoever owns the database, and others may only use it
    let (owner, rights) = match server.facts().version {
        150_000.. => ("pg_database_owner".to_owned(), "USAGE"),
        _ => (identifier(&owner), "ALL"),
    };
    Ok(format!(
        "CREATE SCHEMA public;\nALTER SCHEMA public OWNER TO {owner};\nGRANT {rights} ON SCHEMA public TO PUBLIC;\n\
        COMMENT ON SCHEMA public IS 'standard public schema';\n"
    ))
}
