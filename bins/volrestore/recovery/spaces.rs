//! What a server keeps outside of its data directory, by links: tablespaces, and the log where `initdb -X`
//! put it elsewhere. They come along, and while the log is replayed the server must never find those of the
//! live one. Where the snapshot does not hold them there is no such recovery.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use kit::exit::{Error, Result};
use kit::place;
use kit::volume::set::{Archive, Data, Link, Set};

/// Where tablespaces have their links, each named by its object identifier.
const TABLESPACES: &str = "pg_tblspc";
const LOG: &str = "pg_wal";

/// A tablespace or the log, and where it goes.
pub(super) struct Space {
    /// The path of its link in the data directory.
    link: PathBuf,
    /// The volume that holds it.
    pub(super) label: String,
    /// Its path in that volume.
    below: PathBuf,
}

/// What the data directory in `volume` keeps outside of it.
///
/// # Errors
/// Something of it is in none of the set's volumes.
pub(super) fn find(set: &Set, volume: &Archive, data: &Data) -> Result<Vec<Space>> {
    let links = volume.links.iter().filter_map(|link| {
        let below = Path::new(&link.path).strip_prefix(&data.path).ok()?;
        (below == Path::new(LOG) || below.starts_with(TABLESPACES)).then_some((below, link))
    });
    links.map(|(below, link)| held(set, volume, below, link)).collect()
}

fn held(set: &Set, volume: &Archive, path: &Path, link: &Link) -> Result<Space> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // one that is relative leads from where it is
    let from = Path::new(volume.place.strip_prefix("dir:").unwrap_or_default());
    let target = &place::parent(&from.join(&link.path)).join(&link.target);
    let holding = set.volumes.iter().filter_map(|v| {
        let root = Path::new(v.place.strip_prefix("dir:")?);
        // on either way to it there may be links
        let below = match target.strip_prefix(root) {
            Ok(below) => below.to_owned(),
            Err(_) => real(target).strip_prefix(real(root)).ok()?.to_owned(),
        };
        let stays = below.components().all(|part| matches!(part, Component::Normal(_)));
        stays.then(|| Space { link: path.to_owned(), label: v.label.clone(), below })
    });
    let what = if path == Path::new(LOG) { "log" } else { "tablespace" };
    // the one that is nearest to it
    holding.min_by_key(|space| space.below.components().count()).ok_or_else(|| {
        let by_hand = match set.needs_log() {
            true => "unpack its archives, which tar reads, and recover by hand",
            false => "restore with volrestore alone, and recover by hand",
        };
        Error::refused(format!(
            "the snapshot does not hold the {what} in '{}'",
            kit::out::plain(&link.target)
        ))
        .hint(format!("Its recovery would write into the one that is in use: {by_hand}."))
    })
}

/// Has the data directory find them in `root` of their volume: by its links, and tablespaces by the map from
/// which a server that begins with a `backup_label` makes them anew.
pub(super) fn lead(spaces: &[Space], data: &Path, root: impl Fn(&str) -> Result<PathBuf>) -> Result<()> {
    let owner = data.metadata().map_err(|e| Error::io("read", data.display(), &e))?;
    let mut map = String::new();
    for space in spaces {
        let link = data.join(&space.link);
        // without a slash at its end
        let to: PathBuf = root(&space.label)?.join(&space.below).components().collect();
        place::remove_if_there(&link)?;
        symlink(&to, &link)
            .and_then(|()| lchown(&link, Some(owner.uid()), Some(owner.gid())))
            .map_err(|e| Error::io("link", link.display(), &e))?;
        place::sync_dir(place::parent(&link))?;
        let (true, Some(oid)) = (space.link.starts_with(TABLESPACES), space.link.file_name()) else {
            continue;
        };
        let to = to.display().to_string().replace('\\', "\\\\").replace('\n', "\\\n").replace('\r', "\\\r");
        map.push_str(&format!("{} {to}\n", oid.display()));
    }
    let path = data.join("tablespace_map");
    if path.exists() {
        fs::write(&path, map).map_err(|e| Error::io("write", path.display(), &e))?;
    }
    Ok(())
}
