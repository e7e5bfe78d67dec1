//! The parts of the page: what needs attention, a section for each kind of backup, tables, drills.
//!
//! Everything that comes from a dump or a file's name goes through [`escaped`], and names stand in `bdi`, so that
//! one written from right to left turns nothing else around.

use kit::history::Drill;
use kit::manifest::{Kind, Verified};
use kit::out;
use kit::retention::Verdict;
use kit::stamp::Stamp;
use kit::watch::HELD_BACK;
use serde_json::Value;

use super::chart::{Chart, Point};
use super::model::{Dated, Group, Model};
use super::status::Level;
use super::words::{age, counted, day, escaped, moment, sentence, span, span_of};

/// How many rows of a table stand open; the others can be unfolded.
const OPEN: usize = 14;

/// A name from outside.
pub(crate) fn name(text: &str) -> String {
    format!("<bdi>{}</bdi>", escaped(text))
}

/// A state as a shape: a disc, a triangle, an octagon, so that colour is never needed to tell them apart.
pub(crate) fn mark(level: Level) -> String {
    let (class, word, shape) = match level {
        Level::Good => ("good", "Good", "<circle cx=12 cy=12 r=11 /><path d=\"M7 12.5l3.5 3.5L17.5 9\"/>"),
        Level::Warn => {
            ("warn", "Attention", "<path d=\"M12 2.2 22.8 21.4H1.2Z\"/><path d=\"M12 9v5.5m0 3.2v.1\"/>")
        }
        Level::Bad => (
            "bad",
            "Bad",
            "<path d=\"M7.4 1h9.2L23 7.4v9.2L16.6 23H7.4L1 16.6V7.4Z\"/><path d=\"m8 8 8 8m0-8-8 8\"/>",
        ),
    };
    format!("<svg class=\"mark {class}\" viewBox=\"0 0 24 24\" role=img><title>{word}</title>{shape}</svg>")
}

/// The list of what is wrong; empty where nothing is.
pub(crate) fn attention(model: &Model<'_>) -> String {
    let mut items = Vec::new();
    let mut add = |level, what: &str, of: Option<&str>, why: &str| {
        let of = of.map_or(String::new(), |of| format!(" {}", name(of)));
        let (mark, what, why) = (mark(level), escaped(what), escaped(&sentence(why)));
        items.push(format!("<li>{mark}<div><strong>{what}</strong>{of}<p>{why}</p></div></li>"));
    };
    for verdict in model.judged.iter().filter(|v| v["verdict"] != "ok") {
        let (level, list, word) = match verdict["verdict"].as_str() {
            Some("bad") => (Level::Bad, "faults", "Bad"),
            Some("unproven") => (Level::Warn, "faults", "Not proven"),
            _ => (Level::Warn, "warnings", "Passed, but"),
        };
        let why: Vec<&str> =
            verdict[list].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        add(level, word, verdict["path"].as_str(), &why.join("; "));
    }
    for finding in model.findings {
        let level = if finding.what == kit::watch::What::Missing { Level::Bad } else { Level::Warn };
        let word = finding.what.word().replace('-', " ");
        add(level, &sentence(&word), finding.backup.as_deref(), &finding.why);
    }
    for group in model.groups.iter().filter(|g| g.is_never_restored()) {
        let why =
            "No restore of these backups was ever tried. backup-validate --latest --drill holds a drill.";
        add(Level::Warn, "Never restored", Some(group.series), why);
    }
    if items.is_empty() {
        return String::new();
    }
    format!(
        "<section class=attention><h2>Needs attention</h2>\n<ul>\n{}\n</ul></section>\n",
        items.join("\n")
    )
}

/// A section: charts, what retention does next, all backups, drills.
pub(crate) fn group(group: &Group<'_>, now: Stamp) -> String {
    let first = group.backups.last().map_or(String::new(), |d| day(d.backup.time));
    let proven = match group.proven() {
        0 => format!("{}, never read,", counted(group.backups.len(), "backup")),
        _ => counted(group.backups.len(), "proven backup"),
    };
    format!(
        "<section><h2>{} <small>{}</small></h2>\n<p>{proven} since {first}. {}</p>\n{}{}{}</section>\n",
        name(group.series),
        name(&group.title()),
        retention(group),
        charts(group),
        table(group, now),
        drills(&group.drills, now),
    )
}

