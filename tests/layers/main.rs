//! The house keeps its order: who may use whom, how large a file may grow, and what every
//! program owes its user. The rules are those of docs/design.md; each is a test here.

#![cfg(test)]

mod source;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use source::{Source, occurrences, paths_after};

/// The layers of `bins/kit`, lowest first: each may use only those before it.
const LAYERS: &[&str] = &[
    "buffer",
    "exit",
    "stamp",
    "cli",
    "http",
    "out",
    "settings",
    "digest",
    "medium",
    "place",
    "lock",
    "child",
    "progress",
    "codec",
    "store",
    "crypt",
    "archive",
    "dump",
    "manifest",
    "source",
    "proof",
    "retention",
    "catalog",
    "patroni",
    "services",
    "via",
    "pg",
    "session",
    "instance",
    "beside",
    "guard",
    "redis",
    "volume",
    "wal",
    "history",
    "watch",
    "metrics",
    "notify",
];

const LONGEST_MAIN: usize = 25;
const LONGEST_FILE: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let sources = source::all(root());
    assert!(!sources.is_empty(), "no source under bins/");
    sources
}

fn tools() -> Vec<String> {
    let programs = sources();
    let named = |s: &Source| s.path.strip_prefix("bins/")?.strip_suffix("/main.rs").map(String::from);
    let tools: Vec<String> = programs.iter().filter_map(named).collect();
    assert!(!tools.is_empty(), "no bins/<tool>/main.rs");
    tools
}

fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn position(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|l| *l == layer)
}

/// What `source`, a file of the kit, uses and may not.
fn upward_imports(source: &Source) -> Vec<String> {
    let Some(own) = source.layer() else { return Vec::new() };
    let mut faults = Vec::new();
    for (at, used) in source.root_paths() {
        let allowed = used == own || position(used).is_some_and(|p| Some(p) < position(own));
        if !allowed {
            let place = source.at(at);
            faults.push(format!(
                "{place}: layer '{own}' uses '{used}', which does not stand before it in LAYERS"
            ));
        }
    }
    faults
}

#[test]
fn each_layer_uses_only_those_before_it() {
    none(sources().iter().flat_map(upward_imports).collect());
}

#[test]
fn every_module_of_the_kit_is_a_layer() {
    let unknown = |s: &Source| s.layer().filter(|l| position(l).is_none()).map(String::from);
    let fault = |s: &Source| unknown(s).map(|l| format!("{}:1: module '{l}' has no place in LAYERS", s.path));
    none(sources().iter().filter_map(fault).collect());
}

#[test]
fn the_kit_names_no_tool() {
    let tools = tools();
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| s.path.starts_with("bins/kit/")) {
        for tool in &tools {
            for spelling in [tool.clone(), tool.replace('-', "_")] {
                let found = occurrences(&source.spoken, &spelling).map(|at| source.at(at));
                faults.extend(
                    found.map(|at| format!("{at}: the kit names '{spelling}': take the name at run time")),
                );
            }
        }
    }
    faults.dedup();
    none(faults);
}

/// A program is a crate of its own, so only these bring another's files in.
#[test]
fn tools_never_import_tools() {
    let mut faults = Vec::new();
    for source in sources() {
        for way in ["#[path", "include!"] {
            let found = occurrences(&source.code, way).map(|at| source.at(at));
            faults.extend(
                found.map(|at| format!("{at}: '{way}' imports past the module tree: share by the kit")),
            );
        }
    }
    none(faults);
}

#[test]
fn a_main_is_short() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| s.path.ends_with("/main.rs")) {
        let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > LONGEST_MAIN {
            faults.push(format!("{}:1: {lines} lines of code, at most {LONGEST_MAIN}", source.path));
        }
    }
    none(faults);
}

#[test]
fn a_long_file_says_why_it_is_one_thing() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let mut head = source.text.lines().take_while(|line| line.starts_with("//"));
        if lines > LONGEST_FILE && !head.any(|line| line.contains("One thing:")) {
            let path = &source.path;
            faults.push(format!(
                "{path}:1: {lines} lines, and no 'One thing:' in its head: split it above {LONGEST_FILE}"
            ));
        }
    }
    none(faults);
}

#[test]
fn nothing_panics_on_purpose() {
    let mut faults = Vec::new();
    for source in sources() {
        for word in [".unwrap()", ".expect(", "panic!", "todo!", "unimplemented!"] {
            let found = occurrences(&source.shipped, word).map(|at| source.at(at));
            faults.extend(
                found.map(|at| format!("{at}: '{word}' outside tests: return an error with its exit status")),
            );
        }
    }
    none(faults);
}

