//! The damage table: good backups, damaged in every way that disks, copies and people know, and how many
//! of these go unseen. None, where there is a manifest; where there is none, as many as is stated.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{Server, feed, names, run, tool};

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
struct Case {
    how: &'static str,
    file: Vec<u8>,
    manifest: Option<String>,
}

/// A good backup, and what becomes of it.
struct Table {
    place: TempDir,
    name: String,
    file: Vec<u8>,
    manifest: String,
    cases: Vec<Case>,
}

/// In memory where that is offered: thousands of files are made durable here.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

impl Table {
    /// Of a backup that `pgdump-rotate ARGS` makes.
    fn new(args: &[&str]) -> Table {
        let place = place();
        fs::write(place.path().join("dump.sql"), dump()).unwrap();
        let mut rotate = tool("pgdump-rotate", place.path());
        let path =
            run(rotate.args(["-q"]).args(args).args(["--", "cat", "dump.sql"])).exits(0).line().to_owned();
        let path = place.path().join(path);
        Table::of(place, &path)
    }

    fn of(place: TempDir, path: &Path) -> Table {
        let manifest = fs::read_to_string(beside(path)).unwrap_or_default();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Table { file: fs::read(path).unwrap(), manifest, name, place, cases: Vec::new() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.manifest).unwrap()
    }

    /// Where pieces begin, and the end.
    fn frames(&self) -> Vec<usize> {
        let json = self.json();
        let begins = json["frames"].as_array().unwrap().iter().map(|f| f[0].as_u64().unwrap() as usize);
        begins.chain([self.file.len()]).collect()
    }

    fn case(&mut self, how: &'static str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut file = self.file.clone();
        change(&mut file);
        if file != self.file {
            let manifest = Some(&self.manifest).filter(|m| !m.is_empty()).cloned();
            self.cases.push(Case { how, file, manifest });
        }
    }

    fn edited(&mut self, how: &'static str, manifest: String) {
        assert_ne!(manifest, self.manifest, "{how}");
        self.cases.push(Case { how, file: self.file.clone(), manifest: Some(manifest) });
    }

