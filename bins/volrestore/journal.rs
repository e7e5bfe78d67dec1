//! What a restore is about to do, written down before it does it, so that the next run can end it.
//!
//! Three names tell how far it came, and each step is one rename: `.restore.json` while volumes are
//! filled in beside the present ones (left behind, they are removed), `.swap.json` while directories
//! change names (left behind, that is ended), `.before_TIME.json` once it is done: by it the restore
//! can be undone. `.unheard` tells its time until a run has ended well after that: the next one, which may
//! do the same again, must not remove what was there before. How far the changing of names came is seen
//! by what stands on the disk. Where there is no room beside, `.swap.json` also covers the time in which
//! volumes are emptied and filled.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::place;
use kit::stamp::Stamp;
use kit::volume::helper::Helper;
use kit::volume::{Place, SWAPPING};
use serde::{Deserialize, Serialize};

use crate::choose::Chosen;
use crate::occupied::{nobody_on, nobody_replays_in};
use crate::site::{Site, Sites, rename, there};

mod kept;

pub(crate) use kept::{latest, tidy};

const FILLING: &str = ".restore.json";
const DONE: &str = ".before_";
const UNHEARD: &str = ".unheard";

/// Where there is room for what takes the places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Room {
    /// Beside what is there.
    #[default]
    Beside,
    /// Only once what is there has been removed; then it is filled from the snapshot of this record.
    Emptying(PathBuf),
    /// The same, and all of it is filled.
    Emptied,
}

/// A restore of some volumes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// When it began, as in file names.
    pub(crate) stamp: String,
    /// The snapshot, by its time; or what else it goes back to.
    pub(crate) snapshot: String,
    /// Whether what takes the places is made for it; what was there before is nobody's to remove.
    pub(crate) fills: bool,
    /// Whether it replaces nothing: each volume has its name as soon as it is whole, and keeps it.
    #[serde(default)]
    pub(crate) into: bool,
    #[serde(default)]
    pub(crate) room: Room,
    /// What the command line asked for beside the snapshot: the same again is done already.
    #[serde(default)]
    pub(crate) asked: Vec<String>,
    /// Whether the cluster goes on along timelines that began before the end of what was there.
    #[serde(default)]
    pub(crate) branches: bool,
    /// Whether the log was replayed to a moment, so that the archive has another timeline.
    #[serde(default)]
    pub(crate) recovered: bool,
    /// Services that start last, when a member of the cluster leads.
    #[serde(default)]
    pub(crate) last: Vec<String>,
    /// Volumes that are made for it, where only root may enter them.
    #[serde(default)]
    pub(crate) made: Vec<String>,
    /// The directories that change names.
    pub(crate) moves: Vec<Move>,
}

/// A directory and what takes its place; all three are beside one another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Move {
    /// The volume's label.
    pub(crate) label: String,
    /// The volume, as `dir:PATH` or `docker:NAME`.
    pub(crate) place: String,
    /// The directory's name.
    pub(crate) live: PathBuf,
    /// What will have that name.
    pub(crate) staged: PathBuf,
    /// The name of what had it before.
    pub(crate) before: PathBuf,
    /// From where they are reached: that is found out by each run.
    #[serde(skip)]
    pub(crate) site: Site,
}

impl Move {
    /// Refuses a volume on which somebody runs, in a container or not.
    pub(crate) fn is_idle(&self) -> Result<()> {
        self.place()?.no_container_runs(&[])?;
        match self.site {
            Site::Here => nobody_on(&self.live),
            // processes have other numbers there, if any could be seen; containers are told by the engine
            Site::Behind(_) => Ok(()),
        }
    }

    fn place(&self) -> Result<Place> {
        let place = Place::parse(&self.place, Path::new("/"));
        place.map_err(|e| Error::no(format!("cannot replace '{}': {e}", self.place)))
    }

    /// Whether something has its name.
    pub(crate) fn is_live(&self) -> Result<bool> {
        self.site.there(&self.live)
    }

    /// Whether what will have its name waits beside it.
    pub(crate) fn is_staged(&self) -> Result<bool> {
        self.site.there(&self.staged)
    }

    /// Whether what had its name before is there.
    pub(crate) fn has_before(&self) -> Result<bool> {
        self.site.there(&self.before)
    }

    /// What may be made of it later: the same with other names beside it.
    pub(crate) fn again(&self, stamp: Stamp) -> Self {
        let before = place::with_suffix(&self.live, &format!(".before_{}", stamp.compact()));
        Move { staged: self.before.clone(), before, ..self.clone() }
    }

