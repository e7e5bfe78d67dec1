//! `dump-inspect VERB s3://…`

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::lab::{Ran, Server, end, names, run, tool, wait_until};
use crate::store::Store;

/// A store, and a folder of dumps that are put into it.
struct Place {
    dir: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), store: Store::start() }
    }

    /// A dump with a table before and a table behind one of `rows` rows.
    fn sql(&self, rows: u32) -> PathBuf {
        let mut dump = String::from(
            "--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.big (a int, b text);\n\
            CREATE TABLE public.first (a int);\nCREATE TABLE public.last (a int);\n\n",
        );
        dump.push_str("COPY public.first (a) FROM stdin;\n1\n2\n\\.\n\nCOPY public.big (a, b) FROM stdin;\n");
        let mut n = 1_u64;
        for row in 0..rows {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            dump.push_str(&format!("{row}\t{n:016x}{:016x}\n", n.rotate_left(23)));
        }
        dump.push_str("\\.\n\nCOPY public.last (a) FROM stdin;\n");
        (0..1000).for_each(|n| dump.push_str(&format!("{n}\n")));
        dump.push_str("\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n");
        let path = self.dir.path().join("dump.sql");
        fs::write(&path, dump).unwrap();
        path
    }

    /// A backup of it, in the folder and in the store; its name.
    fn back_up(&self, rows: u32, args: &[&str]) -> String {
        self.sql(rows);
        let mut rotate = tool("pgdump-rotate", self.dir.path());
        let ran = run(rotate.args(["-q", "-o", "."]).args(args).args(["--", "cat", "dump.sql"])).exits(0);
        let name = Path::new(ran.line()).file_name().unwrap().to_str().unwrap().to_owned();
        self.put(&name);
        self.put(&format!("{name}.json"));
        name
    }

    fn put(&self, name: &str) {
        fs::create_dir_all(self.store.file("daily")).unwrap();
        fs::copy(self.dir.path().join(name), self.file(name)).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.store.file(&format!("daily/{name}"))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = tool("dump-inspect", self.dir.path());
        self.store.known_to(&mut command).args(args);
        command
    }

    fn inspect(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    /// What a verb says of a file it says of the object, too.
    fn same(&self, name: &str, verb: &[&str]) -> Ran {
        let local = self.inspect(&[verb, &[name]].concat());
        let url = url(name);
        let there = self.inspect(&[verb, &[&url]].concat());
        assert_eq!(there.out.replace(&url, name), local.out, "{verb:?} of {name}: {}", there.err);
        let folder = format!("{}/", self.dir.path().display());
        assert_eq!(there.err.replace(&url, name), local.err.replace(&folder, ""), "{verb:?} of {name}");
        assert_eq!(there.code, local.code, "{verb:?} of {name}");
        there
    }
}

fn url(name: &str) -> String {
    format!("s3://keep/daily/{name}")
}

const VERBS: [&[&str]; 9] = [
    &["summary", "--json"],
    &["tables"],
    &["toc"],
    &["settings"],
    &["guard"],
    &["cat"],
    &["extract", "-t", "customers", "--with-dependencies"],
    &["extract", "-n", "*", "--data-only"],
    &["extract", "-t", "customers", "--format", "csv"],
];

#[test]
fn every_verb_says_of_an_object_what_it_says_of_the_file() {
    let (place, server) = (Place::new(), Server::start());
    server.sql("postgres", "CREATE DATABASE shop");
    let seed = "CREATE TABLE customers (id serial PRIMARY KEY, name text); CREATE TABLE empty (); \
        INSERT INTO customers (name) SELECT md5(n::text) FROM generate_series(1, 10000) n; \
        CREATE VIEW v AS SELECT * FROM customers; SELECT lo_from_bytea(0, 'large')";
    server.sql("shop", seed);
    let home = place.dir.path().display().to_string();
    let made = |args: &[&str], name: &str| {
        let path = format!("{home}/{name}");
        let ended = server.client("pg_dump").args(["-d", "shop", "-f", &path]).args(args).status().unwrap();
        assert!(ended.success());
        name.to_owned()
    };
    let mut names = vec![
        made(&["-Fp"], "plain.sql"),
        made(&["-Fc"], "custom.dump"),
        made(&["-Fc", "-Z0"], "bare.dump"),
        made(&["-Ft"], "archive.tar"),
    ];
    let sh = "gzip -k plain.sql && zstd -qk plain.sql && gzip -k bare.dump";
    run(Command::new("sh").args(["-c", sh]).current_dir(place.dir.path())).exits(0);
    names.extend(["plain.sql.gz", "plain.sql.zst", "bare.dump.gz"].map(String::from));
    for codec in ["gzip", "zstd", "none"] {
        let rotate = ["-q", "-o", &home, "--compress", codec, "--", "cat", &format!("{home}/plain.sql")];
        let line = server.rotate(&rotate).exits(0).line().to_owned();
        let name = Path::new(&line).file_name().unwrap().to_str().unwrap().to_owned();
        names.extend([format!("{name}.json"), name]);
    }
    names.iter().for_each(|name| place.put(name));
    for name in names.iter().filter(|name| !name.ends_with(".json")) {
        VERBS.iter().for_each(|verb| drop(place.same(name, verb).exits(0)));
    }
    place.inspect(&["diff", "plain.sql", &url("custom.dump")]).exits(0);
    place.inspect(&["index", "-q", "--reframe", "new.sql.gz", &url("plain.sql.zst")]).exits(0);
    place.inspect(&["diff", "--rows", "new.sql.gz", &url("archive.tar")]).exits(0);
}

