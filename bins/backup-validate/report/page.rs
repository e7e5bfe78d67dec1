//! The page: one file, which loads nothing and runs nothing, and says so to the browser.

use kit::out;

use super::html::{attention, faulty, group, mark};
use super::log::coverage;
use super::model::{Group, Model};
use super::status::{Level, status};
use super::words::{age, counted, escaped, moment, span_of};
use crate::cli::TOOL;

const STYLE: &str = include_str!("style.css");

/// How it begins, by which it is known.
pub(super) const BEGIN: &str =
    "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=generator content=pgkeep>\n";

/// The whole page.
pub(crate) fn page(model: &Model<'_>) -> String {
    let status = status(model);
    let class = match status.level {
        Level::Good => "good",
        Level::Warn => "warn",
        Level::Bad => "bad",
    };
    let (headline, host) = (escaped(status.headline), escaped(&model.host));
    let (dir, figures) = match model.is_there {
        true => (format!(" in <bdi class=file>{}</bdi>", escaped(&model.dir)), figures(model)),
        false => (String::new(), String::new()),
    };
    let groups: String = model.groups.iter().map(|g| group(g, model.now)).collect();
    format!(
        "{BEGIN}\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <meta name=color-scheme content=\"light dark\">\n\
         <meta name=referrer content=no-referrer>\n\
         <title>{headline}: backups of {host}</title>\n<style>\n{STYLE}</style>\n\
         <body>\n<main>\n<header class={class}>\n\
         <p class=where>Backups{dir} on <bdi>{host}</bdi></p>\n\
         <div class=verdict>{}<div><h1>{headline}</h1>\n<p>{}</p></div></div>\n{}</header>\n\
         {}{groups}{}{}\
         <footer><p>{}, UTC. {TOOL} {}. This page is complete in itself: it loads nothing and runs nothing.</p>\
         </footer>\n</main>\n</body>\n</html>\n",
        mark(status.level),
        escaped(&status.sentence),
        figures,
        attention(model),
        model.coverage.map_or(String::new(), |c| coverage(c, model.now)),
        faulty(model),
        moment(model.now),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Four numbers that people ask for.
fn figures(model: &Model<'_>) -> String {
    let chiefs = || model.groups.iter().filter(|g| g.is_chief);
    let oldest = chiefs().map(|g| g.newest().backup.time).min();
    let rto = chiefs().filter_map(|g| g.last_drill()).filter(|d| d.ok).map(|d| d.seconds).reduce(f64::max);
    let proven: usize = model.groups.iter().map(Group::proven).sum();
    let lost = oldest.map_or("everything".into(), |time| age(time, model.now));
    let figure = |what: &str, value: &str, note: &str| {
        format!("<div><dt>{what}</dt><dd>{value}<small>{note}</small></dd></div>\n")
    };
    format!(
        "<dl>\n{}{}{}{}</dl>\n",
        figure("Lost at worst", &lost, "what came after the newest backup"),
        match rto {
            Some(rto) => figure("A restore takes", &span_of(rto), "measured in the last drill"),
            None => figure("A restore takes", "unknown", "no drill tells"),
        },
        figure("Proven", &counted(proven, "backup"), &format!("of {}", counted(model.groups.len(), "kind"))),
        figure("Storage", &out::bytes(model.used), "all files in the directory"),
    )
}