    /// `live` and two names beside it.
    pub(crate) fn beside(label: &str, place: &Place, site: &Site, live: &Path, stamp: Stamp) -> Self {
        let beside = |what: &str| place::with_suffix(live, &format!(".{what}_{}", stamp.compact()));
        Move {
            label: label.to_owned(),
            place: place.to_string(),
            live: live.to_owned(),
            staged: beside("restore"),
            before: beside("before"),
            site: site.clone(),
        }
    }

    /// Gives both directories their names, as far as that was not done before.
    fn settle(&self) -> Result<()> {
        if !self.is_staged()? {
            return Ok(());
        }
        if self.is_live()? {
            self.site.rename(&self.live, &self.before)?;
        }
        self.site.rename(&self.staged, &self.live)?;
        self.site.sync_dir(place::parent(&self.live))
    }

    /// The opposite, as far as it was done.
    fn take_back(&self) -> Result<()> {
        if !self.is_staged()? {
            self.site.rename(&self.live, &self.staged)?;
        }
        if !self.is_live()? && self.has_before()? {
            self.site.rename(&self.before, &self.live)?;
        }
        self.site.sync_dir(place::parent(&self.live))
    }
}

impl Journal {
    /// Of a restore of that snapshot that replaces nothing, and names nothing yet.
    pub(crate) fn beside(stamp: Stamp, chosen: &Chosen) -> Journal {
        Journal {
            stamp: stamp.compact(),
            snapshot: chosen.stem(),
            fills: true,
            into: true,
            room: Room::Beside,
            asked: Vec::new(),
            branches: false,
            recovered: false,
            last: Vec::new(),
            made: Vec::new(),
            moves: Vec::new(),
        }
    }

    /// Writes it down: from now on volumes are filled in.
    pub(crate) fn begin(&self, dir: &Path) -> Result<()> {
        self.write(&dir.join(FILLING))
    }

    fn write(&self, path: &Path) -> Result<()> {
        let fail = |e| Error::no(format!("cannot write '{}': {e}", path.display()));
        place::replace(path, &serde_json::to_vec(self).map_err(fail)?)
    }

    /// From now on the volumes may be empty, and only the snapshot can end that: nothing starts meanwhile.
    pub(crate) fn empty_first(&self, dir: &Path) -> Result<()> {
        rename(&dir.join(FILLING), &dir.join(SWAPPING))?;
        place::sync_dir(dir)
    }

    /// Empties the volumes, but keeps their directories; removes what was filled of those that take their places.
    pub(crate) fn empty(&self) -> Result<()> {
        for m in &self.moves {
            m.site.remove_tree(&m.staged)?;
            if m.is_live()? {
                m.site.empty(&m.live)?;
            }
        }
        Ok(())
    }

    /// Writes down that all is filled, from the snapshot of that time: only names have to change.
    pub(crate) fn filled(&self, dir: &Path, snapshot: String) -> Result<Journal> {
        let filled = Journal { room: Room::Emptied, snapshot, ..self.clone() };
        filled.write(&dir.join(SWAPPING))?;
        Ok(filled)
    }

    /// Removes what was filled in, and the journal.
    pub(crate) fn abandon(&self, dir: &Path) -> Result<()> {
        // names have changed by half, and could not be taken back: all of it is needed to end that
        if there(&dir.join(SWAPPING)) {
            return Ok(());
        }
        for m in self.moves.iter().filter(|_| self.fills) {
            if let Site::Here = m.site {
                nobody_replays_in(&m.staged)?;
            }
            m.site.remove_tree(&m.staged)?;
        }
        for made in &self.made {
            let made = Place::parse(made, Path::new("/")).map_err(Error::no)?;
            Helper::sweep(&made, dir)?;
            made.remove_made(&self.stamp)?;
        }
        self.end(dir)
    }

    /// Forgets it: what was filled in has its name.
    pub(crate) fn end(&self, dir: &Path) -> Result<()> {
        place::remove_if_there(&dir.join(FILLING))
    }

    /// Has directories change names, all or none.
    pub(crate) fn swap(&self, dir: &Path) -> Result<()> {
        rename(&dir.join(FILLING), &dir.join(SWAPPING))?;
        place::sync_dir(dir)?;
        if let Err(error) = self.settle(dir) {
            self.moves.iter().rev().try_for_each(Move::take_back)?;
            rename(&dir.join(SWAPPING), &dir.join(FILLING))?;
            return Err(error);
        }
        Ok(())
    }

