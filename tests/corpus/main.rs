//! Real dumps against facts that another program counted.
//!
//! The dumps are not part of this source tree: `PGKEEP_CORPUS` names their folder, by default one
//! called `corpus` in any folder beside it. Without them the small dump at the foot is all there is to read,
//! and one line says so. `INDEX.tsv` there lists the dumps, `facts/*.json` holds the counts.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};

use kit::codec::read::read;
use kit::dump::scan::{Facts, Item, Scan, text_of};
use serde_json::Value;

/// Where our scan rightly differs from the facts: file, what, what it must say, why.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    (CUT, "copies", "18", "data that is cut off has no end, and so is no item"),
    (CUT, "rows", "rental", "the same"),
    (PREAMBLE, "server", "None", "psql takes 'Password:' for SQL: the header is within that statement"),
    (PREAMBLE, "pg_dump", "None", "the same"),
    (PREAMBLE, "complete", "no", "psql stops at that statement, so it must not be proven"),
];
const CUT: &str = "derived/neon-pagila.trunc-midrow.sql";
const PREAMBLE: &str = "password-preamble.sql";

/// What our scan must say of `what`, given what the facts say.
fn expected<'a>(dump: &Dump, what: &str, facts: &'a str) -> &'a str {
    DIFFERENCES.iter().find(|d| (d.0, d.1) == (&dump.name, what)).map_or(facts, |d| d.2)
}

/// A dump, inflated.
struct Dump {
    name: String,
    raw: Vec<u8>,
    /// What was counted; null for the built-in dump.
    facts: Value,
    /// `yes`, `NO`, `no-footer-style` …
    complete: String,
}

fn corpus() -> PathBuf {
    let beside = || {
        let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent()?).ok()?;
        folders.flatten().map(|f| f.path().join("corpus")).find(|c| c.join("INDEX.tsv").is_file())
    };
    std::env::var_os("PGKEEP_CORPUS").map(PathBuf::from).or_else(beside).unwrap_or("corpus".into())
}

/// Every plain dump of the corpus, and the built-in one.
fn dumps() -> Vec<Dump> {
    let dir = corpus();
    let built_in = Dump {
        name: "built-in".into(),
        raw: BUILT_IN.as_bytes().to_vec(),
        facts: Value::Null,
        complete: "yes".into(),
    };
    let Ok(index) = fs::read(dir.join("INDEX.tsv")) else {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| println!("no dumps in {}: only the built-in one is read", dir.display()));
        return vec![built_in];
    };
    let index = String::from_utf8_lossy(&index);
    let mut lines = index.lines().map(|l| l.split('\t').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|h| *h == name).unwrap();
    let (name, kind, wrapping) = (column("name"), column("kind"), column("wrapping"));
    let (complete, facts) = (column("complete"), column("facts"));
    let plain = |l: &Vec<&str>| {
        ["plain", "cluster"].contains(&l[kind]) && ["-", "gzip", "zstd", "bom"].contains(&l[wrapping])
    };
    let mut dumps: Vec<Dump> = lines
        .filter(plain)
        .map(|l| Dump {
            name: l[name].into(),
            raw: inflated(&dir.join(l[name])),
            facts: json(&dir.join(l[facts])),
            complete: l[complete].into(),
        })
        .collect();
    assert!(dumps.len() > 1, "INDEX.tsv lists no plain dump");
    dumps.push(built_in);
    dumps
}

fn inflated(path: &Path) -> Vec<u8> {
    let mut raw = Vec::new();
    read(&File::open(path).unwrap(), &path.display().to_string(), None, |bytes| {
        raw.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    raw
}

/// Bytes that are no UTF-8 stand in the facts as lone surrogates, which `serde_json` refuses; here
/// they are written as [`text_of`] writes them.
fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let mut parts = text.split("\\udc");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        clean.push_str(&format!("\\\\x{}{rest}", hex.to_uppercase()));
    }
    serde_json::from_str(&clean).unwrap()
}

fn scanned<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Facts, Vec<Item>) {
    let (mut scan, mut items) = (Scan::default(), Vec::new());
    for chunk in chunks {
        scan.feed(chunk, &mut |item| items.push(item));
    }
    let facts = scan.finish(&mut |item| items.push(item));
    (facts, items)
}

/// Runs `check` on every dump, on two threads, and fails with all that it complains of.
fn each(check: impl Fn(&Dump) -> Vec<String> + Sync) {
    let mut dumps = dumps();
    dumps.sort_by_key(|d| d.raw.len());
    let (queue, faults) = (Mutex::new(dumps), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(dump) = queue.lock().unwrap().pop() else { break };
                    let found = check(&dump);
                    faults.lock().unwrap().extend(found.into_iter().map(|f| format!("{}: {f}", dump.name)));
                }
            });
        }
    });
    let mut faults = faults.into_inner().unwrap();
    faults.sort();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

