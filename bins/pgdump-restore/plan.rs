//! What a restore will do, computed before any of it is done. `--dry-run` prints the very same.

use std::collections::BTreeSet;

use kit::beside::{Beside, What, next_stamp};
use kit::dump::scan::{Facts, Section, text_of};
use kit::exit::{Error, Result};
use kit::pg::Server;
use kit::source::Dump;
use kit::stamp::Stamp;

use crate::check::Checked;
use crate::cli::{Args, Part, Way};
use crate::guardrails::{LeftOut, Question};
use crate::survey::{Live, Survey, has_objects};

/// A database that comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name in the dump; empty where that names none.
    pub(crate) section: String,
    /// The name that it will have.
    pub(crate) name: String,
    /// The name that it has until it is proven.
    pub(crate) place: String,
    /// What has its name now, if anything does.
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
    /// What the server lacks, and what therefore is left out.
    pub(crate) left_out: LeftOut,
    /// Where psql begins.
    pub(crate) entrance: String,
    /// A database to hold a lock in, which stays, at least until the swap.
    pub(crate) vantage: String,
    /// The dump names no database.
    pub(crate) names_none: bool,
    /// When the restore began; the databases beside others are named by it.
    pub(crate) stamp: Stamp,
    /// What stands in for a target that a restore in place has dropped.
    pub(crate) stand_ins: Vec<Beside>,
    pub(crate) way: Way,
    pub(crate) part: Part,
    pub(crate) only: Option<String>,
    pub(crate) jobs: usize,
    /// What was there is dropped at the end.
    pub(crate) drop: bool,
    /// `server_version_num`.
    pub(crate) version: u32,
}

/// Databases that a cluster always has, and that a dump therefore does not create.
pub(crate) const ALWAYS: [&str; 2] = ["postgres", "template1"];

/// Computes the plan; asks the server, changes nothing.
pub(crate) fn plan(args: &Args, chosen: &Dump, checked: &Checked, server: &Server) -> Result<Plan> {
    if server.facts().in_recovery {
        return Err(Error::refused("the server is a standby, which cannot be written").hint(leader(server)));
    }
    let facts = &checked.facts;
    if facts.tables == 0 && !checked.tables.is_empty() && args.part != Part::Globals {
        let only = format!("'{}' holds rows without the tables they belong to", chosen.name);
        return Err(
            Error::refused(only).hint("Into a database that has the tables they go with --data-only.")
        );
    }
    let survey = Survey::of(server)?;
    let Survey { entrance, live, .. } = &survey;
    let stamp = free_stamp(live, &survey.beside);
    let mut targets: Vec<Target> = Vec::new();
    for (section, name, by_dump) in wanted(args, chosen, facts, server, live)? {
        let present = live.iter().find(|l| l.name == name).cloned();
        let place =
            if args.way == Way::Transaction { name.clone() } else { What::Restore.name(&name, stamp) };
        match targets.iter_mut().find(|t| t.name == name) {
            Some(target) => target.by_dump |= by_dump,
            None => targets.push(Target { section, name, place, present, by_dump }),
        }
    }
    for live in targets.iter().filter_map(|t| t.present.as_ref()) {
        may_replace(args, live)?;
    }
    fits_one_transaction(args, &targets)?;
    let globals = args.only.is_none() && facts.kind == Some(kit::dump::scan::Kind::Cluster);
    if !args.force.contains("part") {
        whole_or_new(chosen, &targets)?;
    }
    let roles = globals && !facts.roles.is_empty();
    if !targets.is_empty() || roles {
        survey.may_restore(&server.facts().user, roles, args.way != Way::Transaction)?;
        // what --stop ends is not known before
        if !args.services.stop_something() {
            // the others stay until the swap
            let first = args.way == Way::InPlace;
            let ending = targets.iter().filter(|_| first).filter_map(|t| t.present.as_ref());
            let ending = ending.map(|l| l.sessions).sum();
            survey.may_connect(ending, args.jobs)?;
        }
    }
    let of_here = chosen.manifest.as_ref().and_then(|m| m.source.system_identifier.as_ref());
    let own = of_here.is_some() && of_here == server.facts().system_identifier.as_ref();
    let question = Question { args, checked, server, survey: &survey, targets: &targets, globals, own };
    let left_out = question.ask()?;
    // what stands beside others may be dropped
    let stays = |l: &&Live| {
        let of_dump = targets.iter().any(|t| t.name == l.name);
        l.allows_connections && !of_dump && survey.beside.iter().all(|b| b.name != l.name)
    };
    // nobody is in the way in the one we begin in; in template1, those who create databases are
    let vantage = live.iter().filter(stays).map(|l| l.name.clone());
    let vantage = vantage.min_by_key(|n| (n != entrance, n == "template1")).unwrap_or(entrance.clone());
    let untouched =
        live.iter().map(|l| l.name.clone()).filter(|n| targets.iter().all(|t| t.name != *n)).collect();
    let here = |dumped: &[Vec<u8>], there: &dyn Fn(&String) -> bool| -> BTreeSet<String> {
        dumped.iter().map(|n| text_of(n)).filter(there).collect()
    };
    Ok(Plan {
        roles: here(&facts.roles, &|n| survey.roles.contains(n)),
        tablespaces: here(&facts.tablespaces, &|n| survey.tablespaces.contains_key(n)),
        names_none: facts.databases.iter().all(|s| s.name.is_empty()),
        version: server.facts().version,
        way: args.way,
        part: args.part,
        only: args.only.clone(),
        jobs: args.jobs,
        drop: args.drop,
        targets,
        untouched,
        left_out,
        stand_ins: Vec::new(),
        entrance: survey.entrance,
        vantage,
        stamp,
    })
}