    /// Gives all directories their names, as far as that was not done before.
    pub(crate) fn settle(&self, dir: &Path) -> Result<()> {
        self.moves.iter().try_for_each(Move::settle)?;
        if self.room == Room::Emptied {
            // to empty directories nobody goes back
            self.moves.iter().try_for_each(|m| m.site.remove_tree(&m.before))?;
            place::remove_if_there(&dir.join(SWAPPING))?;
            return place::sync_dir(dir);
        }
        place::replace(&dir.join(UNHEARD), self.stamp.as_bytes())?;
        rename(&dir.join(SWAPPING), &record(dir, &self.stamp))?;
        place::sync_dir(dir)
    }
}

/// The file by which the restore of that time can be undone.
pub(crate) fn record(dir: &Path, stamp: &str) -> PathBuf {
    dir.join(format!("{DONE}{stamp}.json"))
}

/// The file that is there while names change: nothing may start then.
pub(crate) fn swapping(dir: &Path) -> PathBuf {
    dir.join(SWAPPING)
}

/// The time of the restore that was done when its run was killed, or failed: nobody heard of it.
pub(crate) fn unheard(dir: &Path) -> Option<String> {
    std::fs::read_to_string(dir.join(UNHEARD)).ok()
}

/// Somebody hears of it now.
pub(crate) fn heard(dir: &Path) -> Result<()> {
    place::remove_if_there(&dir.join(UNHEARD))
}

/// What a run that was killed had begun, and how that ended.
pub(crate) struct Ended {
    /// The restore that is done by that.
    pub(crate) done: Option<Journal>,
    /// Whether one that had replaced nothing yet was given up.
    pub(crate) given_up: bool,
}

/// Whether a run that was killed has begun something.
pub(crate) fn is_begun(dir: &Path) -> bool {
    [SWAPPING, FILLING].iter().any(|name| there(&dir.join(name)))
}

/// Ends what a run that was killed has begun. The caller holds the directory's lock. `refill` empties and fills
/// again where there was no room, and gives back the time of the snapshot that it took.
pub(crate) fn resume(
    sites: Sites<'_>,
    speech: &Speech,
    refill: impl FnOnce(&Journal) -> Result<String>,
) -> Result<Ended> {
    let dir = sites.dir;
    let (mut swapping, filling) = (read(&dir.join(SWAPPING), sites)?, read(&dir.join(FILLING), sites)?);
    // what one of that run still does must have ended before anything is looked at
    for m in swapping.iter().chain(&filling).flat_map(|journal| &journal.moves) {
        sites.sweep(&m.place()?, &m.site)?;
    }
    if let Some(journal) = &mut swapping {
        journal.moves.iter().try_for_each(Move::is_idle)?;
        speech.warn(&format!("ending the restore of {} that was cut off", journal.snapshot));
        if let Room::Emptying(_) = journal.room {
            *journal = journal.filled(dir, refill(journal)?)?;
        }
        journal.settle(dir)?;
    }
    let given_up = filling.as_ref().is_some_and(|journal| !journal.into);
    if let Some(journal) = filling {
        speech
            .say(&format!("removing what a restore of {} that was cut off has filled in", journal.snapshot));
        journal.abandon(dir)?;
        for m in journal.moves.iter().filter(|_| journal.into) {
            if m.is_live()? {
                speech.say(&format!("{} was whole by then, and stays", m.live.display()));
            }
        }
    }
    Ok(Ended { done: swapping, given_up })
}

/// Whether that is so of any of them.
pub(crate) fn any<T>(all: &[T], is: impl Fn(&T) -> Result<bool>) -> Result<bool> {
    for one in all {
        if is(one)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(path: &Path, sites: Sites<'_>) -> Result<Option<Journal>> {
    let file = match place::open_regular(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| Error::io("read", path.display(), &e))?,
    };
    place::ours_alone(&file, path)?;
    let journal = serde_json::from_reader(BufReader::new(file));
    let mut journal: Journal =
        journal.map_err(|e| Error::no(format!("cannot read '{}': {e}", path.display())))?;
    for m in &mut journal.moves {
        m.site = sites.again(&m.place()?, &m.live)?;
    }
    Ok(Some(journal))
}

#[cfg(test)]
mod tests;