    /// Flips bits at `places`.
    fn flip(&mut self, how: &'static str, places: impl IntoIterator<Item = usize>) {
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

    /// Cuts, appends, and pieces that are swapped, doubled or lost.
    fn pieces(&mut self) {
        let frames = self.frames();
        for at in &frames {
            for cut in [at.saturating_sub(1), *at, at + 1, at + 9] {
                self.case("cut at a piece", |file| file.truncate(cut));
            }
        }
        for step in 1..40 {
            self.case("cut anywhere", |file| file.truncate(file.len() * step / 40));
        }
        for end in [&b"\0"[..], b"\n", &[0; 512], b"-- more\n"] {
            self.case("something appended", |file| file.extend(end));
        }
        let spans: Vec<(usize, usize)> = frames.windows(2).map(|w| (w[0], w[1])).collect();
        for (i, (begin, end)) in spans.iter().enumerate() {
            self.case("piece doubled", |file| {
                let piece = file[*begin..*end].to_vec();
                file.splice(*end..*end, piece);
            });
            self.case("piece lost", |file| _ = file.drain(*begin..*end));
            self.case("piece zeroed", |file| file[*begin..*end].fill(0));
            for (other, until) in &spans[i + 1..] {
                self.case("pieces swapped", |file| {
                    let (a, between, b) = (
                        file[*begin..*end].to_vec(),
                        file[*end..*other].to_vec(),
                        file[*other..*until].to_vec(),
                    );
                    file.splice(*begin..*until, [b, between, a].concat());
                });
            }
        }
    }

    /// The manifest: every byte class of it, every field, and that of others.
    fn manifests(&mut self) {
        let text = self.manifest.clone();
        for (i, _) in text.match_indices(|c: char| c.is_ascii_alphanumeric()).step_by(text.len() / 400 + 1) {
            let mut bytes = text.clone().into_bytes();
            bytes[i] = if bytes[i] == b'1' { b'2' } else { b'1' };
            self.edited("manifest: a byte", String::from_utf8(bytes).unwrap());
        }
        let lines: Vec<&str> = text.lines().collect();
        for i in 0..lines.len() - 1 {
            let (mut without, mut twice) = (lines.clone(), lines.clone());
            without.remove(i);
            twice.insert(i, lines[i]);
            // an object that names a key twice, or lacks one, is as wrong as one with another value
            self.edited("manifest: a line lost", without.join("\n") + "\n");
            self.edited("manifest: a line doubled", twice.join("\n") + "\n");
        }
        for cut in 1..40 {
            let bytes = text.as_bytes()[..text.len() * cut / 40].to_vec();
            self.edited("manifest: cut", String::from_utf8_lossy(&bytes).into_owned());
        }
        let mut fields = Vec::new();
        leaves(&self.json(), String::new(), &mut fields);
        for pointer in fields.iter().filter(|p| *p != "/seal") {
            let mut json = self.json();
            let value = json.pointer_mut(pointer).unwrap();
            *value = match value {
                Value::Number(n) => (n.as_u64().unwrap() + 1).into(),
                Value::String(s) => format!("{s}x").into(),
                Value::Bool(b) => (!*b).into(),
                _ => "x".into(),
            };
            // by a program that writes all of it anew, and by one that knows the seal, too
            self.edited("manifest: a field, written anew", json.to_string());
        }
    }

    /// Rows that are lost or changed, by somebody who makes file and digest fit each other, seal and all:
    /// what remains is what stands in the table of contents.
    fn forgeries(&mut self, pack: &dyn Fn(&str) -> Vec<u8>) {
        let sql = dump();
        let lines: Vec<&str> = sql.lines().collect();
        let rows: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].contains('\t')).collect();
        for i in rows.iter().step_by(30) {
            let (mut without, mut twice, mut changed) = (lines.clone(), lines.clone(), lines.clone());
            without.remove(*i);
            twice.insert(*i, lines[*i]);
            let other = lines[*i].replacen('a', "b", 1).replacen('0', "1", 1);
            changed[*i] = &other;
            for (how, lines) in [
                ("row lost, forged", without),
                ("row doubled, forged", twice),
                ("row changed, forged", changed),
            ] {
                let text = lines.join("\n") + "\n";
                if text != sql {
                    self.forge(how, &text, pack);
                }
            }
        }
        // an end where none is: in a body, in a row
        for (end, _) in sql.match_indices("dump complete").step_by(180) {
            let mut text = sql[..end].to_owned() + "dump complete\n--\n\n";
            self.forge("footer in a body or row, forged", &text, pack);
            text.push_str("\\.\n");
            self.forge("footer in a body or row, forged", &text, pack);
        }
        // statements that are lost with all that they make
        for begin in [
            "CREATE FUNCTION",
            "ALTER TABLE ONLY public.people",
            "SET client_encoding",
            "CREATE TABLE public.empty",
        ] {
            let at = sql.find(begin).unwrap();
            let end = at + sql[at..].find(";\n").unwrap() + 2;
            self.forge("statement lost, forged", &[&sql[..at], &sql[end..]].concat(), pack);
        }
    }

    fn forge(&mut self, how: &'static str, sql: &str, pack: &dyn Fn(&str) -> Vec<u8>) {
        let file = pack(sql);
        let mut sha = kit::digest::Sha::default();
        sha.update(&file);
        let json = self.json();
        let old = |pointer: &str| json.pointer(pointer).unwrap().to_string();
        let text = self.manifest.replacen(
            &format!("\"bytes\": {}", old("/file/bytes")),
            &format!("\"bytes\": {}", file.len()),
            1,
        );
        let text = text.replacen(&old("/file/sha256"), &format!("\"{}\"", sha.hex()), 1);
        let text = text.replacen(
            &format!("\"raw_bytes\": {}", old("/raw_bytes")),
            &format!("\"raw_bytes\": {}", sql.len()),
            1,
        );
        let frames = text.lines().find(|l| l.contains("\"frames\"")).unwrap().to_owned();
        let whole = if self.name.ends_with(".sql") { "  \"frames\": []," } else { "  \"frames\": [[0,0]]," };
        let text = text.replacen(&frames, whole, 1);
        let text = seal(&text);
        self.cases.push(Case { how, file, manifest: Some(text) });
    }

    /// The same without any manifest.
    fn alone(mut self) -> Table {
        self.cases.iter_mut().for_each(|case| case.manifest = None);
        self.manifest.clear();
        self
    }

    /// Writes all that was damaged, has one process judge it, and counts what passes.
    fn judge(self) -> Judged {
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
struct Judged(BTreeMap<&'static str, (u64, u64)>);

impl Judged {
    fn tell(&self, what: &str) -> (u64, u64) {
        let mut sum = (0, 0);
        for (how, (all, missed)) in &self.0 {
            println!("{what:<28} {how:<32} {all:>5} {missed:>5} missed");
            sum = (sum.0 + all, sum.1 + missed);
        }
        sum
    }

    fn missed(&self) -> Vec<(&'static str, u64)> {
        self.0.iter().filter(|(_, n)| n.1 > 0).map(|(how, n)| (*how, n.1)).collect()
    }
}

/// The seal of a manifest's text.
fn seal(text: &str) -> String {
    let sealed = text.rfind(",\n  \"seal\"").unwrap();
    let mut sha = kit::digest::Sha::default();
    sha.update(&text.as_bytes()[..sealed]);
    format!("{},\n  \"seal\": \"{}\"\n}}\n", &text[..sealed], sha.hex())
}

fn beside(path: &Path) -> PathBuf {
    kit::manifest::path_of(path)
}

/// The pointers of all values that hold no others.
fn leaves(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| leaves(v, format!("{at}/{k}"), found)),
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(i, v)| leaves(v, format!("{at}/{i}"), found));
        }
        _ => found.push(at),
    }
}

