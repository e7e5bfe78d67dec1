//! What becomes of the backups of a series when rules are gone by: the plan of `retention`, and what a loss
//! holds back. Whoever removes, tells beforehand or foretells asks here, so that all say the same.

use super::{SUSPICIOUS, drop_of, lines};
use crate::catalog::Backup;
use crate::manifest::Kin;
use crate::out::Speech;
use crate::retention::{Candidate, Policy, Verdict, plan};
use crate::stamp::Stamp;

/// … and this is why they stay.
pub const HELD_BACK: &str = "held back: the newest is much smaller";

/// What becomes of the backups of one series.
pub struct Fates {
    /// The verdict on each of them, in their order.
    pub verdicts: Vec<Verdict>,
    /// Why some stay that no rule keeps: a line for each kin.
    pub held: Vec<String>,
}

impl Fates {
    /// What `policy` makes of `backups`, of one series and newest first. `coming` is one that is about to be made.
    /// With `allow_shrink` nothing is held back.
    pub fn of(
        policy: &Policy,
        now: Stamp,
        backups: &[&Backup],
        coming: Option<Candidate>,
        allow_shrink: bool,
    ) -> Self {
        let candidates: Vec<Candidate> = backups.iter().map(|b| b.candidate()).collect();
        let coming = coming.map(|coming| like_before(coming, &candidates));
        let all: Vec<Candidate> = candidates.iter().cloned().chain(coming).collect();
        let mut verdicts = plan(policy, now, &all);
        // what is made stays, whatever the clocks say
        verdicts.truncate(backups.len());
        let mut held = Vec::new();
        for line in lines(backups.iter().copied(), now).iter().filter(|_| !allow_shrink) {
            let Some(why) = drop_of(&line.backups, SUSPICIOUS) else { continue };
            let of_kin = |c: &Candidate| c.kin.as_ref() == Some(&line.kin);
            let goes = |(c, v): &(&Candidate, &mut Verdict)| of_kin(c) && matches!(v, Verdict::Remove(_));
            let going: Vec<&mut Verdict> =
                candidates.iter().zip(&mut verdicts).filter(goes).map(|(_, v)| v).collect();
            if !going.is_empty() {
                held.push(format!("{}: {why}", line.newest().name));
            }
            going.into_iter().for_each(|verdict| *verdict = Verdict::Keep(HELD_BACK.into()));
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

/// Whose server is not known yet is taken for one of the server of the newest that is like it.
fn like_before(coming: Candidate, before: &[Candidate]) -> Candidate {
    let Some(kin) = coming.kin.as_ref().filter(|kin| kin.server.is_none()) else { return coming };
    let proven = before.iter().filter(|c| c.fault.is_none()).filter_map(|c| c.kin.as_ref());
    let like = proven.into_iter().find(|k| Kin { server: None, ..(*k).clone() } == *kin).cloned();
    Candidate { kin: like.or(coming.kin), ..coming }
}
