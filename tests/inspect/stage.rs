//! What these tests share: dumps in a folder, and the corpus of dumps by others where it is there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::lab::{Ran, Server, feed, run, tool};

/// `dump-inspect ARGS` in a folder, without a server.
pub(crate) fn inspect(dir: &Path, args: &[&str]) -> Ran {
    run(tool("dump-inspect", dir).args(args))
}

/// Writes what one of PostgreSQL's programs prints into a file.
pub(crate) fn dump(server: &Server, program: &str, args: &[&str], name: &str) -> PathBuf {
    let path = server.home().join(name);
    let file = std::fs::File::create(&path).unwrap();
    let ended = server.client(program).arg("-w").args(args).stdout(file).status().unwrap();
    assert!(ended.success());
    path
}

/// A table's name as SQL and patterns have it.
pub(crate) fn quoted((schema, name): &(String, String)) -> String {
    format!("\"{schema}\".\"{}\"", name.replace('"', "\"\""))
}

/// Rows and row hash of each table of a dump, by schema and name.
pub(crate) fn tables(dir: &Path, args: &[&str]) -> BTreeMap<(String, String), (u64, String)> {
    let ran = inspect(dir, &[&["tables", "--json"], args].concat()).exits(0);
    let table = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| value[field].as_str().unwrap_or("-").to_owned();
        ((text("schema"), text("table")), (value["rows"].as_u64().unwrap(), text("row_hash")))
    };
    ran.out.lines().map(table).collect()
}

/// A dump of the corpus: where it is, and what INDEX.tsv says of it.
pub(crate) struct Known {
    pub(crate) path: PathBuf,
    pub(crate) facts: BTreeMap<String, String>,
}

/// The corpus, from `PGKEEP_CORPUS` or a folder beside the tree; empty where there is none.
pub(crate) fn corpus() -> Vec<Known> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = std::fs::read_dir(root.join("..")).into_iter().flatten().flatten();
    let beside = beside.map(|e| e.path().join("corpus")).find(|p| p.join("INDEX.tsv").is_file());
    let Some(dir) = std::env::var_os("PGKEEP_CORPUS").map(PathBuf::from).or(beside) else {
        return Vec::new();
    };
    let index = std::fs::read_to_string(dir.join("INDEX.tsv")).unwrap();
    let header: Vec<&str> = index.lines().next().unwrap().split('\t').collect();
    let known = |line: &str| {
        let facts: BTreeMap<String, String> =
            header.iter().map(|h| (*h).to_owned()).zip(line.split('\t').map(str::to_owned)).collect();
        Known { path: dir.join(&facts["name"]), facts }
    };
    index.lines().skip(1).map(known).collect()
}

impl Known {
    /// What a column of INDEX.tsv says; `-` for nothing.
    pub(crate) fn says(&self, column: &str) -> &str {
        &self.facts[column]
    }

    /// Whether it is SQL in an encoding that psql reads.
    pub(crate) fn is_sql(&self) -> bool {
        ["plain", "cluster"].contains(&self.says("kind")) && self.says("wrapping") != "utf16"
    }
}

/// Runs a shell script in a folder.
pub(crate) fn sh(dir: &Path, script: &str) -> Ran {
    run(Command::new("sh").args(["-c", script]).current_dir(dir))
}

/// Loads what was taken out into a fresh database.
#[track_caller]
pub(crate) fn load(server: &Server, sql: &str, database: &str) {
    server.sql("postgres", &format!("DROP DATABASE IF EXISTS {database}"));
    server.sql("postgres", &format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'"));
    let mut psql = server.client("psql");
    feed(psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", database]), sql).exits(0);
}