fn gzip(sql: &str) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(sql.as_bytes()).unwrap();
    out.finish().unwrap()
}

fn zstd(sql: &str) -> Vec<u8> {
    zstd::stream::encode_all(sql.as_bytes(), 1).unwrap()
}

fn plain(sql: &str) -> Vec<u8> {
    sql.as_bytes().to_vec()
}

/// Places of the header, of each piece's head and trailer, and some of what is between.
fn classes(table: &Table) -> Vec<(&'static str, Vec<usize>)> {
    let frames = table.frames();
    let begins = &frames[..frames.len() - 1];
    let near = |of: &[usize], from: usize, to: usize| of.iter().flat_map(|f| f + from..f + to).collect();
    let trailers = frames[1..].iter().flat_map(|end| end - 8..*end).collect();
    let data = (0..60).map(|n| 40 + n * (table.file.len() - 80) / 60).collect();
    vec![("bit of a head", near(begins, 0, 10)), ("bit of a trailer", trailers), ("bit of the data", data)]
}

fn compressed(codec: &str) -> Table {
    let mut table = Table::new(&["--compress", codec]);
    assert!(table.frames().len() > 3, "it has several pieces");
    for (how, places) in classes(&table) {
        table.flip(how, places);
    }
    table.pieces();
    table
}

fn uncompressed() -> Table {
    let mut table = Table::new(&["--compress", "none"]);
    let (rows, sql) = (table.file.len() / 3, dump());
    table.flip("bit of a row", (0..60).map(|n| rows + n * 977));
    table.flip("bit of a statement", (0..60).map(|n| sql.find("CREATE FUNCTION").unwrap() + n));
    table.flip("bit of the footer", table.file.len() - 44..table.file.len() - 4);
    for step in 1..100 {
        table.case("cut anywhere", |file| file.truncate(file.len() * step / 100));
    }
    table
}

#[test]
fn nothing_is_missed_where_there_is_a_manifest() {
    let mut all = (0, 0);
    for (codec, pack) in [("gzip", &gzip as &dyn Fn(&str) -> Vec<u8>), ("zstd", &zstd), ("none", &plain)] {
        let mut table = if codec == "none" { uncompressed() } else { compressed(codec) };
        table.manifests();
        table.forgeries(pack);
        let judged = table.judge();
        let sum = judged.tell(&format!("{codec}, with a manifest"));
        all = (all.0 + sum.0, all.1 + sum.1);
    }
    println!("{} damaged backups with a manifest, {} missed", all.0, all.1);
    assert_eq!(all.1, 0);
    assert!(all.0 >= 2_000, "{}", all.0);
}

#[test]
fn nothing_is_missed_in_an_archive_with_a_manifest() {
    let server = Server::start();
    server.make("shop");
    let made = || {
        let path = server.rotate(&["-d", "shop", "--format", "custom"]).exits(0).line().to_owned();
        Table::of(place(), &server.home().join(path))
    };
    let mut archive = made();
    server.sql("shop", "DELETE FROM grades WHERE id = 7");
    let other = made();
    archive.flip("bit", (0..archive.file.len()).step_by(archive.file.len() / 150 + 1));
    for step in 0..60 {
        archive.case("cut", |file| file.truncate(1 + file.len() * step / 60));
    }
    archive.manifests();
    // that of another backup, under this name
    let sidecar = other.manifest.replace(&other.name, &archive.name);
    archive.edited("manifest of another", seal(&sidecar));
    archive.edited("manifest of another", other.manifest);
    let judged = archive.judge();
    assert_eq!(judged.tell("custom, with a manifest").1, 0);
}

#[test]
fn without_a_manifest_as_much_is_missed_as_is_stated() {
    for (codec, pack) in [("gzip", gzip as fn(&str) -> Vec<u8>), ("zstd", zstd), ("none", plain)] {
        let table = if codec == "none" {
            uncompressed()
        } else {
            let mut table = compressed(codec);
            table.forgeries(&pack);
            table
        };
        let judged = table.alone().judge();
        judged.tell(&format!("{codec}, no manifest"));
        let stated: Vec<(&str, u64)> = STATED.iter().filter(|s| s.0 == codec).map(|s| (s.1, s.2)).collect();
        assert_eq!(judged.missed(), stated, "{codec}");
    }
}

