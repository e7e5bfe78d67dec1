//! The ways in which backups are damaged.

use std::io::Write as _;

use serde_json::Value;

use super::table::{Case, Table, dump, seal};

impl Table {
    /// Cuts, appends, and pieces that are swapped, doubled or lost.
    pub(crate) fn pieces(&mut self) {
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
    pub(crate) fn manifests(&mut self) {
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
    pub(crate) fn forgeries(&mut self, pack: &dyn Fn(&str) -> Vec<u8>) {
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

    pub(crate) fn forge(&mut self, how: &'static str, sql: &str, pack: &dyn Fn(&str) -> Vec<u8>) {
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
}

/// The pointers of all values that hold no others.
pub(crate) fn leaves(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| leaves(v, format!("{at}/{k}"), found)),
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(i, v)| leaves(v, format!("{at}/{i}"), found));
        }
        _ => found.push(at),
    }
}

pub(crate) fn gzip(sql: &str) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(sql.as_bytes()).unwrap();
    out.finish().unwrap()
}

pub(crate) fn zstd(sql: &str) -> Vec<u8> {
    zstd::stream::encode_all(sql.as_bytes(), 1).unwrap()
}

pub(crate) fn plain(sql: &str) -> Vec<u8> {
    sql.as_bytes().to_vec()
}

/// Places of the header, of each piece's head and trailer, and some of what is between.
pub(crate) fn classes(table: &Table) -> Vec<(&'static str, Vec<usize>)> {
    let frames = table.frames();
    let begins = &frames[..frames.len() - 1];
    let near = |of: &[usize], from: usize, to: usize| of.iter().flat_map(|f| f + from..f + to).collect();
    let trailers = frames[1..].iter().flat_map(|end| end - 8..*end).collect();
    let data = (0..60).map(|n| 40 + n * (table.file.len() - 80) / 60).collect();
    vec![("bit of a head", near(begins, 0, 10)), ("bit of a trailer", trailers), ("bit of the data", data)]
}

pub(crate) fn compressed(codec: &str) -> Table {
    let mut table = Table::new(&["--compress", codec]);
    assert!(table.frames().len() > 3, "it has several pieces");
    for (how, places) in classes(&table) {
        table.flip(how, places);
    }
    table.pieces();
    table
}

pub(crate) fn uncompressed() -> Table {
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