#[test]
fn one_table_of_a_large_dump_takes_a_small_part_of_it() {
    let place = Place::new();
    for codec in ["gzip", "zstd", "none"] {
        let name = place.back_up(400_000, &["--compress", codec]);
        let bytes = fs::metadata(place.file(&name)).unwrap().len();
        assert!(bytes > 6 << 20, "{codec}: {bytes}");
        place.store.given();
        place.store.seen();
        let ran = place.same(&name, &["extract", "-t", "last"]).exits(0);
        assert!(ran.out.contains("\n999\n"), "{}", ran.out);
        let (given, seen) = (place.store.given(), place.store.seen());
        assert!(given < bytes / 8, "{codec}: {given} of {bytes} bytes");
        assert!(seen.len() < 10, "{codec}: {seen:?}");
        // what its manifest knows is not read at all
        place.same(&name, &["tables"]).exits(0);
        let given = place.store.given();
        assert!(given < 200 << 10, "{codec}: {given} of {bytes} bytes");
        // a large one comes whole, and once
        place.same(&name, &["extract", "-t", "big"]).exits(0);
        let given = place.store.given();
        assert!((bytes..bytes + bytes / 4).contains(&given), "{codec}: {given} of {bytes} bytes");
    }
}

#[test]
fn what_is_long_comes_in_many_requests_and_in_order() {
    let place = Place::new();
    let name = place.back_up(600_000, &["--compress", "none"]);
    place.store.seen();
    place.store.connections();
    place.same(&name, &["cat"]).exits(0);
    // a connection serves many requests: to make one takes as long as several of these
    let (requests, connections) = (place.store.seen().len(), place.store.connections());
    assert!(requests > 10 && connections < 8, "{requests} on {connections}");
    fs::remove_file(place.file(&format!("{name}.json"))).unwrap();
    fs::remove_file(place.dir.path().join(format!("{name}.json"))).unwrap();
    place.store.busy(2);
    place.same(&name, &["extract", "-t", "last"]).exits(0);
}

/// Starts a verb on an object, and when it has asked for its data does something to that.
fn midway(place: &Place, name: &str, verb: &[&str], then: impl FnOnce(&Path)) -> Ran {
    place.store.slow(Duration::from_millis(300));
    place.store.seen();
    let mut command = place.command(verb);
    let child = command.arg(url(name)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut gets, get) = (0, format!("GET /keep/daily/{name}"));
    wait_until("it reads the data, after the head", || {
        gets += place.store.seen().iter().filter(|s| **s == get).count();
        gets > 1
    });
    // the latest requests are answered when they have waited
    then(&place.file(name));
    let ran = end(child);
    place.store.slow(Duration::ZERO);
    ran
}

#[test]
fn of_an_object_that_is_replaced_midway_no_other_version_is_given() {
    let place = Place::new();
    for (codec, verb) in [
        ("none", &["cat"][..]),
        ("gzip", &["cat"]),
        ("zstd", &["extract", "-t", "big"]),
        ("none", &["tables", "-q"]),
    ] {
        let name = place.back_up(300_000, &["--compress", codec]);
        if verb[0] == "tables" {
            fs::remove_file(place.file(&format!("{name}.json"))).unwrap();
        }
        let whole = place.inspect(&[verb, &[&url(&name)]].concat()).exits(0).out;
        let ran = midway(&place, &name, verb, |file| {
            // the same length: only its tag tells
            let mut bytes = fs::read(file).unwrap();
            bytes.iter_mut().skip(1000).for_each(|b| *b ^= 1);
            fs::write(file, bytes).unwrap();
        });
        let ran = ran.exits(5).says("it is another one by now");
        // where psql may read along, what it refuses ends what was given until then
        let given = ran.out.split("\n\t\t").next().unwrap();
        assert!(whole.starts_with(given) && whole != given, "{codec} {verb:?}");
    }
    let name = place.back_up(300_000, &["--compress", "gzip"]);
    let ran = midway(&place, &name, &["cat"], |file| fs::remove_file(file).unwrap());
    ran.exits(5).says("is gone");
}

