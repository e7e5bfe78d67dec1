//! What is on the server, and what would stop a restore halfway: asked before anything is dropped.

use std::collections::{BTreeMap, BTreeSet};

use kit::beside::{self, Beside};
use kit::exit::{Error, Result};
use kit::pg::Server;

/// A database on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) name: String,
    /// Its number, by which it is told from another of its name.
    pub(crate) oid: String,
    pub(crate) bytes: u64,
    pub(crate) sessions: u64,
    pub(crate) is_template: bool,
    pub(crate) allows_connections: bool,
    /// The tablespace that what is in it goes to by default.
    pub(crate) tablespace: String,
    /// Idle logical replication slots, which are dropped with it.
    pub(crate) slots: String,
    /// Why the server would not drop it, and what helps.
    obstacle: Option<(String, &'static str)>,
}

/// `datconnlimit` of a database whose drop has not ended (DATCONNLIMIT_INVALID_DB of PostgreSQL's
/// catalog/pg_database.h): nobody can connect to it, and it can only be dropped.
pub(crate) const INVALID: i32 = -2;

/// A database to begin in that can always be connected to.
pub(crate) fn entrance(server: &Server) -> Result<String> {
    let rows = server
        .query("template1", "SELECT 1 FROM pg_database WHERE datname = 'postgres' AND datallowconn;")?;
    Ok(if rows.is_empty() { "template1" } else { "postgres" }.to_owned())
}

/// What one question to the server tells.
pub(crate) struct Survey {
    /// A database to begin in.
    pub(crate) entrance: String,
    /// Each database but template0.
    pub(crate) live: Vec<Live>,
    /// The databases that stand beside others.
    pub(crate) beside: Vec<Beside>,
    pub(crate) roles: BTreeSet<String>,
    /// The folder of each tablespace; empty where we may not know.
    pub(crate) tablespaces: BTreeMap<String, String>,
    /// The server's address as it was reached; `127.` by a socket.
    pub(crate) address: String,
    /// All parameters, in small letters.
    pub(crate) settings: BTreeSet<String>,
    pub(crate) is_superuser: bool,
    /// Row security does not concern us.
    pub(crate) sees_all_rows: bool,
    creates_databases: bool,
    /// How many sessions more the server lets in, where it can tell them from its own processes.
    connections: Option<i64>,
}

impl Survey {
    /// Asks for it.
    pub(crate) fn of(server: &Server) -> Result<Self> {
        let version = server.facts().version;
        let slots = |active: &str| {
            format!(
                "(SELECT string_agg(slot_name, ', ') FROM pg_replication_slots r \
                WHERE r.database = d.datname AND {active})"
            )
        };
        // before PostgreSQL 10 there were no subscriptions
        let subscriptions = if version >= 100_000 {
            "(SELECT string_agg(subname, ', ') FROM pg_subscription s WHERE s.subdbid = d.oid)"
        } else {
            "NULL"
        };
        let live = format!(
            "SELECT datname, \
            CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) END, \
            (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND a.pid <> pg_backend_pid()), \
            datistemplate, datallowconn, {}, \
            (SELECT string_agg(gid, ', ') FROM pg_prepared_xacts x WHERE x.database = d.datname), \
            {subscriptions}, {}, pg_has_role(datdba, 'USAGE'), \
            (SELECT spcname FROM pg_tablespace s WHERE s.oid = dattablespace), datconnlimit = {INVALID}, oid \
            FROM pg_database d WHERE datname <> 'template0' ORDER BY 1;",
            slots("NOT active"),
            slots("active"),
        );
        // and its own processes were not told from clients
        let connections = if version >= 100_000 {
            "current_setting('max_connections')::int - CASE WHEN rolsuper THEN 0 \
            ELSE current_setting('superuser_reserved_connections')::int END \
            - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') + 1"
        } else {
            "NULL"
        };
        let me = format!(
            "SELECT rolsuper, rolsuper OR rolbypassrls, rolcreatedb, {connections}, \
            coalesce(host(inet_server_addr()), '127.') FROM pg_roles WHERE rolname = current_user;"
        );
        // current_setting fails where pg_settings shows nothing
        let tablespaces = "SELECT spcname, coalesce(nullif(pg_tablespace_location(oid), ''), \
            (SELECT setting FROM pg_settings WHERE name = 'data_directory')) FROM pg_tablespace;";
        let [live, beside, me, roles, tablespaces, settings] = server.queries(
            &server.facts().database,
            [
                &live,
                beside::LIST,
                &me,
                "SELECT rolname FROM pg_roles;",
                tablespaces,
                "SELECT name FROM pg_settings;",
            ],
        )?;
        let live: Vec<Live> = live.iter().map(|row| Live::from(row)).collect();
        let me = me.concat();
        let mine = |i: usize| me.get(i).map_or("", String::as_str);
        let postgres = live.iter().any(|l| l.name == "postgres" && l.allows_connections);
        Ok(Survey {
            entrance: if postgres { "postgres" } else { "template1" }.to_owned(),
            live,
            beside: beside::listed(&beside),
            roles: roles.into_iter().flatten().collect(),
            tablespaces: tablespaces
                .into_iter()
                .filter_map(|row| <[String; 2]>::try_from(row).ok())
                .map(<(String, String)>::from)
                .collect(),
            address: mine(4).to_owned(),
            settings: settings.iter().flatten().map(|n| n.to_lowercase()).collect(),
            is_superuser: mine(0) == "t",
            sees_all_rows: mine(1) == "t",
            creates_databases: mine(2) == "t",
            connections: mine(3).parse().ok(),
        })
    }

