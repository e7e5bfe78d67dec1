//! Replays the log over a data directory that was just filled in, by a private server of its own
//! version, up to the target.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kit::child::pause;
use kit::exit::{Code, Error, Result};
use kit::instance::{Inside, Instance, Programs, SUPERUSER, Site};
use kit::out::Speech;
use kit::pg::Server;
use kit::settings::Settings;
use kit::wal::name::{Name, Segment};

use super::wal::Wal;
use crate::cli::{TOOL, Then};
use crate::until::Until;

/// The program that hands the log out of an archive.
const GET: &str = "wal-archive";
/// How many segments are fetched while one is replayed.
const AHEAD: &str = "4";

/// The control file learns of the new timeline with the next checkpoint only.
const TIMELINE: &str = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int;";

/// What is to be done with a data directory.
pub(crate) struct Replay<'a> {
    pub(crate) wal: &'a Wal,
    /// The volume that holds the data directory.
    pub(crate) root: &'a Path,
    /// The engine and the image that has the server's programs; `None`: they are here.
    pub(crate) image: Option<&'a (&'static str, String)>,
    pub(crate) until: &'a Until,
    pub(crate) timeline: u32,
    /// A gap behind the target, where the log may end.
    pub(crate) gap: Option<Segment>,
    pub(crate) then: Then,
    /// Whether the server goes on archiving, as its configuration says.
    pub(crate) archives: bool,
    /// How long it may take.
    pub(crate) within: Duration,
}

/// Where it ended.
#[derive(Debug)]
pub(crate) struct Reached {
    /// The place in the log.
    pub(crate) lsn: String,
    /// When the last transaction in it ended; empty: there was none.
    pub(crate) at: String,
    /// The timeline on which the server goes on; `None`: it was not opened.
    pub(crate) timeline: Option<String>,
}