/// What nobody can see without a manifest: a gzip file's own time and system, pieces that are whole and stand
/// where others stood within rows, and all that is another text. `docs/backup-validate.1` says so.
const STATED: [(&str, &str, u64); 18] = [
    ("gzip", "bit of a head", 76),
    ("gzip", "piece doubled", 3),
    ("gzip", "piece lost", 3),
    ("gzip", "pieces swapped", 3),
    ("gzip", "row changed, forged", 120),
    ("gzip", "row doubled, forged", 120),
    ("gzip", "row lost, forged", 120),
    ("gzip", "statement lost, forged", 4),
    ("none", "bit of a row", 180),
    ("none", "bit of a statement", 177),
    ("zstd", "bit of a head", 4),
    ("zstd", "piece doubled", 3),
    ("zstd", "piece lost", 3),
    ("zstd", "pieces swapped", 3),
    ("zstd", "row changed, forged", 120),
    ("zstd", "row doubled, forged", 120),
    ("zstd", "row lost, forged", 120),
    ("zstd", "statement lost, forged", 4),
];

/// A snapshot of Redis as its server writes it.
fn rdb(checksum: bool) -> Vec<u8> {
    let mut bytes = b"REDIS0011\xfa\x09redis-ver\x057.0.0\xfe\x00\xfb\x02\x00".to_vec();
    for n in 0..60 {
        let (key, value) = (format!("key:{n:04}"), format!("value of {n}"));
        bytes.push(0);
        for text in [key, value] {
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
    }
    bytes.push(0xff);
    // bit by bit, as the polynomial is defined
    let crc = bytes.iter().fold(0_u64, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 }
        })
    });
    bytes.extend(if checksum { crc } else { 0 }.to_le_bytes());
    bytes
}

#[test]
fn a_snapshot_of_redis_is_proven_by_its_checksum() {
    let damaged = |checksum: bool| {
        let place = place();
        let path = place.path().join("redis_20251127_143022.rdb");
        fs::write(&path, rdb(checksum)).unwrap();
        let mut table = Table::of(place, &path);
        table.flip("bit", 0..table.file.len());
        for cut in 1..table.file.len() {
            table.case("cut", |file| file.truncate(cut));
        }
        table.judge()
    };
    let judged = damaged(true);
    judged.tell("Redis");
    assert_eq!(judged.missed(), []);
    // without it only header and end are there to be looked at, and that is a warning
    let judged = damaged(false);
    judged.tell("Redis, no checksum");
    assert_eq!(judged.missed(), [("bit", 3999)]);
}

#[test]
fn what_is_cut_out_of_a_tar_archive_or_a_folder_is_seen() {
    let server = Server::start();
    server.make("shop");
    let dump = |args: &[&str]| run(server.client("pg_dump").args(["-w", "-d", "shop"]).args(args)).exits(0);
    dump(&["-Ft", "-f", "a.tar"]);
    let mut table = Table::of(place(), &server.home().join("a.tar"));
    for block in 1..table.file.len() / 512 {
        table.case("cut", |file| file.truncate(block * 512));
        table.case("cut", |file| file.truncate(block * 512 - 100));
    }
    let heads: Vec<usize> = (0..table.file.len())
        .step_by(512)
        .filter(|at| table.file[at + 257..].starts_with(b"ustar"))
        .collect();
    for span in heads.windows(2) {
        table.case("entry lost", |file| _ = file.drain(span[0]..span[1]));
        table.case("entry doubled", |file| {
            let entry = file[span[0]..span[1]].to_vec();
            file.splice(span[1]..span[1], entry);
        });
    }
    table.flip("bit of a head", heads.iter().flat_map(|head| (0..12).map(move |n| head + n * 13)));
    let judged = table.judge();
    judged.tell("tar, no manifest");
    // of two of one name the first is read, as pg_restore does
    assert_eq!(judged.missed(), [("entry doubled", 3)]);

    dump(&["-Fd", "-f", "folder"]);
    let folder = server.home().join("folder");
    let validate = || run(server.tool("backup-validate").arg("folder"));
    validate().exits(0).says("warn folder: it has no manifest");
    for name in names(&folder) {
        let path = folder.join(&name);
        let good = fs::read(&path).unwrap();
        for cut in [0, 1, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..cut]).unwrap();
            validate().exits(1);
        }
        fs::remove_file(&path).unwrap();
        validate().exits(1);
        fs::write(&path, good).unwrap();
    }
    validate().exits(0);
}