/// Where a standby's primary is, as far as the standby says.
fn leader(server: &Server) -> String {
    let sql = "SELECT sender_host || ':' || sender_port FROM pg_stat_wal_receiver WHERE sender_host <> '';";
    let of = server.query(&server.facts().database, sql).unwrap_or_default().concat().concat();
    if of.is_empty() {
        return "Connect to the primary instead.".into();
    }
    format!("Connect to the server that it follows instead: {of}.")
}

/// A time later than those of all that stands beside others, and that no database is named by.
fn free_stamp(live: &[Live], beside: &[Beside]) -> Stamp {
    let mut stamp = next_stamp(beside);
    while live.iter().any(|l| l.name.ends_with(&stamp.compact())) {
        stamp = stamp.plus(1);
    }
    stamp
}

/// Refuses what no single transaction can hold.
fn fits_one_transaction(args: &Args, targets: &[Target]) -> Result<()> {
    let wrong = match targets {
        _ if args.way != Way::Transaction => return Ok(()),
        [one] if one.present.is_some() => return Ok(()),
        [one] => Error::refused(format!("database '{}' is not there", one.name))
            .hint("Without --single-transaction it is created."),
        _ => Error::refused("one transaction fills one database").hint("Choose one of the dump with --only."),
    };
    Err(wrong)
}

/// Refuses to replace what nobody asked to replace, or what the server would not give up.
fn may_replace(args: &Args, live: &Live) -> Result<()> {
    if args.database.is_some() && !args.replace {
        return Err(Error::refused(format!("database '{}' is there", live.name)).hint(
            "-D drops it once its replacement is proven; --swap keeps it for --undo; or choose another name.",
        ));
    }
    live.may_be_replaced()
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
        .hint("Restore it into a database of its own with -d NAME. --force=part lifts this.")),
        _ => Ok(()),
    }
}

fn no_globals(chosen: &Dump) -> Error {
    Error::no(format!("'{}' is of one database: it holds no roles", chosen.name))
}

/// The databases the dump fills, by their names in it and here, and whether the dump creates them.
fn wanted(
    args: &Args,
    chosen: &Dump,
    facts: &Facts,
    server: &Server,
    live: &[Live],
) -> Result<Vec<(String, String, bool)>> {
    let mut named: Vec<&Section> = facts.databases.iter().filter(|s| !s.name.is_empty()).collect();
    let cluster = facts.kind == Some(kit::dump::scan::Kind::Cluster);
    if args.part == Part::Globals {
        return if cluster { Ok(Vec::new()) } else { Err(no_globals(chosen)) };
    }
    if let Some(only) = &args.only {
        let names: Vec<String> = named.iter().map(|s| text_of(&s.name)).collect();
        named.retain(|s| text_of(&s.name) == *only);
        if named.is_empty() {
            let holds = format!("'{}' holds no database '{only}'", chosen.name);
            return Err(Error::no(holds).hint(format!("It holds: {}.", names.join(", "))));
        }
    }
    // one database, with the statement that creates it
    let alone = named.len() == 1 && (args.only.is_some() || !cluster);
    if args.database.is_some() && !alone && (cluster || !named.is_empty()) {
        return Err(Error::refused(format!(
            "'{}' names its databases itself; -d cannot lead it elsewhere",
            chosen.name
        ))
        .hint("Leave -d out, or choose one of them with --only."));
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
        return Ok(vec![(String::new(), name, false)]);
    }
    let mut wanted = Vec::new();
    for section in named {
        let own = text_of(&section.name);
        let name = args.database.clone().unwrap_or(own.clone());
        let always = ALWAYS.contains(&name.as_str());
        // the two that always exist are made anew only where that changes anything
        let pristine = always && section.statements == 0 && !section.created;
        let occupied = || live.iter().any(|l| l.name == name) && name == "postgres";
        if pristine && !(occupied() && has_objects(server, &name)?) {
            continue;
        }
        wanted.push((own, name, section.created && !always));
    }
    Ok(wanted)
}
