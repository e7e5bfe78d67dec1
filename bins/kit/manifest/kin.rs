//! Which backups can stand for each other.

use std::fmt;

use super::{Kind, Manifest};

/// What backups of one kin share: the same thing, whole or the same part of it, of the same server.
/// Retention counts each kin by itself, so that dumps of the schema alone, or those of another
/// server in the same folder, never crowd out the backups that bring everything back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kin {
    /// What it is a backup of.
    pub kind: Kind,
    /// The database, of a backup of one; `None` where that is not known.
    pub database: Option<String>,
    /// The server's system identifier; `None` where that is not known.
    pub server: Option<String>,
    /// Where the volumes are, of a snapshot that neither a server nor names that somebody gave tell from others.
    pub place: Option<String>,
    /// The options that left something out.
    pub partial: Vec<String>,
}

impl Manifest {
    /// The kin of this backup.
    pub fn kin(&self) -> Kin {
        Kin {
            kind: self.kind,
            database: self.source.databases.first().filter(|_| self.kind == Kind::Database).cloned(),
            server: self.source.system_identifier.clone(),
            place: self.source.place.clone(),
            partial: self.source.partial.clone(),
        }
    }
}

impl Kin {
    /// Whether all of it was dumped.
    pub fn is_whole(&self) -> bool {
        self.partial.is_empty()
    }

    /// Whether there is a way to hold a drill of such backups: none for Redis, and none for volumes where it is not
    /// known which of them holds the data of a PostgreSQL that leads, or that any does.
    pub fn can_be_drilled(&self) -> bool {
        self.kind.is_dump() || self.kind == Kind::Volumes && self.server.is_some()
    }
}

impl fmt::Display for Kin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.database) {
            (Kind::Cluster, _) => f.write_str("the cluster")?,
            (Kind::Database, Some(name)) => write!(f, "database {name}")?,
            (Kind::Database, None) => f.write_str("a database")?,
            (Kind::Redis, _) => f.write_str("Redis")?,
            (Kind::Volumes, _) => f.write_str("the volumes")?,
        }
        if let Some(server) = &self.server {
            write!(f, " of server {server}")?;
        }
        if let Some(place) = &self.place {
            write!(f, " in {place}")?;
        }
        if !self.is_whole() {
            write!(f, " with {}", self.partial.join(" "))?;
        }
        Ok(())
    }
}
