//! Services of Docker Compose: which of them run, what stops and starts those, and which volumes they have.

use std::process::Command;

use super::{Start, Wanted};
use crate::child::converse;
use crate::exit::{Error, Result};
use crate::out::Speech;

/// How Docker Compose is called on one machine or another.
const COMPOSE: [&[&str]; 4] =
    [&["docker", "compose"], &["docker-compose"], &["podman", "compose"], &["podman-compose"]];

/// What stops and starts those of the services that run now.
pub(super) fn plan(wanted: &Wanted, speech: &Speech) -> Result<(Option<String>, Option<Start>)> {
    let compose = called_with(wanted)?;
    let known = answer(&compose, &["config", "--services"])?;
    if let Some(unknown) = wanted.services.iter().find(|s| !known.contains(s)) {
        return Err(Error::refused(format!("'{unknown}' is no service here"))
            .hint(format!("There are: {}.", known.join(", "))));
    }
    // one that keeps failing runs again in a moment
    let mut running = Vec::new();
    for status in ["status=running", "status=restarting", "status=paused"] {
        running.extend(answer(&compose, &["ps", "--services", "--filter", status])?);
    }
    let running: Vec<&String> = wanted.services.iter().filter(|s| running.contains(s)).collect();
    if running.is_empty() {
        speech.say("none of the services runs");
    } else {
        let names: Vec<&str> = running.iter().map(|s| s.as_str()).collect();
        speech.say(&format!("services that stop, and start again at the end: {}", names.join(" ")));
    }
    let starting: Vec<&String> = if wanted.up { wanted.services.iter().collect() } else { running.clone() };
    let (last, first): (Vec<&String>, Vec<&String>) =
        starting.into_iter().partition(|s| wanted.last.contains(s));
    if !last.is_empty() && wanted.patroni.is_none() {
        speech.warn("warning: nobody tells when a member leads: standbys start at once (--patroni)");
    }
    let compose = called(&compose);
    let start = if wanted.up { "up -d --no-deps --no-recreate" } else { "start" };
    // the names of services need no quotes: letters, digits, '.', '_', '-'
    let command = |verb: &str, names: &[&String]| -> Option<String> {
        let names: Vec<&str> = names.iter().map(|s| s.as_str()).collect();
        (!names.is_empty()).then(|| format!("{compose} {verb} {}", names.join(" ")))
    };
    let (first, last) = match (command(start, &first), command(start, &last)) {
        (None, last) => (last, None),
        both => both,
    };
    let start = first.map(|first| Start { first, last, patroni: wanted.patroni.clone() });
    Ok((command("stop", &running), start))
}

/// How compose is called here, with the file that is wanted.
fn called_with(wanted: &Wanted) -> Result<Vec<&str>> {
    let found = COMPOSE.iter().find(|words| answer(words, &["version"]).is_ok()).ok_or_else(|| {
        Error::refused("cannot find Docker Compose")
            .hint("Name what stops and starts it with --stop and --start.")
    })?;
    let mut compose = found.to_vec();
    compose.extend(wanted.compose.iter().flat_map(|f| ["-f", f]));
    Ok(compose)
}

/// The named volumes of a service, as `docker:NAME`.
///
/// # Errors
/// No container of the service is there to be asked.
pub fn volumes(wanted: &Wanted, service: &str) -> Result<Vec<String>> {
    let compose = called_with(wanted)?;
    let engine = if compose[0].starts_with("podman") { "podman" } else { "docker" };
    let containers = answer(&compose, &["ps", "-a", "-q", service])
        .or_else(|_| answer(&compose, &["ps", "-q", service]))?;
    if containers.is_empty() {
        return Err(Error::no(format!("service '{service}' has no container that would tell its volumes"))
            .hint("Name them as docker:NAME."));
    }
    let format = "{{range .Mounts}}{{if eq .Type \"volume\"}}{{.Name}}\n{{end}}{{end}}";
    let mut volumes = Vec::new();
    for container in containers {
        let names = answer(&[engine], &["inspect", "--format", format, &container])?;
        volumes.extend(names.iter().filter(|n| !n.is_empty()).map(|n| format!("{engine}:{n}")));
    }
    Ok(volumes)
}

/// How compose is called, for a shell that may not have our environment.
fn called(compose: &[&str]) -> String {
    let set = ["COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"];
    let set = set.iter().filter_map(|name| Some(format!("{name}={}", quoted(&std::env::var(name).ok()?))));
    set.chain(compose.iter().map(|w| quoted(w))).collect::<Vec<_>>().join(" ")
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// The lines that a command of compose prints.
fn answer(compose: &[&str], words: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new(compose[0]);
    let name = compose.join(" ");
    let (ended, output) = converse(command.args(&compose[1..]).args(words), &name, "")?;
    if !ended.ok() {
        return Err(ended.error());
    }
    Ok(String::from_utf8_lossy(&output).lines().map(str::to_owned).collect())
}
