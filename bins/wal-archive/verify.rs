//! `verify`: is there an unbroken, readable chain from each base backup to the newest segment?

use std::io::IsTerminal;

use kit::exit::{Code, Result};
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::wal::archive::Archive;
use kit::wal::chain::Run;
use kit::wal::name::Name;
use serde_json::{Value, json};

use crate::chart;
use crate::cli::Args;
use crate::survey::{Reach, Survey};

/// Reads the archive and tells of it.
pub(crate) fn verify(args: &Args, speech: &Speech, account: &Account<'_>) -> Result<Code> {
    let warn = |line: &str| {
        speech.warn(line);
        account.note(line);
    };
    let archive = Archive::open(&args.archives[0])?;
    let survey = Survey::of(&archive, speech.is_quiet())?;
    let accepted = |gap: &Run| args.accept_gaps.contains(&gap.first);
    let mut sound = survey.damaged.is_empty() && survey.orphans.is_empty();
    for (_, cause) in &survey.damaged {
        warn(cause);
    }
    for error in &survey.unread {
        speech.warn(&error.to_string());
    }
    if archive.list()?.is_empty() {
        speech.warn(&format!("nothing was ever archived in '{}'", archive.dir().display()));
        return Ok(Code::No);
    }
    for timeline in &survey.orphans {
        warn(&format!(
            "'{}' is missing: where its timeline came from is not known",
            Name::History(*timeline)
        ));
    }
    for timeline in survey.chain.timelines() {
        for gap in survey.gaps(timeline) {
            let known = accepted(&gap);
            sound &= known;
            let length = out::count(gap.length(survey.chain.segment_bytes));
            let note = if known { " (accepted)" } else { "" };
            warn(&format!("missing: {} to {}, {length} segments{note}", gap.first, gap.last));
        }
    }
    for base in &survey.bases {
        if !survey.reaches(base).iter().any(|r| r.is_consistent) {
            sound = false;
            let name = base.name(survey.chain.segment_bytes);
            warn(&format!("the base backup {name} cannot be recovered: its own log is not whole"));
        }
    }
    tell(&survey, args)?;
    Ok(match (sound, survey.unread.is_empty()) {
        (false, _) => Code::No,
        (true, false) => Code::Temporary,
        (true, true) => Code::Done,
    })
}

fn tell(survey: &Survey, args: &Args) -> Result<()> {
    if args.json {
        for record in timelines(survey, args).into_iter().chain(bases(survey)) {
            if !out::record(&record.to_string())? {
                break;
            }
        }
        return Ok(());
    }
    if std::io::stdout().is_terminal() {
        for line in chart::lines(survey) {
            out::record(&line)?;
        }
    }
    let cell = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.len().to_string(),
        other => other.to_string(),
    };
    let rows = |records: Vec<Value>, fields: &[&str]| -> Vec<Vec<String>> {
        records.iter().map(|r| fields.iter().map(|f| cell(&r[*f])).collect()).collect()
    };
    let fields = ["kind", "timeline", "first", "last", "segments", "gaps", "damaged", "from", "until"];
    let header = ["", "TIMELINE", "FIRST", "LAST", "SEGMENTS", "GAPS", "DAMAGED", "FROM", "UNTIL"];
    out::table(&header, &rows(timelines(survey, args), &fields))?;
    let fields = ["kind", "name", "label", "timeline", "end", "until", "state"];
    let header = ["", "BASE BACKUP", "LABEL", "ON TIMELINE", "UP TO", "UNTIL", "STATE"];
    out::table(&header, &rows(bases(survey), &fields))
}

fn timelines(survey: &Survey, args: &Args) -> Vec<Value> {
    let bytes = survey.chain.segment_bytes;
    let one = |timeline: u32| {
        let mine = || survey.present.iter().filter(|s| s.timeline == timeline);
        let times = || mine().filter_map(|s| survey.times.get(s));
        let gap = |gap: Run| {
            json!({ "first": gap.first.to_string(), "last": gap.last.to_string(), "segments": gap.length(bytes),
                "accepted": args.accept_gaps.contains(&gap.first) })
        };
        let damaged = survey.damaged.iter().filter(|(name, _)| name.timeline() == timeline);
        let parent = survey.chain.histories.get(&timeline).and_then(|h| h.switches.last());
        json!({
            "kind": "timeline",
            "timeline": timeline,
            "parent": parent.map(|p| p.timeline),
            "left_parent_at": parent.map(|p| p.at.to_string()),
            "first": mine().next().map(ToString::to_string),
            "last": mine().next_back().map(ToString::to_string),
            "segments": mine().count(),
            "gaps": survey.gaps(timeline).into_iter().map(gap).collect::<Vec<_>>(),
            "damaged": damaged.map(|(name, cause)| json!({ "name": name.to_string(), "cause": cause })).collect::<Vec<_>>(),
            "from": times().map(|t| t.0).min().map(|t| t.to_string()),
            "until": times().map(|t| t.1).max().map(|t| t.to_string()),
        })
    };
    survey.chain.timelines().into_iter().map(one).collect()
}

fn bases(survey: &Survey) -> Vec<Value> {
    let mut records = Vec::new();
    for base in &survey.bases {
        let record = |reach: Option<&Reach>| {
            let state = match reach {
                Some(Reach { is_consistent: true, missing: None, .. }) => "whole",
                Some(Reach { is_consistent: true, .. }) => "up to a gap",
                _ => "broken",
            };
            json!({
                "kind": "base",
                "name": base.name(survey.chain.segment_bytes).to_string(),
                "label": base.label,
                "start": base.start.to_string(),
                "stop": base.stop.map(|s| s.to_string()),
                "started": base.times.0,
                "stopped": base.times.1,
                "timeline": reach.map(|r| r.timeline),
                "end": reach.map(|r| r.end.to_string()),
                "until": reach.and_then(|r| r.until).map(|t| t.to_string()),
                "missing": reach.and_then(|r| r.missing).map(|m| m.to_string()),
                "state": state,
            })
        };
        let reaches = survey.reaches(base);
        records.extend(reaches.iter().map(|r| record(Some(r))));
        if reaches.is_empty() {
            records.push(record(None));
        }
    }
    records
}
