//! The stage of the tests that run the built programs: a real PostgreSQL of the test's own, and the
//! programs with nothing of the user's environment in theirs.
//!
//! No test target itself; `#[path = "../lab/mod.rs"] mod lab;` brings it into one. A server is
//! reached by its socket only, works without fsync, and ends with its [`Server`]. Where PostgreSQL is
//! missing, [`Server::start`] panics with the command that installs it.
#![allow(dead_code, unreachable_pub)] // a part of several targets, none of which uses all of it
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

pub mod hook;
mod ran;
pub mod small;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

pub use ran::*;

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

/// The port of every server; sockets of one name stand in different folders.
pub const PORT: &str = "5432";

/// A PostgreSQL that belongs to one test: superuser `postgres`, UTF-8, locale C, time zone UTC.
pub struct Server {
    place: TempDir,
    postmaster: Option<Child>,
}

impl Server {
    /// A server with a copy of a data directory, and further lines of `postgresql.conf`; not started.
    pub fn from(data: &Path, settings: &str) -> Server {
        let place = tempfile::Builder::new().prefix("pgkeep-").tempdir_in("/tmp").unwrap();
        // whoever runs the server must get through to its data
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let server = Server { place, postmaster: None };
        for dir in [server.home(), server.host()] {
            fs::create_dir(dir).unwrap();
        }
        give(&server.host());
        let copied = Command::new("cp").arg("-a").arg(data).arg(server.data()).status().unwrap();
        assert!(copied.success());
        let conf = fs::File::options().append(true).open(server.data().join("postgresql.conf"));
        conf.unwrap().write_all(settings.as_bytes()).unwrap();
        server
    }

    /// Starts a server with the three databases that every cluster has.
    pub fn start() -> Server {
        Server::start_with("")
    }

    /// The same, with further lines of `postgresql.conf`.
    pub fn start_with(settings: &str) -> Server {
        let mut server = Server::from(template(), settings);
        server.start_again();
        server
    }

    /// Starts a server that was stopped: it finds everything that was committed.
    pub fn start_again(&mut self) {
        let mut postmaster = self.spawn();
        // the last line of the pid file tells when connections are taken
        let ready = || {
            assert_eq!(postmaster.try_wait().unwrap(), None, "{}", fs::read_to_string(self.log()).unwrap());
            fs::read_to_string(self.data().join("postmaster.pid")).is_ok_and(|text| text.contains("\nready"))
        };
        wait_until("PostgreSQL takes connections", ready);
        self.postmaster = Some(postmaster);
    }

