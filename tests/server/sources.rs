//! Where a dump comes from, and what it is called: databases, archives, commands, standard input, connections.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::lab::{Server, feed, names, run, tool};
use crate::stage::{back_up, contents, counts, dumps, manifest};

/// Names that a file, a shell, a connection string or SQL could misunderstand, and what their
/// backups are called.
const NAMES: [(&str, &str); 10] = [
    ("with space", "with space"),
    ("it's", "it's"),
    ("say \"hi\"", "say \"hi\""),
    ("ünïcödé 李", "ünïcödé 李"),
    ("a/b", "a%2Fb"),
    ("100%", "100%25"),
    ("host=x", "host=x"),
    ("postgresql://x/y", "postgresql:%2F%2Fx%2Fy"),
    ("-d", "-d"),
    ("$(id) `id`; \\", "$(id) `id`; \\"),
];

#[test]
fn each_database_gets_a_file_of_its_own() {
    let server = Server::start();
    server.make("shop");
    server.make("blog");
    server.sql("blog", "DELETE FROM grades");
    let ran = server.rotate(&["-d", "shop", "--database", "blog"]).exits(0);
    let rows = ran.lines().into_iter().map(|line| {
        let said = manifest(&server.home().join(line));
        assert_eq!(said["kind"], "database");
        (said["source"]["databases"].clone(), said["rows"].as_u64().unwrap(), line.split('_').next().unwrap())
    });
    let want = [
        (serde_json::json!(["shop"]), 505, "backups/shop"),
        (serde_json::json!(["blog"]), 5, "backups/blog"),
    ];
    assert_eq!(rows.collect::<Vec<_>>(), want);
}

#[test]
fn one_missing_database_does_not_stop_the_others() {
    let server = Server::start();
    server.make("shop");
    server.make("blog");
    for order in [["gone", "shop", "blog"], ["shop", "gone", "blog"], ["shop", "blog", "gone"]] {
        let args: Vec<&str> = order.iter().flat_map(|name| ["-d", name]).collect();
        let ran = server.rotate(&args).exits(3).says("database 'gone'").says("does not exist");
        let made: Vec<&str> = ran.lines().iter().map(|l| l.split(['/', '_']).nth(1).unwrap()).collect();
        assert_eq!(made, ["shop", "blog"], "{order:?}");
    }
    assert_eq!(dumps(&server.home().join("backups")).len(), 6);
}

#[test]
fn only_missing_databases_are_a_failure_and_leave_nothing() {
    let server = Server::start();
    let ran = server.rotate(&["-d", "gone"]).exits(1).says("gone").says("does not exist");
    assert_eq!(ran.out, "");
    let ran = server.rotate(&["-d", "gone", "-d", "lost"]).exits(1).says("does not exist");
    assert_eq!(ran.out, "");
    assert_eq!(names(&server.home().join("backups")), [".pgkeep.lock"]);
}

#[test]
fn any_name_of_a_database_goes_there_and_back() {
    let server = Server::start();
    for (name, _) in NAMES {
        server.make(name);
    }
    let args: Vec<&str> = NAMES.iter().flat_map(|(name, _)| ["-d", name]).collect();
    let ran = server.rotate(&args).exits(0);
    for ((name, series), line) in NAMES.iter().zip(ran.lines()) {
        let file = line.strip_prefix("backups/").unwrap();
        assert!(file.starts_with(&format!("{series}_2")), "{name}: {line}");
        assert_eq!(manifest(&server.home().join(line))["source"]["databases"], serde_json::json!([name]));
        server.sql(name, "DELETE FROM grades");
    }
    let sums = run(server.shell("sha256sum -c SHA256SUMS").current_dir(server.home().join("backups")));
    sums.exits(0);
    for ((name, _), line) in NAMES.iter().zip(ran.lines()) {
        let restored = server.restore(&[line, "--yes"]).exits(0);
        assert_eq!(server.sql(name, "SELECT count(*) FROM grades"), "500", "{name}");
        // the connection string leads there
        let psql = ["-XAtw", "-d", restored.line(), "-c", "SELECT current_database()"];
        assert_eq!(run(server.client("psql").args(psql)).exits(0).out.trim_end(), *name);
    }
}