#[test]
fn an_object_that_is_shorter_than_its_manifest_says_is_not_whole() {
    let place = Place::new();
    for codec in ["gzip", "zstd", "none"] {
        let name = place.back_up(100_000, &["--compress", codec]);
        for file in [place.file(&name), place.dir.path().join(&name)] {
            let bytes = fs::read(&file).unwrap();
            fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        }
        for verb in [&["tables"][..], &["cat"], &["extract", "-t", "first"]] {
            place.same(&name, verb).exits(1).says("has another size than its manifest says");
        }
        place.same(&name, &["cat", "--salvage"]).exits(3);
    }
}

#[test]
fn a_flipped_bit_and_a_wrong_manifest_are_seen() {
    let place = Place::new();
    let name = place.back_up(100_000, &["--compress", "zstd"]);
    let file = place.file(&name);
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 4;
    fs::write(&file, &bad).unwrap();
    fs::write(place.dir.path().join(&name), &bad).unwrap();
    place.same(&name, &["extract", "-t", "big"]).exits(1).says("is damaged");
    place.same(&name, &["extract", "-t", "first"]).exits(0);
    place.same(&name, &["cat", "--salvage"]).exits(3);
    for manifest in [place.file(&format!("{name}.json")), place.dir.path().join(format!("{name}.json"))] {
        fs::OpenOptions::new().append(true).open(manifest).unwrap().write_all(b"x").unwrap();
    }
    fs::write(&file, &good).unwrap();
    fs::write(place.dir.path().join(&name), &good).unwrap();
    place.same(&name, &["extract", "-t", "first"]).exits(0).says("it is read without its manifest");
}

#[test]
fn a_manifest_is_made_beside_the_object() {
    let place = Place::new();
    let name = place.back_up(300_000, &["--compress", "zstd"]);
    let (url, manifest) = (url(&name), place.file(&format!("{name}.json")));
    place.inspect(&["index", "-q", &url]).exits(4).says("is there already");
    let want = place.inspect(&["tables", &url]).exits(0).out;
    fs::remove_file(&manifest).unwrap();
    assert_eq!(place.inspect(&["index", "-q", &url]).exits(0).line(), format!("{url}.json"));
    assert!(manifest.exists());
    place.store.given();
    let ran = place.inspect(&["tables", &url]).exits(0);
    let bytes = fs::metadata(place.file(&name)).unwrap().len();
    assert!(place.store.given() < bytes / 8);
    assert_eq!((ran.out, ran.err.as_str()), (want, ""));
    place.inspect(&["extract", "-t", "last", &url]).exits(0);
    // nothing is left here
    let folder = tempfile::tempdir().unwrap();
    fs::remove_file(&manifest).unwrap();
    run(place.command(&["index", "-q", &url]).env("TMPDIR", folder.path())).exits(0);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn what_is_missing_away_or_closed_is_told_apart() {
    let place = Place::new();
    let name = place.back_up(10_000, &[]);
    let url = url(&name);
    place.inspect(&["s3://keep/daily/none.sql"]).exits(1).says("there is no 's3://keep/daily/none.sql'");
    place.inspect(&["s3://keep"]).exits(2).says("names no object");
    place.inspect(&["s3://nowhere/x"]).exits(4).says("NoSuchBucket");
    fs::write(place.file("nothing.sql"), "").unwrap();
    fs::write(place.dir.path().join("nothing.sql"), "").unwrap();
    place.same("nothing.sql", &["tables"]).exits(1);
    // busy for a moment is no reason to give up
    place.store.busy(2);
    place.inspect(&["tables", &url]).exits(0);
    place.store.busy(1000);
    place.inspect(&["tables", &url]).exits(5).says("it answers 503");
    place.store.busy(0);
    let cat = ["cat", &url];
    let ran = run(place.command(&cat).env("AWS_SECRET_ACCESS_KEY", "other"));
    ran.exits(4).says("AWS_SECRET_ACCESS_KEY");
    let ran = run(place.command(&cat).env("S3_ENDPOINT_URL", "http://127.0.0.1:1"));
    ran.exits(5).says("connection refused");
    run(place.command(&cat).env("S3_ENDPOINT_URL", "none")).exits(2);
    run(place.command(&cat).env_remove("AWS_ACCESS_KEY_ID")).exits(2).says("needs AWS_ACCESS_KEY_ID");
}