impl Replay<'_> {
    /// Replays the log over `data`, and stops the server again.
    ///
    /// # Errors
    /// The server's last words, when it does not get there. The data directory is worth nothing then.
    pub(crate) fn run(&self, data: &Path, speech: &Speech) -> Result<Reached> {
        let site = Site::bare(TOOL)?;
        let programs = self.programs(&site, data)?;
        programs.give(site.path())?;
        self.wal.give(&programs)?;
        let _gone = Gone(&programs);
        let found = program()?;
        let get = copy(&found, &site, &programs)?;
        signal(data)?;
        let restore = self.get(&get, &self.wal.here(), &format!(" --ahead {AHEAD}"));
        let mut settings = self.until.settings();
        settings.extend([
            ("restore_command", restore),
            ("recovery_target_timeline", self.timeline.to_string()),
            ("recovery_target_inclusive", "on".into()),
            // then it can be asked where it is
            ("recovery_target_action", "pause".into()),
            ("hot_standby", "on".into()),
            ("primary_conninfo", String::new()),
            ("archive_cleanup_command", String::new()),
            ("recovery_end_command", String::new()),
            ("shared_preload_libraries", String::new()),
            // nobody would confirm its commits
            ("synchronous_standby_names", String::new()),
        ]);
        settings.extend(private(data, &site, &programs)?);
        if !self.archives {
            settings.push(("archive_mode", "off".into()));
        }
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        speech.phase("replaying the log");
        let mut instance = Instance::start(&programs, &site, data, &settings, self.within)?;
        let reached = self.follow(&instance, &programs);
        // a server that ended by itself tells why
        let reached = reached.map_err(|error| match instance.stays(Duration::from_secs(2)) {
            true => error,
            false => {
                let words = instance.last_words();
                let full = words.contains("No space left on device") || words.contains("Disk quota exceeded");
                let code = if full { Code::Temporary } else { Code::No };
                Error::new(code, format!("the recovery ended too early: {words}"))
            }
        })?;
        instance.stop()?;
        // what was fetched ahead and not needed; who fetches it still finds no place
        let _ = fs::remove_dir_all(data.join("pg_wal/.pgkeep-ahead"));
        if self.then != Then::Promote {
            self.leave(data, &found)?;
        }
        if let Some(timeline) = reached.timeline.as_ref().filter(|_| !self.archives) {
            announce(data, timeline)?;
        }
        Ok(reached)
    }

    /// The programs of the data directory's version: here, or in a container of the image.
    fn programs(&self, site: &Site, data: &Path) -> Result<Programs> {
        let Some((engine, image)) = self.image else {
            return Programs::exactly(major(data)?)?.for_data(data);
        };
        let name = site.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mounts = vec![site.path().to_owned(), self.root.to_owned(), self.wal.here()];
        Programs::inside(major(data)?, Inside { engine, image: image.clone(), name, mounts })?.for_data(data)
    }

    fn follow(&self, instance: &Instance, programs: &Programs) -> Result<Reached> {
        let user = Settings::load()?.get("PGUSER").unwrap_or(SUPERUSER).to_owned();
        let environment = instance
            .environment()
            .map(|(name, value)| (name, if name == "PGUSER" { user.clone() } else { value }));
        let ask_as = |user: Option<String>| {
            let environment = environment.clone().map(|(name, value)| match &user {
                Some(user) if name == "PGUSER" => (name, user.clone()),
                _ => (name, value),
            });
            Server::find(programs.via(environment.clone()), &Settings::alone(environment), None)
        };
        // a role that was made later is not there yet
        let mut server = ask_as(None).or_else(|error| ask_as(Some(SUPERUSER.into())).map_err(|_| error))?;
        if let Some(superuser) = superuser_instead(&server)? {
            server = ask_as(Some(superuser))?;
        }
        let ask = |sql: &str| -> Result<Vec<String>> {
            let rows = server.query(&server.facts().database, sql)?;
            rows.into_iter().next().ok_or_else(|| Error::no("the server gave no answer"))
        };
        let place = "SELECT pg_is_in_recovery(), pg_is_in_recovery() AND pg_is_wal_replay_paused(), \
            pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC';";
        let end = Instant::now() + self.within;
        let mut at;
        loop {
            at = ask(place)?;
            let cell = |i: usize| at.get(i).map(String::as_str).unwrap_or_default();
            if cell(0) == "f" || cell(1) == "t" {
                break;
            }
            if Instant::now() > end {
                let seconds = self.within.as_secs();
                return Err(Error::temporary(format!(
                    "the recovery has come to {} after {seconds} s, and no further",
                    cell(2)
                )));
            }
            pause(Duration::from_millis(50))?;
        }
        let cell = |i: usize| at.get(i).cloned().unwrap_or_default();
        let mut timeline = None;
        if self.then == Then::Promote {
            if cell(0) == "t" {
                ask(&format!("SELECT pg_promote(true, {});", self.within.as_secs().clamp(1, 86_400)))?;
            }
            timeline = ask(TIMELINE)?.into_iter().next();
        }
        Ok(Reached { lsn: cell(2), at: cell(3), timeline })
    }

    /// The `restore_command`. The server reads ahead of its replay, and must not be stopped by a gap behind
    /// its target.
    fn get(&self, program: &Path, archive: &Path, options: &str) -> String {
        let gap = self.gap.map_or(String::new(), |gap| format!(" --accept-gap {gap}"));
        format!("{} get -a {}{options}{gap} %f %p", shell(program), shell(archive))
    }

    /// Has the next start of the server come to the target again, and stay there.
    fn leave(&self, data: &Path, get: &Path) -> Result<()> {
        let restore = self.get(get, self.wal.dir(), "");
        let action = if self.then == Then::Pause { "pause" } else { "shutdown" };
        let mut lines = vec![
            ("restore_command", restore),
            ("recovery_target_timeline", self.timeline.to_string()),
            ("recovery_target_action", action.into()),
        ];
        lines.extend(self.until.settings());
        let path = data.join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        for (name, value) in lines {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\\', "\\\\").replace('\'', "''")));
        }
        fs::write(&path, text).map_err(|e| Error::io("write", path.display(), &e))?;
        like(&path, data)
    }
}

