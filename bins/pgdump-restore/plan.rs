//! What a restore will do, computed before any of it is done. `--dry-run` prints the very same.

use std::collections::BTreeSet;

use kit::dump::scan::{Facts, Section, text_of};
use kit::exit::{Error, Result};
use kit::out;
use kit::pg::Server;
use kit::source::Dump;

use crate::check::Checked;
use crate::cli::Args;
use crate::survey::{Live, entrance, has_objects, live, may_connect, may_restore};

/// A database that the restore drops and creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// As it is now, if it is there.
    pub(crate) present: Option<Live>,
    /// The dump creates it; else it is created as it is now.
    pub(crate) by_dump: bool,
}

/// What will be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) targets: Vec<Target>,
    /// Databases on the server that stay as they are.
    pub(crate) untouched: Vec<String>,
    /// Roles and tablespaces of the dump that the server has: they are not created again.
    pub(crate) roles: BTreeSet<String>,
    pub(crate) tablespaces: BTreeSet<String>,
    /// Where psql begins.
    pub(crate) entrance: String,
    /// A database that stays, to hold a lock in.
    pub(crate) vantage: Option<String>,
}

/// Databases that a cluster always has, and that a dump therefore does not create.
const ALWAYS: [&str; 2] = ["postgres", "template1"];

/// Computes the plan; asks the server, changes nothing.
pub(crate) fn plan(args: &Args, chosen: &Dump, checked: &Checked, server: &Server) -> Result<Plan> {
    if server.facts().in_recovery {
        return Err(Error::refused("the server is a standby, which cannot be written")
            .hint("Connect to the primary instead."));
    }
    if checked.facts.tables == 0 && !checked.tables.is_empty() {
        let only = format!("'{}' holds rows without the tables they belong to", chosen.name);
        return Err(Error::refused(only)
            .hint("Databases are made anew; load it with psql into one that has the tables."));
    }
    let entrance = entrance(server)?;
    let live = live(server, &entrance)?;
    let mut targets: Vec<Target> = Vec::new();
    for (name, by_dump) in wanted(args, chosen, &checked.facts, server, &live)? {
        let present = live.iter().find(|l| l.name == name).cloned();
        match targets.iter_mut().find(|t| t.name == name) {
            Some(target) => target.by_dump |= by_dump,
            None => targets.push(Target { name, present, by_dump }),
        }
    }
    for target in &targets {
        target.present.as_ref().map_or(Ok(()), Live::may_be_replaced)?;
    }
    whole_or_new(chosen, &targets)?;
    if !targets.is_empty() || !checked.facts.roles.is_empty() {
        may_restore(server, &entrance, !checked.facts.roles.is_empty())?;
        // what --stop ends is not known before
        if args.stop.is_none() {
            let ending = targets.iter().filter_map(|t| t.present.as_ref()).map(|l| l.sessions).sum();
            may_connect(server, &entrance, ending)?;
        }
    }
    let vantage = live.iter().filter(|l| l.allows_connections && targets.iter().all(|t| t.name != l.name));
    // nobody is in the way in the one we begin in; in template1, those who create databases are
    let vantage = vantage.map(|l| l.name.clone()).min_by_key(|n| (*n != entrance, n == "template1"));
    let untouched =
        live.into_iter().map(|l| l.name).filter(|n| targets.iter().all(|t| t.name != *n)).collect();
    let names = |sql: &str| -> Result<BTreeSet<String>> {
        Ok(server.query(&entrance, sql)?.into_iter().flatten().collect())
    };
    let here = |dumped: &[Vec<u8>], there: BTreeSet<String>| -> BTreeSet<String> {
        dumped.iter().map(|n| text_of(n)).filter(|n| there.contains(n)).collect()
    };
    let roles = here(&checked.facts.roles, names("SELECT rolname FROM pg_roles;")?);
    let tablespaces = here(&checked.facts.tablespaces, names("SELECT spcname FROM pg_tablespace;")?);
    Ok(Plan { targets, untouched, roles, tablespaces, entrance, vantage })
}

