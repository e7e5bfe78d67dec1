//! Restores that go well: which dump is meant, what comes back, and what is left alone.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::lab::{Server, feed, run};
use crate::stage::{back_up, contents, identities, manifest, plain_dump, same};

/// A server with two small databases, and a backup of its cluster.
fn with_a_backup() -> (Server, PathBuf) {
    let server = Server::start();
    server.make("shop");
    server.make("blog");
    let backup = back_up(&server, &[]);
    (server, backup)
}

fn grades(server: &Server, database: &str) -> String {
    server.sql(database, "SELECT count(*) FROM grades")
}

#[test]
fn deleted_grades_come_back_from_every_codec_and_format() {
    let server = Server::start();
    server.seed("university");
    let want = server.everything();
    for args in [
        &["--compress", "zstd"][..],
        &["-d", "university", "--format", "custom"],
        &["-d", "university", "--compress", "gzip"],
    ] {
        let backup = back_up(&server, args);
        server.sql(
            "university",
            "DELETE FROM grades; UPDATE students SET note = 'lost'; DROP TABLE log CASCADE; SELECT lo_unlink(424242)",
        );
        let ran = server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0).says("105,767 rows");
        assert!(ran.line().starts_with("postgresql://postgres@/university?host="), "{}", ran.out);
        same(&server.everything(), &want);
        fs::remove_file(backup).unwrap();
    }
}

#[test]
fn a_dump_of_what_was_restored_has_the_hashes_of_the_first() {
    let (server, backup) = with_a_backup();
    let first = contents(&manifest(&backup));
    server.sql("shop", "DELETE FROM grades WHERE id % 7 = 0; INSERT INTO grades VALUES (1000, 1, 0)");
    assert_ne!(contents(&manifest(&back_up(&server, &[]))), first);
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(contents(&manifest(&back_up(&server, &[]))), first);
}

#[test]
fn the_latest_proven_backup_is_taken() {
    let (server, older) = with_a_backup();
    server.sql("shop", "DELETE FROM grades WHERE id > 100");
    let newer = back_up(&server, &[]);
    server.sql("shop", "TRUNCATE grades");
    let ran = server.restore(&["--latest", "-y"]).exits(0);
    assert_eq!(ran.lines().len(), 2, "{}", ran.out);
    assert_eq!((grades(&server, "shop"), grades(&server, "blog")), ("100".into(), "500".into()));
    fs::remove_file(crate::stage::beside(&newer)).unwrap();
    let passed = format!("passed over {}: no manifest", newer.file_name().unwrap().to_str().unwrap());
    server.restore(&["--latest", "-y"]).exits(0).says(&passed);
    assert_eq!(grades(&server, "shop"), "500");
    assert!(older.exists());
    // of several series one must be named
    back_up(&server, &["-d", "blog"]);
    server.restore(&["--latest", "-y"]).exits(4).says("backup, blog").says("--name");
    server.sql("blog", "TRUNCATE grades");
    server.restore(&["--latest", "-y", "--name", "blog"]).exits(0);
    assert_eq!(grades(&server, "blog"), "500");
}

#[test]
fn pick_offers_the_newest_first_and_takes_a_number_or_a_name() {
    let (server, older) = with_a_backup();
    server.sql("shop", "DELETE FROM grades WHERE id > 100");
    let newer = back_up(&server, &["--tag", "pre-migrate"]);
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let pick = |answer: &str| {
        server.sql("shop", "TRUNCATE grades");
        feed(server.tool("pgdump-restore").args(["--pick", "--yes"]), answer)
    };
    for (answer, rows) in [
        ("1\n", "100"),
        ("2\n", "500"),
        (" 2 \n", "500"),
        (&format!("{}\n", name(&newer)), "100"),
        (&name(&older), "500"),
    ] {
        let ran = pick(answer).exits(0);
        assert_eq!(grades(&server, "shop"), rows, "{answer:?}");
        let offer: Vec<&str> = ran.err.lines().take(3).collect();
        assert_eq!(offer[0], "Available backups (last 10, newest first):");
        assert!(offer[1].starts_with(&format!("  1  {}  ", name(&newer))), "{offer:?}");
        assert!(offer[1].contains("1010 rows") || offer[1].contains("610 rows"), "{offer:?}");
        assert!(offer[1].ends_with("proven  [pre-migrate]"), "{offer:?}");
        assert!(offer[2].starts_with(&format!("  2  {}  ", name(&older))), "{offer:?}");
        assert!(ran.err.contains("Enter backup filename to restore"), "{}", ran.err);
    }
    for (answer, code) in
        [("", 4), ("\n", 4), ("0\n", 1), ("3\n", 1), ("-1\n", 1), ("nothing.sql\n", 1), ("../backups\n", 1)]
    {
        pick(answer).exits(code);
        assert_eq!(grades(&server, "shop"), "0", "{answer:?}");
    }
}