/// Who may promote the server, where that is not who asks: the private server lets in anybody.
fn superuser_instead(server: &Server) -> Result<Option<String>> {
    let sql = "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin \
        AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) ORDER BY oid LIMIT 1;";
    Ok(server.query(&server.facts().database, sql)?.into_iter().flatten().next())
}

/// Removes the container of a server that was ended hard.
struct Gone<'a>(&'a Programs);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        kit::child::clean_up(|| self.0.remove());
    }
}

/// Has a timeline's history archived once the server archives anything. It was written while that was off,
/// and PostgreSQL marks histories at no other time: the segments alone would come into the archive, and
/// nobody would know where their timeline came from.
fn announce(data: &Path, timeline: &str) -> Result<()> {
    let timeline = timeline.parse().map_err(|_| Error::no(format!("'{timeline}' is no timeline")))?;
    let history = Name::History(timeline).to_string();
    let status = data.join("pg_wal/archive_status");
    if !data.join("pg_wal").join(&history).exists() {
        return Ok(());
    }
    let path = status.join(format!("{history}.ready"));
    fs::write(&path, "").map_err(|e| Error::io("write", path.display(), &e))?;
    like(&path, data)?;
    kit::place::sync_dir(&status)
}

/// Our neighbour that hands out the log.
fn program() -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().map(|me| me.with_file_name(GET)).filter(|p| p.is_file());
    beside.or_else(|| which::which(GET).ok()).ok_or_else(|| {
        Error::refused(format!("cannot find '{GET}', which hands out the log"))
            .hint("Install it beside this program, or in a folder of PATH.")
    })
}

/// A copy of it where whoever runs the server can reach it.
fn copy(found: &Path, site: &Site, programs: &Programs) -> Result<PathBuf> {
    let copy = site.path().join(GET);
    let fail = |e| Error::io("copy", found.display(), &e).hint("It is copied into TMPDIR: choose another.");
    fs::copy(found, &copy).map_err(fail)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).map_err(fail)?;
    programs.give(&copy)?;
    Ok(copy)
}

/// Files of configuration of a private server: who may come in by its private socket, and an empty
/// configuration where the data directory has none of its own, as Debian's.
fn private(data: &Path, site: &Site, programs: &Programs) -> Result<Vec<(&'static str, String)>> {
    let mut settings = Vec::new();
    let mut file = |setting, name: &str, text: &str| -> Result<()> {
        let path = site.path().join(name);
        fs::write(&path, text).map_err(|e| Error::io("write", path.display(), &e))?;
        programs.give(&path)?;
        settings.push((setting, path.display().to_string()));
        Ok(())
    };
    file("hba_file", "pg_hba.conf", "local all all trust\n")?;
    file("ident_file", "pg_ident.conf", "")?;
    if !data.join("postgresql.conf").exists() {
        file("config_file", "postgresql.conf", "")?;
    }
    Ok(settings)
}

/// The major version of a data directory.
fn major(data: &Path) -> Result<u32> {
    let path = data.join("PG_VERSION");
    let text = fs::read_to_string(&path).map_err(|e| Error::io("read", path.display(), &e))?;
    text.trim().parse().map_err(|_| Error::no(format!("'{}' names no version", path.display())))
}

/// Marks the data directory as one to recover, by its archive and not as a standby.
fn signal(data: &Path) -> Result<()> {
    kit::place::remove_if_there(&data.join("standby.signal"))?;
    let path = data.join("recovery.signal");
    fs::write(&path, "").map_err(|e| Error::io("write", path.display(), &e))?;
    like(&path, data)
}

/// Gives a file the owner of the data directory.
fn like(path: &Path, data: &Path) -> Result<()> {
    let fail = |e| Error::io("change", path.display(), &e);
    let owner = data.metadata().map_err(fail)?;
    chown(path, Some(owner.uid()), Some(owner.gid())).map_err(fail)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(fail)
}

/// A path as the shell reads it, in a setting in which `%` has a meaning.
fn shell(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('%', "%%").replace('\'', "'\\''"))
}
