//! Where a drill is held: a throwaway server of this machine's programs, or one in a container.

use std::path::Path;
use std::time::Duration;

use kit::exit::{Code, Error, Result};
use kit::instance::{Instance, Programs, Site, init};
use kit::pg::Server;
use kit::settings::Settings;

use super::docker::{self, Container};
use super::hints;
use crate::cli::Place;

/// How the folders of drills are called.
pub(super) const TAG: &str = "pgkeep-drill";
/// How long a new and empty server may take to start.
pub(super) const WAIT: Duration = Duration::from_secs(60);

/// It is thrown away: nothing need survive a crash, and nothing else runs on it.
pub(super) const SETTINGS: [(&str, &str); 9] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "1h"),
    ("maintenance_work_mem", "256MB"),
    ("autovacuum", "off"),
];

/// Removes what drills that were killed have left; their names, for a message.
pub(super) fn sweep(place: &Place) -> Result<Vec<String>> {
    sweep_all(place).map_err(lacking)
}

fn sweep_all(place: &Place) -> Result<Vec<String>> {
    // what is lacking here is known before anything is read; a container needs none of this machine's
    if !matches!(place, Place::Docker(_)) {
        Programs::find(None)?;
    }
    let sites = Site::sweep(TAG)?;
    let mut swept: Vec<String> = sites.iter().map(|path| path.display().to_string()).collect();
    if let Place::Docker(_) = place {
        swept.extend(docker::sweep()?);
    }
    Ok(swept)
}

/// Where not even an empty server comes up, this machine lacks something: that is no answer about the backup.
pub(super) fn lacking(error: Error) -> Error {
    let error = hints::full(error);
    if error.code() != Code::No {
        return error;
    }
    error.with_code(Code::Refused).hint("It is made in the folder that TMPDIR names, which must be one that whoever runs the server may enter.")
}

/// A server to restore into. Dropped, it is gone with all that is in it; the server before its folder.
pub(super) struct Ground {
    server: Running,
    site: Site,
}

enum Running {
    Here(Instance),
    In(Container),
}

impl Ground {
    /// Makes one of version `major`, or the next newer that is installed. `encoding`: that of databases
    /// which the dump does not create.
    pub(super) fn make(place: &Place, major: Option<u32>, encoding: &str) -> Result<Self> {
        Self::empty(place, major, encoding).map_err(lacking)
    }

    fn empty(place: &Place, major: Option<u32>, encoding: &str) -> Result<Self> {
        if let Place::Docker(image) = place {
            let site = Site::bare(TAG)?;
            let server = Running::In(Container::start(image, site.path(), major, encoding)?);
            return Ok(Ground { server, site });
        }
        let programs = Programs::find(major)?;
        let site = Site::new(TAG, &programs)?;
        let data = site.path().join("data");
        init(&programs, &data, encoding)?;
        let server = Running::Here(Instance::start(&programs, &site, &data, &SETTINGS, WAIT)?);
        Ok(Ground { server, site })
    }

    /// The server of a snapshot.
    pub(super) fn of((instance, site): (Instance, Site)) -> Self {
        Ground { server: Running::Here(instance), site }
    }

    /// A folder without any settings in it.
    pub(super) fn folder(&self) -> &Path {
        self.site.path()
    }

    /// Variables that lead to the server.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        match &self.server {
            Running::Here(instance) => instance.environment().into(),
            Running::In(_) => Vec::new(),
        }
    }

    /// The prefix that client programs need.
    pub(super) fn via(&self) -> Option<String> {
        match &self.server {
            Running::Here(_) => None,
            Running::In(container) => Some(container.via()),
        }
    }

    /// The server, as one who asks it.
    pub(super) fn server(&self) -> Result<Server> {
        Server::find(self.via(), &Settings::alone(self.environment()), None)
    }

    /// What failed on it: its own failure says nothing about what was restored.
    pub(super) fn blame(&mut self, error: Error) -> Error {
        let Running::Here(instance) = &mut self.server else { return hints::full(error) };
        let said = instance.last_words();
        if hints::is_full(&error.to_string()) || !hints::is_full(&said) && instance.is_running() {
            return hints::full(error);
        }
        hints::full(Error::temporary(format!("{error}; the server says: {said}")))
    }

    /// Ends it in good order, so that a failure to do so is told.
    pub(super) fn end(self) -> Result<()> {
        match self.server {
            Running::Here(instance) => instance.stop(),
            Running::In(_) => Ok(()),
        }
    }
}
