//! The server's programs, and who runs them: PostgreSQL refuses root.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::{converse, interrupted};
use crate::exit::{Error, Result};
use crate::pg::homes;

/// Those that a server needs.
const NEEDED: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

/// PostgreSQL's server programs of one version.
#[derive(Clone, Debug)]
pub struct Programs {
    major: u32,
    dir: PathBuf,
    runner: Option<Runner>,
}

/// Who runs servers where we are root.
#[derive(Clone, Copy, Debug)]
struct Runner {
    user: u32,
    group: u32,
}

impl Programs {
    /// Those of version `major`, else the oldest of those that are newer; the newest of all where
    /// nothing is asked for.
    ///
    /// # Errors
    /// [`crate::exit::Code::Refused`] when there are none that are new enough; a signal.
    pub fn find(major: Option<u32>) -> Result<Self> {
        let complete = |dir: &Path| NEEDED.iter().all(|p| dir.join(p).is_file());
        // newest first
        let mut homes = homes();
        // one that could not be asked for its version, because of a signal, is not lacking
        interrupted()?;
        homes.retain(|h| complete(&h.dir) && major.is_none_or(|m| h.major >= m));
        let home = if major.is_some() { homes.pop() } else { homes.into_iter().next() };
        let Some(home) = home else {
            let (version, package) = match major {
                Some(m) => (format!(" of version {m} or newer"), format!("postgresql-{m}")),
                None => (String::new(), "postgresql".into()),
            };
            return Err(Error::refused(format!("cannot find PostgreSQL's server programs{version}"))
                .hint(format!("Install them (Debian, Ubuntu: apt-get install {package}).")));
        };
        Ok(Programs { major: home.major, dir: home.dir, runner: Runner::find()? })
    }

    /// Those of version `major` and no other: a data directory can be opened by its own only.
    pub fn exactly(major: u32) -> Result<Self> {
        let found = Self::find(Some(major))?;
        if found.major == major {
            return Ok(found);
        }
        Err(Error::refused(format!("cannot find PostgreSQL's server programs of version {major}"))
            .hint(format!("Install them (Debian, Ubuntu: apt-get install postgresql-{major}).")))
    }

    /// Their major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The folder that they are in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether there is a program of this name among them.
    pub fn have(&self, program: &str) -> bool {
        self.dir.join(program).is_file()
    }

    /// The command that runs one of them in `folder`, as an ordinary user, with nothing in its
    /// environment that leads to another server.
    pub fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.dir.join(program));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        // what they say is looked into, and must not depend on the reader's language
        command.env_remove("LANGUAGE").env("LC_ALL", "C").current_dir(folder);
        if let Some(Runner { user, group }) = self.runner {
            command.uid(user).gid(group);
        }
        command
    }

    /// The same, run by the owner of the data directory `data`: nobody else may read it. Where we are
    /// an ordinary user, or root owns it, that changes nothing.
    ///
    /// # Errors
    /// It is no data directory.
    pub fn for_data(self, data: &Path) -> Result<Self> {
        let path = data.join("PG_VERSION");
        let owner = path.symlink_metadata().map_err(|e| Error::io("read", path.display(), &e))?;
        let theirs = Runner { user: owner.uid(), group: owner.gid() };
        Ok(Programs { runner: self.runner.map(|ours| if owner.uid() == 0 { ours } else { theirs }), ..self })
    }

    /// Makes a file or folder that is ours that of whoever runs the server.
    pub fn give(&self, path: &Path) -> Result<()> {
        let Some(Runner { user, group }) = self.runner else { return Ok(()) };
        chown(path, Some(user), Some(group)).map_err(|e| Error::io("give away", path.display(), &e))
    }

    /// The user who runs them, by number.
    pub(super) fn user(&self) -> u32 {
        self.runner.map_or(rustix::process::geteuid().as_raw(), |r| r.user)
    }
}

impl Runner {
    /// `None` where we are an ordinary user, who runs servers himself.
    fn find() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(user), Some(group)) = (id("-u", name)?, id("-g", name)?) {
                return Ok(Some(Runner { user, group }));
            }
        }
        Err(Error::refused("PostgreSQL refuses to be run by root, and there is no user postgres or nobody")
            .hint("Be an ordinary user."))
    }
}

/// A number of a user: libc's files are not the only place where users stand.
fn id(what: &str, user: &str) -> Result<Option<u32>> {
    let (ended, output) = converse(Command::new("id").args([what, user]), "id", "")?;
    let number = String::from_utf8_lossy(&output).trim().parse().ok();
    Ok(number.filter(|id| ended.ok() && *id != 0))
}
