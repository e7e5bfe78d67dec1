//! Recovery to a moment: a snapshot, and the log behind it up to there.
//!
//! The log is read up to the target before anything is touched. Then the data directory is filled in
//! beside and the log replayed over it by a private server; only what has got there takes the place
//! of what is there now, or appears under its name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kit::exit::{Code, Error, Result};
use kit::notify::Account;
use kit::out::Speech;
use kit::place;
use kit::volume::set::Mode;
use kit::volume::{Place, Volume};

use crate::choose::Chosen;
use crate::cli::{Args, Then, Which};
use crate::into;
use crate::journal::Move;
use crate::until::Until;

mod replay;
mod route;
mod spaces;
mod wal;

use replay::{Reached, Replay};
use route::{Log, Route, data_of};
use spaces::Space;
use wal::Wal;

/// A recovery that can be done.
pub(crate) struct Recovery {
    wal: Wal,
    route: Route,
    /// The path of the data directory in its volume.
    data: String,
    /// The volume that holds it.
    label: String,
    spaces: Vec<Space>,
    /// Volumes of the other members of Patroni's cluster, in place: it makes them anew from the one that is recovered.
    pub(crate) emptied: Vec<String>,
    /// The engine and the image of the containers on the volume, in which it is recovered: nobody but root
    /// reaches its files from here.
    image: Option<(&'static str, String)>,
}

impl Recovery {
    /// Finds the way, and narrows the snapshot to the volume that is recovered and those that hold its
    /// tablespaces and log.
    ///
    /// # Errors
    /// The log does not reach the target, or the data lie in several places.
    pub(crate) fn find(args: &Args, which: Option<&Which>, dir: &Path, speech: &Speech) -> Result<Self> {
        let (Some(until), Some(wal)) = (&args.until, &args.wal) else {
            return Err(kit::cli::usage("--until and its like go with --wal DIR"));
        };
        speech.phase("reading the log");
        let wal = Wal::of(wal)?;
        let archive = wal.open()?;
        let mut route = Log::of(&archive)?.route(which, dir, until, args.timeline, speech)?;
        let (volume, data) = data_of(&route.chosen.set)?;
        let spaces = spaces::find(&route.chosen.set, volume, data)?;
        let (label, data) = (volume.label.clone(), data.path.clone());
        let (mut emptied, mut image) = (Vec::new(), None);
        if args.into.is_none() {
            let to = place_of(volume, args)?;
            // one that is new has no container yet: then that of the volume that was read
            let read = || recorded(volume)?.image();
            image = to.image().or_else(|error| read().map_err(|_| error))?;
            let others = route.chosen.set.volumes.iter().filter(|v| v.label != label && !v.data.is_empty());
            if to != recorded(volume)? {
                // beside: the cluster goes on
            } else if args.services.patroni.is_some() {
                emptied = others.map(|v| v.place.clone()).collect();
            } else {
                for v in others {
                    speech.warn(&format!("warning: {} is left alone, and cannot follow what is recovered: make it anew (pg_basebackup)", v.place));
                }
            }
        }
        let is_needed = |other: &str| other == label || spaces.iter().any(|s| s.label == other);
        route.chosen.set.volumes.retain(|v| is_needed(&v.label));
        // the log is replayed over all of it
        route.chosen.set.volumes.sort_by_key(|v| v.label == label);
        for line in lines(&route, args) {
            speech.say(&line);
        }
        if let Some(gap) = route.gap.filter(|_| *until == Until::Latest) {
            speech
                .warn(&format!("warning: {gap} is missing: what was archived behind it does not come back"));
        }
        Ok(Recovery { wal, route, data, label, spaces, emptied, image })
    }

    /// The snapshot that it begins with, of what is recovered alone.
    pub(crate) fn chosen(&self) -> &Chosen {
        &self.route.chosen
    }

    /// Replays the log over what was filled in beside the live volumes: over the last of them, which holds the
    /// data directory.
    pub(crate) fn in_place(&self, args: &Args, m: &Move, all: &[Move], speech: &Speech) -> Result<()> {
        if m.label != self.label {
            return Ok(());
        }
        let data = m.staged.join(&self.data);
        let of = |label: &str| {
            let missing = || Error::no(format!("'{label}' is not among the volumes"));
            all.iter().find(|m| m.label == label).ok_or_else(missing)
        };
        spaces::lead(&self.spaces, &data, |label| of(label).map(|m| m.staged.clone()))?;
        self.replay(args, &m.staged, speech)?;
        spaces::lead(&self.spaces, &data, |label| of(label).map(|m| m.live.clone()))
    }