#[test]
fn only_one_file_ends_the_process() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| s.path != "bins/kit/exit.rs") {
        for (at, name) in paths_after(&source.code, "process::") {
            if matches!(name, "exit" | "abort" | "*") {
                faults.push(format!(
                    "{}: 'process::{name}': only bins/kit/exit.rs ends the process",
                    source.at(at)
                ));
            }
        }
    }
    none(faults);
}

#[test]
fn every_tool_has_a_man_page() {
    let missing = |tool: &String| !root().join(format!("docs/{tool}.1")).is_file();
    let fault = |tool: String| format!("bins/{tool}/main.rs:1: no man page docs/{tool}.1");
    none(tools().into_iter().filter(missing).map(fault).collect());
}

/// The program that cargo built for this test run.
fn program(tool: &str) -> PathBuf {
    std::env::var_os(format!("CARGO_BIN_EXE_{tool}")).map_or_else(
        // Before cargo 1.94 only the compiler was told: target/debug/deps/layers-… is beside it.
        || std::env::current_exe().unwrap().parent().unwrap().with_file_name(tool),
        PathBuf::from,
    )
}

/// The numbers in the section of `help` whose heading begins with "exit".
fn exit_codes(help: &str) -> Vec<u8> {
    let mut lines = help.lines().skip_while(|line| !line.trim_start().to_lowercase().starts_with("exit"));
    let heading = lines.next().unwrap_or("");
    let section = lines.take_while(|line| line.is_empty() || line.starts_with([' ', '\t']));
    let words = std::iter::once(heading).chain(section).flat_map(|line| line.split([' ', '\t', ',', ':']));
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn every_help_lists_its_exit_codes() {
    let mut faults = Vec::new();
    for tool in tools() {
        let place = format!("bins/{tool}/main.rs:1: {tool} --help");
        let run = Command::new(program(&tool)).arg("--help").stdin(Stdio::null()).output();
        let output = match run {
            Ok(output) => output,
            Err(e) => {
                faults.push(format!("{place}: {e}: is there a [[bin]] in Cargo.toml?"));
                continue;
            }
        };
        let codes = exit_codes(&String::from_utf8_lossy(&output.stdout));
        if !output.status.success() || !output.stderr.is_empty() {
            faults.push(format!(
                "{place}: {}, stderr {:?}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ));
        } else if ![0, 1, 2].iter().all(|code| codes.contains(code)) {
            faults.push(format!("{place}: its section of exit codes lists {codes:?}, and not 0, 1 and 2"));
        }
    }
    none(faults);
}

// The rules above are worth what the reader of the source is worth.

#[test]
fn code_is_told_from_comments_literals_and_tests() {
    let text = r##"//! crate::wal
/* crate::wal /* nested */ crate::wal */
fn f<'a>(c: char) -> &'a str { match c { '"' => "crate::wal", '\'' => r#" " crate::wal "#, _ => b"\"crate::wal" } }
#[cfg(test)]
use crate::wal;
fn g() { x.unwrap() }
#[cfg(test)]
mod tests { fn h() { "}"; y.unwrap(); } }
fn i() { z.unwrap() }
"##;
    let source = Source::new("bins/kit/exit.rs", text);
    assert_eq!(source.code.len(), text.len());
    let places = |code: &str, word: &str| occurrences(code, word).map(|at| source.at(at)).collect::<Vec<_>>();
    assert_eq!(places(&source.code, "crate::"), ["bins/kit/exit.rs:5"]);
    assert_eq!(places(&source.spoken, "crate::").len(), 3);
    assert_eq!(places(&source.shipped, ".unwrap()"), ["bins/kit/exit.rs:6", "bins/kit/exit.rs:9"]);
}

#[test]
fn an_upward_import_is_found_in_every_spelling() {
    let used = |path, text| upward_imports(&Source::new(path, text)).len();
    assert_eq!(used("bins/kit/out.rs", "use crate::exit::Error; use crate::{cli, stamp::Stamp};"), 0);
    assert_eq!(used("bins/kit/out.rs", "use crate::place;"), 1);
    assert_eq!(
        used("bins/kit/out.rs", "use crate::{\n    exit::{Error, Code},\n    pg::{self, Server},\n};"),
        1
    );
    assert_eq!(used("bins/kit/out.rs", "fn f() { crate::wal::g(); super::wal::g(); }"), 2);
    assert_eq!(used("bins/kit/out.rs", "use crate::Error;"), 1, "by way of the root");
    assert_eq!(used("bins/kit/out.rs", "#[cfg(test)] mod tests { use super::*; use super::super::pg; }"), 1);
    assert_eq!(
        used("bins/kit/codec/read.rs", "use super::{Frame, wal}; use crate::codec::Kind;"),
        0,
        "its own"
    );
    assert_eq!(used("bins/kit/codec/mod.rs", "use super::dump; mod read; use read::x;"), 1);
}
