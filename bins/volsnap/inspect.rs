//! What stands in a volume and whether it may be read, found by looking.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::place;
use kit::volume::control::Control;
use kit::volume::entry::{is_segment, leads_out};
use kit::volume::helper::Helper;
use kit::volume::set::{Archive, Content, Data};
use kit::volume::{Place, Volume, live, no_half};
use tempfile::TempDir;

use crate::sketch::sketch;

/// A volume that can be read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) volume: Volume,
    pub(crate) files: Files,
    /// The services of Compose that use it.
    pub(crate) services: Vec<String>,
}

/// How its files are reached.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    /// In this directory of this machine.
    Here(PathBuf),
    /// Through a container.
    Behind(Helper),
}

/// What can be looked at of a volume: the directory itself, or one that goes with this.
enum Sight<'a> {
    Whole(&'a Path),
    Sketch(TempDir),
}

impl Source {
    /// Where its files are.
    ///
    /// # Errors
    /// Refused where they are only reached through a container.
    pub(crate) fn root(&self) -> Result<&Path> {
        match &self.files {
            Files::Here(root) => Ok(root),
            Files::Behind(_) => {
                let what = format!("cannot read {} while its server runs: only root may", self.volume.place);
                Err(Error::refused(what).hint("Run this as root, or add --from-basebackup."))
            }
        }
    }

    fn sight(&self) -> Result<Sight<'_>> {
        match &self.files {
            Files::Here(root) => Ok(Sight::Whole(root)),
            Files::Behind(helper) => sketch(helper).map(Sight::Sketch),
        }
    }

    /// Whether some files of both are the same.
    fn overlaps(&self, other: &Source) -> bool {
        match (&self.files, &other.files) {
            (Files::Here(one), Files::Here(two)) => one.starts_with(two) || two.starts_with(one),
            _ => self.volume.place == other.volume.place,
        }
    }
}

impl Sight<'_> {
    fn path(&self) -> &Path {
        match self {
            Sight::Whole(root) => root,
            Sight::Sketch(dir) => dir.path(),
        }
    }
}

/// What a volume held when nobody ran on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) content: Content,
    pub(crate) data: Vec<Data>,
}

impl Seen {
    /// What was archived of a volume.
    pub(crate) fn of(source: &Source, archives: &[Archive]) -> Self {
        let archive = archives.iter().find(|a| a.label == source.volume.label);
        let (content, data) = archive.map_or((Content::Other, Vec::new()), |a| (a.content, a.data.clone()));
        Seen { content, data }
    }
}

/// The volumes that are named, each where it can be read, none within another; `image` is that of containers
/// where it takes them.
pub(crate) fn sources(words: &[String], snapshots: &Path, image: &str) -> Result<Vec<Source>> {
    let here = std::env::current_dir().map_err(|e| Error::io("find", "the working directory", &e))?;
    let mut sources: Vec<Source> = Vec::new();
    for word in words {
        let volume = Volume::parse(word, &here).map_err(kit::cli::usage)?;
        let files = files(&volume.place, snapshots, image)?;
        let source = Source { services: volume.place.services()?, volume, files };
        if let Some(other) = sources.iter().find(|s| s.volume.label == source.volume.label) {
            return Err(kit::cli::usage(format!(
                "{} and {} have one label, '{}': give one as LABEL=VOLUME",
                other.volume.place, source.volume.place, other.volume.label
            )));
        }
        if let Some(other) = sources.iter().find(|s| s.overlaps(&source)) {
            return Err(kit::cli::usage(format!(
                "{} and {} hold the same files",
                other.volume.place, source.volume.place
            )));
        }
        if let Files::Here(root) = &source.files
            && snapshots.canonicalize().is_ok_and(|dir| dir.starts_with(root))
        {
            return Err(Error::refused(format!(
                "cannot archive {}: the snapshots themselves are in it",
                source.volume.place
            ))
            .hint("Let them go elsewhere with --dir."));
        }
        sources.push(source);
    }
    is_no_half(&sources)?;
    Ok(sources)
}

/// Refuses what a restore has replaced by half, whose journal is elsewhere: it is of two times.
fn is_no_half(sources: &[Source]) -> Result<()> {
    let named = |source: &Source| match &source.files {
        Files::Here(root) => {
            let name = root.file_name()?.to_string_lossy().into_owned();
            Some((name, place::names(place::parent(root)).ok()?))
        }
        Files::Behind(_) => None,
    };
    let volumes: Vec<_> = sources.iter().filter_map(named).collect();
    no_half(&volumes)
}

fn files(place: &Place, snapshots: &Path, image: &str) -> Result<Files> {
    let Some(path) = place.mountpoint()? else {
        return Err(Error::no(format!("there is no volume {place}")));
    };
    if !place.is_open(&path) {
        return Helper::new(place, image, snapshots).map(Files::Behind);
    }
    let root = path.canonicalize().map_err(|e| Error::io("read", path.display(), &e))?;
    if !root.is_dir() {
        return Err(Error::no(format!("cannot read '{}': it is no directory", path.display())));
    }
    Ok(Files::Here(root))
}

