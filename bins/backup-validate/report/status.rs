//! The one sentence on top: can it be recovered?

use kit::history::Drill;

use super::model::{Group, Model};
use super::words::{age, counted, day, span_of};

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Good,
    Warn,
    Bad,
}

/// How it stands, in words.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) level: Level,
    pub(crate) headline: &'static str,
    pub(crate) sentence: String,
}

/// The chain is as strong as its weakest link: of several series the worst counts.
pub(crate) fn status(model: &Model<'_>) -> Status {
    let chiefs: Vec<&Group<'_>> = model.groups.iter().filter(|g| g.is_chief).collect();
    let of = |level, headline, sentence| Status { level, headline, sentence };
    if !model.is_there && model.findings.is_empty() {
        let (level, headline, sentence) = judged(model);
        return of(level, headline, sentence);
    }
    if chiefs.is_empty() {
        let sentence = match model.faulty.len() {
            0 => "There is no proven backup here.".to_owned(),
            n => format!("There is no proven backup here; {} cannot be relied on.", counted(n, "file")),
        };
        return of(Level::Bad, "Not recoverable", sentence);
    }
    let newest = newest(&chiefs, model);
    let is_bad = |path: &str| {
        model
            .judged
            .iter()
            .any(|v| v["verdict"] == "bad" && v["path"].as_str().is_some_and(|p| p.ends_with(path)))
    };
    if let Some(group) = chiefs.iter().find(|g| is_bad(&g.newest().backup.name)) {
        let name = &group.newest().backup.name;
        return of(
            Level::Bad,
            "The newest backup is bad",
            format!("{name} did not pass its check. {newest}"),
        );
    }
    if let Some(drill) = chiefs.iter().filter_map(|g| g.last_drill()).find(|d| !d.ok) {
        let on = drill.time().map_or(String::new(), |t| format!(" on {}", day(t)));
        let sentence = format!("The drill{on} failed: {}. {newest}", drill.faults.join("; "));
        return of(Level::Bad, "A restore has failed", sentence);
    }
    let drilled = drilled(&chiefs.iter().filter(|g| g.kin.can_be_drilled()).copied().collect::<Vec<_>>());
    let sentence = format!("{newest} {drilled}");
    if !model.findings.is_empty() || !model.faulty.is_empty() {
        return of(Level::Warn, "Recoverable, but look at this", sentence);
    }
    if chiefs.iter().any(|g| g.is_never_restored()) {
        return of(Level::Warn, "Proven, but never restored", sentence);
    }
    of(Level::Good, "Recoverable", sentence)
}

/// The same of the backups that were judged alone.
fn judged(model: &Model<'_>) -> (Level, &'static str, String) {
    let all = model.judged.len();
    let of = |verdict: &str| model.judged.iter().filter(|v| v["verdict"] == verdict).count();
    let (bad, unproven) = (of("bad"), of("unproven"));
    let passed = format!("{} of {} passed.", all - bad - unproven, counted(all, "backup"));
    match (bad, unproven) {
        _ if all == 0 => (Level::Bad, "Nothing was proven", "No backup was looked at.".into()),
        (0, 0) => (Level::Good, "Passed", passed),
        (0, _) => (Level::Warn, "Not proven", passed),
        _ => (Level::Bad, "Bad", passed),
    }
}

fn newest(chiefs: &[&Group<'_>], model: &Model<'_>) -> String {
    let times = || chiefs.iter().map(|g| g.newest().backup.time);
    let ages = times().max().zip(times().min()).map(|(a, b)| (age(a, model.now), age(b, model.now)));
    match ages {
        Some((age, _)) if chiefs.len() == 1 => format!("The newest proven backup is {age} old."),
        Some((youngest, oldest)) if youngest == oldest => {
            format!("The newest proven backups of each kind are {oldest} old.")
        }
        Some((youngest, oldest)) => {
            format!("The newest proven backups of each kind are {youngest} to {oldest} old.")
        }
        None => String::new(),
    }
}

fn drilled(chiefs: &[&Group<'_>]) -> String {
    let drills: Vec<&Drill> = chiefs.iter().filter_map(|g| g.last_drill()).collect();
    let took = span_of(drills.iter().map(|d| d.seconds).fold(0.0, f64::max));
    let on = drills.iter().filter_map(|d| d.time()).min().map(day).unwrap_or_default();
    match (drills.len(), chiefs.len() - drills.len()) {
        (0, 0) => "Of such backups no drill can be held.".into(),
        (0, 1) => "It was read back to its last byte, but no restore was ever tried.".into(),
        (0, _) => "They were read back to their last byte, but no restore was ever tried.".into(),
        (1, 0) => format!("In a drill on {on} a restore took {took} and was proven."),
        (_, 0) => {
            format!("In drills, the least recent on {on}, each was restored in {took} at most, and proven.")
        }
        (_, missing) => format!(
            "In drills a restore took {took} at most; of {} none was ever tried.",
            counted(missing, "kind")
        ),
    }
}
