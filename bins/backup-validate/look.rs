//! The folder as a whole: stale, shrunken, too large. What is wrong is a line of standard output each, and exit
//! code 1.

use std::path::Path;

use kit::catalog::{self, Backup};
use kit::exit::{Error, Result};
use kit::manifest::Kind;
use kit::out::{self, Speech};
use kit::stamp::Stamp;
use kit::volume::set::{self, Set};
use kit::watch::{self, Finding, What, compare_manifests, judge, used};

use crate::cli::{Args, usual};
use crate::coverage::Coverage;

/// What the folder holds, and what is wrong with that.
pub(crate) struct Look {
    pub(crate) now: Stamp,
    pub(crate) backups: Vec<Backup>,
    pub(crate) used: u64,
    pub(crate) findings: Vec<Finding>,
    /// The archive of the log, where one was named.
    pub(crate) coverage: Option<Coverage>,
    /// Why nothing is known of it, or of the folder: what else is wrong is told all the same.
    pub(crate) unread: Option<Error>,
    /// Whether there is such a folder.
    pub(crate) is_there: bool,
}

/// Looks at `dir`; a report without rules of its own is made by the usual ones. `files`: backups were judged by
/// names of their own. Then a folder that cannot be read costs no report of them; and that there is none is nothing
/// to tell, where nobody asked for one.
pub(crate) fn look(args: &Args, dir: &Path, files: bool) -> Result<Look> {
    let rules = args.rules.clone().unwrap_or_else(usual);
    let now = Stamp::now();
    let listed = watch::backups(dir).and_then(|backups| Ok((backups, used(dir)?)));
    let (mut backups, used, unlisted) = match listed {
        Ok((backups, used)) => (backups, used, None),
        Err(error) if files => (Vec::new(), 0, Some(error)),
        Err(error) => return Err(error),
    };
    let is_there = unlisted.is_none() || dir.exists();
    let is_asked_for = is_there || args.dir.is_some() || args.rules.is_some();
    let wanted = |b: &Backup| args.name.is_none() || b.series == args.name;
    backups.retain(wanted);
    let coverage = args.wal.as_ref().map(|dir| Coverage::of(Path::new(dir))).transpose();
    let (coverage, unread) = coverage.map_or_else(|e| (None, Some(e)), |coverage| (coverage, None));
    let unread = unlisted.clone().filter(|_| is_asked_for).or(unread);
    let lacking = coverage.as_ref().map_or(Vec::new(), |coverage| without_log(&mut backups, coverage));
    let mut findings = match unlisted {
        Some(_) => Vec::new(),
        None => judge(&rules, now, &backups, used, compare_manifests)?,
    };
    for finding in findings.iter_mut().filter(|f| f.backup.as_ref().is_some_and(|b| lacking.contains(b))) {
        finding.what = What::Gap;
    }
    for finding in &mut findings {
        let is_loss = matches!(finding.what, What::Shrunken | What::TablesLost);
        let by = match finding.backup.as_deref() {
            Some(name) if is_loss && catalog::parse(name).is_some() => "backup by pgdump-rotate",
            Some(name) if is_loss && set::parse_record(name).is_some() => "snapshot by volsnap",
            _ => continue,
        };
        finding.why.push_str(&format!("; a {by} --allow-shrink accepts that"));
    }
    findings.extend(coverage.iter().flat_map(|c| c.findings(&args.accept_gaps)));
    let lists = watch::unread(dir);
    findings.extend(unread.iter().chain(&lists).map(|error| Finding {
        what: What::Unread,
        series: None,
        backup: None,
        why: error.to_string(),
    }));
    Ok(Look { now, backups, used, findings, coverage, unread, is_there })
}

/// Hot snapshots whose log is gone count no longer; their names.
fn without_log(backups: &mut [Backup], coverage: &Coverage) -> Vec<String> {
    let hot = |b: &&mut Backup| b.fault.is_none() && b.kin().is_some_and(|kin| kin.kind == Kind::Volumes);
    let mut names = Vec::new();
    for backup in backups.iter_mut().filter(hot) {
        backup.fault =
            Set::read(&backup.path).map_or_else(|e| Some(e.to_string()), |set| coverage.lacks(&set));
        names.extend(backup.fault.is_some().then(|| backup.name.clone()));
    }
    names
}

/// Tells each finding: to standard output, or where that holds the paths of backups that passed, to
/// standard error.
pub(crate) fn tell(look: &Look, args: &Args, alone: bool, speech: &Speech) -> Result<()> {
    for finding in &look.findings {
        let more = if args.json {
            out::record(&as_json(finding).to_string())?
        } else if alone {
            out::record(&line(finding))?
        } else {
            speech.warn(&line(finding).replace('\t', " "));
            true
        };
        if !more {
            return Err(Error::read_enough());
        }
    }
    if look.findings.is_empty() {
        speech.say("nothing to find fault with");
    }
    Ok(())
}

/// Kind, series, backup and reason, parted by tabs.
fn line(finding: &Finding) -> String {
    let text = |text: &Option<String>| out::plain(text.as_deref().unwrap_or("-"));
    let (series, backup) = (text(&finding.series), text(&finding.backup));
    format!("{}\t{series}\t{backup}\t{}", finding.what.word(), out::plain(&finding.why))
}

/// The same as one object.
pub(crate) fn as_json(finding: &Finding) -> serde_json::Value {
    serde_json::json!({
        "finding": finding.what.word(),
        "series": finding.series,
        "backup": finding.backup,
        "why": finding.why,
    })
}
