//! The section on the archive of the log: a bar for each timeline, in which a gap is a hole, and a table.

use kit::out;
use kit::stamp::Stamp;

use super::html::{cells, folded, name};
use super::words::{age, counted, escaped, moment};
use crate::coverage::{Coverage, Timeline};

/// The section.
pub(crate) fn coverage(coverage: &Coverage, now: Stamp) -> String {
    let head = ["Timeline", "Coverage", "Segments", "Missing", "Newest"];
    let row = |t: &Timeline| {
        let missing: Vec<String> = t.gaps.iter().map(|gap| escaped(&coverage.stretch(gap))).collect();
        let missing = if missing.is_empty() {
            "none".into()
        } else {
            format!("<span class=file>{}</span>", missing.join("<br>"))
        };
        let ends = t.runs.first().zip(t.runs.last());
        let ends = ends.map_or(String::new(), |(a, b)| format!("<small>{} to {}</small>", a.first, b.last));
        let newest =
            t.newest.map_or("-".into(), |at| format!("{}<small>{} ago</small>", moment(at), age(at, now)));
        let segments = usize::try_from(t.segments).unwrap_or(usize::MAX);
        cells(
            &head,
            &[
                format!("{}<small>{}</small>", t.number, counted(t.bases, "base backup")),
                format!("{}{ends}", bar(coverage, t)),
                out::count(segments as u64),
                missing,
                newest,
            ],
        )
    };
    let rows: Vec<String> = coverage.timelines.iter().map(row).collect();
    let dir = name(&coverage.dir);
    let list = match coverage.timelines.iter().all(|t| t.segments == 0) {
        true => "<p>It is empty: no moment can be recovered from it.</p>\n".to_owned(),
        false => format!(
            "<p>Between a base backup and the newest segment any moment can be recovered, as far as there is no \
             gap. By the names of the files; <code>wal-archive verify</code> reads them.</p>\n{}",
            folded(&head, &rows, "older timelines")
        ),
    };
    format!(
        "<section><h2>The log <small>archived in <span class=file>{dir}</span></small></h2>\n\
         {list}</section>\n"
    )
}

/// The stretches of one timeline on the stretch of all.
fn bar(coverage: &Coverage, timeline: &Timeline) -> String {
    const WIDTH: f64 = 600.0;
    let rect = |class: &str, run: &kit::wal::chain::Run| {
        let (from, to) = coverage.place(run);
        let (x, width) = (from * WIDTH, ((to - from) * WIDTH).max(1.5));
        let title = escaped(&coverage.stretch(run));
        let y = if class == "gap" { 5 } else { 0 };
        let height = if class == "gap" { 2 } else { 12 };
        format!(
            "<rect class={class} x={x:.1} y={y} width={width:.1} height={height}><title>{title}</title></rect>"
        )
    };
    let there: String = timeline.runs.iter().map(|run| rect("there", run)).collect();
    let gaps: String = timeline.gaps.iter().map(|gap| rect("gap", gap)).collect();
    let what = match timeline.gaps.len() {
        0 => "no gap".to_owned(),
        n => counted(n, "gap"),
    };
    format!(
        "<svg class=bar viewBox=\"0 0 600 12\" preserveAspectRatio=none role=img>\
         <title>Timeline {}: {what}</title>{gaps}{there}</svg>",
        timeline.number
    )
}