#[test]
fn a_person_at_a_terminal_is_asked_and_yes_is_the_only_yes() {
    let (server, _) = with_a_backup();
    server.sql("shop", "TRUNCATE grades");
    // `script` gives the program a terminal
    let tool = server.tool("pgdump-restore").get_program().to_str().unwrap().to_owned();
    let at_terminal = |answers: &str| {
        let mut script = server.shell("exec script -qec \"$1 --pick\" /dev/null");
        feed(script.arg(&tool), answers)
    };
    for answer in ["no", "y", "YES", ""] {
        let ran = at_terminal(&format!("1\n{answer}\n")).exits(4);
        assert!(
            ran.out.contains("Type 'yes' to confirm") && ran.out.contains("not confirmed"),
            "{}",
            ran.out
        );
        assert_eq!(grades(&server, "shop"), "0", "{answer:?}");
    }
    let ran = at_terminal("1\nyes\n").exits(0);
    assert!(ran.out.contains("This will REPLACE all current data!"), "{}", ran.out);
    assert_eq!(grades(&server, "shop"), "500");
}

#[test]
fn a_path_a_bare_name_and_standard_input_are_all_dumps() {
    let (server, backup) = with_a_backup();
    let bare = backup.file_name().unwrap().to_str().unwrap();
    for file in [backup.to_str().unwrap(), bare, &format!("backups/{bare}")] {
        server.sql("shop", "TRUNCATE grades");
        server.restore(&["-y", file]).exits(0);
        assert_eq!(grades(&server, "shop"), "500", "{file}");
    }
    // a link is another name of a backup
    let linked = back_up(&server, &["-d", "shop", "--latest-link", "latest.sql.gz"]);
    server.sql("shop", "TRUNCATE grades");
    server.restore(&["-y", "latest.sql.gz"]).exits(0).says("checked against its manifest");
    assert_eq!(grades(&server, "shop"), "500", "{linked:?}");
    // through a pipe it comes compressed or not, and as an archive
    let archive = back_up(&server, &["-d", "shop", "--format", "custom"]);
    for (script, args) in [
        ("cat \"$1\"", &["--yes", "-"][..]),
        ("zcat \"$1\"", &["--yes", "-"]),
        ("zcat \"$1\" | zstd", &["--yes", "-"]),
        ("cat \"$2\"", &["--yes", "-", "-d", "shop", "--swap"]),
        ("pg_restore -f - \"$2\"", &["--yes", "-", "-d", "shop", "--swap"]),
    ] {
        let mut cat = server.shell(script);
        let dump = cat.arg(&backup).arg(&archive).output().unwrap().stdout;
        server.sql("shop", "TRUNCATE grades");
        let ran = feed(server.tool("pgdump-restore").args(args), dump).exits(0);
        assert_eq!(grades(&server, "shop"), "500", "{script}");
        assert!(ran.err.contains("standard input") && ran.err.contains("no manifest"), "{}", ran.err);
    }
}