    /// Replays the log over a volume that was filled in at `root`.
    fn replay(&self, args: &Args, root: &Path, speech: &Speech) -> Result<()> {
        let Some(until) = &args.until else { return Ok(()) };
        let replay = Replay {
            wal: &self.wal,
            root,
            image: self.image.as_ref(),
            until,
            timeline: self.route.timeline,
            gap: self.route.gap,
            then: args.then,
            // beside the live server it must not write into that one's archive, and without the other
            // volumes of its container it cannot
            archives: args.into.is_none() && self.image.is_none(),
            within: args.within,
        };
        let reached = replay.run(&root.join(&self.data), speech)?;
        tell(&reached, args.then, speech);
        Ok(())
    }

    /// Recovers into a new directory, beside the live server; `journals` tell of it meanwhile.
    pub(crate) fn beside(
        &self,
        args: &Args,
        dir: &Path,
        journals: &Path,
        speech: &Speech,
        account: &Account<'_>,
    ) -> Result<Code> {
        if !dir.exists() && !args.dry_run {
            place::ensure_dir(dir)?;
            // whoever runs the server for root must get through; nobody may look in
            fs::set_permissions(dir, fs::Permissions::from_mode(0o711))
                .map_err(|e| Error::io("change", dir.display(), &e))?;
        }
        // the server that replays stands elsewhere than we do
        let dir = &std::path::absolute(dir).map_err(|e| Error::io("find", dir.display(), &e))?;
        let mut before: Vec<_> = self.spaces.iter().map(|s| dir.join(&s.label)).collect();
        before.retain(|space| !space.exists());
        let replay = |label: &str, root: &Path| {
            if label != self.label {
                return Ok(());
            }
            let data = root.join(&self.data);
            let now = |label: &str| if label == self.label { root.to_owned() } else { dir.join(label) };
            spaces::lead(&self.spaces, &data, |label| Ok(now(label)))?;
            self.replay(args, root, speech)?;
            spaces::lead(&self.spaces, &data, |label| Ok(dir.join(label)))
        };
        // tablespaces are worth nothing by themselves
        into::into(args, self.chosen(), dir, journals, speech, account, replay).inspect_err(|_| {
            before.iter().for_each(|space| drop(fs::remove_dir_all(space)));
        })
    }
}

/// Where a volume is recovered to.
fn place_of(volume: &kit::volume::set::Archive, args: &Args) -> Result<Place> {
    let here = std::env::current_dir().map_err(|e| Error::io("find", "the working directory", &e))?;
    let mut words = args.volumes.iter().filter_map(|word| Volume::parse(word, &here).ok());
    words.find(|v| v.label == volume.label).map_or_else(|| recorded(volume), |elsewhere| Ok(elsewhere.place))
}

/// Where it was.
fn recorded(volume: &kit::volume::set::Archive) -> Result<Place> {
    Place::parse(&volume.place, Path::new("/")).map_err(Error::no)
}

fn lines(route: &Route, args: &Args) -> Vec<String> {
    let set = &route.chosen.set;
    let mode = if set.mode == Mode::Hot { "hot" } else { "cold" };
    let last = route.last.map_or("no transaction behind the snapshot".into(), |at| {
        format!("the last transaction in it ended at {at}")
    });
    let until = args.until.as_ref().map(ToString::to_string).unwrap_or_default();
    vec![
        format!(
            "recover {until}: from the {mode} snapshot {} along timeline {}",
            route.chosen.stem(),
            route.timeline
        ),
        format!("        to {}, {}; {last}", route.end, route.why),
    ]
}

fn tell(reached: &Reached, then: Then, speech: &Speech) {
    let at =
        if reached.at.is_empty() { String::new() } else { format!(", last transaction {} UTC", reached.at) };
    let state = match (then, &reached.timeline) {
        (Then::Promote, Some(timeline)) => format!("it goes on as timeline {timeline}"),
        (Then::Promote, None) => "it was opened".into(),
        (Then::Pause, _) => "started again it comes there once more, and can be read".into(),
        (Then::Shutdown, _) => "started again it comes there once more, and ends".into(),
    };
    speech.say(&format!("reached {}{at}; {state}", reached.lsn));
}

/// A hot snapshot alone does not start: it needs the log of its time.
pub(crate) fn needs_log(chosen: &Chosen) -> Result<()> {
    if chosen.set.needs_log() {
        return Err(Error::refused(format!(
            "the hot snapshot {} does not hold the log that it needs",
            chosen.stem()
        ))
        .hint("Recover it with --wal ARCHIVE and --until-immediate, or to a later moment."));
    }
    Ok(())
}