/// What the next backup removes, and by which rules.
fn retention(group: &Group<'_>) -> String {
    let rules = match &group.rules {
        // nothing of ours makes or removes them
        _ if group.kin.kind == Kind::Redis => return String::new(),
        None => {
            return "What the next one removes is not known: the record of the newest holds no rules.".into();
        }
        Some(rules) if rules.is_empty() => {
            return "Nothing is ever removed: they are made with <code>--no-rotate</code>.".into();
        }
        Some(rules) => rules,
    };
    let rules: Vec<String> = rules.iter().map(|r| format!("<code>{}</code>", escaped(r))).collect();
    let rules = rules.join(" ");
    let held = Some(Verdict::Keep(HELD_BACK.into()));
    match group.backups.iter().filter(|d| d.next == held).count() {
        0 => {}
        n => return format!("The next one would remove {n} of them, by {rules}, but that is {HELD_BACK}."),
    }
    let going: Vec<String> = group.going().iter().map(|d| name(&d.backup.name)).collect();
    match going.as_slice() {
        [] => format!("The next one removes none, by {rules}."),
        [one] => format!("The next one removes {one}, by {rules}."),
        several => format!("The next one removes {} of them, by {rules}.", several.len()),
    }
}

fn charts(group: &Group<'_>) -> String {
    let chart = |title, words: fn(f64) -> String, of: fn(&Dated<'_>) -> f64| {
        let point = |d: &Dated<'_>| Point {
            time: d.backup.time,
            value: of(d),
            label: match d.wrong {
                None => format!("{}: {}", moment(d.backup.time), words(of(d))),
                Some(wrong) => format!("{}: {}, {wrong}", moment(d.backup.time), words(of(d))),
            },
            odd: d.wrong.is_some(),
            void: false,
        };
        let points: Vec<Point> = group.backups.iter().rev().map(point).collect();
        let ends = (points.first().map(|p| words(p.value)), points.last().map(|p| words(p.value)));
        let summary = match ends {
            (Some(first), Some(last)) if points.len() > 1 => {
                format!("{} of {}, from {first} to {last}", title, counted(points.len(), "backup"))
            }
            _ => String::new(),
        };
        Chart { title, summary, points, words }.figure()
    };
    let bytes = |v| out::bytes(v as u64);
    let rows = |v| out::count(v as u64);
    let of_time = || chart("Time to make", |v| span(v as u64), |d| d.manifest.duration_ms as f64);
    let of_rows = || chart("Rows", rows, |d| d.manifest.rows as f64);
    format!(
        "<div class=charts>\n{}{}{}</div>\n",
        chart("Size", bytes, |d| d.backup.bytes as f64),
        if group.kin.kind.is_dump() { of_rows() } else { String::new() },
        if group.backups.iter().any(|d| d.manifest.duration_ms > 0) { of_time() } else { String::new() },
    )
}

fn table(group: &Group<'_>, now: Stamp) -> String {
    let head = ["Made", "Backup", "Size", "Rows", "Proof", "Next run"];
    let rows: Vec<String> = group.backups.iter().map(|d| row(d, group, now, &head)).collect();
    folded(&head, &rows, "older backups")
}

fn row(dated: &Dated<'_>, group: &Group<'_>, now: Stamp, head: &[&str]) -> String {
    let Dated { backup, manifest, next, wrong } = dated;
    let (drill, rules) = (group.drill_of(backup), &group.rules);
    let tag = manifest.tag.as_ref().map_or(String::new(), |t| format!(" <span class=tag>{}</span>", name(t)));
    let wrong = wrong.map_or(String::new(), |w| format!("<small>{} {w}</small>", mark(Level::Warn)));
    let raw = match manifest.raw_bytes == backup.bytes || manifest.raw_bytes == 0 {
        true => String::new(),
        false => format!("<small>of {}</small>", out::bytes(manifest.raw_bytes)),
    };
    let at = |text: &str| {
        Stamp::parse_rfc3339(text).map_or(String::new(), |at| format!("<small>{}</small>", moment(at)))
    };
    let drilled = drill.map_or(String::new(), |d| match d.ok {
        true => format!("<div>restored in a drill{}</div>", at(&d.at)),
        false => format!("<div>drill failed{}</div>", at(&d.at)),
    });
    let verified = |v: &Verified| format!("{}{}", escaped(&v.how), at(&v.at));
    // a drill that is told of below is no proof twice
    let apart = |v: &&Verified| drill.is_none_or(|d| !d.ok) || v.how != "drill";
    let proof = manifest.verified.as_ref().filter(apart).map_or_else(String::new, verified) + &drilled;
    let proof = if proof.is_empty() { "-".to_owned() } else { proof };
    let next = match next {
        None if rules.is_none() => "-".to_owned(),
        None => "stays<small>no rule removes anything</small>".to_owned(),
        Some(Verdict::Keep(why)) => format!("stays<small>{}</small>", escaped(why)),
        Some(Verdict::Remove(why)) => format!("<strong>goes</strong><small>{}</small>", escaped(why)),
    };
    let tables = counted(usize::try_from(manifest.tables).unwrap_or(usize::MAX), "table");
    let contents = match manifest.kind.is_dump() {
        true => format!("{}<small>{tables}</small>", out::count(manifest.rows)),
        false => "-".into(),
    };
    cells(
        head,
        &[
            format!("{}<small>{} ago</small>", moment(backup.time), age(backup.time, now)),
            format!("<span class=file>{}</span>{tag}{wrong}", name(&backup.name)),
            format!("{}{raw}", out::bytes(backup.bytes)),
            contents,
            proof,
            next,
        ],
    )
}

