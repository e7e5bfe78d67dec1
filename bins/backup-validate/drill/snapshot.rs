//! The drill of a snapshot of volumes: it is put into a folder of the drill's own, and its server started there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use kit::child::{Child, sibling};
use kit::exit::{Error, Result};
use kit::instance::{Instance, Programs, Site};
use kit::pg::major_of;
use kit::settings::Settings;
use kit::store::Place;
use kit::volume::set::{Data, Mode, Set};

use crate::cli::Args;
use crate::verdict::Verdict;

use super::Times;
use super::ground::{SETTINGS, TAG, WAIT, lacking};

/// Settings of the snapshot's own server are of no concern, and some are dangerous: its `archive_command`
/// would write to where the real one does.
const OWN: [(&str, &str); 2] = [("archive_mode", "off"), ("max_prepared_transactions", "64")];

/// What a drill starts, and how far that has to be recovered first.
pub(super) struct Way<'a> {
    label: &'a str,
    data: &'a Data,
    /// Options of the program that restores; none where the snapshot starts by itself.
    until: Vec<&'a str>,
    wal: Option<PathBuf>,
}

impl<'a> Way<'a> {
    /// `None`: no data directory is in it. `Err`: why what is in it cannot be started.
    pub(super) fn of(set: &'a Set, args: &'a Args) -> Option<Result<Self>> {
        let holds = set.volumes.iter().any(|v| !v.data.is_empty());
        holds.then(|| Self::find(set, args))
    }

    fn find(set: &'a Set, args: &'a Args) -> Result<Self> {
        let lacks_log = set.mode == Mode::Hot && set.wal.as_ref().is_none_or(|wal| !wal.included);
        let until = match args.until.as_deref() {
            Some("latest") => vec!["--until-latest"],
            Some(moment) => vec!["--until", moment],
            None if !lacks_log => Vec::new(),
            None if args.wal.is_some() => vec!["--until-immediate"],
            None => {
                return Err(Error::refused("a hot snapshot is of no use without its WAL")
                    .hint("Name the archive that holds it by --wal."));
            }
        };
        let (label, data) = data(set).map_err(Error::refused)?;
        let wal = args.wal.as_ref().filter(|_| !until.is_empty());
        Ok(Way { label, data, until, wal: wal.map(|wal| archive(Path::new(wal))) })
    }

    /// Puts the snapshot of `record` into a folder of our own, recovers it, and starts its server. Where
    /// PostgreSQL's own manifest is among the data, that is checked first.
    pub(super) fn start(
        &self,
        record: &Path,
        times: &mut Times,
        verdict: &mut Verdict,
    ) -> Result<(Instance, Site)> {
        let site = Site::new(TAG, &Programs::find(None)?).map_err(lacking)?;
        let volumes = site.path().join("volumes");
        times.restore = timed(|| self.restore(record, &volumes, site.path()))?;
        let data = volumes.join(self.label).join(&self.data.path);
        if self.until.is_empty() && data.join("backup_manifest").is_file() {
            times.prove = timed(|| verify(&data, &site, verdict))?;
        }
        start(data, &volumes, site)
    }

    fn restore(&self, record: &Path, volumes: &Path, folder: &Path) -> Result<()> {
        let program = "volrestore";
        let mut command = Command::new(sibling(program));
        command.args(["--quiet", "--notify", "none"]).args(&self.until);
        if let Some(wal) = &self.wal {
            command.arg("--wal").arg(wal).envs(Settings::load()?.of_stores());
        }
        command.arg("--into").arg(volumes).arg(super::absolute(record)).current_dir(folder);
        let ended = Child::spawn(&mut command, program, Stdio::null(), Stdio::null())?.wait()?;
        if ended.ok() { Ok(()) } else { Err(super::hints::of_drill(ended.told())) }
    }
}

/// How many seconds it takes.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let clock = Instant::now();
    work().map(|()| clock.elapsed().as_secs_f64())
}

/// The archive as a program names it that stands elsewhere.
fn archive(wal: &Path) -> PathBuf {
    if Place::is(wal) { wal.to_owned() } else { super::absolute(wal) }
}

