//! Which of several data directories has every row: read from what they say of themselves.

use kit::volume::control::{Control, State};
use kit::volume::set::Set;

use crate::inspect::{Seen, Source};

/// The volume whose server leads: the one that is named, else the one that is no standby, or was none
/// when it stopped; of several the one that is furthest.
pub(crate) fn leader<'a>(
    sources: &'a [Source],
    seen: &'a [Seen],
    named: Option<&str>,
) -> Option<(&'a Source, &'a Control)> {
    let controls = sources.iter().zip(seen).filter_map(|(s, seen)| Some((s, &seen.data.first()?.control)));
    let mut all: Vec<(&Source, &Control)> = controls.collect();
    match named {
        Some(label) => all.retain(|(s, _)| s.volume.label == label),
        None if sources.len() == 1 => {}
        None => all.retain(|(_, c)| !is_standby(c.state)),
    }
    // data of several clusters: nobody leads them all
    let several = all.iter().any(|(_, c)| c.system_identifier != all[0].1.system_identifier);
    all.into_iter().max_by_key(|(_, c)| (c.timeline, c.checkpoint)).filter(|_| !several)
}

/// Writes down who led.
pub(crate) fn record(set: &mut Set, leader: Option<(&Source, &Control)>) {
    if let Some((source, control)) = leader {
        set.leader = Some(source.volume.label.clone());
        set.system_identifier = Some(control.system_identifier.clone());
        set.timeline = Some(control.timeline);
    }
}

/// The services that start last: those on other data directories than the leader's.
pub(crate) fn followers(sources: &[Source], seen: &[Seen], named: Option<&str>) -> Vec<String> {
    let Some((leader, _)) = leader(sources, seen, named) else { return Vec::new() };
    let others =
        sources.iter().zip(seen).filter(|(s, seen)| !seen.data.is_empty() && s.volume != leader.volume);
    let services = others.flat_map(|(s, _)| &s.services);
    services.filter(|s| !leader.services.contains(s)).cloned().collect()
}

fn is_standby(state: State) -> bool {
    matches!(state, State::ShutDownInRecovery | State::InArchiveRecovery)
}
