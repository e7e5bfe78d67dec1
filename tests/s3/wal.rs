//! `wal-archive -a s3://…`, with a real PostgreSQL.

use std::fs;
use std::path::PathBuf;

use crate::lab::{Ran, names, run, wait_until};
use crate::stage::{Stage, flip, recover};
use crate::store::Store;

pub(crate) const ARCHIVE: &str = "s3://keep/wal/shop";

/// A server and an archive in a store.
pub(crate) struct Place {
    pub(crate) stage: Stage,
    pub(crate) store: Store,
}

impl Place {
    pub(crate) fn new() -> Place {
        let place = Place { stage: Stage::hoarding(), store: Store::start() };
        place.wal(&["init", "-a", ARCHIVE]).exits(0);
        place
    }

    fn wal(&self, args: &[&str]) -> Ran {
        let mut command = self.stage.server.tool("wal-archive");
        run(self.store.known_to(&mut command).current_dir(self.stage.server.data()).args(args))
    }

    fn push(&self, name: &str, options: &[&str]) -> Ran {
        let path = format!("pg_wal/{name}");
        self.wal(&[&["push", "-a", ARCHIVE, &path, name], options].concat())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.store.file(&format!("wal/shop/{}/{name}", &name[..8]))
    }

    /// The server archives into the store.
    pub(crate) fn archives(&self) {
        let server = &self.stage.server;
        let command = self.command(&format!("push -a {ARCHIVE} --compress zstd --ahead 4 %p %f"));
        server.sql("postgres", &format!("ALTER SYSTEM SET archive_command = '{command}'"));
        server.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// A command of the server's, which knows where the store is.
    fn command(&self, verb: &str) -> String {
        let mut known = std::process::Command::new("env");
        self.store.known_to(&mut known);
        let pair = |(k, v): (&std::ffi::OsStr, Option<&std::ffi::OsStr>)| {
            format!("{}={}", k.to_str().unwrap(), v.unwrap().to_str().unwrap())
        };
        let environment: Vec<String> = known.get_envs().map(pair).collect();
        format!("env {} {} {verb}", environment.join(" "), self.stage.program().display())
    }
}

#[test]
fn a_server_archives_into_a_store_and_is_recovered_from_it() {
    let place = Place::new();
    let server = &place.stage.server;
    place.archives();
    let base = place.stage.base("base");
    place.stage.fill(6);
    server.sql("postgres", "CREATE TABLE kept AS SELECT generate_series(1, 500) AS id");
    place.stage.settle();
    place.wal(&["verify", "-a", ARCHIVE]).exits(0);
    let last = server.sql("postgres", "SELECT last_archived_wal FROM pg_stat_archiver");
    assert!(place.file(&format!("{last}.zst")).exists() || last.ends_with(".backup"), "{last}");

    let restore = place.command(&format!("get -a {ARCHIVE} --ahead 2 %f %p"));
    let settings = format!("\nrestore_command = '{restore}'\n");
    let mut recovered = place.stage.recovering(&base, &[], &settings);
    recover(&mut recovered);
    assert_eq!(recovered.sql("postgres", "SELECT count(*) FROM kept"), "500");
}

#[test]
fn what_is_there_is_never_overwritten_and_damage_is_found() {
    let place = Place::new();
    place.stage.fill(2);
    let ready = place.stage.ready();
    let segment = &ready[0];
    let path = place.stage.server.data().join("pg_wal").join(segment);
    let whole = fs::read(&path).unwrap();
    for codecs in [["none", "none"], ["gzip", "none"], ["zstd", "gzip"]] {
        for name in names(place.file(segment).parent().unwrap_or(&place.store.file("wal"))) {
            fs::remove_file(place.file(&name)).unwrap();
        }
        place.push(segment, &["--compress", codecs[0]]).exits(0);
        place.push(segment, &["--compress", codecs[1]]).exits(0);
        flip(&path, 500_000);
        place.push(segment, &["--compress", codecs[1]]).exits(4).says("other content");
        fs::write(&path, &whole).unwrap();
    }
    place.wal(&["get", "-a", ARCHIVE, segment, "got"]).exits(0);
    assert!(fs::read(place.stage.server.data().join("got")).unwrap() == whole);
    place.wal(&["get", "-a", ARCHIVE, &ready[1], "got"]).exits(1);

    place.push(&ready[1], &[]).exits(0);
    place.wal(&["verify", "-a", ARCHIVE]).exits(0);
    flip(&place.file(&ready[1]), 500_000);
    place.wal(&["get", "-a", ARCHIVE, &ready[1], "other"]).exits(5).says("is damaged");
    assert!(!place.stage.server.data().join("other").exists());
    place.wal(&["verify", "-a", ARCHIVE]).exits(1).says("is damaged");
    // another server's archive
    let identity = place.store.file("wal/shop/archive.json");
    let text = fs::read_to_string(&identity).unwrap();
    let ours = place.stage.server.sql("postgres", "SELECT system_identifier FROM pg_control_system()");
    assert!(text.contains(&ours), "{text}");
    fs::write(&identity, text.replace(&ours, "7000000000000000001")).unwrap();
    place.push(segment, &[]).exits(4).says("the archive is of system 7000000000000000001");
}

#[test]
fn a_store_that_is_away_is_no_end_of_the_log() {
    let place = Place::new();
    place.stage.fill(1);
    let segment = place.stage.ready()[0].clone();
    place.push(&segment, &[]).exits(0);
    place.store.busy(100_000);
    place.push(&segment, &[]).exits(5);
    place.wal(&["get", "-a", ARCHIVE, &segment, "got"]).exits(5).says("503");
    let signal = place.stage.server.data().join("recovery.signal");
    fs::write(&signal, "").unwrap();
    place.wal(&["get", "-a", ARCHIVE, "--retry-for", "1s", &segment, "got"]).exits(200).says("so it stops");
    place.store.busy(0);
    place.wal(&["get", "-a", "s3://keep/nothing", "--retry-for", "1s", &segment, "got"]).exits(200);
    place.wal(&["get", "-a", ARCHIVE, &segment, "got"]).exits(0);
    fs::remove_file(&signal).unwrap();
}

#[test]
fn what_was_stored_ahead_is_acknowledged_without_a_request() {
    let place = Place::new();
    place.stage.fill(5);
    let ready = place.stage.ready();
    place.push(&ready[0], &["--ahead", "4"]).exits(0);
    ready[..5].iter().for_each(|name| assert!(place.file(name).exists(), "{name}"));
    place.store.seen();
    for name in &ready[1..5] {
        place.push(name, &["--ahead", "4"]).exits(0);
    }
    assert_eq!(place.store.seen(), [""; 0], "their receipts stand beside the log");
    // used up: the store is asked again
    place.push(&ready[1], &[]).exits(0);
    wait_until("it asks", || !place.store.seen().is_empty());
    let path = place.stage.server.data().join("pg_wal").join(&ready[2]);
    flip(&path, 500_000);
    place.push(&ready[2], &["--ahead", "4"]).exits(4).says("other content");
}

#[test]
fn pruning_a_store_leaves_what_is_needed() {
    let place = Place::new();
    place.stage.fill(4);
    let ready = place.stage.ready();
    ready.iter().for_each(|name| drop(place.push(name, &[]).exits(0)));
    let ran = place.wal(&["prune", "-a", ARCHIVE, "--keep-from", &ready[2]]).exits(0);
    assert!(ran.out.contains("remove\t"), "{}", ran.out);
    let there: Vec<bool> = ready[..4].iter().map(|name| place.file(name).exists()).collect();
    assert_eq!(there, [false, false, true, true]);
}
