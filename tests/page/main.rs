//! The report's page in a real browser: it fits a phone, can be read by day and by night, and runs nothing.
//!
//! Needs Chromium (`scripts/setup docker` installs it). The browser gets no network and a profile of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../lab/mod.rs"]
mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// What a page and a browser must not take for markup, as the name of a series, of a database, of a server.
const HOSTILE: &str =
    "<img src=x onerror=document.title=1><script>document.title=1<\u{2215}script>\u{202e}\"'";

/// A folder with backups of two series, of which one shrinks, and drills, and the report on them.
fn report() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let rotate = |name: &str, rows: usize| {
        fs::write(place.path().join("dump.sql"), dump(rows)).unwrap();
        let words = ["-q", "--name", name, "--tag", HOSTILE, "--keep-last", "20", "--", "cat", "dump.sql"];
        lab::run(lab::tool("pgdump-rotate", place.path()).args(words)).exits(0).line().to_owned()
    };
    for rows in [900, 950, 1000, 300] {
        rotate("shop", rows);
    }
    // more than stand open at once
    let last: Vec<String> = (0..17).map(|n| rotate(HOSTILE, 500 + n)).collect();
    let drill = |at: &str, ok: bool| {
        let backup = last.last().unwrap().strip_prefix("backups/").unwrap();
        serde_json::json!({
            "at": at, "name": backup, "series": HOSTILE, "kind": "database", "database": null, "system_identifier": null,
            "partial": [], "ok": ok, "seconds": 8.123, "server": HOSTILE,
            "faults": if ok { vec![] } else { vec![HOSTILE.repeat(9)] },
        })
        .to_string()
            + "\n"
    };
    let drills = drill("2025-11-01T00:00:00Z", true) + &drill("2025-11-08T00:00:00Z", false);
    fs::write(place.path().join("backups/drills.jsonl"), drills).unwrap();
    let wal = place.path().join("wal");
    fs::create_dir_all(wal.join("00000001")).unwrap();
    let identity = r#"{"format_version": 1, "system_identifier": "7", "segment_bytes": 16777216}"#;
    fs::write(wal.join("archive.json"), identity).unwrap();
    for part in [1, 2, 9] {
        fs::write(wal.join(format!("00000001/0000000100000000000000{part:02X}")), "").unwrap();
    }
    let page = place.path().join("page.html");
    let words = ["--watch", "--wal", "wal", "--report", "html", "page.html"];
    lab::run(lab::tool("backup-validate", place.path()).args(words)).exits(1);
    (place, page)
}

fn dump(rows: usize) -> String {
    let rows: String = (0..rows).map(|n| format!("{n}\trow {n}\n")).collect();
    format!(
        "--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.t (n int, t text);\n\n\
         COPY public.t (n, t) FROM stdin;\n{rows}\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n"
    )
}

