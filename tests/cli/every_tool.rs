//! What every program owes its user. [`every_tool!`] makes a test of each, in the program's module.

use std::fs;
use std::process::Stdio;

use crate::lab;
use crate::pages::{self, golden, of_help, of_man, of_source};
use crate::{is_usage_error, root, run, run_bytes};

/// The tests of one program.
macro_rules! every_tool {
    ($tool:literal: $($check:ident)*) => {$(
        #[test]
        fn $check() {
            crate::every_tool::$check($tool);
        }
    )*};
    ($tool:literal) => {
        crate::every_tool::every_tool! { $tool:
            help_is_the_golden_one
            version_is_that_of_the_package
            an_unknown_option_is_refused_with_a_hint
            every_option_of_the_help_is_accepted
            an_option_without_its_value_is_refused
            help_page_and_parser_know_the_same_options
            hints_name_options_that_there_are
            the_man_page_tells_variables_and_exit_codes
            the_man_page_is_clean
            a_reader_who_is_gone_is_no_panic
            words_that_are_no_utf8_are_refused
        }
    };
}
pub(crate) use every_tool;

/// A value that an option takes, by the name of the value in the help.
fn value(tool: &str, name: &str) -> &'static str {
    match name {
        "ANSWER" => "1",
        "ARG" => "--no-owner",
        "CMD" => "true",
        "CODEC" => "zstd:3",
        "GUARDRAIL" => "guard",
        "LIST" => "some thing",
        "PLACE" => "docker:some",
        "SQL" => "SELECT 1",
        "NAME" if tool == "wal-archive" => "000000010000000000000001.00000028.backup",
        "DB" | "DIR" | "FILE" | "LABEL" | "NAME" | "NEW" | "PATTERN" | "PREFIX" | "TAG" => "some",
        "URL" => "none",
        "FORMAT" if tool == "dump-inspect" => "csv",
        "FORMAT" if tool == "backup-validate" => "html",
        "PERCENT" => "30%",
        "SIZE" => "1.5M",
        "FORMAT" => "plain",
        "N" | "SECS" => "3",
        "SEGMENT" => "000000010000000000000001",
        "MOMENT" => "2025-11-27 14:30:00",
        "LSN" => "0/16B3740",
        "XID" => "735",
        "WHAT" => "pause",
        "WHEN" => "never",
        "HOW" => "hash",
        "URLS" => "http://127.0.0.1:1",
        "SPAN" => "1d12h",
        "VOLUME" => "docker:some",
        "IMAGE" => "debian",
        _ => panic!("what is a value of {name}? say it here"),
    }
}

/// `UPDATE_GOLDEN=1 cargo test --test cli` renews the golden files after a change of the help.
pub(crate) fn help_is_the_golden_one(tool: &str) {
    let help = run(tool, &["--help"]).exits(0);
    assert_eq!(help.err, "");
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
        fs::create_dir_all(golden(tool).parent().unwrap()).unwrap();
        fs::write(golden(tool), &help.out).unwrap();
    }
    let expected = fs::read_to_string(golden(tool)).unwrap_or_default();
    let renew = format!(
        "the help of {tool} is not that of {}: if it is meant, UPDATE_GOLDEN=1 cargo test --test cli",
        golden(tool).display()
    );
    assert_eq!(help.out, expected, "{renew}");
    assert_eq!(run(tool, &["-h"]).exits(0).out, expected);
    assert_eq!(run(tool, &["-q", "--help"]).exits(0).out, expected, "help is no speech");
    let long = expected.lines().find(|l| l.chars().count() > 90);
    assert_eq!(long, None, "this line is long for a terminal");
}

pub(crate) fn version_is_that_of_the_package(tool: &str) {
    let expected = format!("{tool} {}\n", env!("CARGO_PKG_VERSION"));
    for word in ["--version", "-V"] {
        let ran = run(tool, &[word]).exits(0);
        assert_eq!((ran.out, ran.err), (expected.clone(), String::new()));
    }
}

pub(crate) fn an_unknown_option_is_refused_with_a_hint(tool: &str) {
    for words in
        [&["--nonsense"][..], &["-Z"], &["--list", "--nonsense=1"], &["--lis"], &["--quiet=1", "--list"]]
    {
        is_usage_error(tool, words);
    }
}

pub(crate) fn every_option_of_the_help_is_accepted(tool: &str) {
    let opts = of_help(&help(tool));
    assert!(opts.len() > 5, "{opts:?}");
    for (long, opt) in &opts {
        for name in opt.short.iter().chain([long]) {
            // --help ends the parsing where it stands, and so whatever the option would do
            let mut words = vec![name.as_str()];
            let values = opt.value.as_deref().filter(|_| !opt.optional).unwrap_or_default();
            words.extend(values.split_whitespace().map(|name| value(tool, name)));
            words.push("--help");
            let ran = run(tool, &words);
            assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
        }
    }
}

pub(crate) fn an_option_without_its_value_is_refused(tool: &str) {
    for (long, opt) in of_help(&help(tool)) {
        if opt.value.is_some() && !opt.optional {
            is_usage_error(tool, &[&long]);
        }
    }
}

fn help(tool: &str) -> String {
    run(tool, &["--help"]).exits(0).out
}