    fn spawn(&self) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = as_runner(bin("postgres"));
        command.current_dir(self.data()).arg("-D").arg(self.data()).arg("-k").arg(self.host());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    }

    /// Starts a server that is expected to end by itself, and waits for that.
    pub fn runs_out(&self) -> Ran {
        end(self.spawn())
    }

    /// Stops the server at once, as a crash would; sessions are cut off. Nothing happens twice.
    pub fn stop(&mut self) {
        let Some(mut postmaster) = self.postmaster.take() else { return };
        let _ = kill_process(Pid::from_child(&postmaster), Signal::QUIT);
        postmaster.wait().unwrap();
    }

    /// Stops the server in order, with a checkpoint; sessions are ended. Nothing happens twice.
    pub fn stop_in_order(&mut self) {
        let Some(mut postmaster) = self.postmaster.take() else { return };
        let _ = kill_process(Pid::from_child(&postmaster), Signal::INT);
        postmaster.wait().unwrap();
    }

    /// The folder in which its programs run, empty at first; not the server's own.
    pub fn home(&self) -> PathBuf {
        self.place.path().join("home")
    }

    /// The folder of the socket, as `PGHOST` wants it.
    pub fn host(&self) -> PathBuf {
        self.place.path().join("run")
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// What the server wrote into its log so far.
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }

    fn log(&self) -> PathBuf {
        self.place.path().join("log")
    }

    /// One of our programs, set up to reach this server, in [`home`](Self::home).
    pub fn tool(&self, name: &str) -> Command {
        let mut command = tool(name, &self.home());
        self.reach(&mut command);
        command
    }

    /// One of PostgreSQL's own client programs, likewise.
    pub fn client(&self, name: &str) -> Command {
        let mut command = clean(Command::new(bin(name)), &self.home());
        self.reach(&mut command);
        command
    }

    /// A shell, likewise; in its PATH, as in that of the programs, the server's own version of
    /// PostgreSQL's programs stands first.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = clean(Command::new("sh"), &self.home());
        command.args(["-c", script, "sh"]);
        self.reach(&mut command);
        command
    }

    fn reach(&self, command: &mut Command) {
        command.env("PGHOST", self.host()).env("PGPORT", PORT).env("PGUSER", "postgres");
        let (mut dirs, path) = (vec![bin("")], std::env::var_os("PATH").unwrap_or_default());
        dirs.extend(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(dirs).unwrap());
    }

    /// Runs one of our programs to its end, without standard input.
    pub fn run<S: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = S>) -> Ran {
        run(self.tool(name).args(args))
    }

    /// `pgdump-rotate ARGS`.
    pub fn rotate(&self, args: &[&str]) -> Ran {
        self.run("pgdump-rotate", args)
    }

    /// `pgdump-restore ARGS`.
    pub fn restore(&self, args: &[&str]) -> Ran {
        self.run("pgdump-restore", args)
    }

    /// Runs SQL, meta-commands too, in a database and gives back what comes of it: fields parted by
    /// `|`, rows by newlines, none at the end. Panics at the first error.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let dbname = format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"));
        let mut psql = self.client("psql");
        let ran = feed(psql.args(["-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", &dbname]), sql);
        ran.exits(0).out.trim_end_matches('\n').to_owned()
    }

    /// Makes a database with a few rows: `people` (5, with odd texts), `grades` (500, referring to
    /// them, `id` from 1 on), and a view.
    #[track_caller]
    pub fn make(&self, database: &str) {
        self.sql("postgres", &format!("CREATE DATABASE \"{}\"", database.replace('"', "\"\"")));
        self.sql(database, SMALL);
    }

    /// Makes a database with the university of `scripts/seed.sql`: some 100,000 rows, and all that
    /// makes dumps hard to read.
    #[track_caller]
    pub fn seed(&self, database: &str) {
        self.sql("postgres", &format!("CREATE DATABASE \"{database}\" TEMPLATE template0 ENCODING 'UTF8'"));
        let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/seed.sql");
        let seed = fs::read_to_string(seed).unwrap();
        let mut psql = self.client("psql");
        feed(psql.args(["-Xq", "-1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", database]), seed)
            .exits(0);
    }

    /// All of the cluster as `pg_dumpall` writes it, without comments and `\\restrict`, the rows of
    /// each table sorted: equal for equal clusters. What restores keep of before is left out.
    #[track_caller]
    pub fn everything(&self) -> String {
        let text = run(self.client("pg_dumpall").args(["-w", "--exclude-database=*__before_*"])).exits(0).out;
        let varies = ["--", "\\restrict", "\\unrestrict"];
        let mut lines: Vec<&str> =
            text.lines().filter(|line| !varies.iter().any(|begin| line.starts_with(begin))).collect();
        let mut rows = None;
        for i in 0..lines.len() {
            match rows {
                None if lines[i].starts_with("COPY ") => rows = Some(i + 1),
                Some(first) if lines[i] == "\\." => {
                    lines[first..i].sort_unstable();
                    rows = None;
                }
                _ => {}
            }
        }
        lines.join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("the server's log, newest first:\n{}", tail.join("\n"));
        }
    }
}

/// Small, quick, and without surprises in the middle of a test.
const SETTINGS: &str = "
listen_addresses = ''
port = 5432
shared_buffers = 16MB
max_connections = 20
fsync = off
full_page_writes = off
wal_level = minimal
wal_init_zero = off
wal_recycle = off
max_wal_senders = 0
autovacuum = off
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
";

const SMALL: &str = r#"
CREATE TABLE people (id int PRIMARY KEY, name text, note text);
INSERT INTO people VALUES (1, 'Ada', E'a\ttab'), (2, 'Zoë', E'two\nlines'), (3, 'O''Brien', NULL),
    (4, '李', '\.'), (5, '', 'back\slash');
CREATE TABLE grades (id int PRIMARY KEY, person int REFERENCES people, points numeric(4, 1));
INSERT INTO grades SELECT n, 1 + n % 5, n % 1000 / 10.0 FROM generate_series(1, 500) n;
CREATE VIEW best AS SELECT person, max(points) AS points FROM grades GROUP BY person;
"#;

