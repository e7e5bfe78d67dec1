//! Docker and Podman: where a named volume has its files, and who uses it.
//!
//! A volume of the engines' own driver is a directory of this machine, `…/volumes/NAME/_data`, which
//! root may read and give another name while no container runs on it. An engine of an ordinary user keeps it in his
//! home, and the numbers of owners in it are of a range of his own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Place;
use crate::child::converse;
use crate::exit::{Error, Result};

/// The label of a volume that a restore has made.
const MARK: &str = "pgkeep.restore";

/// A container that uses a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The container's name.
    pub container: String,
    /// Whether it runs.
    pub runs: bool,
    /// Its service, where Compose made it.
    pub service: Option<String>,
}

impl Place {
    /// The engine and the volume's name; `None` for a directory.
    pub(super) fn engine(&self) -> Option<(&'static str, &str)> {
        match self {
            Place::Dir(_) => None,
            Place::Docker(name) => Some(("docker", name)),
            Place::Podman(name) => Some(("podman", name)),
        }
    }

    /// Where the engine has its files; `Ok(None)`: it has no such volume. A directory is where it says,
    /// whether it is there or not.
    ///
    /// # Errors
    /// The engine is missing or does not answer.
    pub fn mountpoint(&self) -> Result<Option<PathBuf>> {
        let (engine, name) = match self {
            Place::Dir(path) => return Ok(Some(path.clone())),
            Place::Docker(name) => ("docker", name),
            Place::Podman(name) => ("podman", name),
        };
        match ask(engine, &["volume", "inspect", "--format", "{{.Mountpoint}}", name]) {
            Ok(lines) => Ok(Some(PathBuf::from(lines.into_iter().next().unwrap_or_default()))),
            Err(e) if e.to_string().to_lowercase().contains("no such volume") => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Where its files are on this machine; `Ok(None)`: the engine has no such volume.
    ///
    /// # Errors
    /// As for [`Place::mountpoint`], or its files may not be looked at from here.
    pub fn directory(&self) -> Result<Option<PathBuf>> {
        let Some(path) = self.mountpoint()? else { return Ok(None) };
        if self.is_open(&path) {
            return Ok(Some(path));
        }
        Err(Error::refused(format!("cannot reach the files of {self}: only root may"))
            .hint("Run this as root, on the machine of the engine."))
    }

    /// Whether its files in `path` can be reached from here as its containers do. Of an engine's volume that is for
    /// root: others may be let in by an engine of their own, but there owners have other numbers.
    pub fn is_open(&self, path: &Path) -> bool {
        self.engine().is_none() || rustix::process::geteuid().is_root() && path.read_dir().is_ok()
    }

    /// Makes the volume, which must not be there.
    pub fn create(&self) -> Result<()> {
        match self.engine() {
            Some((engine, name)) => ask(engine, &["volume", "create", name]).map(drop),
            None => Ok(()),
        }
    }

    /// Whether the files of the engine's volumes can be reached from here, also of those that are not there yet.
    pub fn is_reachable(&self) -> Result<bool> {
        let Some((engine, _)) = self.engine() else { return Ok(true) };
        let (format, below) = match engine {
            "docker" => ("{{.DockerRootDir}}", "volumes"),
            _ => ("{{.Store.VolumePath}}", ""),
        };
        let lines = ask(engine, &["info", "--format", format])?;
        Ok(self.is_open(&PathBuf::from(lines.into_iter().next().unwrap_or_default()).join(below)))
    }

    /// Makes the volume, which must not be there, with a mark by which [`Place::remove_made`] knows it.
    pub fn make(&self, mark: &str) -> Result<()> {
        let Some((engine, name)) = self.engine() else { return Ok(()) };
        ask(engine, &["volume", "create", "--label", &format!("{MARK}={mark}"), name])?;
        // the engine takes one that is there for the one that it was to make
        match self.is_made(mark)? {
            true => Ok(()),
            false => Err(Error::refused(format!("cannot create {self}: it is there"))),
        }
    }

    /// Removes the volume if it was made with that mark.
    pub fn remove_made(&self, mark: &str) -> Result<()> {
        match self.engine() {
            Some((engine, name)) if self.is_made(mark)? => ask(engine, &["volume", "rm", name]).map(drop),
            _ => Ok(()),
        }
    }

    fn is_made(&self, mark: &str) -> Result<bool> {
        let Some((engine, name)) = self.engine() else { return Ok(false) };
        if self.mountpoint()?.is_none() {
            return Ok(false);
        }
        let format = format!("{{{{index .Labels \"{MARK}\"}}}}");
        Ok(ask(engine, &["volume", "inspect", "--format", &format, name])?.concat() == mark)
    }

    /// The containers that use the volume, by its name or by its directory's; of a directory nobody knows.
    pub fn users(&self) -> Result<Vec<User>> {
        let Some((engine, name)) = self.engine() else { return Ok(Vec::new()) };
        let format = format!("{{{{.Names}}}}\t{{{{.State}}}}\t{{{{{}}}}}", service(engine));
        let mut filters = vec![format!("--filter=volume={name}")];
        filters.extend(self.mountpoint()?.map(|path| format!("--filter=volume={}", path.display())));
        let words = ["ps", "-a", "--format", &format].into_iter();
        let lines = ask(engine, &words.chain(filters.iter().map(String::as_str)).collect::<Vec<_>>())?;
        let user = |line: &String| {
            let mut cells = line.split('\t');
            let mut cell = || cells.next().unwrap_or_default().to_owned();
            let (container, state, service) = (cell(), cell(), cell());
            User { container, runs: runs(&state), service: Some(service).filter(|s| !s.is_empty()) }
        };
        Ok(lines.iter().map(user).collect())
    }

    /// The engine, and the image of the containers that use the volume; `None`: it is a directory.
    ///
    /// # Errors
    /// No container uses it that would tell.
    pub fn image(&self) -> Result<Option<(&'static str, String)>> {
        let Some((engine, name)) = self.engine() else { return Ok(None) };
        // one that Compose made, and that runs, first
        let format = format!(
            "{{{{if {}}}}}0{{{{else}}}}1{{{{end}}}}\t{{{{.State}}}}\t{{{{.Image}}}}",
            service(engine)
        );
        let filter = format!("volume={name}");
        let mut lines = ask(engine, &["ps", "-a", "--filter", &filter, "--format", &format])?;
        lines.sort_by_key(|line| (!line.starts_with('0'), !line.split('\t').nth(1).is_some_and(runs)));
        let image = lines.first().and_then(|line| line.rsplit('\t').next());
        image.map(|image| Some((engine, image.to_owned()))).ok_or_else(|| {
            Error::refused(format!(
                "no container uses {self}, and so nobody tells of which image its server is"
            ))
            .hint("Start it first, or at least make its container.")
        })
    }

    /// Refuses a volume on which a container runs that is none of `services`.
    pub fn no_container_runs(&self, services: &[String]) -> Result<()> {
        let stops = |user: &User| user.service.as_ref().is_some_and(|s| services.contains(s));
        match self.users()?.into_iter().find(|u| u.runs && !stops(u)) {
            Some(user) => Err(Error::refused(format!("container '{}' runs on {self}", user.container))
                .hint("Name what stops it with --services, or with --stop and --start.")),
            None => Ok(()),
        }
    }

    /// The services of Compose that use the volume.
    pub fn services(&self) -> Result<Vec<String>> {
        let mut services: Vec<String> = self.users()?.into_iter().filter_map(|u| u.service).collect();
        services.sort();
        services.dedup();
        Ok(services)
    }
}

/// What gives the service of a container in a template of `ps`.
fn service(engine: &str) -> &'static str {
    match engine {
        // Podman 4.3 has no `.Label`, and Docker's `.Labels` are one text
        "podman" => "index .Labels \"com.docker.compose.service\"",
        _ => ".Label \"com.docker.compose.service\"",
    }
}

/// Whether a container runs, by its state: `exited`, or, as Podman 4 has it, `Exited (0) 3 seconds ago`.
fn runs(state: &str) -> bool {
    let word = state.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    !matches!(word.as_str(), "exited" | "created" | "dead" | "configured" | "stopped" | "initialized")
}

/// The lines that a command of the engine prints.
pub(super) fn ask(engine: &str, words: &[&str]) -> Result<Vec<String>> {
    let (ended, output) = converse(Command::new(engine).args(words), engine, "")?;
    if !ended.ok() {
        return Err(ended.error().within(format!("cannot ask {engine}")));
    }
    Ok(String::from_utf8_lossy(&output).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_containers() {
        for state in ["exited", "created", "dead", "Exited (137) 1 second ago", "Created", "configured"] {
            assert!(!runs(state), "{state}");
        }
        for state in ["running", "paused", "restarting", "Up 2 hours ago", "Paused", "removing", ""] {
            assert!(runs(state), "{state}");
        }
    }
}