#[test]
fn a_cluster_with_such_names_goes_there_and_back() {
    let server = Server::start();
    for (name, _) in NAMES {
        server.make(name);
    }
    let backup = back_up(&server, &[]);
    let want = server.everything();
    for (name, _) in NAMES {
        server.sql(name, "DROP TABLE grades CASCADE");
    }
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    crate::stage::same(&server.everything(), &want);
}

#[test]
fn a_custom_archive_is_proven_and_pg_restore_reads_it() {
    let server = Server::start();
    server.seed("university");
    let backup = back_up(&server, &["-d", "university", "--format", "custom", "--compress", "gzip:3"]);
    assert!(backup.to_str().unwrap().ends_with(".dump"));
    run(server.client("pg_restore").arg("--list").arg(&backup)).exits(0);
    let said = manifest(&backup);
    assert_eq!((&said["file"]["format"], &said["file"]["codec"]), (&"custom".into(), &"none".into()));
    let rows = contents(&said).into_iter().map(|(table, (rows, _))| (table, rows)).collect();
    assert_eq!(counts(&server, &["university"]), rows);
    // the same rows as in a plain dump, by their hashes
    let plain = back_up(&server, &["-d", "university"]);
    assert_eq!(contents(&manifest(&plain)), contents(&said));
}

#[test]
fn name_tag_and_codec_are_as_asked_for() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop", "--name", "my Laden ü", "--tag", "pre-migrate"]);
    assert!(backup.file_name().unwrap().to_str().unwrap().starts_with("my Laden ü_2"));
    assert_eq!(manifest(&backup)["tag"], "pre-migrate");
    // the environment says what the command line does not
    let mut rotate = server.tool("pgdump-rotate");
    rotate.env("BACKUP_DIR", "elsewhere").env("BACKUP_COMPRESS", "zstd:2").args(["-d", "shop"]);
    let line = run(&mut rotate).exits(0).line().to_owned();
    assert!(line.starts_with("elsewhere/shop_2") && line.ends_with(".sql.zst"), "{line}");
    rotate.args(["--compress", "none", "-o", "here"]);
    let line = run(&mut rotate).exits(0).line().to_owned();
    assert!(line.starts_with("here/shop_2") && line.ends_with(".sql"), "{line}");
}

#[test]
fn any_command_may_write_the_dump() {
    let server = Server::start();
    server.make("shop");
    let truth: Vec<u64> = counts(&server, &["shop"]).into_values().collect();
    for (format, ending) in [("-Fp", ".sql.gz"), ("-Fc", ".dump")] {
        let backup = back_up(&server, &["--name", "mine", "--", "pg_dump", format, "-d", "shop"]);
        let name = backup.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("mine_2") && name.ends_with(ending), "{name}");
        let said = manifest(&backup);
        assert_eq!(said["source"]["producer"], "pg_dump");
        assert_eq!(said["verified"]["how"], "read-back");
        let rows: Vec<u64> = contents(&said).into_values().map(|(rows, _)| rows).collect();
        assert_eq!(rows, truth, "{format}");
        // such a dump does not tell its database
        server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(2).says("-d NAME");
        server.restore(&[backup.to_str().unwrap(), "--yes", "-d", "copy", "-D"]).exits(0);
        assert_eq!(counts(&server, &["copy"]).into_values().collect::<Vec<_>>(), truth);
    }
    let backup = back_up(&server, &["--", "sh", "-c", "pg_dumpall"]);
    assert_eq!(manifest(&backup)["kind"], "cluster");
    assert_eq!(manifest(&backup)["source"]["producer"], "sh");
}