/// A data directory to copy. Kept between runs where cargo keeps such things: under a runner that
/// gives each test a process, every test would wait for initdb.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = run(Command::new(bin("postgres")).arg("--version")).exits(0).out;
        let of: String = version.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
        let user = getuid().as_raw();
        // other settings, another directory
        let sum = SETTINGS.bytes().fold(0_u32, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        let name = format!("data-{sum:08x}-of-{of}-by-{user}");
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if !kept.exists() {
            let place = tempfile::Builder::new().prefix("pgkeep-").tempdir_in("/tmp").unwrap();
            give(place.path());
            let mut initdb = as_runner(bin("initdb"));
            initdb.current_dir(place.path()).args(["-D", "data", "-U", "postgres", "-E", "UTF8"]);
            run(initdb.args(["--locale=C", "--auth=trust", "--no-sync", "--wal-segsize=1"])).exits(0);
            let mut conf =
                fs::File::options().append(true).open(place.path().join("data/postgresql.conf")).unwrap();
            conf.write_all(SETTINGS.as_bytes()).unwrap();
            // a copy under another name, then renamed: half a copy is never taken for a whole
            let fresh = kept.with_extension(format!("{}.new", std::process::id()));
            let copied = Command::new("cp").arg("-a").arg(place.path().join("data")).arg(&fresh).status();
            assert!(copied.unwrap().success());
            if fs::rename(&fresh, &kept).is_err() {
                // another process was first
                fs::remove_dir_all(&fresh).unwrap();
            }
        }
        kept
    })
}

/// A program of the newest PostgreSQL that is installed here.
pub fn bin(program: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let mut dirs: Vec<PathBuf> = Vec::new();
        for (base, begin) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
            let entries = fs::read_dir(base).into_iter().flatten().flatten();
            let named = entries.filter(|e| e.file_name().to_string_lossy().starts_with(begin));
            dirs.extend(named.map(|e| e.path().join("bin")));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        // a link in PATH may stand alone, without psql beside it
        let linked = std::env::split_paths(&path).filter_map(|d| d.join("initdb").canonicalize().ok());
        dirs.extend(linked.filter_map(|p| p.parent().map(Path::to_owned)));
        let version = |dir: &PathBuf| -> Option<u32> {
            let text = Command::new(dir.join("postgres")).arg("--version").output().ok()?.stdout;
            let text = String::from_utf8_lossy(&text).replace("postgres (PostgreSQL) ", "");
            text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let whole = |d: &PathBuf| ["initdb", "psql", "pg_dumpall"].iter().all(|p| d.join(p).is_file());
        let newest = dirs.into_iter().filter(whole).filter_map(|d| Some((version(&d)?, d))).max();
        newest.expect("PostgreSQL's server programs are missing here: run 'scripts/setup test'").1
    })
    .join(program)
}

/// User and group of those who run servers; `None`: we do it ourselves. PostgreSQL refuses root.
fn runner() -> Option<(u32, u32)> {
    static RUNNER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    let id = |what: &str, user: &str| -> Option<u32> {
        let ended = Command::new("id").args([what, user]).output().unwrap();
        String::from_utf8_lossy(&ended.stdout).trim().parse().ok()
    };
    let find = |user: &str| Some((id("-u", user)?, id("-g", user)?));
    *RUNNER.get_or_init(|| getuid().is_root().then(|| find("postgres").or(find("nobody")).unwrap()))
}

/// A program run by those who run servers.
pub fn as_runner(program: PathBuf) -> Command {
    let mut command = clean(Command::new(program), Path::new("/"));
    if let Some((user, group)) = runner() {
        command.uid(user).gid(group);
    }
    command
}

/// Makes `path` belong to those who run servers.
pub fn give(path: &Path) {
    if let Some((user, group)) = runner() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// One of our programs, without a server, in `dir`.
pub fn tool(name: &str, dir: &Path) -> Command {
    let path = match name {
        "pgdump-rotate" => env!("CARGO_BIN_EXE_pgdump-rotate"),
        "pgdump-restore" => env!("CARGO_BIN_EXE_pgdump-restore"),
        "dump-inspect" => env!("CARGO_BIN_EXE_dump-inspect"),
        "backup-validate" => env!("CARGO_BIN_EXE_backup-validate"),
        "volsnap" => env!("CARGO_BIN_EXE_volsnap"),
        "volrestore" => env!("CARGO_BIN_EXE_volrestore"),
        "wal-archive" => env!("CARGO_BIN_EXE_wal-archive"),
        _ => panic!("no program '{name}'"),
    };
    clean(Command::new(path), dir)
}

/// Takes out of the environment what steers the programs, and makes `dir` home and working directory.
fn clean(mut command: Command, dir: &Path) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "DATABASE_URL"
            || text == "NOTIFY_URL"
            || text.starts_with("PG")
            || text.starts_with("BACKUP_")
        {
            command.env_remove(&name);
        }
    }
    command.env("HOME", dir).env("LC_ALL", "C.UTF-8").current_dir(dir).stdin(Stdio::null());
    command
}
