//! What becomes of the backups of a series when rules are gone by: the plan of `retention`, and what a loss
//! holds back. Whoever removes, tells beforehand or foretells asks here, so that all say the same.

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
    /// The same, of a server that is not known yet: it is taken for that of the newest that is like it.
    Guessed(Candidate),
    /// One that has made the backup of this name, which stays whatever the clocks say.
    Made(&'a str),
    /// One that makes none: its rules are for all.
    All,
}

impl Fates {
    /// What `policy` makes of `backups`, of one series and newest first. With `allow_shrink` nothing is held back.
    pub fn of(policy: &Policy, now: Stamp, backups: &[&Backup], turn: Turn<'_>, allow_shrink: bool) -> Self {
        let candidates: Vec<Candidate> = backups.iter().map(|b| b.candidate()).collect();
        let (coming, made) = match turn {
            Turn::Coming(coming) => (Some(coming), None),
            Turn::Guessed(coming) => (Some(like_before(coming, &candidates)), None),
            Turn::Made(name) => (None, candidates.iter().position(|c| c.name == name)),
            Turn::All => (None, None),
        };
        let of = coming.as_ref().or(made.and_then(|at| candidates.get(at))).map(|own| own.kin.clone());
        let all: Vec<Candidate> = candidates.iter().cloned().chain(coming).collect();
        let mut verdicts = plan(policy, now, &all);
        verdicts.truncate(backups.len());
        if let Some(made) = made.and_then(|at| verdicts.get_mut(at)).filter(|v| goes(v)) {
            *made = Verdict::Keep("made by this run".into());
        }
        let mut held = Vec::new();
        for line in lines(backups.iter().copied(), now) {
            let of_line = |b: &Backup| line.backups.iter().any(|of| of.path == b.path);
            let mut of_line: Vec<&mut Verdict> =
                backups.iter().zip(&mut verdicts).filter(|(b, _)| of_line(b)).map(|(_, v)| v).collect();
            if of.as_ref().is_some_and(|kin| kin.as_ref() != Some(&line.kin)) {
                of_line
                    .into_iter()
                    .for_each(|v| *v = Verdict::Keep(format!("counted by itself: {}", line.kin)));
                continue;
            }
            match drop_of(&line.backups, SUSPICIOUS).filter(|_| !allow_shrink) {
                None => keep_measure(&line, &mut of_line),
                Some(why) => {
                    let mut going = of_line.into_iter().filter(|v| goes(v)).peekable();
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

fn like_before(coming: Candidate, before: &[Candidate]) -> Candidate {
    let Some(kin) = &coming.kin else { return coming };
    let proven = before.iter().filter(|c| c.fault.is_none()).filter_map(|c| c.kin.as_ref());
    let like =
        proven.into_iter().find(|k| Kin { server: None, place: None, ..(*k).clone() } == *kin).cloned();
    Candidate { kin: like.or(coming.kin), ..coming }
}
