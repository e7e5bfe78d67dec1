//! `volrestore --wal s3://…`: from a snapshot here and the log in a store to a moment.

use std::fs;
use std::path::Path;

use crate::lab::{Ran, Server, names, run};
use crate::stage::flip;
use crate::wal::{ARCHIVE, Place};

const COUNT: &str = "SELECT count(*) FROM grades";

/// A hot snapshot, rows, and their end; all of it archived.
struct Mistake {
    place: Place,
    moment: String,
}

impl Mistake {
    fn new() -> Mistake {
        let place = Place::new();
        place.archives();
        let server = &place.stage.server;
        let data = format!("data=dir:{}", server.data().display());
        run(server.tool("volsnap").args(["--hot", &data, "--compress", "zstd"])).exits(0);
        place.stage.fill(3);
        server.sql("postgres", "CREATE TABLE grades AS SELECT generate_series(1, 500) AS id");
        let moment = server.sql("postgres", "SELECT clock_timestamp() AT TIME ZONE 'UTC'");
        server.sql("postgres", "DELETE FROM grades");
        place.stage.fill(6);
        place.stage.settle();
        fs::create_dir(server.home().join("t")).unwrap();
        Mistake { place, moment }
    }

    fn tool(&self, name: &str, options: &[&str]) -> Ran {
        let server = &self.place.stage.server;
        let mut command = server.tool(name);
        command.env("TMPDIR", server.home().join("t"));
        run(self.place.store.known_to(&mut command).args(["--wal", ARCHIVE]).args(options))
    }

    fn beside(&self) -> String {
        self.place.stage.server.home().join("beside").display().to_string()
    }

    /// Nothing of it may be left.
    fn nothing_left(&self) {
        assert_eq!(names(&self.place.stage.server.home().join("t")), [""; 0]);
    }
}

/// The recovered server, which archives nothing.
fn started(into: &str) -> Server {
    let mut server = Server::from(&Path::new(into).join("data"), "\narchive_mode = off\n");
    server.start_again();
    server
}

#[test]
fn beside_the_live_server_with_no_more_of_the_log_than_is_needed() {
    let mistake = Mistake::new();
    let into = mistake.beside();
    let last = mistake.place.stage.server.sql("postgres", "SELECT last_archived_wal FROM pg_stat_archiver");
    mistake.place.store.seen();
    let until = ["--until", &mistake.moment, "--into", &into];
    mistake.tool("volrestore", &until).exits(0);
    let seen = mistake.place.store.seen();
    assert!(!seen.iter().any(|request| request.contains(&last)), "what lies behind is not fetched");
    let mut gets: Vec<&String> = seen.iter().filter(|r| r.starts_with("GET") && r.contains(".zst")).collect();
    let all = gets.len();
    gets.sort();
    gets.dedup();
    assert_eq!((all, gets.is_empty()), (gets.len(), false), "each is fetched once: {gets:?}");
    assert_eq!(started(&into).sql("postgres", COUNT), "500");
    mistake.nothing_left();
}

#[test]
fn in_place_and_what_is_damaged_or_away_is_found_before() {
    let mut mistake = Mistake::new();
    let until = mistake.moment.clone();
    let options = ["--until", &until, "--yes"];
    mistake.place.stage.server.stop();
    let before = names(&mistake.place.stage.server.data());
    mistake.place.store.busy(100_000);
    mistake.tool("volrestore", &options).exits(5).says("503");
    mistake.place.store.busy(0);
    // a segment on the way: the one that the grades are in comes after those of the first filling
    let folder = mistake.place.store.file("wal/shop/00000001");
    let all = names(&folder).into_iter().filter(|n| n.ends_with(".zst") && !n.contains("backup"));
    let mut all: Vec<String> = all.collect();
    all.sort();
    let way = folder.join(&all[2]);
    let whole = fs::read(&way).unwrap();
    flip(&way, 300);
    mistake.tool("volrestore", &options).exits(1).says("is damaged");
    fs::remove_file(&way).unwrap();
    mistake.tool("volrestore", &options).exits(1).says("is missing");
    fs::write(&way, whole).unwrap();
    assert_eq!(names(&mistake.place.stage.server.data()), before, "nothing was touched");
    mistake.nothing_left();

    mistake.tool("volrestore", &options).exits(0).says("it goes on as timeline 2");
    mistake.place.stage.server.start_again();
    assert_eq!(mistake.place.stage.server.sql("postgres", COUNT), "500");
    mistake.place.stage.settle();
    assert!(mistake.place.file("00000002.history").exists(), "it archives into the store again");
    mistake.nothing_left();
}

#[test]
fn a_drill_recovers_from_the_store() {
    let mistake = Mistake::new();
    let record = names(&mistake.place.stage.server.home().join("backups/snapshots"));
    let record = record.into_iter().find(|n| n.ends_with(".json")).unwrap();
    let record = format!("backups/snapshots/{record}");
    let ask = ["-d", "postgres", "--query", COUNT, "--expect", "500"];
    let options = [&["--drill", &record, "--until", &mistake.moment][..], &ask].concat();
    mistake.tool("backup-validate", &options).exits(0).says("restored into PostgreSQL");
    // what stands in .env is known to it, too
    let server = &mistake.place.stage.server;
    let mut command = server.tool("backup-validate");
    mistake.place.store.known_to(&mut command).env("TMPDIR", server.home().join("t"));
    let known: Vec<_> = command.get_envs().map(|(k, v)| (k.to_owned(), v.unwrap().to_owned())).collect();
    let is_store = |name: &str| name.starts_with("AWS_") || name.starts_with("S3_");
    let mut lines = String::new();
    for (name, value) in known.iter().filter(|(name, _)| is_store(name.to_str().unwrap())) {
        lines += &format!("{}={}\n", name.to_str().unwrap(), value.to_str().unwrap());
        command.env_remove(name);
    }
    fs::write(server.home().join(".env"), lines).unwrap();
    run(command.args(["--wal", ARCHIVE]).args(&options)).exits(0).says("restored into PostgreSQL");
    mistake.nothing_left();
}
