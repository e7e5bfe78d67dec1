//! Restores and disks: one that fills up midway, and bytes that are not what they were.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;

use crate::beside::{Was, dump_with, rows, sleeping};
use crate::lab::small::Small;
use crate::lab::{Server, end, wait_until};
use crate::parts::OWNED;
use crate::replace::nature;
use crate::stage::{back_up, beside, start};

#[test]
fn a_disk_that_fills_up_midway() {
    let Some((server, small)) = with_small_disk() else { return };
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE pages AS SELECT n, md5(n::text) || md5(n::text) AS t FROM generate_series(1, 90000) n",
    );
    server.sql("shop", "CREATE INDEX pages_t ON pages (t)");
    let backup = back_up(&server, &["-d", "shop"]);
    server.sql("shop", "DROP TABLE pages; DELETE FROM grades WHERE id > 7");
    server.sql("postgres", "ALTER DATABASE shop SET TABLESPACE small");
    let was = Was::of(&server);
    for jobs in ["1", "3"] {
        let args = [backup.to_str().unwrap(), "--yes", "--no-safety", "-j", jobs];
        let ran = server.restore(&args).exits(5).says("No space left on device");
        assert!(ran.err.contains("Every database is as it was."), "{}", ran.err);
        was.still(&server);
    }
    small.grow("99m");
    server.restore(&[backup.to_str().unwrap(), "--yes", "--no-safety"]).exits(0);
    assert_eq!(
        (rows(&server, "shop"), server.sql("shop", "SELECT count(*) FROM pages")),
        ("500".into(), "90000".into())
    );
}

/// A server with a small disk, on which there is a tablespace.
fn with_small_disk() -> Option<(Server, Small)> {
    let server = Server::start();
    let small = Small::mount(server.host().join("small"), "24m")?;
    crate::lab::give(small.path());
    server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", small.path().display()));
    Some((server, small))
}

#[test]
fn room_is_looked_for_where_the_database_goes() {
    let Some((server, small)) = with_small_disk() else { return };
    server.make("shop");
    server.sql("postgres", "ALTER DATABASE shop SET TABLESPACE small");
    server.sql("postgres", "CREATE DATABASE big");
    server.sql(
        "big",
        "CREATE TABLE pages AS SELECT n, repeat('x', 1000) AS t FROM generate_series(1, 30000) n",
    );
    // the whole dump has no room where one database of it has
    let cluster = back_up(&server, &[]);
    let only = [cluster.to_str().unwrap(), "--yes", "--no-safety", "-D", "--only"];
    server.restore(&[&only[..], &["shop"]].concat()).exits(0);
    assert_eq!(rows(&server, "shop"), "500");
    let home = "SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = 'shop'";
    assert_eq!(server.sql("postgres", home), "small");
    // where a database goes to a disk of its own, that one counts
    let big = back_up(&server, &["-d", "big"]);
    server.sql(
        "postgres",
        "ALTER DATABASE shop SET TABLESPACE pg_default; CREATE DATABASE there TABLESPACE small",
    );
    let into = [big.to_str().unwrap(), "-d", "there", "-D", "--yes", "--no-safety"];
    server.restore(&into).exits(4).says("the server's disk has").says("--force=space");
    server.restore(&[&into[..], &["--force=space"]].concat()).exits(5).says("No space left");
    small.grow("99m");
    server.restore(&into).exits(0);
    server.restore(&[big.to_str().unwrap(), "-d", "elsewhere", "--yes"]).exits(0);
}

#[test]
fn in_place_on_a_full_disk_nothing_is_dropped() {
    let Some((server, small)) = with_small_disk() else { return };
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    server.sql("postgres", "ALTER DATABASE shop SET TABLESPACE small; CHECKPOINT");
    let mut fill = vec![0; 24 << 20];
    while !fill.is_empty() && fs::write(small.path().join("fill"), &fill).is_err() {
        fill.truncate(fill.len() - (64 << 10));
    }
    assert!(!fill.is_empty());
    let was = Was::of(&server);
    let args = [backup.to_str().unwrap(), "--yes", "--no-safety", "--in-place", "--force=space"];
    let ran = server.restore(&args).exits(5);
    assert!(!ran.err.contains("halfway"), "{}", ran.err);
    fs::remove_file(small.path().join("fill")).unwrap();
    was.still(&server);
    server.restore(&args).exits(0);
    assert_eq!(rows(&server, "shop"), "500");
}

