//! What becomes of the backups of a series when rules are gone by: the plan of `retention`, and what a loss
//! holds back. Whoever removes, tells beforehand or foretells asks here, so that all say the same.

use std::borrow::Borrow;

use super::{Line, SUSPICIOUS, drop_of, drop_was_allowed, lines};
use crate::catalog::Backup;
use crate::manifest::Kin;
use crate::out::Speech;
use crate::retention::{Candidate, Policy, Verdict, plan};
use crate::stamp::Stamp;

/// A newest backup that is much smaller holds back the removal of those before it: this is why they stay.
pub const HELD_BACK: &str = "held back: the newest is much smaller";

/// What becomes of the backups of one series.
pub struct Fates {
    /// The verdict on each of them, in their order.
    pub verdicts: Vec<Verdict>,
    /// Why some stay that no rule keeps: a line for each kin.
    pub held: Vec<String>,
}

/// Whose turn it is. A run's rules are for backups of the kin that it makes, as is its word that these may be smaller.
pub enum Turn<'a> {
    /// One that is about to make a backup.
    Coming(Candidate),
    /// The same, whose kin is not known whole yet: it is taken for that of the newest one that fits.
    Guessed(Candidate, &'a dyn Fn(&Kin) -> bool),
    /// One that has made the backup of this name, which stays whatever the clocks say.
    Made(&'a str),
    /// One that makes none: its rules are for all.
    All,
}

impl Fates {
    /// What `policy` makes of `backups`, of one series and newest first. With `allow_shrink` nothing is held back.
    pub fn of<B: Borrow<Backup>>(
        policy: &Policy,
        now: Stamp,
        backups: &[B],
        turn: Turn<'_>,
        allow_shrink: bool,
    ) -> Self {
        let backups: Vec<&Backup> = backups.iter().map(Borrow::borrow).collect();
        let candidates: Vec<Candidate> = backups.iter().map(|b| b.candidate()).collect();
        let is_made = |name: &str| candidates.iter().position(|c| c.name == name);
        let (coming, made) = match turn {
            Turn::Coming(coming) => (Some(coming), None),
            Turn::Guessed(coming, fits) => {
                let mut proven =
                    candidates.iter().filter(|c| c.fault.is_none()).filter_map(|c| c.kin.as_ref());
                let kin = proven.find(|kin| fits(kin)).cloned();
                (Some(Candidate { kin, ..coming }), None)
            }
            Turn::Made(name) => (None, Some(is_made(name))),
            Turn::All => (None, None),
        };
        let kin_of_made = |made: Option<usize>| made.and_then(|at| candidates.get(at)?.kin.clone());
        // `None`: the rules are for all
        let own = coming.as_ref().map(|coming| coming.kin.clone()).or(made.map(kin_of_made));
        // then the one to come is the measure
        let is_accepted = allow_shrink && coming.is_some();
        let all: Vec<Candidate> = candidates.iter().cloned().chain(coming).collect();
        let mut verdicts = plan(policy, now, &all);
        verdicts.truncate(backups.len());
        if let Some(made) = made.flatten().and_then(|at| verdicts.get_mut(at)).filter(|v| goes(v)) {
            *made = Verdict::Keep("made by this run".into());
        }
        let mut held = Vec::new();
        for line in lines(backups.iter().copied(), now) {
            let is_in_line = |b: &Backup| line.backups.iter().any(|in_line| in_line.path == b.path);
            let in_line = backups.iter().zip(&mut verdicts).filter(|(b, _)| is_in_line(b));
            let mut in_line: Vec<&mut Verdict> = in_line.map(|(_, verdict)| verdict).collect();
            if own.as_ref().is_some_and(|own| own.as_ref() != Some(&line.kin)) {
                in_line
                    .into_iter()
                    .for_each(|v| *v = Verdict::Keep(format!("counted by itself: {}", line.kin)));
                continue;
            }
            match drop_of(&line.backups, SUSPICIOUS).filter(|_| !allow_shrink) {
                None if is_accepted => {}
                None => keep_measure(&line, &mut in_line),
                Some(why) => {
                    let mut going = in_line.into_iter().filter(|v| goes(v)).peekable();
                    held.extend(going.peek().map(|_| format!("{}: {why}", line.newest().name)));
                    going.for_each(|verdict| *verdict = Verdict::Keep(HELD_BACK.into()));
                }
            }
        }
        Fates { verdicts, held }
    }

    /// Tells what stays for the time being, and how to accept the loss.
    pub fn tell(&self, speech: &Speech) {
        for why in &self.held {
            speech.warn(&format!("warning: nothing older is removed: {why}"));
            speech.warn("hint: If that is right, --allow-shrink with the next backup makes it the measure.");
        }
    }
}

fn goes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Remove(_))
}

/// The word of somebody who allowed a drop is in the record of one backup: that stays while an older one does, which
/// would be the measure again without it.
fn keep_measure(line: &Line<'_>, verdicts: &mut [&mut Verdict]) {
    let Some(at) = line.backups.iter().position(|b| drop_was_allowed(b)) else { return };
    let (newer, older) = verdicts.split_at_mut(at + 1);
    if let Some(measure) = newer.last_mut().filter(|v| goes(v))
        && older.iter().any(|v| !goes(v))
    {
        **measure = Verdict::Keep("its drop was allowed, and older ones stay".into());
    }
}
