//! What several of these tests look at: manifests, rows, folders, processes, and a dump that is held midway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lab::{Server, names, wait_until};

/// Database, schema and name of a table.
pub(crate) type Table = (String, String, String);

/// Makes one backup and gives back its path.
#[track_caller]
pub(crate) fn back_up(server: &Server, args: &[&str]) -> PathBuf {
    server.home().join(server.rotate(args).exits(0).line())
}

/// The manifest beside a backup.
#[track_caller]
pub(crate) fn manifest(backup: &Path) -> Value {
    let text = fs::read_to_string(beside(backup)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Where the manifest of a backup is.
pub(crate) fn beside(backup: &Path) -> PathBuf {
    let mut path = backup.as_os_str().to_owned();
    path.push(".json");
    path.into()
}

/// Changes the manifest of a backup.
pub(crate) fn edit(backup: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = manifest(backup);
    change(&mut value);
    fs::write(beside(backup), value.to_string()).unwrap();
}

/// What a manifest says of each table's data: its rows, and their hash where it has one.
pub(crate) fn contents(manifest: &Value) -> BTreeMap<Table, (u64, Option<String>)> {
    let mut tables = BTreeMap::new();
    for item in manifest["toc"].as_array().unwrap() {
        if item["kind"] == "TABLE DATA" {
            let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
            let entry: &mut (u64, _) =
                tables.entry((text("database"), text("schema"), text("name"))).or_default();
            entry.0 += item["rows"].as_u64().unwrap();
            entry.1 = item["row_hash"].as_str().map(str::to_owned);
        }
    }
    tables
}

/// The rows of each table as the server counts them.
pub(crate) fn counts(server: &Server, databases: &[&str]) -> BTreeMap<Table, u64> {
    // a name may hold anything, newlines too: as JSON each answer is one line
    let ask = "SELECT format('SELECT json_build_array(%L::text, %L::text, count(*)) FROM ONLY %I.%I', \
        nspname, relname, nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
        WHERE relkind = 'r' AND c.oid >= 16384 \\gexec\n";
    let mut tables = BTreeMap::new();
    for database in databases {
        for line in server.sql(database, ask).lines() {
            let (schema, name, rows): (String, String, u64) = serde_json::from_str(line).unwrap();
            tables.insert(((*database).to_owned(), schema, name), rows);
        }
    }
    tables
}

/// Asserts that two long texts are equal, and tells the first line that is not.
#[track_caller]
pub(crate) fn same(left: &str, right: &str) {
    let (mut a, mut b) = (left.lines(), right.lines());
    let cut = |line: Option<&str>| line.map(|l| l.chars().take(300).collect::<String>());
    for number in 1.. {
        let (x, y) = (a.next(), b.next());
        assert_eq!(cut(x), cut(y), "line {number}");
        assert!(x == y, "line {number} differs beyond its beginning");
        if x.is_none() {
            return;
        }
    }
}

/// Every file of a folder with its contents; of a link, what it points to.
pub(crate) fn snapshot(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let contents = |name: &String| {
        let path = dir.join(name);
        match fs::read_link(&path) {
            Ok(target) => target.into_os_string().into_encoded_bytes(),
            Err(_) => fs::read(path).unwrap_or_default(),
        }
    };
    names(dir).into_iter().map(|name| (name.clone(), contents(&name))).collect()
}

/// The names of the dumps in a folder, sorted, which is oldest first within a series.
pub(crate) fn dumps(dir: &Path) -> Vec<String> {
    let dump = |name: &String| [".sql", ".sql.gz", ".sql.zst", ".dump"].iter().any(|e| name.ends_with(e));
    names(dir).into_iter().filter(dump).collect()
}

/// Names and OIDs of the databases: a database that was made anew has another one.
pub(crate) fn identities(server: &Server) -> String {
    server.sql("template1", "SELECT datname, oid FROM pg_database ORDER BY 1")
}

/// The text of a plain dump of one database, without `\restrict`, so that it can be edited.
pub(crate) fn plain_dump(server: &Server, database: &str) -> String {
    let text = crate::lab::run(server.client("pg_dump").args(["-w", "-d", database])).exits(0).out;
    let restricts = |line: &&str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
    text.lines().filter(|l| !restricts(l)).map(|l| format!("{l}\n")).collect()
}

/// `dump` with `text` before its footer, as its last act.
pub(crate) fn with_last_act(dump: &[u8], text: &[u8]) -> Vec<u8> {
    let footer = b"--\n-- PostgreSQL database dump complete\n";
    let at = dump.windows(footer.len()).rposition(|w| w == footer).unwrap();
    [&dump[..at], text, b"\n", &dump[at..]].concat()
}

/// A database that no dump comes to the end of while this lives: pg_dump writes all rows, then
/// waits for the large objects, which we hold.
pub(crate) struct Held(Child);

impl Held {
    /// Makes a large object in `database`, and some megabytes of rows before it, and holds on to it.
    pub(crate) fn hold(server: &Server, database: &str) -> Held {
        server.sql(
            database,
            "CREATE TABLE IF NOT EXISTS pages AS SELECT n, md5(n::text) || repeat('page ', 100) AS text \
                FROM generate_series(1, 12000) n; \
            SELECT lo_from_bytea(0, 'x') WHERE NOT EXISTS (SELECT FROM pg_largeobject_metadata);",
        );
        let mut psql = server.client("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lock = b"BEGIN; LOCK TABLE pg_largeobject IN ACCESS EXCLUSIVE MODE;\n\\echo held\n";
        psql.stdin.as_mut().unwrap().write_all(lock).unwrap();
        let mut line = String::new();
        BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Held(psql)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Starts `command`, which is to be ended by [`crate::lab::end`].
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a dump hangs in a [`Held`] database, with bytes in a part file of `dir`.
pub(crate) fn wait_for_midway(server: &Server, dir: &Path) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    wait_until("pg_dump waits for the large objects", || server.sql("template1", waits) != "0");
    let written = || {
        let parts = names(dir).into_iter().filter(|n| n.ends_with(".part"));
        parts.map(|n| fs::metadata(dir.join(n)).map_or(0, |m| m.len())).sum::<u64>() > 0
    };
    wait_until("the part file has bytes", written);
}

/// Sends a signal to a process that may have ended by itself.
pub(crate) fn signal_what_lives(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

/// Sends a signal.
pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// The children of a process, and theirs.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let children = names(Path::new("/proc")).into_iter().filter_map(|n| n.parse().ok());
        found.extend(children.filter(|child| stat(*child).is_some_and(|(_, of)| of == parent)));
    }
    found.split_off(1)
}

/// Whether a process is there and no zombie.
pub(crate) fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// The name of a process's program.
pub(crate) fn program(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// The command line of a process, its words parted by blanks.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the program's name stands in parentheses and may hold some
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
