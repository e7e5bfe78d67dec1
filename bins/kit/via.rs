//! Where client programs run: here, or behind a command prefix such as `docker compose exec -T db`.
//!
//! The prefix is the only thing that knows of containers and other hosts. Through it, only names
//! of users and databases travel as arguments; host, port and password are those of the other
//! side, and no secret ever stands in an argument list.
//!
//! `{leader}` in the prefix stands for the node that leads, as in `docker exec -i {leader}`; who that
//! is, has to be found out before anything is run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::settings::Settings;

/// What stands in a prefix for the name of the leader.
const LEADER: &str = "{leader}";

/// How to start a client program.
#[derive(Clone, Debug, Default)]
pub struct Via {
    prefix: Option<String>,
    /// The prefix hands its words to another shell, as ssh does, which would split them again.
    splits_again: bool,
    /// Variables for the programs, from `.env` and `DATABASE_URL`.
    environment: BTreeMap<String, String>,
    /// They inherit nothing else about a connection.
    alone: bool,
    user: Option<String>,
    /// The directory whose programs to take, instead of those in `PATH`.
    bindir: Option<PathBuf>,
}

impl Via {
    /// `prefix` from the command line, else `PG_VIA`, else programs run here.
    pub fn new(prefix: Option<String>, settings: &Settings) -> Self {
        let alone = settings.is_alone();
        let prefix = prefix.or_else(|| settings.get("PG_VIA").map(str::to_owned));
        let prefix = prefix.filter(|p| !p.trim().is_empty());
        Via {
            splits_again: prefix.as_deref().is_some_and(is_ssh),
            prefix,
            environment: settings.connection().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            alone,
            user: settings.get("PGUSER").map(str::to_owned),
            bindir: None,
        }
    }

    /// Whether the prefix waits for the name of the leader.
    pub fn wants_leader(&self) -> bool {
        self.prefix.as_ref().is_some_and(|prefix| prefix.contains(LEADER))
    }

    /// The way to this leader. The shell reads its name as a part of the prefix.
    #[must_use]
    pub fn to_leader(&self, name: &str) -> Self {
        Via { prefix: self.prefix.as_ref().map(|prefix| prefix.replace(LEADER, name)), ..self.clone() }
    }

    /// Whether programs run here, so that their versions can be chosen and files be shared.
    pub fn is_here(&self) -> bool {
        self.prefix.is_none()
    }

    /// Tries whether words reach the other side whole: a wrapper script may end in ssh. `run` runs
    /// a command and gives back what it printed.
    pub fn try_words(&mut self, run: impl FnOnce(Command) -> Option<Vec<u8>>) {
        // two blanks would become one, or none
        if !self.is_here() && !self.splits_again {
            let printed = run(self.run("printf").args(["%s", "a  b"]).command());
            self.splits_again = printed.is_some_and(|text| text == b"ab");
        }
    }

    /// From now on, takes the programs of this directory.
    pub fn set_bindir(&mut self, dir: &Path) {
        self.bindir = Some(dir.to_owned());
    }

    /// The command that runs `program`, without arguments yet: give them with [`Run::args`].
    pub fn run(&self, program: &str) -> Run<'_> {
        Run { via: self, program: program.to_owned(), args: Vec::new() }
    }
}

/// A client program and its arguments.
pub struct Run<'a> {
    via: &'a Via,
    program: String,
    args: Vec<String>,
}

impl Run<'_> {
    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds what every program that connects needs: never to ask for a password where nobody can
    /// answer, and, behind a prefix, the user that our environment names.
    #[must_use]
    pub fn connecting(mut self) -> Self {
        if !crate::out::stdin_is_terminal() {
            self.args.push("--no-password".into());
        }
        if let (Some(_), Some(user)) = (&self.via.prefix, &self.via.user) {
            self.args.push(format!("--username={user}"));
        }
        self
    }

    /// The command, ready to be spawned.
    pub fn command(self) -> Command {
        let mut command = match &self.via.prefix {
            None => {
                let program =
                    self.via.bindir.as_ref().map_or(PathBuf::from(&self.program), |d| d.join(&self.program));
                let mut command = Command::new(program);
                command.args(&self.args);
                command
            }
            Some(prefix) => {
                // the shell splits the prefix as its writer expects, and nothing else
                let mut command = Command::new("sh");
                let words = std::iter::once(self.program).chain(self.args);
                command.args(["-c", &format!("{prefix} \"$@\""), "sh"]);
                if self.via.splits_again {
                    command.args(words.map(|w| quoted(&w)))
                } else {
                    command.args(words)
                };
                command
            }
        };
        if self.via.alone {
            for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("PG")) {
                command.env_remove(name);
            }
        }
        command.envs(&self.via.environment);
        // what programs say is looked into, and must not depend on the reader's language
        if let Some(all) = std::env::var_os("LC_ALL") {
            command.env_remove("LC_ALL").env("LC_CTYPE", all);
        }
        command.env("LC_MESSAGES", "C");
        command
    }
}

fn is_ssh(prefix: &str) -> bool {
    prefix
        .split_whitespace()
        .next()
        .is_some_and(|word| Path::new(word).file_name().is_some_and(|n| n == "ssh"))
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(via: &Via, args: &[&str]) -> Vec<String> {
        let command = via.run("psql").args(args.iter().copied()).command();
        std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|w| w.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_prefix_goes_before_and_ssh_is_quoted_once_more() {
        let via = |prefix: &str| Via::new(Some(prefix.into()), &Settings::default());
        assert_eq!(words(&Via::default(), &["-d", "a b"]), ["psql", "-d", "a b"]);
        assert_eq!(
            words(&via("docker exec -i db"), &["a b"]),
            ["sh", "-c", "docker exec -i db \"$@\"", "sh", "psql", "a b"]
        );
        assert_eq!(words(&via("ssh host"), &["it's"])[4..], ["'psql'", "'it'\\''s'"]);
    }

    #[test]
    fn a_leader_has_its_place_in_the_prefix() {
        let via = Via::new(Some("docker exec -i app-{leader}".into()), &Settings::default());
        assert!(via.wants_leader() && !via.to_leader("n1").wants_leader());
        assert_eq!(words(&via.to_leader("n1"), &[])[2], "docker exec -i app-n1 \"$@\"");
    }

    #[test]
    fn a_wrapper_is_tried() {
        let mut via = Via::new(Some("./far".into()), &Settings::default());
        via.try_words(|_| Some(b"a  b".to_vec()));
        assert_eq!(words(&via, &["x y"])[4..], ["psql", "x y"]);
        via.try_words(|_| Some(b"ab".to_vec()));
        assert_eq!(words(&via, &["x y"])[4..], ["'psql'", "'x y'"]);
    }
}