/// Ends the containers of a run that was killed.
pub(crate) fn sweep_containers(sources: &[Source], snapshots: &Path) -> Result<()> {
    sources.iter().try_for_each(|source| match source.files {
        Files::Here(_) => Ok(()),
        Files::Behind(_) => Helper::sweep(&source.volume.place, snapshots),
    })
}

/// Looks into a volume on which nobody may run.
///
/// # Errors
/// Refused when somebody does.
pub(crate) fn look(source: &Source) -> Result<Seen> {
    let place = &source.volume.place;
    place.no_container_runs(&[])?;
    if let Files::Here(root) = &source.files {
        let data = live::data_directories(root)?;
        if let Some((pid, name)) = std::iter::once(root).chain(&data).find_map(|dir| live::user_of(dir)) {
            return Err(Error::refused(format!("cannot read {place}: {name} (process {pid}) runs on it"))
                .hint("Name what stops it with --services, or with --stop and --start."));
        }
    }
    glance(source)
}

/// Looks into a volume, whoever runs on it.
pub(crate) fn glance(source: &Source) -> Result<Seen> {
    let sight = source.sight()?;
    let root = sight.path();
    let mut data = Vec::new();
    for dir in live::data_directories(root)? {
        let below = dir.strip_prefix(root).unwrap_or(&dir);
        // what a sketch is called is nobody's business
        let (shown, own) = (source.volume.place.to_string(), root.display().to_string());
        let named = |e: Error| match &sight {
            Sight::Whole(_) => e,
            Sight::Sketch(_) => Error::new(e.code(), e.to_string().replace(&own, &shown)),
        };
        if let Some(control) = Control::of(&dir).map_err(named)? {
            data.push(Data { path: below.to_string_lossy().into_owned(), control });
        }
    }
    let content = match data.is_empty() {
        false => Content::Postgresql,
        true if holds_wal(root) => Content::WalArchive,
        true => Content::Other,
    };
    Ok(Seen { content, data })
}

/// Whether there are segments of WAL in a directory, or one level below it.
fn holds_wal(root: &Path) -> bool {
    let is_named = |name: &String| is_segment(name.as_bytes());
    let names = place::names(root).unwrap_or_default();
    let below = |name: &String| {
        root.join(name).is_dir() && place::names(&root.join(name)).is_ok_and(|n| n.iter().any(is_named))
    };
    names.iter().any(is_named) || names.iter().take(100).any(below)
}

/// Tells of data that were not stopped in order: they are whole, as after a power cut.
pub(crate) fn warn_of_state(source: &Source, seen: &Seen, speech: &Speech) {
    for data in seen.data.iter().filter(|d| !d.control.state.is_clean()) {
        speech.warn(&format!(
            "warning: the server of {} was not stopped in order ({}): it will recover when it starts",
            source.volume.place, data.control.state
        ));
    }
}

/// Refuses data of PostgreSQL's that are in none of the volumes: without them a snapshot is not whole. A hot
/// one does not read the log.
pub(crate) fn outside(sources: &[Source], hot: bool, allow: bool, speech: &Speech) -> Result<()> {
    for source in sources {
        let sight = source.sight()?;
        let data = live::data_directories(sight.path())?;
        for at in data.iter().flat_map(|dir| links_of(dir, hot)) {
            let name = at.strip_prefix(sight.path()).unwrap_or(&at);
            let (target, inside, hint) = match &source.files {
                Files::Here(_) => {
                    let target = at.canonicalize().or_else(|_| std::fs::read_link(&at)).unwrap_or_default();
                    let holds = |s: &Source| s.root().is_ok_and(|root| target.starts_with(root));
                    let hint = format!("Name dir:{} too, or give --allow-outside.", target.display());
                    (target.clone(), sources.iter().any(holds), hint)
                }
                // where it leads in a container that has more volumes than this one, is not known here
                Files::Behind(_) => {
                    let target = std::fs::read_link(&at).unwrap_or_default();
                    let out = leads_out(name.as_os_str().as_bytes(), target.as_os_str().as_bytes());
                    (target, !out, "Give --allow-outside if another of the volumes holds it.".into())
                }
            };
            if inside {
                continue;
            }
            let what = format!(
                "'{}' of {} leads to '{}', which is in none of the volumes",
                name.display(),
                source.volume.place,
                target.display()
            );
            if !allow {
                return Err(Error::refused(format!("the snapshot would not be whole: {what}")).hint(hint));
            }
            speech.warn(&format!("warning: {what}: it is not in the snapshot"));
        }
    }
    Ok(())
}

/// The links by which a data directory keeps data elsewhere that are read: its tablespaces and its WAL.
fn links_of(data: &Path, hot: bool) -> Vec<PathBuf> {
    let tablespaces = data.join("pg_tblspc");
    let names = place::names(&tablespaces).unwrap_or_default();
    let all = names.iter().map(|n| tablespaces.join(n)).chain((!hot).then(|| data.join("pg_wal")));
    all.filter(|path| path.is_symlink()).collect()
}