/// The data directory that a drill starts: that of the volume which leads. `Err`: why there is none.
fn data(set: &Set) -> std::result::Result<(&str, &Data), &'static str> {
    let mut holds = set.volumes.iter().filter(|v| !v.data.is_empty());
    let volume = match &set.leader {
        Some(leader) => holds.find(|v| v.label == *leader),
        None => holds.next().filter(|_| holds.next().is_none()),
    };
    let volume = volume.ok_or("it is not known which of its volumes leads")?;
    match &volume.data[..] {
        [data] => Ok((&volume.label, data)),
        _ => Err("its volume holds several data directories"),
    }
}

/// The programs of the data's own version.
fn programs(data: &Path) -> Result<Programs> {
    let version = data.join("PG_VERSION");
    let text = fs::read_to_string(&version).map_err(|e| Error::io("read", version.display(), &e))?;
    let major =
        major_of(&text).ok_or_else(|| Error::no(format!("'{}' tells no version", version.display())))?;
    Programs::exactly(major)
}

/// Has PostgreSQL check every file, and the log, against the manifest of `pg_basebackup`.
fn verify(data: &Path, site: &Site, verdict: &mut Verdict) -> Result<()> {
    let (program, programs) = ("pg_verifybackup", programs(data)?);
    if !programs.have(program) {
        verdict.warn(format!("drill: {program} is not installed, and PostgreSQL's manifest not checked"));
        return Ok(());
    }
    let mut command = Command::new(programs.dir().join(program));
    command.arg("--quiet").arg(data).current_dir(site.path());
    let ended = Child::spawn(&mut command, program, Stdio::null(), Stdio::null())?.wait()?;
    match ended.ok() {
        true => verdict.note(format!("{program} found nothing wrong")),
        false => verdict.fault(ended.error().within("drill")),
    }
    Ok(())
}

fn start(data: PathBuf, volumes: &Path, site: Site) -> Result<(Instance, Site)> {
    let programs = programs(&data)?;
    stays_inside(volumes, site.path())?;
    for name in ["postgresql.auto.conf", "standby.signal", "recovery.signal"] {
        kit::place::remove_if_there(&data.join(name))?;
    }
    let [config, hba, ident] =
        [("drill.conf", ""), ("hba.conf", "local all all trust\n"), ("ident.conf", "")].map(
            |(name, text)| {
                let path = site.path().join(name);
                fs::write(&path, text).map_err(|e| Error::io("write", path.display(), &e)).map(|()| path)
            },
        );
    let (config, hba, ident) = (config?, hba?, ident?);
    for path in [&config, &hba, &ident] {
        programs.give(path)?;
    }
    give_all(volumes, &programs)?;
    let (config, hba, ident) =
        (config.display().to_string(), hba.display().to_string(), ident.display().to_string());
    let files = [("config_file", config.as_str()), ("hba_file", &hba), ("ident_file", &ident)];
    let settings: Vec<(&str, &str)> = files.into_iter().chain(SETTINGS).chain(OWN).collect();
    // a server that was not stopped in order recovers first
    let instance = Instance::start(&programs, &site, &data, &settings, WAIT * 10)?;
    Ok((instance, site))
}

/// Refuses links that lead out, as those of tablespaces do: what is there is the real server's.
fn stays_inside(folder: &Path, site: &Path) -> Result<()> {
    let site = site.canonicalize().map_err(|e| Error::io("read", site.display(), &e))?;
    each(folder, &mut |path| {
        let leads_out = || path.canonicalize().map_or(true, |to| !to.starts_with(&site));
        if path.is_symlink() && leads_out() {
            return Err(Error::refused(format!(
                "'{}' is a link that leads out of the snapshot",
                path.display()
            ))
            .hint("A server that is started on it would write where the real one does."));
        }
        Ok(())
    })
}

fn give_all(folder: &Path, programs: &Programs) -> Result<()> {
    programs.give(folder)?;
    each(folder, &mut |path| if path.is_symlink() { Ok(()) } else { programs.give(path) })
}

/// Calls `act` for all that is in a folder, links not followed.
fn each(folder: &Path, act: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let mut waiting: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| Error::io("list", folder.display(), &e))?;
        for entry in entries {
            let path = entry.map_err(|e| Error::io("list", folder.display(), &e))?.path();
            act(&path)?;
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path);
            }
        }
    }
    Ok(())
}