/// A part of a database must not take the place of the whole.
fn whole_or_new(chosen: &Dump, targets: &[Target]) -> Result<()> {
    let partial = chosen.manifest.as_ref().map_or(&[][..], |m| &m.source.partial);
    // what leaves a few tables out is what its owner restores; what picks some is not
    let picks = partial.iter().any(|option| !option.starts_with("--exclude-"));
    match targets.iter().find(|t| t.present.is_some()) {
        Some(target) if picks => Err(Error::refused(format!(
            "'{}' holds only a part ({}), and database '{}' is there",
            chosen.name,
            partial.join(" "),
            target.name
        ))
        .hint("Restore it into a database of its own with -d NAME.")),
        _ => Ok(()),
    }
}

/// The databases the dump fills, and whether the dump creates them.
fn wanted(
    args: &Args,
    chosen: &Dump,
    facts: &Facts,
    server: &Server,
    live: &[Live],
) -> Result<Vec<(String, bool)>> {
    let named: Vec<&Section> = facts.databases.iter().filter(|s| !s.name.is_empty()).collect();
    let cluster = facts.kind == Some(kit::dump::scan::Kind::Cluster);
    if args.database.is_some() && (cluster || !named.is_empty()) {
        return Err(Error::refused(format!(
            "'{}' names its databases itself; -d cannot lead it elsewhere",
            chosen.name
        ))
        .hint("Leave -d out."));
    }
    if !named.is_empty() && facts.databases.iter().any(|s| s.name.is_empty()) {
        return Err(Error::refused(format!(
            "'{}' fills a database that it does not name before it names one",
            chosen.name
        ))
        .hint("pg_dump never writes that; look at the dump before you trust any of it."));
    }
    if named.is_empty() && !cluster {
        let source = chosen.manifest.as_ref().and_then(|m| m.source.databases.first());
        let name = args.database.as_ref().or(source).cloned().ok_or_else(|| {
            Error::usage(format!("'{}' does not say which database it is of", chosen.name))
                .hint("Name the one to restore into with -d NAME.")
        })?;
        if ["template0", "template1"].contains(&name.as_str()) {
            return Err(Error::refused(format!("'{name}' is what new databases are made from"))
                .hint("Name another database with -d NAME."));
        }
        return Ok(vec![(name, false)]);
    }
    let mut wanted = Vec::new();
    for section in named {
        let name = text_of(&section.name);
        let always = ALWAYS.contains(&name.as_str());
        // the two that always exist are made anew only where that changes anything
        let pristine = always && section.statements == 0 && !section.created;
        let occupied = || live.iter().any(|l| l.name == name) && name == "postgres";
        if pristine && !(occupied() && has_objects(server, &name)?) {
            continue;
        }
        wanted.push((name, section.created && !always));
    }
    Ok(wanted)
}

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
        lines.extend(args.stop.iter().map(|c| format!("stop    {c}")));
        let partial = chosen.manifest.as_ref().map_or(&[][..], |m| &m.source.partial);
        if !partial.is_empty() {
            lines.push(format!("without what was left out by {}", partial.join(" ")));
        }
        for target in &self.targets {
            lines.push(match &target.present {
                Some(Live { bytes, sessions: 0, .. }) => {
                    format!("replace database {} ({} now)", target.name, out::bytes(*bytes))
                }
                Some(Live { bytes, sessions, .. }) => {
                    let now = out::bytes(*bytes);
                    format!("replace database {} ({now} now, {sessions} sessions end)", target.name)
                }
                None => format!("create  database {}", target.name),
            });
        }
        for live in self.targets.iter().filter_map(|t| t.present.as_ref()).filter(|l| !l.slots.is_empty()) {
            lines.push(format!("drop    replication slots of {}: {}", live.name, live.slots));
        }
        let new_roles = facts.roles.len() - self.roles.len();
        if !facts.roles.is_empty() {
            lines.push(format!("roles   {new_roles} created, {} set as in the dump", self.roles.len()));
        }
        if !self.untouched.is_empty() {
            lines.push(format!("leave   {}", self.untouched.join(", ")));
        }
        lines.extend(args.start.iter().map(|c| format!("start   {c}")));
        lines
    }
}

/// The connection string of a database, as far as it can be told; never a password.
pub(crate) fn connection_string(
    settings: &kit::settings::Settings,
    via_here: bool,
    user: &str,
    database: &str,
) -> String {
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