    /// Finds out before the first drop whether the server lets enough of us in. `ending`: sessions that
    /// end with the databases they are in. `jobs`: how many load at once.
    pub(crate) fn may_connect(&self, ending: u64, jobs: usize) -> Result<()> {
        let needed = (SESSIONS + if jobs > 1 { jobs } else { 0 }) as i64;
        let Some(free) = self.connections else { return Ok(()) };
        let free = free + i64::try_from(ending).unwrap_or(0);
        if free < needed {
            return Err(Error::temporary(format!(
                "the server has {free} connections left, a restore needs {needed}"
            ))
            .hint("End some, for example with --stop."));
        }
        Ok(())
    }

    /// Refuses a role, `user`, that could not carry the restore through. `roles`: the dump makes roles;
    /// `creates`: databases are created.
    pub(crate) fn may_restore(&self, user: &str, roles: bool, creates: bool) -> Result<()> {
        if roles && !self.is_superuser {
            return Err(Error::refused(format!("role '{user}' is no superuser, and the dump sets roles"))
                .hint("Restore as a superuser, or restore a dump of one database."));
        }
        if creates && !self.is_superuser && !self.creates_databases {
            return Err(Error::refused(format!("role '{user}' may not create databases"))
                .hint(format!("ALTER ROLE {} CREATEDB lets it.", kit::pg::identifier(user))));
        }
        Ok(())
    }
}

impl Live {
    fn from(row: &[String]) -> Self {
        let cell = |i: usize| row.get(i).map_or("", String::as_str);
        let number = |i: usize| cell(i).parse().unwrap_or(0);
        let obstacle = if cell(11) == "t" {
            let what = "was dropped halfway, and can only be dropped".to_owned();
            Some((what, "DROP DATABASE it first; what it held is in its backups alone."))
        } else if !cell(6).is_empty() {
            let what = format!("has prepared transactions ({})", cell(6));
            Some((what, "End each with COMMIT PREPARED or ROLLBACK PREPARED first."))
        } else if !cell(7).is_empty() {
            let what = format!("has subscriptions ({})", cell(7));
            Some((what, "DROP SUBSCRIPTION in it first, and create it again afterwards."))
        } else if !cell(8).is_empty() {
            let what = format!("feeds logical replication slots that are in use ({})", cell(8));
            Some((what, "Disable their subscriptions first; the slots go with the database."))
        } else if cell(9) != "t" {
            Some(("belongs to another role".into(), "Only its owner or a superuser may drop it."))
        } else {
            None
        };
        Live {
            name: cell(0).to_owned(),
            oid: cell(12).to_owned(),
            bytes: number(1),
            sessions: number(2),
            is_template: cell(3) == "t",
            allows_connections: cell(4) == "t",
            tablespace: cell(10).to_owned(),
            slots: cell(5).to_owned(),
            obstacle,
        }
    }

    /// Refuses a database that the server would not drop, or that no backup after this one can hold.
    pub(crate) fn may_be_replaced(&self) -> Result<()> {
        let refused = |what: &str, hint: &str| {
            Err(Error::refused(format!("cannot replace database '{}': it {what}", self.name)).hint(hint))
        };
        if let Some((what, hint)) = &self.obstacle {
            return refused(what, hint);
        }
        if !self.allows_connections {
            let hint = "ALTER DATABASE … ALLOW_CONNECTIONS true first, or drop it yourself.";
            return refused("allows no connections, so that nobody could look what would be lost", hint);
        }
        Ok(())
    }
}

/// A restore holds three sessions at once, and those of `--jobs`: its lock, and at each `\\connect`
/// the old and the new one.
const SESSIONS: usize = 3;

/// Whether anyone has made anything in a database.
pub(crate) fn has_objects(server: &Server, database: &str) -> Result<bool> {
    // 16384: FirstNormalObjectId of PostgreSQL's access/transam.h
    let sql = "SELECT 1 FROM pg_class WHERE oid >= 16384 UNION ALL SELECT 1 FROM pg_proc WHERE oid >= 16384 \
        UNION ALL SELECT 1 FROM pg_largeobject_metadata UNION ALL SELECT 1 FROM pg_namespace WHERE oid >= 16384 \
        UNION ALL SELECT 1 FROM pg_type WHERE oid >= 16384 UNION ALL SELECT 1 FROM pg_extension WHERE oid >= 16384 \
        LIMIT 1;";
    Ok(!server.query(database, sql)?.is_empty())
}
