//! Settings from the environment, from `.env`, and from `DATABASE_URL`.
//!
//! What the environment says wins; `.env` in the working directory fills gaps. When the
//! environment names a server (`DATABASE_URL`, `PGHOST`, `PGHOSTADDR` or `PGSERVICE`), nothing
//! about the connection is taken from `.env`, so that one server's password never meets another
//! server. `DATABASE_URL` overrides `PG*`, as a connection string does in libpq. Only names that
//! the programs know are taken from `.env`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::exit::{Error, Result};

mod dotenv;

/// Where the environment may say which server is meant.
const NAMES_A_SERVER: [&str; 4] = ["DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGSERVICE"];

/// How long a connection may take to come about where nobody says otherwise, by libpq's variable. Seconds.
pub const CONNECT_TIMEOUT: (&str, &str) = ("PGCONNECT_TIMEOUT", "10");

/// libpq's connection parameters and the environment variables that carry them
/// (PostgreSQL documentation, "Environment Variables" of libpq).
const PARAMETERS: [(&str, &str); 26] = [
    ("application_name", "PGAPPNAME"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("client_encoding", "PGCLIENTENCODING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("dbname", "PGDATABASE"),
    ("gssencmode", "PGGSSENCMODE"),
    ("gsslib", "PGGSSLIB"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("krbsrvname", "PGKRBSRVNAME"),
    ("options", "PGOPTIONS"),
    ("passfile", "PGPASSFILE"),
    ("password", "PGPASSWORD"),
    ("port", "PGPORT"),
    ("require_auth", "PGREQUIREAUTH"),
    ("requirepeer", "PGREQUIREPEER"),
    ("service", "PGSERVICE"),
    ("sslcert", "PGSSLCERT"),
    ("sslcrl", "PGSSLCRL"),
    ("sslkey", "PGSSLKEY"),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("user", "PGUSER"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
];

/// Where an object store is, in the words of AWS's programs.
const STORE: [&str; 8] = [
    "S3_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
];

/// The environment as the programs see it.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    /// Variables to set for client programs, beyond what they inherit.
    connection: BTreeMap<String, String>,
    /// They inherit nothing about a connection.
    alone: bool,
}

impl Settings {
    /// Reads the process environment and `.env` of the working directory.
    pub fn load() -> Result<Self> {
        let environment =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::from(environment.collect(), dotenv::read(Path::new(".env"), is_ours)?)
    }

    /// The rules of the module's head, applied to two sets of variables.
    pub fn from(environment: BTreeMap<String, String>, dotenv: BTreeMap<String, String>) -> Result<Self> {
        let environment: BTreeMap<_, _> = environment.into_iter().filter(|(_, v)| !v.is_empty()).collect();
        let server_is_named = NAMES_A_SERVER.iter().any(|name| environment.contains_key(*name));
        let mut values = environment;
        let mut connection = BTreeMap::new();
        for (name, value) in dotenv {
            let about_server = is_about_server(&name);
            if !is_ours(&name)
                || value.is_empty()
                || values.contains_key(&name)
                || (about_server && server_is_named)
            {
                continue;
            }
            if about_server && name != "DATABASE_URL" {
                connection.insert(name.clone(), value.clone());
            }
            values.insert(name, value);
        }
        if let Some(url) = values.get("DATABASE_URL") {
            for (name, value) in parse_url(url)? {
                connection.insert(name.to_owned(), value.clone());
                values.insert(name.to_owned(), value);
            }
        }
        Ok(Settings { values, connection, alone: false })
    }

    /// These variables of libpq's, and none that the environment has: for a server of our own, which
    /// must not be mistaken for the one that the environment names.
    pub fn alone<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let connection: BTreeMap<_, _> = pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        Settings { values: connection.clone(), connection, alone: true }
    }

    /// The variables that tell where an object store is, for a program of ours that stands in another
    /// directory.
    pub fn of_stores(&self) -> impl Iterator<Item = (&str, &str)> {
        STORE.iter().filter_map(|name| Some((*name, self.get(name)?)))
    }

    /// Whether client programs inherit nothing about a connection.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// With what the command line says, if it does, in place of the variable.
    #[must_use]
    pub fn with(mut self, name: &str, option: Option<&str>) -> Self {
        self.values.extend(option.map(|value| (name.to_owned(), value.to_owned())));
        self
    }

    /// With a bound on how long a connection may take to come about, where none is set: a server that takes it
    /// and says nothing would be waited for for ever.
    #[must_use]
    pub fn impatient(mut self) -> Self {
        let (name, seconds) = CONNECT_TIMEOUT;
        if self.get(name).is_none() {
            self.connection.insert(name.into(), seconds.into());
        }
        self
    }

    /// The value of a variable, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Where backups are: the option, else `BACKUP_DIR`, else `backups`.
    pub fn place_of_backups<'a>(&'a self, option: Option<&'a str>) -> &'a str {
        option.or(self.get("BACKUP_DIR")).unwrap_or("backups")
    }

    /// The same, for who takes a directory only.
    ///
    /// # Errors
    /// It is a place in an object store, which would be made a folder called `s3:`.
    pub fn backups<'a>(&'a self, option: Option<&'a str>) -> Result<&'a str> {
        let dir = self.place_of_backups(option);
        if dir.starts_with("s3://") {
            return Err(Error::usage(format!("'{}' is no directory", crate::exit::plain(dir))).hint(
                "Backups are made in a directory, and restored from one; copy them to the store, or from there.",
            ));
        }
        Ok(dir)
    }

    /// What client programs need in their environment beyond what they inherit.
    pub fn connection(&self) -> impl Iterator<Item = (&str, &str)> {
        self.connection.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

fn is_about_server(name: &str) -> bool {
    name == "DATABASE_URL" || PARAMETERS.iter().any(|(_, variable)| *variable == name)
}

/// Whether a variable is one that the programs know.
fn is_ours(name: &str) -> bool {
    let others =
        ["PG_VIA", "PATRONI_URLS", "BACKUP_DIR", "BACKUP_COMPRESS", "BACKUP_HELPER_IMAGE", "NOTIFY_URL"];
    is_about_server(name) || others.contains(&name) || STORE.contains(&name)
}

/// Splits `postgresql://user:password@host:port/dbname?name=value` into environment variables.
/// Several hosts, percent-encoding and Unix socket directories are understood as libpq does.
/// Errors never repeat the URL: it may hold a password.
fn parse_url(url: &str) -> Result<Vec<(&'static str, String)>> {
    let wrong = |what: &str| Error::usage(format!("DATABASE_URL: {what}"));
    let rest = url
        .strip_prefix("postgresql://")
        .or_else(|| url.strip_prefix("postgres://"))
        .ok_or_else(|| wrong("it does not begin with postgresql://"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, dbname) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',').filter(|h| !h.is_empty()) {
        let (name, port) = match host.strip_prefix('[') {
            Some(v6) => v6.split_once(']').ok_or_else(|| wrong("an IPv6 address lacks its ]"))?,
            None => host.find(':').map_or((host, ""), |i| host.split_at(i)),
        };
        names.push(name);
        ports.push(port.trim_start_matches(':'));
    }
    let port = if ports.iter().all(|p| p.is_empty()) { String::new() } else { ports.join(",") };
    let mut parts = Vec::new();
    for (name, value) in [
        ("PGUSER", user),
        ("PGPASSWORD", password),
        ("PGHOST", &names.join(",")),
        ("PGPORT", &port),
        ("PGDATABASE", dbname),
    ] {
        if !value.is_empty() {
            parts.push((
                name,
                decode(value).ok_or_else(|| wrong("a % is not followed by two hexadecimal digits"))?,
            ));
        }
    }
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong("a parameter lacks its ="))?;
        // libpq reads ssl=true as JDBC means it
        let (name, value) =
            if (name, value) == ("ssl", "true") { ("sslmode", "require") } else { (name, value) };
        let known = PARAMETERS.iter().find(|(parameter, _)| *parameter == name);
        let variable =
            known.ok_or_else(|| wrong(&format!("no environment variable carries the parameter '{name}'")))?.1;
        parts.push((
            variable,
            decode(value).ok_or_else(|| wrong("a % is not followed by two hexadecimal digits"))?,
        ));
    }
    Ok(parts)
}

fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut decoded) = (text.bytes(), Vec::with_capacity(text.len()));
    while let Some(b) = bytes.next() {
        let hex = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
        decoded.push(if b == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { b });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_place_in_a_store_is_no_directory_of_backups() {
        let settings = Settings::from(map(&[("BACKUP_DIR", "s3://keep/daily")]), map(&[])).unwrap();
        assert_eq!(settings.backups(Some("here")).unwrap(), "here");
        assert_eq!(settings.backups(None).unwrap_err().code(), crate::exit::Code::Usage);
        assert_eq!(Settings::default().backups(None).unwrap(), "backups");
    }

    #[test]
    fn urls_become_variables() {
        for (url, want) in [
            ("postgresql://", vec![]),
            (
                "postgres://u:p%40%2F@h:5433/d",
                vec![
                    ("PGUSER", "u"),
                    ("PGPASSWORD", "p@/"),
                    ("PGHOST", "h"),
                    ("PGPORT", "5433"),
                    ("PGDATABASE", "d"),
                ],
            ),
            ("postgresql://%2Ftmp%2Fpg/d", vec![("PGHOST", "/tmp/pg"), ("PGDATABASE", "d")]),
            (
                "postgresql:///d?host=/tmp&sslmode=require",
                vec![("PGDATABASE", "d"), ("PGHOST", "/tmp"), ("PGSSLMODE", "require")],
            ),
            ("postgresql://a:1,[::1]:2/", vec![("PGHOST", "a,::1"), ("PGPORT", "1,2")]),
            ("postgresql://u@a,b", vec![("PGUSER", "u"), ("PGHOST", "a,b")]),
        ] {
            let want: Vec<(&str, String)> = want.into_iter().map(|(k, v)| (k, v.to_owned())).collect();
            assert_eq!(parse_url(url).unwrap(), want, "{url}");
        }
        for url in ["mysql://h/d", "postgresql://h/d?nonsense=1", "postgresql://h/%zz", "postgresql://[::1/d"]
        {
            let error = parse_url(url).unwrap_err().to_string();
            assert!(!error.contains(url), "{error}");
        }
    }

    #[test]
    fn one_servers_password_never_meets_another_server() {
        let dotenv =
            map(&[("PGPASSWORD", "secret"), ("PGPORT", "1"), ("BACKUP_DIR", "b"), ("LD_PRELOAD", "x")]);
        let s = Settings::from(map(&[("PGHOST", "h")]), dotenv.clone()).unwrap();
        assert_eq!((s.get("PGPASSWORD"), s.get("BACKUP_DIR")), (None, Some("b")));
        let s = Settings::from(map(&[]), dotenv).unwrap();
        assert_eq!((s.get("PGPASSWORD"), s.get("LD_PRELOAD")), (Some("secret"), None));
    }

    #[test]
    fn the_url_wins_over_single_variables() {
        let s = Settings::from(
            map(&[("PGPORT", "1"), ("PGUSER", "me"), ("DATABASE_URL", "postgresql://h:2/")]),
            map(&[]),
        );
        let s = s.unwrap();
        assert_eq!((s.get("PGPORT"), s.get("PGUSER"), s.get("PGHOST")), (Some("2"), Some("me"), Some("h")));
    }
}
