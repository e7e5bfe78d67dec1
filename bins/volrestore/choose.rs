//! Which snapshot to put back.

use std::path::{Path, PathBuf};

use kit::child;
use kit::exit::{Error, Result};
use kit::out;
use kit::place;
use kit::stamp::Stamp;
use kit::volume::listing;
use kit::volume::set::{self, Set};
use kit::volume::snapshot::{Snapshot, scan};

use crate::cli::Which;

/// How many snapshots `--pick` offers.
const OFFERED: usize = 10;

/// A snapshot's record, and where it and its archives are.
pub(crate) struct Chosen {
    pub(crate) path: PathBuf,
    pub(crate) set: Set,
    /// The services that start last, when a member of the cluster leads.
    pub(crate) followers: Vec<String>,
}

impl Chosen {
    /// The folder of the archives.
    pub(crate) fn dir(&self) -> &Path {
        place::parent(&self.path)
    }

    /// The time in its names.
    pub(crate) fn stem(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Finds the snapshot and reads its record.
pub(crate) fn choose(which: &Which, dir: &Path) -> Result<Chosen> {
    let path = match which {
        Which::Named(name) => named(name, dir)?,
        Which::Latest => latest(dir)?,
        Which::Pick => pick(dir)?,
    };
    let snapshot = Snapshot::at(&path);
    if let Some(fault) = snapshot.fault {
        return Err(Error::no(format!("cannot restore '{}': {fault}", path.display()))
            .hint("--list shows the snapshots that are whole."));
    }
    let set = Set::read(&path)?;
    Ok(Chosen { followers: set.followers(), set, path })
}

/// A time in the folder of snapshots, or the path of a record.
fn named(name: &str, dir: &Path) -> Result<PathBuf> {
    let there = match Stamp::parse_compact(name) {
        Some(stamp) => dir.join(set::name(stamp)),
        None => PathBuf::from(name),
    };
    if there.is_file() {
        return Ok(there);
    }
    Err(Error::no(format!("there is no snapshot '{}'", there.display()))
        .hint("--list shows the snapshots that are there."))
}

fn latest(dir: &Path) -> Result<PathBuf> {
    let snapshots = scan(dir)?;
    let proven: Vec<&Snapshot> = snapshots.iter().filter(|s| s.fault.is_none()).collect();
    let Some(newest) = proven.first() else {
        return Err(Error::no(format!("'{}' holds no whole snapshot", dir.display())));
    };
    let kin =
        |s: &Snapshot| s.set.as_ref().map(|set| (set.series(), set.system_identifier.clone(), set.place()));
    if proven.iter().any(|s| kin(s) != kin(newest)) {
        return Err(Error::refused(format!(
            "'{}' holds snapshots of different volumes or clusters",
            dir.display()
        ))
        .hint("Name the snapshot, or choose with --pick."));
    }
    Ok(newest.path.clone())
}

/// Offers the newest snapshots and reads a number or a time.
fn pick(dir: &Path) -> Result<PathBuf> {
    let mut snapshots = scan(dir)?;
    snapshots.truncate(OFFERED);
    if snapshots.is_empty() {
        return Err(Error::no(format!("'{}' holds no snapshot", dir.display())));
    }
    let now = Stamp::now();
    let mut offer = String::from("Available snapshots:\n");
    for (i, snapshot) in snapshots.iter().enumerate() {
        let row: Vec<String> = listing::row(snapshot, now).iter().map(|c| out::plain(c)).collect();
        let [name, size, age, volumes, tag, proven] = &row[..] else { continue };
        let tag = if tag == "-" { String::new() } else { format!("  [{tag}]") };
        offer.push_str(&format!("{:>3}  {name}  ({size})  {age} ago  {volumes}  {proven}{tag}\n", i + 1));
    }
    let answer =
        child::ask(&format!("{offer}Enter snapshot to restore (or its number): "))?.unwrap_or_default();
    kit::child::interrupted()?;
    let by_number = answer.parse::<usize>().ok().and_then(|n| snapshots.get(n.checked_sub(1)?));
    match by_number.or_else(|| snapshots.iter().find(|s| s.stem() == answer)) {
        Some(snapshot) => Ok(snapshot.path.clone()),
        None if answer.is_empty() => Err(Error::refused("no snapshot was chosen")),
        // one outside the last ten is fine too, when it is there
        None => named(Stamp::parse_compact(&answer).map_or("", |_| &answer), dir),
    }
}
