//! Reads a program's options out of its help, out of its man page, and out of its source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::root;

/// An option as its user sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opt {
    pub(crate) short: Vec<String>,
    /// The name of its value.
    pub(crate) value: Option<String>,
    /// It may stand without its value.
    pub(crate) optional: bool,
}

/// Options by their long names.
pub(crate) type Opts = BTreeMap<String, Opt>;

/// Where the golden help of a program stands.
pub(crate) fn golden(tool: &str) -> std::path::PathBuf {
    root().join("tests/cli/golden").join(tool).join("help.txt")
}

/// The options in a help text: the lines that begin with a dash, up to two blanks.
pub(crate) fn of_help(help: &str) -> Opts {
    let mut opts = Opts::new();
    for line in help.lines().map(str::trim_start).filter(|l| l.starts_with('-') && !l.starts_with("-- ")) {
        let head = line.split("  ").next().unwrap_or(line);
        let head = head.replace("[=", " [");
        let words = head.split([' ', ',']).filter(|w| !w.is_empty());
        collect(&mut opts, words.map(|w| (w.starts_with('-'), w.to_owned())));
    }
    opts
}

/// The options in a man page: the `.It Fl` lines of its mdoc source.
pub(crate) fn of_man(page: &str) -> Opts {
    let mut opts = Opts::new();
    for line in page.lines().filter_map(|l| l.strip_prefix(".It Fl ")) {
        let mut words = line.split(' ');
        let mut is_flag = true;
        let mut found = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "Fl" => is_flag = true,
                "Ar" => is_flag = false,
                "," | "..." | "Ns" | "=Ns" => {}
                "Op" => {
                    // the value that follows
                    let name = words.by_ref().find(|w| !["Ns", "=Ns", "Ar"].contains(w));
                    found.extend(name.map(|name| (false, format!("[{name}]"))));
                }
                // `Fl -` is the `--` before a command
                "-" => while words.next().is_some() {},
                word if is_flag => found.push((true, format!("-{word}"))),
                word => found.push((false, word.to_owned())),
            }
        }
        collect(&mut opts, found.into_iter());
    }
    opts
}

fn collect(opts: &mut Opts, words: impl Iterator<Item = (bool, String)>) {
    let (mut short, mut last) = (Vec::new(), String::new());
    for (is_flag, word) in words {
        if !is_flag {
            let opt = opts.entry(last.clone()).or_default();
            opt.optional = word.starts_with('[');
            let name = word.trim_matches(['[', ']']).to_owned();
            // some take two
            opt.value = Some(opt.value.as_ref().map_or(name.clone(), |first| format!("{first} {name}")));
        } else if word.starts_with("--") {
            let opt = Opt { short: std::mem::take(&mut short), ..Opt::default() };
            assert!(opts.insert(word.clone(), opt).is_none(), "{word} stands there twice");
            last = word;
        } else {
            short.push(word);
        }
    }
}

/// The names that a program's parser knows, long and short.
pub(crate) fn of_source(tool: &str) -> BTreeSet<String> {
    let source = fs::read_to_string(root().join("bins").join(tool).join("cli.rs")).unwrap();
    let names = |begin: &str, end: &str, dashes: &str| -> Vec<String> {
        let found = source.split(begin).skip(1).filter_map(|rest| rest.split_once(end));
        found.map(|(name, _)| format!("{dashes}{name}")).collect()
    };
    let (long, short) = (names("Long(\"", "\")", "--"), names("Short('", "')", "-"));
    // the rules of retention are read in one place for all
    let rules = source.contains("policy.option(").then_some(kit::retention::RULES);
    let rules = rules.into_iter().flatten().map(|rule| format!("--{rule}"));
    long.into_iter().chain(short).chain(rules).collect()
}

/// Long and short names of options.
pub(crate) fn names(opts: &Opts) -> BTreeSet<String> {
    opts.iter().flat_map(|(long, opt)| opt.short.iter().chain([long])).cloned().collect()
}

#[test]
fn options_are_read_as_they_are_written() {
    let help = "Usage: x - | [OPTIONS]\n  -d, --dir DIR    where, default --x\n  -- CMD  run it\n      --a N, --b N,\n  -q, --quiet  say\n";
    let page = ".It Fl d , Fl -dir Ar DIR\n.It Fl - Ar CMD Op Ar ARG ...\n.It Fl -a Ar N , Fl -b Ar N\n.It Fl q , Fl -quiet\n";
    let opts = of_help(help);
    assert_eq!(opts, of_man(page));
    assert_eq!(names(&opts).into_iter().collect::<Vec<_>>(), ["--a", "--b", "--dir", "--quiet", "-d", "-q"]);
    assert_eq!(opts["--b"].value.as_deref(), Some("N"));
}