#[test]
fn a_dump_of_another_hand_needs_no_manifest() {
    let server = Server::start();
    server.make("shop");
    let text = plain_dump(&server, "shop");
    let files = [
        ("old.sql", "cat"),
        ("old.sql.gz", "gzip"),
        ("old.gz.txt", "gzip -1"),
        ("old.zst", "zstd -q"),
        ("two.gz", "sh -c 'head -n 40 | gzip; gzip'"),
    ];
    for (name, pack) in files {
        if name == "two.gz" {
            // a file of two members, cut at a line
            let (a, b) = text.split_at(text[..text.len() / 2].rfind('\n').unwrap() + 1);
            let members = [a, b].map(|part| {
                fs::write(server.home().join("part"), part).unwrap();
                server.shell("gzip <part").output().unwrap().stdout
            });
            fs::write(server.home().join(name), members.concat()).unwrap();
        } else {
            feed(&mut server.shell(&format!("{pack} >{name}")), &text).exits(0);
        }
        server.sql("shop", "TRUNCATE grades");
        server.restore(&[name, "--yes"]).exits(2).says("does not say which database");
        assert_eq!(grades(&server, "shop"), "0");
        server.restore(&[name, "--yes", "-d", "shop", "--swap"]).exits(0).says("no manifest");
        assert_eq!(grades(&server, "shop"), "500", "{name}");
    }
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    let (server, backup) = with_a_backup();
    server.sql("shop", "TRUNCATE grades");
    server.sql("postgres", "DROP DATABASE blog");
    let (before, databases) = (server.everything(), identities(&server));
    let args = ["--latest", "--dry-run", "--stop", "touch stopped", "--start", "touch started"];
    let ran = server.restore(&args).exits(0);
    let has = |words: &str| assert!(ran.lines().iter().any(|l| l.contains(words)), "{words}: {}", ran.out);
    for words in [
        "replace database shop",
        "create  database blog",
        "stop    touch stopped",
        "start   touch started",
        "leave   postgres, template1",
    ] {
        has(words);
    }
    has(backup.file_name().unwrap().to_str().unwrap());
    assert!(!server.home().join("stopped").exists() && !server.home().join("started").exists());
    assert_eq!(identities(&server), databases);
    same(&server.everything(), &before);
    // the plan that is carried out is the very same
    let real = server.restore(&["--latest", "--yes"]).exits(0);
    for line in ran.lines().iter().filter(|l| !l.contains("touch")) {
        let sizeless = line.split(" (").next().unwrap();
        assert!(real.err.contains(sizeless), "{sizeless}: {}", real.err);
    }
}

#[test]
fn databases_that_are_not_in_the_dump_are_left_alone() {
    let (server, backup) = with_a_backup();
    server.make("later");
    server.sql("later", "DELETE FROM grades WHERE id = 1");
    let before = server.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'later'");
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(server.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'later'"), before);
    assert_eq!(grades(&server, "later"), "499");
    // and of the dump of one database all others
    let others = "SELECT oid, datname FROM pg_database WHERE datname NOT LIKE 'shop%' ORDER BY 1";
    let before = server.sql("postgres", others);
    let single = back_up(&server, &["-d", "shop"]);
    server.restore(&[single.to_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(server.sql("postgres", others), before);
}

#[test]
fn a_dump_of_one_database_can_be_led_into_another() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    let before = server.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'shop'");
    for target in ["copy", "it's a \"copy\"", "copy"] {
        let ran = server.restore(&[backup.to_str().unwrap(), "-d", target, "-D", "--json", "--yes"]).exits(0);
        let said: Value = serde_json::from_str(ran.line()).unwrap();
        assert_eq!(said["database"], target);
        assert_eq!(grades(&server, target), "500");
    }
    assert_eq!(server.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'shop'"), before);
    let cluster = back_up(&server, &[]);
    server.restore(&[cluster.to_str().unwrap(), "-d", "copy", "--yes"]).exits(4).says("Leave -d out");
}

#[test]
fn open_sessions_are_ended() {
    let (server, backup) = with_a_backup();
    let mut psql = server.shell("(echo 'SELECT 1;'; cat fifo) | psql -XAtq -v ON_ERROR_STOP=1 shop");
    run(&mut server.shell("mkfifo fifo")).exits(0);
    let session = crate::stage::start(&mut psql);
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop'";
    crate::lab::wait_until("the session is open", || server.sql("postgres", connected) == "1");
    let ran = server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    assert!(ran.err.contains("1 sessions end") || ran.err.contains("1 session ends"), "{}", ran.err);
    fs::write(server.home().join("fifo"), "SELECT 2;\n").unwrap();
    let ended = crate::lab::end(session);
    assert_eq!(ended.out, "1\n");
    assert!(ended.err.contains("terminating connection"), "{}", ended.err);
}