fn page(tool: &str) -> String {
    let path = root().join("docs").join(format!("{tool}.1"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn help_page_and_parser_know_the_same_options(tool: &str) {
    let help = of_help(&help(tool));
    assert_eq!(of_man(&page(tool)), help, "left the man page, right the help");
    assert_eq!(of_source(tool), pages::names(&help), "left the parser, right the help");
}

pub(crate) fn the_man_page_tells_variables_and_exit_codes(tool: &str) {
    let (page, help) = (page(tool), help(tool));
    let section = |name: &str| -> Vec<String> {
        let mut lines = page.lines().skip_while(|l| *l != format!(".Sh {name}"));
        assert!(lines.next().is_some(), "no section {name}");
        lines.take_while(|l| !l.starts_with(".Sh ")).map(String::from).collect()
    };
    for name in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "FILES", "EXAMPLES", "SEE ALSO"] {
        assert!(!section(name).is_empty(), "section {name} is empty");
    }
    let variables = help.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0));
    let is_variable = |v: &&str| v.contains('_') && v.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    for variable in variables.filter(is_variable) {
        assert!(section("ENVIRONMENT").contains(&format!(".It Ev {variable}")), "{variable} is not told");
    }
    let codes = help.lines().skip_while(|l| *l != "Exit codes:").skip(1);
    let codes: Vec<String> =
        codes.filter_map(|l| Some(format!(".It {}", l.trim().split_once("  ")?.0))).collect();
    let told: Vec<String> = section("EXIT STATUS").into_iter().filter(|l| l.starts_with(".It ")).collect();
    assert_eq!(told, codes);
}

/// The hints in the sources of a program: string literals behind `hint(`, or that begin with `hint: `.
fn hints(tool: &str) -> Vec<String> {
    let mut hints = Vec::new();
    let mut folders = vec![root().join("bins").join(tool)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(path).unwrap();
            for rest in source.split("hint(").skip(1).chain(source.split("\"hint: ").skip(1)) {
                let rest =
                    rest.trim_start().trim_start_matches("format!(").trim_start().trim_start_matches('"');
                hints.extend(rest.split_once('"').map(|(hint, _)| hint.to_owned()));
            }
        }
    }
    hints
}

/// A hint is read when things have gone wrong already. Options behind another program's name are that one's.
pub(crate) fn hints_name_options_that_there_are(tool: &str) {
    for hint in hints(tool) {
        let (mut of, mut is_passed_on) = (tool, false);
        for word in hint.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
            let option = word.starts_with("--") && word.len() > 2 && !std::mem::take(&mut is_passed_on);
            if root().join("bins").join(word).join("cli.rs").exists() && !word.is_empty() {
                of = word;
            }
            let is_there = [of, tool].iter().any(|tool| of_source(tool).contains(word));
            assert!(!option || is_there, "{of} has no {word}: {hint}");
            is_passed_on = word == "--pg-dump-arg";
        }
    }
}

pub(crate) fn the_man_page_is_clean(tool: &str) {
    let path = root().join("docs").join(format!("{tool}.1"));
    // not below warnings: which pages are installed here, and how long a line may be, is taste
    let mut mandoc = std::process::Command::new("mandoc");
    match mandoc.args(["-Tlint", "-Wwarning"]).arg(&path).stdin(Stdio::null()).output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            println!(
                "the man page of {tool} is not linted: mandoc is not installed (apt-get install mandoc)"
            );
        }
        output => assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout), ""),
    }
}

pub(crate) fn a_reader_who_is_gone_is_no_panic(tool: &str) {
    let dir = tempfile::tempdir().unwrap();
    // something to list
    fs::create_dir(dir.path().join("backups")).unwrap();
    fs::write(dir.path().join("backups/backup_20251127_143022.sql"), "").unwrap();
    fs::create_dir(dir.path().join("backups/snapshots")).unwrap();
    fs::write(dir.path().join("backups/snapshots/20251127_143022.json"), "").unwrap();
    fs::write(dir.path().join("some.sql"), "SELECT 1;\n").unwrap();
    let listing = match tool {
        "dump-inspect" => "some.sql",
        // it lists nothing
        "backup-validate" => "--help",
        "wal-archive" => "config -a some",
        _ => "--list",
    };
    for words in ["--help", "--version", listing] {
        let words: Vec<&str> = words.split(' ').collect();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child =
            lab::tool(tool, dir.path()).args(&words).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let gone = lab::end(child).exits(0);
        assert_eq!(gone.err, "", "{words:?}");

        let mut shell = std::process::Command::new("sh");
        let program = lab::tool(tool, dir.path());
        shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(program.get_program()).args(&words);
        let closed = lab::run(shell.current_dir(dir.path()).stdin(Stdio::null())).exits(0);
        assert_eq!(closed.err, "", "{words:?}");

        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let child =
            lab::tool(tool, dir.path()).args(&words).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        lab::end(child).exits(5).says("no space left");
    }
}

pub(crate) fn words_that_are_no_utf8_are_refused(tool: &str) {
    for words in
        [&[&b"--na\xff"[..]][..], &[b"--name", b"a\xff"], &[b"-o", b"\xff"], &[b"-d\xff"], &[b"--via=\xff"]]
    {
        let ran = run_bytes(tool, words).exits(2).says("hint: ");
        assert_eq!(ran.out, "");
    }
}
