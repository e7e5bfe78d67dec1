//! What would make a restore fail halfway, or hurt: asked of the server before anything is touched.
//!
//! Each guardrail has a name, and `--force` lifts it. A restore whose guardrail was lifted leaves out
//! what would fail, and the plan says what that is.

mod space;

use std::collections::BTreeSet;

use kit::dump::scan::text_of;
use kit::dump::statement::Name;
use kit::exit::{Code, Error, Result};
use kit::out;
use kit::pg::{Server, literal, major_of};

use crate::check::Checked;
use crate::cli::Args;
use crate::plan::Target;
use crate::survey::{Live, Survey};

/// What is left out of the dump because the server lacks something.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// Roles: owners and grants that name them.
    pub(crate) roles: BTreeSet<String>,
    pub(crate) extensions: BTreeSet<String>,
    pub(crate) tablespaces: BTreeSet<String>,
    /// Parameters that this server does not know.
    pub(crate) settings: BTreeSet<String>,
    /// Databases get the server's own locale in place of these.
    pub(crate) locales: BTreeSet<String>,
    /// Roles that are created before, without login.
    pub(crate) created: BTreeSet<String>,
}

/// What is asked about.
pub(crate) struct Question<'a> {
    pub(crate) args: &'a Args,
    pub(crate) checked: &'a Checked,
    pub(crate) server: &'a Server,
    pub(crate) survey: &'a Survey,
    /// The databases that come back.
    pub(crate) targets: &'a [Target],
    /// The dump's own roles and tablespaces are created.
    pub(crate) globals: bool,
    /// The dump was taken of this very server, as its manifest says and its digest proves.
    pub(crate) own: bool,
}

/// A guardrail that holds: what is wrong, and what helps.
struct Holds {
    name: &'static str,
    what: String,
    hint: String,
}

