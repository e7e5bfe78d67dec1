//! Tablespaces of a server that is recovered beside: they come along, and it must never find those of
//! the live one. Where the snapshot does not hold them there is no such recovery.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

use kit::exit::{Error, Result};
use kit::place;
use kit::volume::set::{Archive, Link, Set};

/// A tablespace, and where it goes.
pub(super) struct Space {
    /// Its object identifier, which the link in `pg_tblspc` bears.
    oid: String,
    /// The volume that holds it.
    pub(super) label: String,
    /// Its path in that volume.
    below: PathBuf,
}

/// The tablespaces outside of the data directory in `volume`.
///
/// # Errors
/// One is in none of the set's volumes.
pub(super) fn find(set: &Set, volume: &Archive) -> Result<Vec<Space>> {
    let links = volume.links.iter().filter(|l| l.path.contains("pg_tblspc/"));
    links.map(|link| held(set, volume, link)).collect()
}

fn held(set: &Set, volume: &Archive, link: &Link) -> Result<Space> {
    let oid = link.path.rsplit('/').next().unwrap_or_default().to_owned();
    let others = set.volumes.iter().filter(|v| v.label != volume.label);
    let mut holding = others.filter_map(|v| {
        let below = Path::new(&link.target).strip_prefix(v.place.strip_prefix("dir:")?).ok()?;
        Some(Space { oid: oid.clone(), label: v.label.clone(), below: below.to_owned() })
    });
    holding.next().ok_or_else(|| {
        Error::refused(format!("the snapshot does not hold the tablespace in '{}'", link.target))
            .hint("Its recovery would write into the one that is in use: restore with volrestore alone, and recover by hand.")
    })
}

/// Has the data directory find its tablespaces below `dir`: by its links, and by the map from which a
/// server that begins with a `backup_label` makes them anew.
pub(super) fn lead(spaces: &[Space], data: &Path, dir: &Path) -> Result<()> {
    let owner = data.metadata().map_err(|e| Error::io("read", data.display(), &e))?;
    let mut map = String::new();
    for space in spaces {
        let link = data.join("pg_tblspc").join(&space.oid);
        // without a slash at its end
        let to: PathBuf = dir.join(&space.label).join(&space.below).components().collect();
        place::remove_if_there(&link)?;
        symlink(&to, &link)
            .and_then(|()| lchown(&link, Some(owner.uid()), Some(owner.gid())))
            .map_err(|e| Error::io("link", link.display(), &e))?;
        let to = to.display().to_string().replace('\\', "\\\\").replace('\n', "\\\n").replace('\r', "\\\r");
        map.push_str(&format!("{} {to}\n", space.oid));
    }
    let path = data.join("tablespace_map");
    if path.exists() {
        fs::write(&path, map).map_err(|e| Error::io("write", path.display(), &e))?;
    }
    Ok(())
}
