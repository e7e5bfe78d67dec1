//! What stands in a volume and whether it may be read, found by looking.

use std::path::{Path, PathBuf};

use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::place;
use kit::volume::control::Control;
use kit::volume::set::{Archive, Content, Data};
use kit::volume::{Volume, live};

/// A volume that can be read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) volume: Volume,
    /// Where its files are on this machine.
    pub(crate) root: PathBuf,
    /// The services of Compose that use it.
    pub(crate) services: Vec<String>,
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

/// The volumes that are named, each where it can be read, none within another.
pub(crate) fn sources(words: &[String], snapshots: &Path) -> Result<Vec<Source>> {
    let here = std::env::current_dir().map_err(|e| Error::io("find", "the working directory", &e))?;
    let mut sources: Vec<Source> = Vec::new();
    for word in words {
        let volume = Volume::parse(word, &here).map_err(kit::cli::usage)?;
        let root = root(&volume)?;
        if let Some(other) = sources.iter().find(|s| s.volume.label == volume.label) {
            return Err(kit::cli::usage(format!(
                "{} and {} have one label, '{}': give one as LABEL=VOLUME",
                other.volume.place, volume.place, volume.label
            )));
        }
        if let Some(other) = sources.iter().find(|s| s.root.starts_with(&root) || root.starts_with(&s.root)) {
            return Err(kit::cli::usage(format!(
                "{} and {} hold the same files",
                other.volume.place, volume.place
            )));
        }
        if snapshots.canonicalize().is_ok_and(|dir| dir.starts_with(&root)) {
            return Err(Error::refused(format!(
                "cannot archive {}: the snapshots themselves are in it",
                volume.place
            ))
            .hint("Let them go elsewhere with --dir."));
        }
        let services = volume.place.services()?;
        sources.push(Source { volume, root, services });
    }
    Ok(sources)
}

fn root(volume: &Volume) -> Result<PathBuf> {
    let Some(path) = volume.place.directory()? else {
        return Err(Error::no(format!("there is no volume {}", volume.place)));
    };
    let root = path.canonicalize().map_err(|e| Error::io("read", path.display(), &e))?;
    if !root.is_dir() {
        return Err(Error::no(format!("cannot read '{}': it is no directory", path.display())));
    }
    Ok(root)
}

/// Looks into a volume on which nobody may run.
///
/// # Errors
/// Refused when somebody does.
pub(crate) fn look(source: &Source) -> Result<Seen> {
    let place = &source.volume.place;
    place.no_container_runs(&[])?;
    let data = live::data_directories(&source.root)?;
    if let Some((pid, name)) = std::iter::once(&source.root).chain(&data).find_map(|dir| live::user_of(dir)) {
        return Err(Error::refused(format!("cannot read {place}: {name} (process {pid}) runs on it"))
            .hint("Name what stops it with --services, or with --stop and --start."));
    }
    glance(source)
}

/// Looks into a volume, whoever runs on it.
pub(crate) fn glance(source: &Source) -> Result<Seen> {
    let mut data = Vec::new();
    for dir in live::data_directories(&source.root)? {
        let below = dir.strip_prefix(&source.root).unwrap_or(&dir);
        if let Some(control) = Control::of(&dir)? {
            data.push(Data { path: below.to_string_lossy().into_owned(), control });
        }
    }
    let content = match data.is_empty() {
        false => Content::Postgresql,
        true if holds_wal(&source.root) => Content::WalArchive,
        true => Content::Other,
    };
    Ok(Seen { content, data })
}

/// Whether there are segments of WAL in a directory, or one level below it.
fn holds_wal(root: &Path) -> bool {
    let is_segment = |name: &String| {
        let (segment, rest) = name.split_at_checked(24).unwrap_or(("", ""));
        let digits = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
        !segment.is_empty() && segment.bytes().all(digits) && (rest.is_empty() || rest.starts_with('.'))
    };
    let names = place::names(root).unwrap_or_default();
    let below = |name: &String| {
        root.join(name).is_dir() && place::names(&root.join(name)).is_ok_and(|n| n.iter().any(is_segment))
    };
    names.iter().any(is_segment) || names.iter().take(100).any(below)
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

/// Refuses data of PostgreSQL's that are in none of the volumes: without them a snapshot is not whole.
pub(crate) fn outside(sources: &[Source], allow: bool, speech: &Speech) -> Result<()> {
    for source in sources {
        let data = live::data_directories(&source.root)?;
        for at in data.iter().flat_map(|dir| links_of(dir)) {
            let target = at.canonicalize().or_else(|_| std::fs::read_link(&at)).unwrap_or_default();
            if sources.iter().any(|s| target.starts_with(&s.root)) {
                continue;
            }
            let what = format!(
                "'{}' leads to '{}', which is in none of the volumes",
                at.display(),
                target.display()
            );
            if !allow {
                return Err(Error::refused(format!("the snapshot would not be whole: {what}"))
                    .hint(format!("Name dir:{} too, or give --allow-outside.", target.display())));
            }
            speech.warn(&format!("warning: {what}: it is not in the snapshot"));
        }
    }
    Ok(())
}

/// The links by which a data directory keeps data elsewhere: its WAL and its tablespaces.
fn links_of(data: &Path) -> Vec<PathBuf> {
    let tablespaces = data.join("pg_tblspc");
    let names = place::names(&tablespaces).unwrap_or_default();
    let all = names.iter().map(|n| tablespaces.join(n)).chain([data.join("pg_wal")]);
    all.filter(|path| path.is_symlink()).collect()
}
