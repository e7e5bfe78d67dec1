//! What stands beside live databases, and what a cluster was like before: helpers of the tests of restores.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Child;

use crate::lab::{Server, wait_until};
use crate::stage::{plain_dump, same, start, with_last_act};

/// The names of databases that stand beside others, sorted: `kind` is `before` or `restore`.
pub(crate) fn beside(server: &Server, kind: &str) -> Vec<String> {
    let like = format!("%\\_\\_{kind}\\_%");
    let sql = format!("SELECT datname FROM pg_database WHERE datname LIKE '{like}' ORDER BY 1");
    server.sql("template1", &sql).lines().map(str::to_owned).collect()
}

/// The only database beside others of this kind.
#[track_caller]
pub(crate) fn only_beside(server: &Server, kind: &str) -> String {
    let mut all = beside(server, kind);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// `shop__before_20261121_064645`: its time.
pub(crate) fn time_of(name: &str) -> &str {
    &name[name.len() - 15..]
}

/// A cluster at some time: all that is in it, and which databases those are.
pub(crate) struct Was {
    everything: String,
    identities: String,
}

impl Was {
    #[track_caller]
    pub(crate) fn of(server: &Server) -> Was {
        Was { everything: server.everything(), identities: crate::stage::identities(server) }
    }

    /// Asserts that the cluster is still the same, with the same databases, and nothing beside them.
    #[track_caller]
    pub(crate) fn still(&self, server: &Server) {
        assert_eq!(crate::stage::identities(server), self.identities);
        same(&server.everything(), &self.everything);
    }

    /// Asserts that the cluster holds the same, in whatever databases.
    #[track_caller]
    pub(crate) fn again(&self, server: &Server) {
        same(&server.everything(), &self.everything);
    }
}

pub(crate) fn rows(server: &Server, database: &str) -> String {
    server.sql(database, "SELECT count(*) FROM grades")
}

/// Writes a plain dump of `database` with a last act to `name` in the server's home.
pub(crate) fn dump_with(server: &Server, database: &str, act: &str, name: &str) {
    let dump = plain_dump(server, database);
    fs::write(server.home().join(name), with_last_act(dump.as_bytes(), act.as_bytes())).unwrap();
}

/// Starts a restore of `file`, a plain dump of `shop`, that hangs in its last act until somebody ends it.
pub(crate) fn hanging(server: &Server, args: &[&str]) -> Child {
    dump_with(server, "shop", "SELECT pg_sleep(600);", "hangs.sql");
    let mut restore = server.tool("pgdump-restore");
    restore.args(["hangs.sql", "-d", "shop", "--swap", "--yes", "--force=guard"]);
    let child = start(restore.args(args));
    wait_until("the restore sleeps", || sleeping(server) == 1);
    child
}

/// How many sessions sleep.
pub(crate) fn sleeping(server: &Server) -> usize {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND state = 'active' \
        AND pid <> pg_backend_pid()";
    server.sql("template1", sql).parse().unwrap()
}
