//! `config`: the settings that make a server use the archive, quoted for each who reads them.

use std::path::Path;

use kit::codec::Kind;
use kit::exit::{Code, Error, Result};
use kit::out;
use kit::store::Place;

use crate::cli::{Args, TOOL};

/// Prints them.
pub(crate) fn config(args: &Args) -> Result<Code> {
    let program = std::env::current_exe().map_err(|e| Error::io("find", TOOL, &e))?;
    let mut archives = String::new();
    for dir in &args.archives {
        // the server runs it in its data directory
        let dir = match Place::is(dir) {
            true => dir.clone(),
            false => std::path::absolute(dir).map_err(|e| Error::io("find", dir.display(), &e))?,
        };
        archives = format!("{archives} -a {}", for_shell(&dir));
    }
    let ahead = if args.ahead > 0 { format!(" --ahead {}", args.ahead) } else { String::new() };
    let codec = match (args.codec.kind, args.codec.level) {
        (Kind::None, _) => String::new(),
        (kind, None) => format!(" --compress {kind}"),
        (kind, Some(level)) => format!(" --compress {kind}:{level}"),
    };
    let retry = match args.retry_for.as_secs() {
        60 => String::new(),
        seconds => format!(" --retry-for {seconds}s"),
    };
    let program = for_shell(&program);
    let archive = format!("{program} push{archives}{codec}{ahead} %p %f");
    let restore = format!("{program} get{archives}{ahead}{retry} %f %p");
    let lines = if args.patroni { patroni(&archive, &restore) } else { postgresql(&archive, &restore) };
    for line in lines {
        if !out::record(&line)? {
            break;
        }
    }
    Ok(Code::Done)
}

fn postgresql(archive: &str, restore: &str) -> Vec<String> {
    vec![
        "wal_level = replica".into(),
        "archive_mode = on                # takes effect after a restart".into(),
        format!("archive_command = {}", for_conf(archive)),
        "archive_timeout = 60             # seconds of work that a lost machine may cost; costs space".into(),
        format!("restore_command = {}", for_conf(restore)),
    ]
}

/// For `patronictl edit-config`, and the same under `bootstrap.dcs` of patroni.yml.
fn patroni(archive: &str, restore: &str) -> Vec<String> {
    vec![
        "postgresql:".into(),
        "  parameters:".into(),
        "    wal_level: replica".into(),
        "    archive_mode: 'on'".into(),
        format!("    archive_command: {}", for_yaml(archive)),
        "    archive_timeout: 60".into(),
        "  recovery_conf:".into(),
        format!("    restore_command: {}", for_yaml(restore)),
    ]
}

/// A word for the shell in which `%` has no meaning to the server, which replaces `%p` and its like
/// wherever they stand.
fn for_shell(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A value in postgresql.conf: quotes doubled, backslashes too (`guc-file.l`).
fn for_conf(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A YAML scalar in single quotes, in which a quote is doubled and nothing else has a meaning.
fn for_yaml(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_every_reader() {
        assert_eq!(for_shell(Path::new("/srv/wal")), "/srv/wal");
        let quoted = for_shell(Path::new("/it's 5%p"));
        assert_eq!(quoted, r"'/it'\''s 5%%p'");
        assert_eq!(for_conf(&quoted), r"'''/it''\\''''s 5%%p'''");
        assert_eq!(for_yaml(&quoted), r"'''/it''\''''s 5%%p'''");
    }
}
