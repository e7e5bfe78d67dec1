//! `pgdump-restore s3://…`, with a real PostgreSQL.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::lab::{Ran, Server, end, run, wait_until};
use crate::store::Store;

/// A server with a shop, and a store with a backup of it.
struct Place {
    server: Server,
    store: Store,
    url: String,
}

impl Place {
    fn new(args: &[&str]) -> Place {
        let (server, store) = (Server::start(), Store::start());
        server.make("shop");
        let many = "CREATE TABLE many AS SELECT n AS id, md5(n::text) AS t FROM generate_series(1, 100000) n";
        server.sql("shop", many);
        let backup = server.rotate(&[&["-q", "-d", "shop"], args].concat()).exits(0).line().to_owned();
        let path = server.home().join(backup);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let place = Place { server, store, url: format!("s3://keep/daily/{name}") };
        fs::create_dir_all(place.object().parent().unwrap()).unwrap();
        for (from, to) in [&path, &kit::manifest::path_of(&path)].into_iter().zip(place.both()) {
            fs::rename(from, to).unwrap();
        }
        place
    }

    fn object(&self) -> PathBuf {
        self.store.file(self.url.strip_prefix("s3://keep/").unwrap())
    }

    fn both(&self) -> [PathBuf; 2] {
        let object = self.object();
        [object.clone(), kit::manifest::path_of(&object)]
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.server.tool("pgdump-restore");
        self.store.known_to(&mut command).arg(&self.url).args(["--yes"]).args(words);
        command
    }

    fn restore(&self, words: &[&str]) -> Ran {
        run(&mut self.command(words))
    }

    fn rows(&self, database: &str, table: &str) -> String {
        let ask = format!("SELECT count(*), md5(string_agg(t::text, ';' ORDER BY id)) FROM {table} t");
        self.server.sql(database, &ask)
    }
}

#[test]
fn a_dump_in_a_store_is_restored_whole_or_a_table_of_it() {
    for codec in ["gzip", "none"] {
        let place = Place::new(&["--compress", codec]);
        let (people, many) = (place.rows("shop", "people"), place.rows("shop", "many"));
        place.server.sql("shop", "DELETE FROM grades; DELETE FROM people; DROP TABLE many");
        let bytes = fs::metadata(place.object()).unwrap().len();
        place.store.given();
        place.restore(&["-d", "shop", "-t", "people", "--replace"]).exits(0).says("5 rows in 1 tables");
        let given = place.store.given();
        assert!(codec == "gzip" || given < bytes, "{given} of {bytes} bytes");
        assert_eq!(place.rows("shop", "people"), people);
        for (words, name) in [(&[][..], "one"), (&["--jobs", "2"], "two")] {
            place.restore(&[&["-d", name], words].concat()).exits(0);
            assert_eq!(
                (place.rows(name, "people"), place.rows(name, "many")),
                (people.clone(), many.clone())
            );
        }
        place.restore(&["-d", "shop", "-D"]).exits(0);
        assert_eq!(place.rows("shop", "many"), many);
    }
}

#[test]
fn what_is_replaced_or_damaged_changes_nothing() {
    let place = Place::new(&["--compress", "none"]);
    let many = place.rows("shop", "many");
    place.store.slow(Duration::from_millis(300));
    let mut command = place.command(&["-d", "shop", "-D"]);
    let child =
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let get = format!("GET /keep/{}", place.url.strip_prefix("s3://keep/").unwrap());
    let mut gets = 0;
    wait_until("it reads the dump", || {
        gets += place.store.seen().iter().filter(|s| **s == get).count();
        gets > 1
    });
    let mut bytes = fs::read(place.object()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(place.object(), &bytes).unwrap();
    end(child).exits(5).says("it is another one by now");
    place.store.slow(Duration::ZERO);
    place.restore(&["-d", "shop", "-D"]).exits(1);
    fs::remove_file(place.object()).unwrap();
    place.restore(&["-d", "shop", "-D"]).exits(1).says("there is no 's3://keep/daily/");
    assert_eq!(place.rows("shop", "many"), many);
    assert!(!place.server.home().join("backups/safety").exists());
}
