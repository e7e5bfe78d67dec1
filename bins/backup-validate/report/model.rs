//! What a report tells, before it is put into any words: gathered once, for all forms.

use std::path::Path;

use kit::catalog::{Backup, NO_MANIFEST};
use kit::exit::Result;
use kit::history::{Drill, drills};
use kit::manifest::{Kin, Manifest};
use kit::retention::{Candidate, Policy, Verdict};
use kit::stamp::Stamp;
use kit::watch::{Fates, Finding, Line, Turn, lines};
use serde_json::{Value, json};

use crate::cli::TOOL;
use crate::coverage::Coverage;
use crate::look::{self, Look};

/// All of it.
pub(crate) struct Model<'a> {
    pub(crate) now: Stamp,
    pub(crate) host: String,
    pub(crate) dir: String,
    /// Whether there is such a directory; else it is about what was judged.
    pub(crate) is_there: bool,
    pub(crate) used: u64,
    pub(crate) groups: Vec<Group<'a>>,
    /// Files with a manifest that are not what that says.
    pub(crate) faulty: Vec<&'a Backup>,
    /// How many files have no manifest.
    pub(crate) foreign: usize,
    pub(crate) findings: &'a [Finding],
    /// The archive of the log, where one was named.
    pub(crate) coverage: Option<&'a Coverage>,
    /// What this run has judged, as `--json` tells it.
    pub(crate) judged: &'a [Value],
}

/// The backups of one series and kin.
pub(crate) struct Group<'a> {
    pub(crate) series: &'a str,
    pub(crate) kin: Kin,
    pub(crate) is_chief: bool,
    /// Newest first, never none.
    pub(crate) backups: Vec<Dated<'a>>,
    /// The rules that the latest run went by; `None`: its record does not tell.
    pub(crate) rules: Option<Vec<String>>,
    /// Drills of them, oldest first.
    pub(crate) drills: Vec<Drill>,
}

/// A backup, and what the next run with the same rules makes of it.
pub(crate) struct Dated<'a> {
    pub(crate) backup: &'a Backup,
    pub(crate) manifest: &'a Manifest,
    /// `None` where no rules are known, or none that remove anything.
    pub(crate) next: Option<Verdict>,
    /// What is wrong with it, in a word.
    pub(crate) wrong: Option<&'static str>,
}

impl Group<'_> {
    pub(crate) fn newest(&self) -> &Dated<'_> {
        &self.backups[0]
    }

    pub(crate) fn last_drill(&self) -> Option<&Drill> {
        self.drills.last()
    }

    /// How many have a proof on record; a snapshot of Redis without a manifest has none.
    pub(crate) fn proven(&self) -> usize {
        self.backups.iter().filter(|d| d.manifest.verified.is_some()).count()
    }

    /// Whether a drill of them could be held, and none was.
    pub(crate) fn is_never_restored(&self) -> bool {
        self.is_chief && self.kin.can_be_drilled() && self.drills.is_empty()
    }

    /// Those that the next run removes.
    pub(crate) fn going(&self) -> Vec<&Dated<'_>> {
        self.backups.iter().filter(|d| matches!(d.next, Some(Verdict::Remove(_)))).collect()
    }

    /// The last drill of one of its backups, where there was any.
    pub(crate) fn drill_of(&self, backup: &Backup) -> Option<&Drill> {
        self.drills.iter().rev().find(|d| d.name == backup.name)
    }

    /// What it is, in a few words.
    pub(crate) fn title(&self) -> String {
        self.kin.to_string()
    }
}

/// Gathers it.
pub(crate) fn model<'a>(dir: &Path, shown: &str, look: &'a Look, judged: &'a [Value]) -> Result<Model<'a>> {
    // that they cannot be read is a finding
    let drills = drills(dir).unwrap_or_default();
    let groups = lines(&look.backups, look.now).into_iter().map(|line| group(line, look, &drills)).collect();
    let faulty = |b: &&Backup| b.fault.as_ref().is_some_and(|f| f != NO_MANIFEST);
    Ok(Model {
        now: look.now,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        dir: shown.to_owned(),
        is_there: look.is_there,
        used: look.used,
        groups,
        faulty: look.backups.iter().filter(faulty).collect(),
        foreign: look.backups.iter().filter(|b| b.fault.as_deref() == Some(NO_MANIFEST)).count(),
        findings: &look.findings,
        coverage: look.coverage.as_ref(),
        judged,
    })
}