#[test]
fn standard_input_is_proven_by_its_footer_and_the_manifest_says_so() {
    let server = Server::start();
    server.make("shop");
    let dump = run(&mut server.client("pg_dumpall")).exits(0).out;
    let ran = feed(server.tool("pgdump-rotate").arg("--stdin"), &dump).exits(0);
    let said = manifest(&server.home().join(ran.line()));
    assert_eq!(said["verified"]["how"], "read-back, footer");
    assert_eq!((&said["source"]["producer"], &said["rows"]), (&"stdin".into(), &505.into()));
    // no server is needed for that
    let dir = tempfile::tempdir().unwrap();
    feed(tool("pgdump-rotate", dir.path()).env("PGHOST", "/nowhere").arg("--stdin"), &dump).exits(0);

    let cut = &dump[..dump.len() - 200];
    let ran = feed(server.tool("pgdump-rotate").arg("--stdin"), cut).exits(1).says("not whole");
    assert_eq!(ran.out, "");
    feed(server.tool("pgdump-rotate").arg("--stdin"), "").exits(1).says("it is empty");
    let archive = run(&mut server.shell("pg_dump -Fc shop | pgdump-rotate --stdin; pg_dump -Fc shop >a"));
    archive.exits(0);
    let archive = fs::read(server.home().join("a")).unwrap();
    feed(server.tool("pgdump-rotate").arg("--stdin"), archive).exits(4).says("custom archive");
    let packed = run(&mut server.shell("pg_dumpall | gzip >b")).exits(0);
    drop(packed);
    let packed = fs::read(server.home().join("b")).unwrap();
    feed(server.tool("pgdump-rotate").arg("--stdin"), packed).exits(4).says("compressed");
    assert_eq!(dumps(&server.home().join("backups")).len(), 1);
}