/// Drills: what a restore takes, over time, and each of them.
pub(crate) fn drills(drills: &[Drill], now: Stamp) -> String {
    if drills.is_empty() {
        return String::new();
    }
    let held: Vec<&Drill> = drills.iter().filter(|d| d.time().is_some()).collect();
    let point = |d: &&Drill| Point {
        time: d.time().unwrap_or(now),
        value: d.seconds * 1000.0,
        label: format!(
            "{}: {}",
            d.time().map(moment).unwrap_or_default(),
            if d.ok { span_of(d.seconds) } else { "failed".into() }
        ),
        odd: !d.ok,
        void: !d.ok,
    };
    let summary = counted(held.len(), "drill");
    let points = held.iter().map(point).collect();
    let chart = Chart { title: "Restore, proven", summary, points, words: |v| span(v as u64) }.figure();
    let head = ["Drill", "Backup", "Result", "Took", "On"];
    let row = |d: &&Drill| {
        let time = d.time().unwrap_or(now);
        let on = d.server.as_ref().map_or(String::new(), |v| format!("PostgreSQL {}", escaped(v)));
        let note = match d.ok {
            true => format!(
                "loaded in {}; the rest is the server's start and the proof",
                span_of(d.restore_seconds)
            ),
            false => d.faults.join("; "),
        };
        let result = if d.ok { (Level::Good, "proven") } else { (Level::Bad, "failed") };
        cells(
            &head,
            &[
                format!("{}<small>{} ago</small>", moment(time), age(time, now)),
                format!("<span class=file>{}</span>", name(&d.name)),
                format!("{} {}", mark(result.0), result.1),
                span_of(d.seconds),
                format!("{on}<small>{}</small>", escaped(&sentence(&note))),
            ],
        )
    };
    let rows: Vec<String> = held.iter().rev().map(row).collect();
    format!("<h3>Drills</h3>\n<div class=charts>{chart}</div>\n{}", folded(&head, &rows, "earlier drills"))
}

/// Files that do not count.
pub(crate) fn faulty(model: &Model<'_>) -> String {
    let foreign = match model.foreign {
        0 => String::new(),
        n => format!("<p>{} without a manifest: foreign, left alone.</p>\n", counted(n, "file")),
    };
    if model.faulty.is_empty() && foreign.is_empty() {
        return String::new();
    }
    let head = ["File", "Why"];
    let row = |b: &&kit::catalog::Backup| {
        cells(
            &head,
            &[
                format!("<span class=file>{}</span>", name(&b.name)),
                escaped(b.fault.as_deref().unwrap_or("-")),
            ],
        )
    };
    let rows: Vec<String> = model.faulty.iter().map(row).collect();
    let list = if rows.is_empty() { String::new() } else { folded(&head, &rows, "more") };
    format!("<section><h2>What does not count</h2>\n{list}{foreign}</section>\n")
}

/// A row; on a narrow screen each cell stands under its own heading.
pub(crate) fn cells(head: &[&str], cells: &[String]) -> String {
    let cell = |(head, cell): (&&str, &String)| format!("<td data-of=\"{head}\"><div>{cell}</div></td>");
    format!("<tr>{}</tr>\n", head.iter().zip(cells).map(cell).collect::<String>())
}

/// A table whose later rows are folded away.
pub(crate) fn folded(head: &[&str], rows: &[String], rest: &str) -> String {
    let heads: String = head.iter().map(|h| format!("<th scope=col>{h}</th>")).collect();
    let table = |rows: &[String]| {
        format!("<table><thead><tr>{heads}</tr></thead>\n<tbody>\n{}</tbody></table>\n", rows.concat())
    };
    let (open, more) = rows.split_at(rows.len().min(OPEN));
    let more = match more.len() {
        0 => String::new(),
        n => format!("<details><summary>{n} {rest}</summary>\n{}</details>\n", table(more)),
    };
    format!("{}{more}", table(open))
}
