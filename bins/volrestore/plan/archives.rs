//! Whether a server archives its log, as the files of its data directory tell: what it was started with last
//! (`postmaster.opts`), what `ALTER SYSTEM` has set, its configuration and what that includes, in this order.

use std::path::{Path, PathBuf};

use crate::site::Site;

/// The setting that is asked for.
const MODE: &str = "archive_mode";
/// How deep files include files, as in PostgreSQL (`CONF_FILE_MAX_DEPTH` in `conffiles.h`).
const DEPTH: u32 = 10;

/// Whether the server of this data directory archives. The configuration may be elsewhere, if files are where the
/// server has them: `here`.
pub(super) fn archives(site: &Site, data: &Path, here: bool) -> bool {
    let started = options(&site.text(&data.join("postmaster.opts")).unwrap_or_default());
    let option = |name: &str| started.iter().rfind(|(n, _)| n == name).map(|(_, value)| value.clone());
    let configured = option("config_file")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&option("data_directory")?).join("postgresql.conf")))
        .filter(|path| here && path.is_absolute() && path.is_file());
    let configured = configured.unwrap_or_else(|| data.join("postgresql.conf"));
    let mode = option(MODE)
        .or_else(|| mode_in(site, &data.join("postgresql.auto.conf"), DEPTH))
        .or_else(|| mode_in(site, &configured, DEPTH));
    mode.is_some_and(|mode| !["off", "false", "no", "0"].contains(&mode.to_ascii_lowercase().as_str()))
}

/// The settings on a postmaster's command line, each of its words between quotes; `-D` is `data_directory`.
fn options(line: &str) -> Vec<(String, String)> {
    let mut words = line.split('"').skip(1).step_by(2);
    let mut all = Vec::new();
    while let Some(word) = words.next() {
        let (text, name) = match word {
            "-c" | "--" => (words.next().unwrap_or_default(), None),
            "-D" => (words.next().unwrap_or_default(), Some("data_directory")),
            _ if word.starts_with("--") || word.starts_with("-c") => (&word[2..], None),
            _ if word.starts_with("-D") => (&word[2..], Some("data_directory")),
            _ => continue,
        };
        match (name, text.split_once('=')) {
            (Some(name), _) => all.push((name.to_owned(), text.to_owned())),
            (None, Some((name, value))) => {
                all.push((name.replace('-', "_").to_ascii_lowercase(), value.to_owned()));
            }
            (None, None) => {}
        }
    }
    all
}

/// What a file says of it, with those that it includes; the last word counts.
fn mode_in(site: &Site, file: &Path, depth: u32) -> Option<String> {
    let text = site.text(file).filter(|_| depth > 0)?;
    let mut mode = None;
    for (name, value) in text.lines().filter_map(setting) {
        let path = kit::place::parent(file).join(&value);
        let said = match name.as_str() {
            MODE => Some(value),
            "include" | "include_if_exists" => mode_in(site, &path, depth - 1),
            "include_dir" => {
                let mut names = site.names(&path).unwrap_or_default();
                names.retain(|name| name.ends_with(".conf") && !name.starts_with('.'));
                names.sort();
                names.iter().rev().find_map(|name| mode_in(site, &path.join(name), depth - 1))
            }
            _ => None,
        };
        mode = said.or(mode);
    }
    mode
}

/// Name and value of a line of a configuration.
fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))?;
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let value = match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split('\'').next()?,
        None => rest.split(|c: char| c.is_whitespace() || c == '#').next()?,
    };
    (!name.is_empty()).then(|| (name.to_ascii_lowercase(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn archives(data: &Path, here: bool) -> bool {
        super::archives(&Site::Here, data, here)
    }

    #[test]
    fn the_last_word_counts_and_the_command_line_before_all() {
        let dir = tempfile::tempdir().unwrap();
        let (data, etc) = (dir.path().join("data"), dir.path().join("etc"));
        fs::create_dir_all(etc.join("conf.d")).unwrap();
        fs::create_dir(&data).unwrap();
        let write = |path: PathBuf, text: &str| fs::write(path, text).unwrap();
        let conf = |text: &str| write(data.join("postgresql.conf"), text);
        let opts = |text: &str| write(data.join("postmaster.opts"), &format!("/usr/bin/postgres {text}\n"));
        for (text, on) in [
            ("archive_mode = on", true),
            ("  Archive_Mode 'always'", true),
            ("#archive_mode = on", false),
            ("archive_mode=on # x\narchive_mode = off#y", false),
            ("archive_mode_of = on", false),
            ("", false),
        ] {
            conf(text);
            assert_eq!(archives(&data, true), on, "{text:?}");
        }
        write(data.join("postgresql.auto.conf"), "archive_mode = 'on'\n");
        assert!(archives(&data, true));
        opts("\"-D\" \"/x\" \"-c\" \"archive_mode=off\"");
        assert!(!archives(&data, true));
        opts("\"--archive-mode=on\" \"-carchive_mode=off\"");
        assert!(!archives(&data, true));
        fs::remove_file(data.join("postgresql.auto.conf")).unwrap();
        // as Debian has it; in a container that file is not the one of that name here
        opts(&format!("\"-D\" \"/x\" \"-c\" \"config_file={}/main.conf\"", etc.display()));
        write(etc.join("main.conf"), "archive_mode = off\ninclude_dir = 'conf.d'\ninclude 'none'\n");
        write(etc.join("conf.d/9.conf"), "include '../more'\n");
        write(etc.join("conf.d/8.conf"), "archive_mode = off\n");
        write(etc.join("conf.d/.99.conf"), "archive_mode = off\n");
        write(etc.join("more"), "archive_mode = on\n");
        assert!(archives(&data, true) && !archives(&data, false));
        write(etc.join("more"), "include 'more'\narchive_mode = on\n");
        assert!(archives(&data, true), "one that includes itself comes to an end");
        opts(&format!("\"-D\" \"{}\"", etc.display()));
        write(etc.join("postgresql.conf"), "archive_mode = on\n");
        assert!(archives(&data, true));
    }
}
