//! A drill in a container: of an image that is there, without network, and gone afterwards.
//!
//! The image needs PostgreSQL's server programs and a shell, nothing else: what it would start by itself is
//! not started.

use std::path::Path;
use std::process::Command;

use kit::child::{clean_up, converse};
use kit::exit::{Error, Result};
use kit::instance::SUPERUSER;
use kit::pg::major_of;

use super::ground::SETTINGS;

/// The label that tells the folder of a container's owner, which exists as long as he lives.
const LABEL: &str = "pgkeep.drill";
/// A container whose owner was killed, and that nobody sweeps, ends by itself. Seconds.
const LONGEST: &str = "86400";
/// Its own folder in the container.
const FOLDER: &str = "/tmp/pgkeep";

/// Prints who runs servers, then version and folder of each PostgreSQL there.
const LOOK: &str = "id -u postgres 2>/dev/null || echo 65534
for d in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin /usr/local/bin /usr/bin; do
  [ -x \"$d/initdb\" ] && [ -x \"$d/postgres\" ] && echo \"$(\"$d/postgres\" --version | sed 's/ (Debian.*//')|$d\"
done; :";

/// Makes and starts a server: programs, encoding, settings.
const START: &str = "mkdir -m 700 \"$FOLDER\" && cd \"$FOLDER\" &&
\"$1/initdb\" -D data -U \"$SUPERUSER\" -A trust --no-sync --locale=C -E \"$2\" >/dev/null &&
{ \"$1/pg_ctl\" -D data -l log -s -w -o \"-k $FOLDER -c listen_addresses= $3\" start >&2 || { tail -n 6 log >&2; exit 1; }; }";

/// A running container with a server in it. Dropped, it is removed.
pub(super) struct Container {
    name: String,
    programs: String,
    user: String,
}

impl Container {
    /// Starts one of `image`, for the owner of `site`, with a server of version `major` or the next newer.
    pub(super) fn start(image: &str, site: &Path, major: Option<u32>, encoding: &str) -> Result<Self> {
        // the folder's name is nobody else's
        let name = site.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let mut container = Container { name, programs: String::new(), user: String::new() };
        let label = format!("{LABEL}={}", site.display());
        let run = ["run", "-d", "--rm", "--pull", "never", "--network", "none", "--name", &container.name];
        said(docker(&run).args(["--label", &label, "--entrypoint", "sleep", image, LONGEST])).map_err(
            |e| match e.to_string().contains("No such image") {
                true => Error::refused(format!("there is no image '{image}' here"))
                    .hint(format!("Get it first: docker pull {image}")),
                false => e.within(format!("cannot start a container of '{image}'")),
            },
        )?;
        let looked = said(docker(&["exec", &container.name, "sh", "-c", LOOK]).arg("sh"))?;
        let mut lines = looked.lines();
        container.user = lines.next().unwrap_or_default().to_owned();
        let found = lines.filter_map(|line| {
            let (version, dir) = line.split_once('|')?;
            Some((major_of(version)?, dir.to_owned()))
        });
        let fit = found.filter(|(found, _)| major.is_none_or(|m| *found >= m)).min();
        let Some((_, programs)) = fit else {
            let version = major.map_or(String::new(), |m| format!(" of version {m} or newer"));
            return Err(Error::refused(format!("'{image}' has no PostgreSQL server programs{version}"))
                .hint("Name an image that has."));
        };
        container.programs = programs;
        let settings: Vec<String> =
            SETTINGS.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
        let script = START.replace("$FOLDER", FOLDER).replace("$SUPERUSER", SUPERUSER);
        let mut start = docker(&["exec", "-u", &container.user, &container.name, "sh", "-c", &script, "sh"]);
        said(start.args([&container.programs, encoding, &settings.join(" ")]))
            .map_err(|e| e.within("cannot make a server in the container"))?;
        Ok(container)
    }

    /// The prefix for client programs.
    pub(super) fn via(&self) -> String {
        let Container { name, programs, user } = self;
        format!(
            "docker exec -i -u {user} -e PGHOST={FOLDER} -e PGUSER={SUPERUSER} {name} env PATH={programs}:/usr/local/bin:/usr/bin:/bin"
        )
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        clean_up(|| remove(&self.name));
    }
}

/// Removes containers whose owners are dead; their names.
pub(super) fn sweep() -> Result<Vec<String>> {
    let format = format!("{{{{.Names}}}} {{{{.Label \"{LABEL}\"}}}}");
    let filter = format!("label={LABEL}");
    let listed = said(&mut docker(&["ps", "-a", "--filter", &filter, "--format", &format]))?;
    let left = listed.lines().filter_map(|line| line.split_once(' ')).filter(|(_, site)| {
        // one that we may not see is not gone
        Path::new(site).symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    });
    Ok(left.map(|(name, _)| name.to_owned()).inspect(|name| remove(name)).collect())
}

fn remove(name: &str) {
    // where the daemon is away, the next sweep does it
    let _ = converse(&mut docker(&["rm", "-f", "-v", name]), "docker", "");
}

fn docker(words: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(words);
    command
}

/// What a command prints; its failure is an error.
fn said(command: &mut Command) -> Result<String> {
    let (ended, output) = converse(command, "docker", "")?;
    if ended.ok() { Ok(String::from_utf8_lossy(&output).into_owned()) } else { Err(ended.error()) }
}