/// The page as the browser has it in the end, and what it complained about.
fn browse(page: &Path) -> (String, Vec<String>) {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let program = names.into_iter().find(|n| which::which(n).is_ok());
    let program = program.expect("Chromium is missing here: run 'scripts/setup docker'");
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args([
        "--enable-logging=stderr",
        "--virtual-time-budget=2000",
        "--hide-scrollbars",
        "--dump-dom",
    ]);
    // nothing but the file can be reached
    command.args(["--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.env("HOME", profile.path()).env("XDG_CONFIG_HOME", profile.path());
    command.arg("--window-size=1400,900").arg(format!("file://{}", page.display()));
    let ran = lab::run(command.stdin(std::process::Stdio::null())).exits(0);
    let complaints = ran.err.lines().filter(|l| l.contains("CONSOLE")).map(str::to_owned).collect();
    (ran.out, complaints)
}

/// What a script of ours finds out about the page; it stands before the page's own policy, which lets none run.
fn measure(page: &Path, width: u32, dark: bool) -> Value {
    let text = fs::read_to_string(page).unwrap();
    let with =
        text.replacen("<meta charset=utf-8>", &format!("<meta charset=utf-8><script>{MEASURE}</script>"), 1);
    assert_ne!(text, with);
    fs::write(page.with_file_name("measured.html"), with).unwrap();
    // no window is narrower than 500 pixels, a frame is
    let (outer, scheme) = (page.with_file_name("outer.html"), if dark { "dark" } else { "light" });
    let frame = FRAME.replace("WIDTH", &width.to_string()).replace("SCHEME", scheme);
    fs::write(&outer, frame).unwrap();
    let (dom, complaints) = browse(&outer);
    assert_eq!(complaints, [""; 0]);
    let (_, rest) =
        dom.split_once("<pre id=\"found\">").unwrap_or_else(|| panic!("nothing was found out: {dom}"));
    let found = rest.split_once("</pre>").unwrap().0;
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&found).unwrap()
}

/// Widths, what sticks out, and each text whose contrast with what is behind it is less than WCAG's AA asks for.
const MEASURE: &str = r#"
addEventListener('load', () => {
  const rgba = text => { const n = text.match(/[\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = e => e ? over(rgba(getComputedStyle(e).backgroundColor), behind(e.parentElement))
    : [255, 255, 255, 1];
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + .05) / (y + .05); };
  document.querySelectorAll('details').forEach(d => d.open = true);
  const seen = [...document.body.querySelectorAll('*')].filter(e => e.checkVisibility() && !e.closest('svg'));
  const sticks = seen.filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('thead'));
  const says = seen.filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  const pale = says.filter(e => contrast(over(rgba(getComputedStyle(e).color), behind(e)), behind(e)) < 4.5);
  parent.postMessage(JSON.stringify({
    width: innerWidth, needed: document.documentElement.scrollWidth, texts: says.length,
    sticks: sticks.map(e => e.outerHTML.slice(0, 99)), pale: pale.map(e => e.outerHTML.slice(0, 99)),
    dark: matchMedia('(prefers-color-scheme: dark)').matches,
    paper: light(behind(document.body)),
    rows: document.querySelectorAll('tbody tr').length,
    charts: [...document.querySelectorAll('figure svg')].filter(s => s.getBoundingClientRect().width > 200).length,
    titled: [...document.querySelectorAll('svg')].every(s => s.querySelector('title')?.textContent),
    scripts: document.scripts.length, images: document.images.length, title: document.title,
  }), '*');
});
"#;

/// A page that shows the other at a width, and writes down what its script tells.
const FRAME: &str = r#"<!doctype html><meta charset=utf-8><body><script>
addEventListener('message', e => {
  const found = document.createElement('pre');
  found.id = 'found';
  found.textContent = e.data;
  document.body.append(found);
});
</script>
<iframe src="measured.html" style="width: WIDTHpx; height: 900px; border: 0; color-scheme: SCHEME"></iframe>"#;

#[test]
fn it_fits_every_screen_and_can_be_read_by_day_and_by_night() {
    let (_place, page) = report();
    for (width, dark) in [(390, false), (390, true), (1280, false), (1280, true)] {
        let found = measure(&page, width, dark);
        assert_eq!(
            (&found["width"], &found["dark"]),
            (&width.into(), &dark.into()),
            "the browser did as it was told"
        );
        assert!(found["needed"].as_u64().unwrap() <= u64::from(width), "it scrolls sideways: {found}");
        assert_eq!(found["sticks"], serde_json::json!([]), "{width}");
        assert_eq!(found["pale"], serde_json::json!([]), "{width} {dark}");
        assert!(found["texts"].as_u64().unwrap() > 100, "{found}");
        assert_eq!(found["paper"].as_f64().unwrap() < 0.2, dark, "{found}");
        // 4 and 17 backups, 2 drills, a timeline
        assert_eq!((&found["rows"], &found["charts"]), (&24.into(), &7.into()), "{found}");
        assert_eq!(found["titled"], true, "a picture says nothing to those who do not see it");
    }
}

#[test]
fn nothing_in_it_runs_and_no_name_becomes_markup() {
    let (_place, page) = report();
    let found = measure(&page, 1280, false);
    // the one that measures
    assert_eq!((&found["scripts"], &found["images"]), (&1.into(), &0.into()));
    assert_eq!(found["title"].as_str().unwrap().split(':').next(), Some("A restore has failed"));
    let (dom, complaints) = browse(&page);
    assert_eq!(complaints, [""; 0]);
    assert!(dom.contains("<h1>A restore has failed</h1>"), "{dom}");
    assert!(dom.contains("&lt;img src=x onerror="), "{dom}");
}