#[test]
fn a_database_that_was_dropped_halfway_is_told_of() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    // what the server leaves where a drop fails (dropdb of commands/dbcommands.c)
    server.sql("postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'shop'");
    let args = [backup.to_str().unwrap(), "--yes"];
    server.restore(&args).exits(4).says("was dropped halfway").says("DROP DATABASE it first");
    server.sql("postgres", "DROP DATABASE shop");
    server.restore(&args).exits(0);
    assert_eq!(rows(&server, "shop"), "500");
}

#[test]
fn a_drop_that_fails_halfway_under_a_restore_is_told_of() {
    let server = Server::start();
    server.make("shop");
    dump_with(&server, "shop", "SELECT pg_sleep(600);", "hangs.sql");
    let mut restore = server.tool("pgdump-restore");
    restore.args(["hangs.sql", "-d", "shop", "--in-place", "--yes", "--force=guard"]);
    let restore = start(&mut restore);
    wait_until("the restore sleeps", || sleeping(&server) == 1);
    // as if the drop had not come to its end
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'shop'");
    server.sql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()");
    let ran = end(restore).exits(5).says("Dropped halfway, and of no use any more: shop.");
    ran.says("DROP DATABASE each once more").says("What they were is in backups/safety/");
}

#[test]
fn a_frame_that_is_damaged_in_the_middle() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE pages AS SELECT n, md5(n::text) || md5(n::text) AS t FROM generate_series(1, 40000) n",
    );
    for (codec, jobs) in [("gzip", "1"), ("zstd", "3")] {
        let backup = back_up(&server, &["-d", "shop", "--compress", codec]);
        let file = backup.to_str().unwrap();
        let was = Was::of(&server);
        let whole = fs::read(&backup).unwrap();
        assert!(whole.len() > 500_000, "{}", whole.len());
        // its manifest knows where frames begin; without it the file is one stream
        for manifest in [true, false] {
            if !manifest {
                fs::remove_file(beside(&backup)).unwrap();
            }
            let mut bytes = whole.clone();
            let middle = bytes.len() / 2;
            bytes[middle..middle + 64].fill(0xa5);
            fs::write(&backup, &bytes).unwrap();
            let args = [file, "-d", "shop", "--swap", "--yes", "-j", jobs, "--stop", "touch stopped"];
            let ran = server.restore(&args).exits(1);
            assert!(ran.err.contains(file) && ran.out.is_empty(), "{}", ran.err);
            was.still(&server);
        }
        assert!(!server.home().join("stopped").exists());
        fs::write(&backup, &whole).unwrap();
        server.restore(&[file, "-d", "shop", "-D", "--yes", "--no-safety"]).exits(0);
        was.again(&server);
    }
}

#[test]
fn a_disk_that_fills_up_in_place_costs_no_owner_and_no_setting() {
    let Some((server, _small)) = with_small_disk() else { return };
    server.make("shop");
    server.sql("postgres", "ALTER DATABASE shop SET TABLESPACE small");
    server.sql("postgres", OWNED);
    let natural = nature(&server, "shop");
    let backup = back_up(&server, &["-d", "shop"]);
    let fills = "CREATE TABLE public.big (t text); INSERT INTO public.big SELECT repeat(md5(n::text), 30) FROM generate_series(1, 60000) n;";
    dump_with(&server, "shop", fills, "big.sql");
    let args = |file| [file, "-d", "shop", "--in-place", "--yes", "--no-safety", "--force"];
    server.restore(&args("big.sql")).exits(5).says("Owner, settings and grants are kept");
    server.restore(&args(backup.to_str().unwrap())).exits(0);
    assert_eq!(nature(&server, "shop"), natural);
    let place = "SELECT spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = dattablespace WHERE datname = 'shop'";
    assert_eq!(server.sql("postgres", place), "small");
}
