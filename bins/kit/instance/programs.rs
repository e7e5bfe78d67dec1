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
    inside: Option<Inside>,
}

/// A container in which they run, for as long as a server does: of an image that has them, without a
/// network. What is mounted has the same path there as here.
#[derive(Clone, Debug)]
pub struct Inside {
    /// `docker` or `podman`.
    pub engine: &'static str,
    /// The image.
    pub image: String,
    /// The container's name, nobody else's.
    pub name: String,
    /// Directories that the server sees.
    pub mounts: Vec<PathBuf>,
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
        Ok(Programs { major: home.major, dir: home.dir, runner: Runner::find()?, inside: None })
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

    /// Those of version `major` in a container. That they are there is found out when they are run.
    pub fn inside(major: u32, inside: Inside) -> Result<Self> {
        let dir = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
        Ok(Programs { major, dir, runner: Runner::find()?, inside: Some(inside) })
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
        if let Some(inside) = &self.inside {
            return self.command_inside(inside, program, folder);
        }
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

    /// The same in a container, which is gone when the command ends; signals go through to it.
    fn command_inside(&self, inside: &Inside, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(inside.engine);
        command.args(["run", "--rm", "--pull", "never", "--network", "none", "--name", &inside.name]);
        command.args(["--security-opt", "label=disable", "--env", "LC_ALL=C"]);
        for mount in &inside.mounts {
            let mount = mount.display();
            command.arg("--mount").arg(format!("type=bind,source={mount},target={mount}"));
        }
        if let Some(Runner { user, group }) = self.runner {
            command.arg("--user").arg(format!("{user}:{group}"));
        }
        command.arg("--workdir").arg(folder).args(["--entrypoint", "sh", &inside.image, "-c"]);
        // where Debian has them, else where the image's own PATH leads
        let script = format!("PATH={}:$PATH && exec \"$0\" \"$@\"", self.dir.display());
        command.arg(script).arg(program);
        command
    }

    /// What is put before client programs that shall reach a server in a container, with these variables;
    /// `None`: the server is here.
    pub fn via<'a>(&self, variables: impl IntoIterator<Item = (&'a str, String)>) -> Option<String> {
        let Inside { engine, name, .. } = self.inside.as_ref()?;
        let user = self.runner.map_or(String::new(), |r| format!(" -u {}:{}", r.user, r.group));
        let word = |value: String| format!("'{}'", value.replace('\'', "'\\''"));
        let variables: String = variables
            .into_iter()
            .map(|(variable, value)| format!(" -e {variable}={}", word(value)))
            .collect();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.dir.display());
        Some(format!("{engine} exec -i{user}{variables} {name} env PATH={path}"))
    }

    /// Removes the container of a server that was ended hard.
    pub fn remove(&self) {
        if let Some(Inside { engine, name, .. }) = &self.inside {
            remove_container(engine, name);
        }
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
}

/// Removes a container; that there is none is fine.
pub fn remove_container(engine: &str, name: &str) {
    let _ = converse(Command::new(engine).args(["rm", "-f", "-v", name]), engine, "");
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