impl Question<'_> {
    /// Tries all guardrails. What must be left out because of those that were lifted.
    ///
    /// # Errors
    /// [`kit::exit::Code::Refused`] when one holds; it names them all.
    pub(crate) fn ask(&self) -> Result<LeftOut> {
        let mut left_out = LeftOut::default();
        let mut holding = Vec::new();
        holding.extend(self.version());
        holding.extend(self.roles(&mut left_out));
        holding.extend(self.extensions(&mut left_out)?);
        holding.extend(self.tablespaces(&mut left_out)?);
        holding.extend(self.locales(&mut left_out)?);
        holding.extend(self.space(&left_out)?);
        holding.extend(self.sessions()?);
        holding.extend(self.guard());
        left_out.settings = self.unknown_settings();
        holding.retain(|h| !self.args.force.contains(h.name));
        refused(holding).map_or(Ok(left_out), Err)
    }

    fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        self.server.query(&self.survey.entrance, sql)
    }

    fn names(&self, sql: &str) -> Result<BTreeSet<String>> {
        Ok(self.rows(sql)?.into_iter().flatten().collect())
    }

    fn version(&self) -> Option<Holds> {
        let dumped = self.checked.facts.server_version.as_deref()?;
        let (of, here) = (major_of(dumped)?, self.server.facts().version / 10_000);
        (of > here).then(|| Holds {
            name: "version",
            what: format!("the dump is of PostgreSQL {dumped}, the server is {here}"),
            hint: format!("Restore it to a server of version {of} or newer."),
        })
    }

    fn roles(&self, left_out: &mut LeftOut) -> Option<Holds> {
        let needs = &self.checked.needs;
        let me = &self.server.facts().user;
        if needs.forces_row_security && !self.survey.sees_all_rows {
            let what = format!("the dump forces row security, and role '{me}' could not count such rows");
            let hint = "Restore as a role with BYPASSRLS.".into();
            return Some(Holds { name: "roles", what, hint });
        }
        let made: BTreeSet<String> =
            if self.globals { texts(&self.checked.facts.roles) } else { BTreeSet::new() };
        let mut missing = texts(&needs.roles);
        missing.retain(|r| !made.contains(r) && !self.survey.roles.contains(r));
        if missing.is_empty() {
            return None;
        }
        if self.args.create_roles {
            left_out.created = missing;
            return None;
        }
        let what = format!("the server lacks roles that the dump names: {}", list(&missing));
        left_out.roles = missing;
        let hint = "Create them, or let --create-roles do it.".into();
        Some(Holds { name: "roles", what, hint })
    }

    fn extensions(&self, left_out: &mut LeftOut) -> Result<Option<Holds>> {
        let wanted = texts(&self.checked.needs.extensions);
        if wanted.is_empty() {
            return Ok(None);
        }
        let available = self.names("SELECT name FROM pg_available_extensions;")?;
        let missing: BTreeSet<String> = wanted.difference(&available).cloned().collect();
        if !missing.is_empty() {
            let packages: BTreeSet<String> =
                missing.iter().map(|e| package(e, self.server.facts().version / 10_000)).collect();
            let what = format!("the server lacks extensions that the dump creates: {}", list(&missing));
            let hint = format!("On its machine (Debian, Ubuntu): apt-get install {}", join(&packages, " "));
            left_out.extensions = missing;
            return Ok(Some(Holds { name: "extensions", what, hint }));
        }
        if self.survey.is_superuser {
            return Ok(None);
        }
        // before PostgreSQL 13 none could be created but by a superuser
        let trusted = match self.server.facts().version {
            130_000.. => self.names("SELECT name FROM pg_available_extension_versions WHERE trusted;")?,
            _ => BTreeSet::from(["plpgsql".to_owned()]),
        };
        let untrusted: BTreeSet<String> = wanted.difference(&trusted).cloned().collect();
        Ok((!untrusted.is_empty()).then(|| Holds {
            name: "extensions",
            what: format!("only a superuser may create extensions of the dump: {}", list(&untrusted)),
            hint: "Restore as a superuser.".into(),
        }))
    }

    fn tablespaces(&self, left_out: &mut LeftOut) -> Result<Option<Holds>> {
        let needs = &self.checked.needs;
        if needs.tablespaces.is_empty() && needs.locations.is_empty() {
            return Ok(None);
        }
        let there = &self.survey.tablespaces;
        let made: BTreeSet<String> =
            if self.globals { texts(needs.locations.keys()) } else { BTreeSet::new() };
        let mut missing = texts(&needs.tablespaces);
        missing.retain(|t| !there.contains_key(t) && !made.contains(t));
        let what = format!("the server lacks tablespaces that the dump uses: {}", list(&missing));
        let mut holds = (!missing.is_empty()).then(|| Holds {
            name: "tablespaces",
            what,
            hint: "Create them; lifted, all goes into the database's own.".into(),
        });
        let fresh =
            needs.locations.iter().filter(|(name, _)| self.globals && !there.contains_key(&text_of(name)));
        for (name, folder) in fresh {
            let folder = text_of(folder);
            // who may not look is told by the server when it makes the tablespace
            let sql = format!("SELECT isdir FROM pg_stat_file({}, true);", literal(&folder));
            if self.rows(&sql).is_ok_and(|rows| rows.concat().concat() != "t") {
                let what =
                    format!("the folder of tablespace '{}' is not on the server: {folder}", text_of(name));
                let hint = "Make it, and give it to the server's user.".into();
                holds.get_or_insert(Holds { name: "tablespaces", what, hint });
                missing.insert(text_of(name));
            }
        }
        left_out.tablespaces = missing;
        Ok(holds)
    }

    fn locales(&self, left_out: &mut LeftOut) -> Result<Option<Holds>> {
        let mut missing = BTreeSet::new();
        let always = ["C", "POSIX", ""];
        for locale in texts(&self.checked.needs.locales).into_iter().filter(|l| !always.contains(&l.as_str()))
        {
            // the server asks the C library, and nothing stays of it
            let sql =
                format!("BEGIN; CREATE COLLATION pg_temp.pgkeep (locale = {}); ROLLBACK;", literal(&locale));
            match self.rows(&sql) {
                Err(e) if e.code() == Code::Temporary => return Err(e),
                Err(e) if e.to_string().contains("could not create locale") => {
                    missing.insert(locale);
                }
                _ => {}
            }
        }
        let what = format!("the server lacks locales of the dump's databases: {}", list(&missing));
        let hint = "Generate them on its machine (Debian, Ubuntu: dpkg-reconfigure locales) and restart it; \
            lifted, its own locale is taken.";
        let holds = !missing.is_empty();
        left_out.locales = missing;
        Ok(holds.then(|| Holds { name: "locale", what, hint: hint.into() }))
    }

    /// The databases that are replaced.
    fn present(&self) -> impl Iterator<Item = &Live> {
        self.targets.iter().filter_map(|t| t.present.as_ref())
    }

    fn sessions(&self) -> Result<Option<Holds>> {
        // what is stopped before does not write any more; the server's own processes have no user
        if self.present().next().is_none() || self.args.services.stop_something() {
            return Ok(None);
        }
        let names: Vec<String> = self.present().map(|l| literal(&l.name)).collect();
        let sql = format!(
            "SELECT coalesce(nullif(application_name, ''), usename) || ' in ' || datname FROM pg_stat_activity \
            WHERE backend_xid IS NOT NULL AND usename IS NOT NULL AND datname IN ({});",
            names.join(", ")
        );
        let writing = self.names(&sql)?;
        Ok((!writing.is_empty()).then(|| Holds {
            name: "sessions",
            what: format!("somebody writes right now: {}", list(&writing)),
            hint: "Wait for them to end, or stop them with --services or --stop.".into(),
        }))
    }

    fn guard(&self) -> Option<Holds> {
        let findings = &self.checked.findings;
        let first = findings.iter().find(|f| !self.own || f.is_of_psql)?;
        let text = out::plain(&first.text);
        Some(Holds {
            name: "guard",
            what: if first.is_of_psql {
                format!("the dump would make psql run '{text}' (byte {})", first.at)
            } else {
                format!("the dump holds {} (byte {}): {text}", first.what, first.at)
            },
            hint: "'dump-inspect guard' lists all of that; look at it before you trust the dump.".into(),
        })
    }

    fn unknown_settings(&self) -> BTreeSet<String> {
        // they have no other name in pg_settings than in SET
        let mut unknown = texts(&self.checked.needs.settings);
        let known = &self.survey.settings;
        // these are words of SET and no parameters; what is written in capitals is the same parameter
        let words =
            ["constraints", "names", "role", "session", "time", "transaction", "local", "xml", "schema"];
        unknown.retain(|n| !known.contains(n) && !words.contains(&n.as_str()) && n != "authorization");
        unknown
    }
}

