//! The report for CI: JUnit's XML, in the form that GitLab, Jenkins and GitHub's actions read.
//!
//! A test case for each backup that was judged, and for each series whether anything is wrong with it as a whole.

use std::fmt::Write;

use serde_json::Value;

use super::model::Model;
use super::words::escaped;

/// A test case: its class, its name, its seconds, and why it fails.
struct Case {
    class: String,
    name: String,
    seconds: f64,
    failures: Vec<String>,
    warnings: Vec<String>,
    /// Why the drill that was asked for was not held.
    skipped: Option<String>,
}

impl Case {
    /// Skipped is what does not fail.
    fn skipped(&self) -> Option<&String> {
        self.skipped.as_ref().filter(|_| self.failures.is_empty())
    }
}

/// How it begins, by which it is known.
pub(super) const BEGIN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"pgkeep\">\n";

/// The whole text.
pub(crate) fn junit(model: &Model<'_>) -> String {
    let cases: Vec<Case> = model.judged.iter().map(of_judged).chain(of_series(model)).collect();
    let failures = cases.iter().filter(|c| !c.failures.is_empty()).count();
    let skipped = cases.iter().filter(|c| c.skipped().is_some()).count();
    let seconds: f64 = cases.iter().map(|c| c.seconds).sum();
    let at = model.now.to_string();
    let mut xml = BEGIN.to_owned();
    // writing into a String cannot fail
    let _ = writeln!(
        xml,
        "<testsuite name=\"backups\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" \
         time=\"{seconds:.3}\" timestamp=\"{}\" hostname=\"{}\">",
        cases.len(),
        at.trim_end_matches('Z'),
        escaped(&model.host)
    );
    for case in &cases {
        let (class, name) = (escaped(&case.class), escaped(&case.name));
        let _ = write!(xml, "<testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\">", case.seconds);
        if let Some(first) = case.failures.first() {
            // more than one of them in a case is not read by all
            let all: Vec<String> = case.failures.iter().map(|why| escaped(why)).collect();
            let (first, all) = (escaped(first), all.join("\n"));
            let _ = write!(xml, "\n  <failure message=\"{first}\">{all}</failure>");
        }
        if let Some(why) = case.skipped() {
            let _ = write!(xml, "\n  <skipped message=\"not drilled: {}\"/>", escaped(why));
        }
        if !case.warnings.is_empty() {
            let _ = write!(xml, "\n  <system-out>{}</system-out>", escaped(&case.warnings.join("; ")));
        }
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

fn of_judged(verdict: &Value) -> Case {
    let texts = |name: &str| -> Vec<String> {
        let list = verdict[name].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Case {
        class: "backup".into(),
        name: verdict["path"].as_str().unwrap_or_default().to_owned(),
        seconds: verdict["seconds"].as_f64().unwrap_or(0.0),
        failures: texts("faults"),
        warnings: texts("warnings"),
        skipped: verdict["drill"]["skipped"].as_str().map(str::to_owned),
    }
}

/// A case for each series, and one for the directory, as far as there is one or it is missed.
fn of_series<'a>(model: &'a Model<'_>) -> impl Iterator<Item = Case> + 'a {
    let mut series: Vec<Option<&str>> = model.groups.iter().map(|g| Some(g.series)).collect();
    series.extend(model.findings.iter().map(|f| f.series.as_deref()));
    series.extend(model.is_there.then_some(None));
    series.sort_unstable();
    series.dedup();
    series.into_iter().map(|series| {
        let found = model.findings.iter().filter(move |f| f.series.as_deref() == series);
        Case {
            class: "series".into(),
            name: series.unwrap_or(&model.dir).to_owned(),
            seconds: 0.0,
            failures: found
                .map(|f| match &f.backup {
                    Some(backup) => format!("{}: {backup} {}", f.what.word(), f.why),
                    None => format!("{}: {}", f.what.word(), f.why),
                })
                .collect(),
            warnings: Vec::new(),
            skipped: None,
        }
    })
}