fn group<'a>(line: Line<'a>, look: &Look, drills: &[Drill]) -> Group<'a> {
    let rules = line.newest().manifest.as_ref().and_then(|m| m.rotation.rules.clone());
    let removing = rules.as_ref().filter(|rules| !rules.is_empty());
    let verdicts = match removing.map(|rules| next(&line, &Policy::from_options(rules), look.now)) {
        Some(verdicts) => verdicts.into_iter().map(Some).collect(),
        None => vec![None; line.backups.len()],
    };
    let backups = line.backups.iter().zip(verdicts).filter_map(|(backup, next)| {
        let manifest = backup.manifest.as_ref()?;
        let finding = look.findings.iter().find(|f| f.backup.as_ref() == Some(&backup.name));
        let wrong = finding.map(|f| f.what.word());
        Some(Dated { backup, manifest, next, wrong })
    });
    Group {
        series: line.series,
        is_chief: line.is_chief,
        backups: backups.collect(),
        rules,
        drills: drills.iter().filter(|d| d.is_of(line.series, &line.kin)).cloned().collect(),
        kin: line.kin,
    }
}

/// The verdict on each backup when the next one is made: as long after the newest as that came after the one
/// before it, and not before now.
fn next(line: &Line<'_>, policy: &Policy, now: Stamp) -> Vec<Verdict> {
    let times: Vec<i64> = line.backups.iter().take(2).map(|b| b.time.unix()).collect();
    let [newest, ref before @ ..] = times[..] else { return Vec::new() };
    let time =
        now.max(Stamp::from_unix(newest + before.first().map_or(1, |before| (newest - before).max(1))));
    let kin = Some(line.kin.clone());
    let coming = Candidate { name: String::new(), time, tag: None, kin, fault: None };
    Fates::of(policy, time, &line.backups, Turn::Coming(coming), false).verdicts
}

impl Model<'_> {
    /// As one JSON object; `docs/formats.md` describes it.
    pub(crate) fn json(&self) -> Value {
        let reason = |verdict: &Verdict| match verdict {
            Verdict::Keep(why) | Verdict::Remove(why) => why.clone(),
        };
        let backup = |d: &Dated<'_>| {
            json!({
                "name": d.backup.name,
                "created": d.backup.time.to_string(),
                "bytes": d.backup.bytes,
                "raw_bytes": Some(d.manifest.raw_bytes).filter(|bytes| *bytes > 0),
                "tables": d.manifest.tables,
                "rows": d.manifest.rows,
                "duration_ms": d.manifest.duration_ms,
                "tag": d.manifest.tag,
                "verified": d.manifest.verified,
                "next": d.next.as_ref().map(|v| json!({
                    "removed": matches!(v, Verdict::Remove(_)), "why": reason(v)
                })),
            })
        };
        let group = |g: &Group<'_>| {
            json!({
                "series": g.series,
                "kind": g.kin.kind,
                "database": g.kin.database,
                "server": g.kin.server,
                "place": g.kin.place,
                "partial": g.kin.partial,
                "rules": g.rules,
                "backups": g.backups.iter().map(backup).collect::<Vec<_>>(),
                "drills": g.drills,
            })
        };
        json!({
            "tool": format!("{TOOL} {}", env!("CARGO_PKG_VERSION")),
            "at": self.now.to_string(),
            "host": self.host,
            "dir": self.dir,
            "used_bytes": self.used,
            "findings": self.findings.iter().map(look::as_json).collect::<Vec<_>>(),
            "judged": self.judged,
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
            "unproven": self.faulty.iter().map(|b| json!({"name": b.name, "why": b.fault})).collect::<Vec<_>>(),
            "foreign": self.foreign,
            "wal": self.coverage.map(Coverage::json),
        })
    }
}