/// The error of all that hold.
fn refused(holding: Vec<Holds>) -> Option<Error> {
    let mut holding = holding.into_iter();
    let first = holding.next()?;
    // a command ends without a full stop
    let ends = |h: &Holds| if h.hint.ends_with('.') { "" } else { ";" };
    let lift = |h: &Holds| format!("{}{} --force={} lifts this.", h.hint, ends(h), h.name);
    let error = Error::refused(first.what.clone()).hint(lift(&first));
    Some(holding.fold(error, |e, h| e.hint(format!("Besides, {}. {}", h.what, lift(&h)))))
}

/// The package that usually brings an extension.
fn package(extension: &str, major: u32) -> String {
    let of = |name: &str| format!("postgresql-{major}-{name}");
    match extension {
        e if e.starts_with("postgis") || e == "address_standardizer" => of("postgis-3"),
        "vector" => of("pgvector"),
        "timescaledb" => format!("timescaledb-2-postgresql-{major}"),
        e if e.starts_with("plpython3") => format!("postgresql-plpython3-{major}"),
        e if e.starts_with("plperl") || e.contains("_plperl") => format!("postgresql-plperl-{major}"),
        e if e.starts_with("pltcl") => format!("postgresql-pltcl-{major}"),
        e if CONTRIB.contains(&e) => "postgresql-contrib".into(),
        e => of(e.strip_prefix("pg_").unwrap_or(e).replace('_', "-").as_str()),
    }
}

/// PostgreSQL's own extensions (its documentation, appendix "Additional Supplied Modules").
const CONTRIB: [&str; 26] = [
    "amcheck",
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dblink",
    "dict_int",
    "earthdistance",
    "file_fdw",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "pg_buffercache",
    "pg_stat_statements",
    "pg_trgm",
    "pgcrypto",
    "pgstattuple",
    "postgres_fdw",
    "seg",
    "tablefunc",
    "unaccent",
    "uuid-ossp",
];

fn texts<'a>(names: impl IntoIterator<Item = &'a Name>) -> BTreeSet<String> {
    names.into_iter().map(|n| text_of(n)).collect()
}

/// The first few of a list, for a message.
fn list(names: &BTreeSet<String>) -> String {
    const TOLD: usize = 10;
    let told: Vec<String> = names.iter().take(TOLD).map(|n| out::plain(n)).collect();
    let more = names.len().saturating_sub(TOLD);
    if more > 0 { format!("{} and {more} more", told.join(", ")) } else { told.join(", ") }
}

fn join(names: &BTreeSet<String>, between: &str) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(between)
}
