//! A good backup, what becomes of it, and the program's judgement on that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{feed, run, tool};

/// A dump of some 300 KiB, the same in every run, with what tempts a reader to see an end in its midst.
pub(crate) fn dump() -> String {
    let mut sql = String::from(
        "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.18\n-- Dumped by pg_dump version 15.18\n\n\
        SET statement_timeout = 0;\nSET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\n\
        CREATE FUNCTION public.f() RETURNS text\n    LANGUAGE sql\n    AS $$\n--\n-- PostgreSQL database dump complete\n--\n\
        SELECT 'x' $$;\n\nALTER FUNCTION public.f() OWNER TO postgres;\n\n",
    );
    for (table, rows) in [("people", 1200), ("\"a\nb; -- <b>\"", 1500), ("empty", 0), ("grades", 900)] {
        let _ = write!(sql, "CREATE TABLE public.{table} (\n    id integer NOT NULL,\n    note text\n);\n\n");
        let _ = writeln!(sql, "COPY public.{table} (id, note) FROM stdin;");
        for n in 0..rows {
            // as hard to compress as real texts are
            let x = (n as u64 + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n as u32 % 63);
            let _ = writeln!(
                sql,
                "{n}\t{x:016x}{:016x} -- PostgreSQL database dump complete {n}",
                x.wrapping_mul(x | 1)
            );
        }
        sql.push_str("\\.\n\n\n");
    }
    sql.push_str(
        "ALTER TABLE ONLY public.people\n    ADD CONSTRAINT people_pkey PRIMARY KEY (id);\n\n\
        --\n-- PostgreSQL database dump complete\n--\n\n",
    );
    sql
}

/// A damaged backup: how it was damaged, its file, and its manifest.
pub(crate) struct Case {
    pub(crate) how: &'static str,
    pub(crate) file: Vec<u8>,
    pub(crate) manifest: Option<String>,
}

/// A good backup, and what becomes of it.
pub(crate) struct Table {
    pub(crate) place: TempDir,
    pub(crate) name: String,
    pub(crate) file: Vec<u8>,
    pub(crate) manifest: String,
    pub(crate) cases: Vec<Case>,
}

/// In memory where that is offered: thousands of files are made durable here.
pub(crate) fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

impl Table {
    /// Of a backup that `pgdump-rotate ARGS` makes.
    pub(crate) fn new(args: &[&str]) -> Table {
        let place = place();
        fs::write(place.path().join("dump.sql"), dump()).unwrap();
        let mut rotate = tool("pgdump-rotate", place.path());
        let path =
            run(rotate.args(["-q"]).args(args).args(["--", "cat", "dump.sql"])).exits(0).line().to_owned();
        let path = place.path().join(path);
        Table::of(place, &path)
    }

    pub(crate) fn of(place: TempDir, path: &Path) -> Table {
        let manifest = fs::read_to_string(beside(path)).unwrap_or_default();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Table { file: fs::read(path).unwrap(), manifest, name, place, cases: Vec::new() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.manifest).unwrap()
    }

    /// Where pieces begin, and the end.
    pub(crate) fn frames(&self) -> Vec<usize> {
        let json = self.json();
        let begins = json["frames"].as_array().unwrap().iter().map(|f| f[0].as_u64().unwrap() as usize);
        begins.chain([self.file.len()]).collect()
    }

    pub(crate) fn case(&mut self, how: &'static str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut file = self.file.clone();
        change(&mut file);
        if file != self.file {
            let manifest = Some(&self.manifest).filter(|m| !m.is_empty()).cloned();
            self.cases.push(Case { how, file, manifest });
        }
    }

    pub(crate) fn edited(&mut self, how: &'static str, manifest: String) {
        assert_ne!(manifest, self.manifest, "{how}");
        self.cases.push(Case { how, file: self.file.clone(), manifest: Some(manifest) });
    }

    /// Flips bits at `places`.
    pub(crate) fn flip(&mut self, how: &'static str, places: impl IntoIterator<Item = usize>) {
        for at in places {
            for bit in [0x01, 0x10, 0x80] {
                self.case(how, |file| {
                    if let Some(byte) = file.get_mut(at) {
                        *byte ^= bit;
                    }
                });
            }
        }
    }

    /// The same without any manifest.
    pub(crate) fn alone(mut self) -> Table {
        self.cases.iter_mut().for_each(|case| case.manifest = None);
        self.manifest.clear();
        self
    }

    /// Writes all that was damaged, has one process judge it, and counts what passes.
    pub(crate) fn judge(self) -> Judged {
        let mut paths = Vec::new();
        let write = |i: usize, file: &[u8], manifest: Option<&str>| -> PathBuf {
            let path = self.place.path().join(i.to_string()).join(&self.name);
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(&path, file).unwrap();
            if let Some(manifest) = manifest {
                fs::write(beside(&path), manifest).unwrap();
            }
            path
        };
        for (i, case) in self.cases.iter().enumerate() {
            paths.push(write(i, &case.file, case.manifest.as_deref()));
        }
        // the good one is among them: that it passes shows that the others do not for another reason
        let manifest = Some(self.manifest.as_str()).filter(|m| !m.is_empty());
        let good = write(self.cases.len(), &self.file, manifest);
        let list: String = paths.iter().chain([&good]).map(|p| format!("{}\n", p.display())).collect();
        let ran = feed(tool("backup-validate", self.place.path()).args(["--json", "-q"]), list).exits(3);
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        let verdicts: Vec<Value> = ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(verdicts.len(), self.cases.len() + 1);
        let passes = |v: &Value| v["verdict"] != "bad";
        assert!(passes(verdicts.last().unwrap()), "{}", verdicts.last().unwrap());
        let mut judged = Judged::default();
        for (case, verdict) in self.cases.iter().zip(&verdicts) {
            // whoever damages the name of the seal has a manifest without one, which is told
            let told = verdict["warnings"].to_string().contains("has no seal");
            let missed = passes(verdict) && !(told && case.how == "manifest: a byte");
            let entry = judged.0.entry(case.how).or_default();
            entry.0 += 1;
            entry.1 += u64::from(missed);
            if missed && case.manifest.is_some() {
                println!("missed: {}: {verdict}", case.how);
            }
        }
        judged
    }
}

/// How many there were of each kind of damage, and how many passed.
#[derive(Default)]
pub(crate) struct Judged(BTreeMap<&'static str, (u64, u64)>);

impl Judged {
    pub(crate) fn tell(&self, what: &str) -> (u64, u64) {
        let mut sum = (0, 0);
        for (how, (all, missed)) in &self.0 {
            println!("{what:<28} {how:<32} {all:>5} {missed:>5} missed");
            sum = (sum.0 + all, sum.1 + missed);
        }
        sum
    }

    pub(crate) fn missed(&self) -> Vec<(&'static str, u64)> {
        self.0.iter().filter(|(_, n)| n.1 > 0).map(|(how, n)| (*how, n.1)).collect()
    }
}

/// The seal of a manifest's text.
pub(crate) fn seal(text: &str) -> String {
    let sealed = text.rfind(",\n  \"seal\"").unwrap();
    let mut sha = kit::digest::Sha::default();
    sha.update(&text.as_bytes()[..sealed]);
    format!("{},\n  \"seal\": \"{}\"\n}}\n", &text[..sealed], sha.hex())
}

pub(crate) fn beside(path: &Path) -> PathBuf {
    kit::manifest::path_of(path)
}
