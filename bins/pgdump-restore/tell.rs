//! What is said of a restore: the plan before it, connection strings after it.

use kit::beside::Beside;
use kit::exit::Result;
use kit::notify::Account;
use kit::out::{self, Speech};
use kit::pg::Server;
use kit::settings::Settings;
use kit::source::Dump;
use kit::stamp::Stamp;

use crate::check::Checked;
use crate::cli::{Args, Part, Way};
use crate::plan::{Plan, Target};
use crate::survey::Live;

impl Plan {
    /// The plan, a step a line, for people.
    pub(crate) fn lines(&self, args: &Args, chosen: &Dump, checked: &Checked) -> Vec<String> {
        let facts = &checked.facts;
        let made = facts.server_version.as_ref().map_or(String::new(), |v| format!(", from PostgreSQL {v}"));
        let proof = if chosen.manifest.is_some() {
            "checked against its manifest"
        } else {
            "complete; it has no manifest"
        };
        let mut lines = vec![format!(
            "dump    {}: {}, {} tables, {} rows{made}; {proof}",
            chosen.name,
            out::bytes(checked.bytes),
            out::count(facts.tables),
            out::count(facts.rows),
        )];
        let partial = chosen.manifest.as_ref().map_or(&[][..], |m| &m.source.partial);
        if !partial.is_empty() {
            lines.push(format!("without what was left out by {}", partial.join(" ")));
        }
        if self.part == Part::Schema {
            lines.push("without rows: tables are empty afterwards".into());
        }
        lines.extend(self.lacks());
        if args.safety.is_some() && self.replaces() {
            lines.push("backup  of what is replaced, before".into());
        }
        lines.extend(args.services.stop.iter().map(|c| format!("stop    {c}")));
        if !args.services.services.is_empty() {
            lines.push(format!("stop    services, as far as they run: {}", args.services.services.join(" ")));
        }
        lines.extend(self.targets.iter().map(|t| self.line(t)));
        for live in self.targets.iter().filter_map(|t| t.present.as_ref()).filter(|l| !l.slots.is_empty()) {
            let slots = &live.slots;
            lines.push(match self.way {
                Way::Swap if !self.drop => {
                    format!("slots   of {} stay with what is kept of it, and keep WAL: {slots}", live.name)
                }
                Way::Transaction => format!("slots   of {} stay: {slots}", live.name),
                _ => format!("drop    replication slots of {}: {slots}", live.name),
            });
        }
        if !facts.roles.is_empty() && self.only.is_none() {
            let new_roles = facts.roles.len() - self.roles.len();
            lines.push(format!("roles   {new_roles} created, {} set as in the dump", self.roles.len()));
        }
        if !self.untouched.is_empty() {
            lines.push(format!("leave   {}", self.untouched.join(", ")));
        }
        lines.extend(args.services.start.iter().map(|c| format!("start   {c}")));
        lines
    }

    fn line(&self, target: &Target) -> String {
        let Some(Live { bytes, sessions, .. }) = &target.present else {
            return format!("create  database {}", target.name);
        };
        let now = out::bytes(*bytes);
        let ending = if *sessions > 0 && self.way != Way::Transaction {
            format!(", {sessions} sessions end")
        } else {
            String::new()
        };
        let how = match self.way {
            Way::Transaction => "; emptied and filled in one transaction".into(),
            Way::InPlace if self.drops_first(target) => "; it is dropped first".into(),
            Way::Swap if !self.drop => {
                let before = kit::beside::What::Before.name(&target.name, self.stamp);
                format!("; beside it, then it is {before}")
            }
            _ => "; beside it, then it is dropped".to_owned(),
        };
        format!("replace database {} ({now} now{ending}){how}", target.name)
    }

    /// What the server lacks, and what becomes of it.
    fn lacks(&self) -> Vec<String> {
        let left_out = &self.left_out;
        let list = |names: &std::collections::BTreeSet<String>| {
            names.iter().map(|n| out::plain(n)).collect::<Vec<_>>().join(", ")
        };
        let of = [
            ("create  roles, without login: ", &left_out.created),
            ("without owners, grants and policies of roles: ", &left_out.roles),
            ("without extensions: ", &left_out.extensions),
            ("without tablespaces: ", &left_out.tablespaces),
            ("without locales: ", &left_out.locales),
            ("without settings that this server does not know: ", &left_out.settings),
        ];
        of.iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}{}", list(names)))
            .collect()
    }

    /// Whether anything that is there is lost or changed, so that somebody must say yes.
    pub(crate) fn replaces(&self) -> bool {
        let roles = !self.roles.is_empty() && self.only.is_none();
        roles || self.targets.iter().any(|t| t.present.is_some())
    }
}

/// Prints the connection string of each of `databases`.
pub(crate) fn tell(
    args: &Args,
    settings: &Settings,
    databases: &[&str],
    server: &Server,
    account: &Account<'_>,
) -> Result<()> {
    for database in databases {
        account.made(*database);
        let uri = connection_string(settings, server.via().is_here(), &server.facts().user, database);
        if args.json {
            let at = Stamp::now().to_string();
            out::record(&serde_json::json!({"database": database, "connection": uri, "at": at}).to_string())?;
        } else {
            out::record(&uri)?;
        }
    }
    Ok(())
}

/// Says what stands beside the databases from now on, and what it is good for.
pub(crate) fn tell_kept(kept: &[Beside], speech: &Speech) {
    for Beside { name, of, bytes, .. } in kept {
        let size = out::bytes(*bytes);
        speech.say(&format!(
            "kept: what was {of} is {name} ({size}); --undo goes back to it, --drop-before drops it"
        ));
    }
}

/// The connection string of a database, as far as it can be told; never a password.
fn connection_string(settings: &Settings, via_here: bool, user: &str, database: &str) -> String {
    let get = |name: &str| if via_here { settings.get(name).unwrap_or_default() } else { "" };
    let (host, port) = (get("PGHOST"), get("PGPORT"));
    let user = encoded(user);
    let database = encoded(database);
    let colon = if port.is_empty() { String::new() } else { format!(":{port}") };
    if host.starts_with('/') || host.is_empty() {
        let mut query: Vec<String> = Vec::new();
        query.extend((!host.is_empty()).then(|| format!("host={}", encoded(host))));
        query.extend((!port.is_empty()).then(|| format!("port={port}")));
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        return format!("postgresql://{user}@/{database}{query}");
    }
    format!("postgresql://{user}@{host}{colon}/{database}")
}

fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