type Named = (Option<String>, String);

/// Database and `"schema"."name"`, as the facts write them.
fn named(item: &Item) -> Named {
    let schema = item.name.schema.as_deref().map_or("public".into(), text_of);
    let database = (!item.database.is_empty()).then(|| text_of(&item.database));
    (database, format!("\"{schema}\".\"{}\"", text_of(&item.name.name)))
}

/// What is compared: rows by table and kind of statement, and the rest as text.
#[derive(Default)]
struct Counted {
    lists: BTreeMap<&'static str, String>,
    rows: BTreeMap<(Named, &'static str), u64>,
}

fn by_us(facts: &Facts, items: &[Item]) -> Counted {
    let mut counted = Counted::default();
    let mut tables: Vec<Named> =
        items.iter().filter(|i| ["TABLE", "FOREIGN TABLE"].contains(&i.kind)).map(named).collect();
    tables.sort();
    for item in items {
        let Some((rows, hash)) = item.data else { continue };
        let kind = if hash.is_some() { "COPY" } else { "INSERT" };
        *counted.rows.entry((named(item), kind)).or_default() += rows;
    }
    let total: u64 = counted.rows.values().sum();
    let roles: BTreeSet<String> = facts.roles.iter().map(|r| text_of(r)).collect();
    let created = facts.databases.iter().filter(|d| d.created);
    let databases: BTreeSet<String> = created.map(|d| text_of(&d.name)).collect();
    counted.lists = BTreeMap::from([
        ("tables", format!("{tables:?}")),
        ("number of tables", facts.tables.to_string()),
        ("sum of rows is the total", (total == facts.rows).to_string()),
        ("copies", items.iter().filter(|i| matches!(i.data, Some((_, Some(_))))).count().to_string()),
        ("roles", format!("{roles:?}")),
        ("databases", format!("{databases:?}")),
        ("large objects", facts.large_objects.to_string()),
        ("server", format!("{:?}", facts.server_version)),
        ("pg_dump", format!("{:?}", facts.dump_version)),
        ("cluster", (facts.kind == Some(kit::dump::scan::Kind::Cluster)).to_string()),
    ]);
    counted
}

fn by_others(facts: &Value) -> Counted {
    let mut counted = Counted::default();
    let list = |name: &str| facts[name].as_array().unwrap().clone();
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let name = |v: &Value| (text(&v[0]), text(&v[1]).unwrap());
    let mut tables: Vec<Named> = list("tables").iter().chain(&list("ftables")).map(name).collect();
    tables.sort();
    for (kind, key) in [("COPY", "copy"), ("INSERT", "inserts")] {
        for entry in list(key) {
            *counted.rows.entry((name(&entry), kind)).or_default() += entry[2].as_u64().unwrap();
        }
    }
    let set = |key: &str| list(key).iter().map(|v| name(v).1).collect::<BTreeSet<String>>();
    counted.lists = BTreeMap::from([
        ("tables", format!("{tables:?}")),
        ("number of tables", tables.len().to_string()),
        ("sum of rows is the total", "true".into()),
        ("copies", list("copy").len().to_string()),
        ("roles", format!("{:?}", set("roles"))),
        ("databases", format!("{:?}", set("dbs"))),
        ("large objects", list("lo").len().to_string()),
        ("server", format!("{:?}", text(&facts["from"]))),
        ("pg_dump", format!("{:?}", text(&facts["by"]))),
        ("cluster", facts["cluster"].to_string()),
    ]);
    counted
}

#[test]
fn every_dump_holds_what_others_counted_in_it() {
    each(|dump| {
        if dump.facts.is_null() {
            return Vec::new();
        }
        let (facts, items) = scanned([dump.raw.as_slice()]);
        let (ours, theirs) = (by_us(&facts, &items), by_others(&dump.facts));
        let mut faults = Vec::new();
        for (what, other) in &theirs.lists {
            let (own, other) = (&ours.lists[what], expected(dump, what, other));
            if own != other {
                faults.push(format!("{what}: {own}, but the facts say {other}"));
            }
        }
        let keys: BTreeSet<_> = ours.rows.keys().chain(theirs.rows.keys()).collect();
        for key in keys {
            let (own, other) = (ours.rows.get(key), theirs.rows.get(key));
            let cut_off = own.is_none() && key.0.1.contains(expected(dump, "rows", "\0"));
            if own != other && !cut_off {
                faults.push(format!("rows of {key:?}: {own:?}, but the facts say {other:?}"));
            }
        }
        faults
    });
}

#[test]
fn whole_dumps_are_whole_and_no_others() {
    each(|dump| {
        let (facts, _) = scanned([dump.raw.as_slice()]);
        let whole = expected(dump, "complete", &dump.complete).starts_with("yes");
        let same = facts.is_complete() == whole;
        let fault =
            || format!("should be whole: {whole}, but it is not whole because {:?}", facts.incomplete);
        if same { Vec::new() } else { vec![fault()] }
    });
}

/// A restore refuses a dump with such a line, so none may be seen where pg_dump wrote it all.
#[test]
fn nothing_in_a_real_dump_is_suspicious() {
    each(|dump| {
        let (facts, _) = scanned([dump.raw.as_slice()]);
        facts.suspicious.iter().map(|s| format!("suspicious: {s:?}")).collect()
    });
}

#[test]
fn pieces_of_any_size_give_the_same_facts() {
    each(|dump| {
        let whole = format!("{:?}", scanned([dump.raw.as_slice()]));
        let differs = |n: &usize| format!("{:?}", scanned(dump.raw.chunks(*n))) != whole;
        // byte by byte is slow where nothing is optimised
        let sizes = if dump.raw.len() > 8 << 20 { [3, 7, 4096] } else { [1, 7, 4096] };
        sizes.iter().filter(|n| differs(n)).map(|n| format!("differs in pieces of {n}")).collect()
    });
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

/// Whether nothing is lost with this end of a dump: blanks, comments, and the `\unrestrict` that
/// follows the footer since the fixes of CVE-2025-8714.
fn is_nothing(rest: &[u8]) -> bool {
    let mut lines = rest.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    // the cut may be within a line
    let first = lines.next().unwrap_or_default();
    let first = first.iter().all(|b| b.is_ascii_alphanumeric() || b" -\\".contains(b));
    first && lines.all(|l| l.is_empty() || l.starts_with(b"--") || l.starts_with(b"\\unrestrict "))
}

#[test]
fn a_cut_dump_is_never_whole() {
    each(|dump| {
        let (mut random, mut faults) = (Random(dump.raw.len() as u64), Vec::new());
        if !scanned([dump.raw.as_slice()]).0.is_complete() {
            return faults;
        }
        // large dumps are cut less often, or they would take most of the time of all tests
        let cuts = (200_000_000 / dump.raw.len()).clamp(24, 200);
        // the last bytes are where a cut is hardest to see
        let last = (0..cuts / 6).map(|n| dump.raw.len() - n);
        let cuts: Vec<usize> = (0..cuts).map(|_| random.below(dump.raw.len())).chain(last).collect();
        for cut in cuts {
            let (kept, rest) = dump.raw.split_at(cut);
            let (facts, _) = scanned([kept]);
            if facts.is_complete() && !is_nothing(rest) {
                faults.push(format!("is whole when cut at byte {cut}"));
            }
        }
        faults
    });
}

/// What fools a reader of lines, in one small dump of a cluster.
const BUILT_IN: &str = r#"--
-- PostgreSQL database cluster dump
--

CREATE ROLE "my role";

\connect -reuse-previous=on "dbname='it\'s'"

--
-- PostgreSQL database dump
--

SET standard_conforming_strings = on;

CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $_$ SELECT '
-- PostgreSQL database cluster dump complete
' || $$COPY x FROM stdin;$$ $_$;

CREATE FUNCTION public.g() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;

CREATE TABLE public."t; --" (a text, "b
c" text DEFAULT '\');

COPY public."t; --" (a, "b
c") FROM stdin;
\\.	-- PostgreSQL database cluster dump complete
\N	\\connect evil
\.

INSERT INTO public.u VALUES (1, E'it\'s;'), (2, ')');
/* /* nested */ ; */

--
-- PostgreSQL database dump complete
--

--
-- PostgreSQL database cluster dump complete
--

"#;

#[test]
fn the_built_in_dump_is_read_as_psql_reads_it() {
    let (facts, items) = scanned([BUILT_IN.as_bytes()]);
    assert!(facts.is_complete() && facts.suspicious.is_empty(), "{facts:?}");
    assert_eq!((facts.tables, facts.rows, facts.roles.len()), (1, 4, 1));
    let rows: Vec<u64> = items.iter().filter_map(|i| Some(i.data?.0)).collect();
    assert_eq!(rows, [2, 2]);
}