#[test]
fn rows_of_inserts_are_counted() {
    let server = Server::start();
    server.seed("university");
    let truth = counts(&server, &["university"]);
    let of = |args: &[&str]| {
        let args: Vec<&str> = ["-d", "university"].iter().chain(args).copied().collect();
        let said = manifest(&back_up(&server, &args));
        let tables = contents(&said).into_iter();
        tables
            .map(|(table, (rows, hash))| {
                assert_eq!(hash, None, "{table:?}");
                (table, rows)
            })
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    // without rows there is no INSERT either
    let truth: std::collections::BTreeMap<_, _> = truth.into_iter().filter(|(_, rows)| *rows > 0).collect();
    assert_eq!(of(&["--pg-dump-arg", "--inserts"]), truth);
    assert_eq!(
        of(&["--pg-dump-arg", "--column-inserts", "--pg-dump-arg", "--on-conflict-do-nothing"]),
        truth
    );
    assert_eq!(of(&["--pg-dump-arg", "--rows-per-insert=70"]), truth);
    server.sql("university", "TRUNCATE grades, theses");
    server.restore(&["--latest", "--yes"]).exits(0).says("105,767 rows");
    assert_eq!(server.sql("university", "SELECT count(*) FROM grades"), "40000");
}

#[test]
fn a_prefix_stands_before_the_client_programs() {
    let server = Server::start();
    server.make("shop");
    let log = "sh -c 'echo \"$1\" >>log; exec \"$@\"' sh";
    let backup = back_up(&server, &["--via", log]);
    assert_eq!(manifest(&backup)["rows"], 505);
    let logged = fs::read_to_string(server.home().join("log")).unwrap();
    assert!(logged.lines().any(|l| l == "psql") && logged.lines().any(|l| l == "pg_dumpall"), "{logged}");
    assert_eq!(manifest(&back_up(&server, &["--via", "env X=1", "-d", "shop"]))["rows"], 505);

    let archive = back_up(&server, &["--via", log, "-d", "shop", "--format", "custom"]);
    assert_eq!(manifest(&archive)["rows"], 505);
    server.restore(&["--via", log, archive.to_str().unwrap(), "--yes"]).exits(0);

    // the command line goes before the environment
    let mut rotate = server.tool("pgdump-rotate");
    run(rotate.env("PG_VIA", "false").args(["-d", "shop"])).exits(1);
    run(rotate.args(["--via", "env X=1"])).exits(0);
    let mut restore = server.tool("pgdump-restore");
    let ran = run(restore.env("PG_VIA", "env X=1").args(["--latest", "--name", "shop", "--yes"])).exits(0);
    // where the prefix leads, we cannot tell
    assert_eq!(ran.line(), "postgresql://postgres@/shop");
}

#[test]
fn a_url_or_a_dotenv_file_may_name_the_server() {
    let server = Server::start();
    server.make("shop");
    let host = server.host().to_str().unwrap().replace('/', "%2F");
    let bare = |dir: &Path| {
        let mut rotate = tool("pgdump-rotate", dir);
        rotate.args(["-d", "shop"]);
        rotate
    };
    for url in [
        format!("postgresql://postgres@{host}:5432/shop"),
        format!("postgres:///shop?host={}&port=5432&user=postgres", server.host().display()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        run(bare(dir.path()).env("DATABASE_URL", &url)).exits(0);
        fs::write(dir.path().join(".env"), format!("export DATABASE_URL='{url}'\n")).unwrap();
        run(&mut bare(dir.path())).exits(0);
        // the environment names another server: then nothing of `.env` counts
        run(bare(dir.path()).env("PGHOST", dir.path())).exits(5).says("connection to server");
    }
    let dir = tempfile::tempdir().unwrap();
    let dotenv = format!("PGHOST={}\nPGUSER=postgres\nBACKUP_DIR=there\n", server.host().display());
    fs::write(dir.path().join(".env"), dotenv).unwrap();
    assert!(run(&mut bare(dir.path())).exits(0).line().starts_with("there/shop_2"));
    fs::write(dir.path().join(".env"), "PGPASSWORD='s3cret\n").unwrap();
    let ran = run(&mut bare(dir.path())).exits(1).says(".env");
    assert!(!ran.err.contains("s3cret"), "{}", ran.err);
}

#[test]
fn json_and_the_list_say_what_the_manifests_say() {
    let server = Server::start();
    server.make("shop");
    let ran = server.rotate(&["-d", "shop", "--json", "--tag", "a tag"]).exits(0);
    let made: Value = serde_json::from_str(ran.line()).unwrap();
    let path = server.home().join(made["path"].as_str().unwrap());
    assert_eq!(made["file"]["sha256"], manifest(&path)["file"]["sha256"]);
    back_up(&server, &["-q"]);

    let listed = server.rotate(&["--list"]).exits(0);
    let cells: Vec<Vec<&str>> = listed.lines().iter().map(|l| l.split('\t').collect()).collect();
    assert_eq!(cells.len(), 2, "{cells:?}");
    let shop = cells.iter().find(|c| c[0].starts_with("shop_2")).unwrap();
    assert_eq!(shop[3..], ["2", "505", "a tag", "proven"]);
    assert_eq!(server.restore(&["--list"]).exits(0).lines().len(), 2);
    assert_eq!(server.rotate(&["--list", "-d", "shop"]).exits(0).lines().len(), 1);

    let listed = server.rotate(&["--list", "--json"]).exits(0);
    let objects: Vec<Value> = listed.lines().iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let shop = objects.iter().find(|o| o["path"] == made["path"]).unwrap();
    assert_eq!((&shop["rows"], &shop["proven"]), (&505.into(), &true.into()));
}

#[test]
fn the_latest_link_leads_to_the_newest_backup() {
    let server = Server::start();
    server.make("shop");
    let link = server.home().join("backups/latest.sql.gz");
    for _ in 0..2 {
        let backup = back_up(&server, &["-d", "shop", "--latest-link", "latest.sql.gz"]);
        assert_eq!(fs::read_link(&link).unwrap().as_os_str(), backup.file_name().unwrap());
    }
    // another name of a backup is not another backup
    assert_eq!(server.rotate(&["--list"]).exits(0).lines().len(), 2);
    fs::remove_file(&link).unwrap();
    fs::write(&link, "mine").unwrap();
    let ran = server.rotate(&["-d", "shop", "--latest-link", "latest.sql.gz"]).exits(4).says("no link");
    assert_eq!((ran.out.as_str(), fs::read_to_string(&link).unwrap().as_str()), ("", "mine"));
}
