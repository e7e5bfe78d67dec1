//! Which of several data directories has every row: read from what they say of themselves.

use kit::volume::control::{Control, State};
use kit::volume::set::{Archive, Set};

/// Writes down the leader and its cluster: the one that is named, else the one that was no standby
/// when it stopped, of those the one that is furthest.
pub(crate) fn leader(set: &mut Set, named: Option<&str>) {
    let controls = |a: &Archive| a.data.first().map(|d| (a.label.clone(), d.control.clone()));
    let mut all: Vec<(String, Control)> = set.volumes.iter().filter_map(controls).collect();
    match named {
        Some(label) => all.retain(|(l, _)| l == label),
        None => all.retain(|(_, c)| !is_standby(c.state) || set.volumes.len() == 1),
    }
    // data of several clusters: nobody leads them all
    let several = all.iter().any(|(_, c)| c.system_identifier != all[0].1.system_identifier);
    let furthest = all.into_iter().max_by_key(|(_, c)| (c.timeline, c.checkpoint)).filter(|_| !several);
    if let Some((label, control)) = furthest {
        set.leader = Some(label);
        set.system_identifier = Some(control.system_identifier);
        set.timeline = Some(control.timeline);
    }
}

fn is_standby(state: State) -> bool {
    matches!(state, State::ShutDownInRecovery | State::InArchiveRecovery)
}
