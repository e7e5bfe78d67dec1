//! Where a drill is held: a throwaway server of this machine's programs.

use std::path::Path;
use std::time::Duration;

use kit::child::converse;
use kit::exit::{Error, Result};
use kit::instance::{Instance, Programs, Site, init};
use kit::pg::Server;

use crate::cli::{Args, Place};
use crate::verdict::Verdict;

/// How the folders of drills are called.
const TAG: &str = "pgkeep-drill";
/// How long a new and empty server may take to start.
const WAIT: Duration = Duration::from_secs(60);

/// It is thrown away: nothing need survive a crash, and nothing else runs on it.
const SETTINGS: [(&str, &str); 9] = [
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
pub(super) fn sweep(_place: &Place) -> Result<Vec<String>> {
    let programs = Programs::find(None)?;
    Ok(Site::sweep(TAG, &programs)?.iter().map(|path| path.display().to_string()).collect())
}

/// A server to restore into. Dropped, it is gone with all that is in it; the server before its folder.
pub(super) struct Ground {
    instance: Instance,
    programs: Programs,
    site: Site,
}

impl Ground {
    /// Makes one of version `major`, or the next newer that is installed. `encoding`: that of databases
    /// which the dump does not create.
    pub(super) fn make(args: &Args, major: Option<u32>, encoding: &str) -> Result<Self> {
        if let Some(Place::Docker(image)) = &args.drill {
            return Err(Error::refused(format!("cannot drill in '{image}' yet")));
        }
        let programs = Programs::find(major)?;
        let site = Site::new(TAG, &programs)?;
        let data = site.path().join("data");
        init(&programs, &data, encoding)?;
        let instance = Instance::start(&programs, &site, &data, &SETTINGS, WAIT)?;
        Ok(Ground { instance, programs, site })
    }

    /// A folder without any settings in it.
    pub(super) fn folder(&self) -> &Path {
        self.site.path()
    }

    /// Variables that lead to the server.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        self.instance.environment().into()
    }

    /// The prefix that client programs need.
    pub(super) fn via(&self) -> Option<String> {
        None
    }

    /// The server, as one who asks it.
    pub(super) fn server(&self) -> Result<Server> {
        Server::find(None, &self.instance.settings(), None)
    }

    /// Has every page of tables and indexes looked at, where PostgreSQL's own program for that is
    /// there.
    pub(super) fn amcheck(&self, jobs: usize, verdict: &mut Verdict) -> Result<()> {
        let program = "pg_amcheck";
        let available = "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck';";
        if !self.programs.have(program) || self.server()?.query("postgres", available)?.is_empty() {
            verdict.note("pg_amcheck is not installed");
            return Ok(());
        }
        let mut command = self.programs.command(program, self.folder());
        command.envs(self.environment()).args(["--all", "--install-missing", "--heapallindexed"]);
        let (ended, output) = converse(command.arg("--jobs").arg(jobs.to_string()), program, "")?;
        let found = String::from_utf8_lossy(&output);
        // corruption goes to its standard output, with status 2
        match (ended.ok(), found.lines().next()) {
            (true, None) => {}
            (_, Some(first)) => verdict.bad(format!("drill: pg_amcheck found damage: {first}")),
            (false, None) => verdict.fault(ended.error().within("drill")),
        }
        Ok(())
    }

    /// Ends it in good order, so that a failure to do so is told.
    pub(super) fn end(self) -> Result<()> {
        self.instance.stop()
    }
}
