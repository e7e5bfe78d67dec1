//! Rust source as far as the rules need it: code told apart from comments, literals and tests,
//! byte for byte in place, so that every finding keeps its line.

use std::fs;
use std::path::Path;

/// One file under `bins/`, in three views of the same length.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Comments and the contents of literals blanked.
    pub(crate) code: String,
    /// As `code`, without what is compiled for tests only.
    pub(crate) shipped: String,
    /// Comments and tests blanked, literals kept.
    pub(crate) spoken: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let (mut spoken, code) = views(text);
        let mut shipped = code.clone();
        for (from, to) in test_spans(&code) {
            blank(&mut shipped, from, to);
            blank(&mut spoken, from, to);
        }
        Source { path: path.into(), text: text.into(), code, shipped, spoken }
    }

    /// `path:line: `, as compilers print it.
    pub(crate) fn at(&self, offset: usize) -> String {
        let line = 1 + self.text[..offset].matches('\n').count();
        format!("{}:{line}", self.path)
    }

    /// The layer of `bins/kit` that the file belongs to; none for `lib.rs` and for programs.
    pub(crate) fn layer(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("bins/kit/")?;
        let name = rest.split('/').next()?.trim_end_matches(".rs");
        (name != "lib").then_some(name)
    }

    /// How many modules deep the file is: 1 for `kit/pg.rs` and `kit/codec/mod.rs`.
    fn depth(&self) -> usize {
        let inside = self.path.splitn(3, '/').nth(2).unwrap_or("");
        inside.split('/').filter(|part| *part != "mod.rs").count()
    }

    /// What stands directly below the crate's root in each path of the code, with its place:
    /// `crate::a::b`, each member of `crate::{a, b::c}`, and `super::` where it leads there.
    pub(crate) fn root_paths(&self) -> Vec<(usize, &str)> {
        let code = &self.code;
        let mut found = paths_after(code, "crate::");
        for start in occurrences(code, "super::") {
            if code[..start].trim_end().ends_with("super::") {
                continue;
            }
            let mut end = start;
            while code[end..].starts_with("super::") {
                end += "super::".len();
            }
            let up = (end - start) / "super::".len();
            if self.depth() + inline_modules(&code[..start]) == up {
                found.extend(members(code, end));
            }
        }
        found.sort_unstable();
        found
    }
}

/// Every file under `bins/`, the test files that `#[cfg(test)] mod name;` names marked as such.
pub(crate) fn all(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root.join("bins"), &mut paths);
    paths.sort();
    let mut sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            Source::new(&relative, &text)
        })
        .collect();
    let tests: Vec<String> = sources.iter().flat_map(test_files).collect();
    for source in &mut sources {
        if tests.contains(&source.path) {
            let end = source.text.len();
            blank(&mut source.shipped, 0, end);
            blank(&mut source.spoken, 0, end);
        }
    }
    sources
}

/// Where `word` occurs in `code` and no longer name ends with it.
pub(crate) fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| !word.starts_with(is_name) || !code[..at].ends_with(is_name))
}

/// The first name after each `head` (which ends with `::`), braces opened.
pub(crate) fn paths_after<'a>(code: &'a str, head: &'a str) -> Vec<(usize, &'a str)> {
    occurrences(code, head).flat_map(|at| members(code, at + head.len())).collect()
}

/// The name at `from`, or the first name of each member if a brace opens there.
fn members(code: &str, from: usize) -> Vec<(usize, &str)> {
    let name = |at: usize| {
        let at = code.len() - code[at..].trim_start().len();
        let rest = &code[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        (at, if rest.starts_with('*') { "*" } else { &rest[..end] })
    };
    if !code[from..].starts_with('{') {
        return vec![name(from)];
    }
    let (mut found, mut depth) = (Vec::new(), 0);
    for (i, c) in code[from..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(c, '{' | ',') {
            found.push(name(from + i + 1));
        }
    }
    found.retain(|(_, name)| !name.is_empty());
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn collect(dir: &Path, into: &mut Vec<std::path::PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn blank(text: &mut String, from: usize, to: usize) {
    let spaces: String = text[from..to].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(from..to, &spaces);
}

/// `text` without comments, and without comments and the contents of literals.
fn views(text: &str) -> (String, String) {
    let (mut spoken, mut code) = (text.to_string(), text.to_string());
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let comment = comment_length(rest);
        let literal = if text[..at].ends_with(is_name) { quoted_length(rest) } else { literal_length(rest) };
        let length = comment.or(literal).unwrap_or(c.len_utf8());
        if comment.is_some() {
            blank(&mut spoken, at, at + length);
        }
        if comment.or(literal).is_some() {
            blank(&mut code, at, at + length);
        }
        at += length;
    }
    (spoken, code)
}

fn comment_length(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    loop {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest[at..].chars().next()?.len_utf8();
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// A string with any prefix, or a character; a lifetime is neither.
fn literal_length(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].iter().find(|p| {
        let after = rest.strip_prefix(**p).unwrap_or("").trim_start_matches('#');
        rest.starts_with(**p) && after.starts_with(['"', '\''])
    })?;
    let body = &rest[prefix.len()..];
    if !prefix.ends_with('r') {
        return quoted_length(body).map(|n| prefix.len() + n);
    }
    let hashes = body.len() - body.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let inside = body[hashes..].strip_prefix('"')?;
    Some(prefix.len() + hashes + 1 + inside.find(&end)? + end.len())
}

fn quoted_length(rest: &str) -> Option<usize> {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut chars = rest.char_indices().skip(1);
    let mut inside = 0;
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some(at + 1);
        }
        let escaped = c == '\\' && chars.next().is_some();
        inside += 1;
        // `'a` of a lifetime: a character literal holds one character, or an escape.
        if quote == '\'' && inside == 1 && !escaped && !rest[at + c.len_utf8()..].starts_with('\'') {
            return None;
        }
    }
    None
}

/// Items under `#[cfg(test)]`, attribute to closing brace or semicolon.
fn test_spans(code: &str) -> Vec<(usize, usize)> {
    let item_end = |from: usize| {
        let mut depth = 0;
        for (i, c) in code[from..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(c, '}' | ';') {
                return from + i + 1;
            }
        }
        code.len()
    };
    code.match_indices("#[cfg(test)]").map(|(at, _)| (at, item_end(at))).collect()
}

/// The files that `#[cfg(test)] mod name;` brings in.
fn test_files(source: &Source) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let folder = match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_string(),
        _ => source.path.trim_end_matches(".rs").to_string(),
    };
    test_spans(&source.code)
        .into_iter()
        .filter_map(|(from, to)| {
            let item = source.code[from..to].strip_suffix(';')?;
            let (_, name) = item.rsplit_once("mod ")?;
            Some(format!("{folder}/{}.rs", name.trim()))
        })
        .collect()
}

/// How many `mod name {` are open at the end of `code`.
fn inline_modules(code: &str) -> usize {
    let mut open = Vec::new();
    for (at, c) in code.char_indices() {
        match c {
            '{' => open.push(code[..at].split_whitespace().rev().nth(1) == Some("mod")),
            '}' => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().filter(|is_module| *is_module).count()
}
