//! The folder as a whole: what is late, small, shrunken or gone is found, on real backups, and told once a line.

use std::fs;

use crate::lab::hook::{Answer, Hook};
use crate::lab::{Ran, Server, run, wait_until};

/// A table, and a database, by names that would break a line, a page, a terminal.
const HOSTILE: &str = "<script>alert(1)</script>\u{1b}[2J\u{202e}\"'&`\nx";

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn watch(server: &Server, words: &[&str]) -> Ran {
    server.run("backup-validate", words)
}

/// The first two columns of what was found.
fn found(ran: &Ran) -> Vec<(String, String)> {
    let columns = |line: &&str| {
        let mut columns = line.split('\t').map(str::to_owned);
        (columns.next().unwrap(), columns.next().unwrap())
    };
    ran.lines().iter().map(columns).collect()
}

fn of(what: &str, series: &str) -> (String, String) {
    (what.into(), series.into())
}

#[test]
fn what_is_as_it_was_is_no_finding() {
    let server = Server::start();
    server.make("shop");
    let usual = ["--max-age", "1h", "--min-size", "100", "--shrink", "1%", "--tables-lost", "--quota", "1G"];
    watch(&server, &usual).exits(1).says("cannot list 'backups'");
    for _ in 0..2 {
        server.rotate(&["-q"]).exits(0);
    }
    let ran = watch(&server, &usual).exits(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", "backup-validate: nothing to find fault with\n"));
    watch(&server, &["--watch", "-q"]).exits(0);
}

#[test]
fn age_size_and_room_have_limits() {
    let server = Server::start();
    server.make("shop");
    server.rotate(&["-d", "shop"]).exits(0);
    // one of this very second is not older than nothing
    wait_until("it has an age", || watch(&server, &["--max-age", "0s"]).code == 1);
    let stale = watch(&server, &["--max-age", "0s"]).exits(1);
    assert_eq!(found(&stale), [of("stale", "shop")]);
    let small = watch(&server, &["--min-size", "1M", "--quota", "1K", "--max-age", "1h"]).exits(1);
    assert_eq!(found(&small), [of("small", "shop"), of("quota", "-")]);
    watch(&server, &["--quota", "1K", "--report", "junit", "r.xml"]).exits(1);
    let xml = fs::read_to_string(server.home().join("r.xml")).unwrap();
    assert!(xml.contains("<failure message=\"quota: ") && !xml.contains("quota: - "), "{xml}");
    let json = watch(&server, &["--min-size", "1M", "--json"]).exits(1);
    let value: serde_json::Value = serde_json::from_str(json.line()).unwrap();
    assert_eq!((&value["finding"], &value["series"]), (&"small".into(), &"shop".into()));
    // another series is none of this one's business
    let missing = watch(&server, &["--max-age", "1h", "--name", "blog"]).exits(1);
    assert_eq!(found(&missing), [of("missing", "-")]);
}

#[test]
fn rows_and_tables_that_are_gone_are_named_and_harmless() {
    let server = Server::start();
    server.make("shop");
    server.sql("shop", &format!("CREATE TABLE {} (n int)", quoted(HOSTILE)));
    server.rotate(&["-d", "shop"]).exits(0);
    server.sql("shop", &format!("DROP TABLE {}; DELETE FROM grades WHERE id > 100", quoted(HOSTILE)));
    server.rotate(&["-d", "shop"]).exits(0);
    let rules = ["--shrink", "30%", "--tables-lost"];
    let ran = watch(&server, &rules).exits(1);
    // all rows together, the rows of one table, and a table
    assert_eq!(found(&ran), [of("shrunken", "shop"), of("shrunken", "shop"), of("tables-lost", "shop")]);
    assert!(ran.out.contains("shop.public.grades (500 rows before, 100 now)"), "{}", ran.out);
    assert!(ran.out.contains("shop.public.<script>alert(1)</script>\\u{1b}[2J\\u{202e}"), "{}", ran.out);
    assert!(!ran.out.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{}", ran.out);
    assert!(ran.lines().iter().all(|line| line.contains("--allow-shrink")), "{}", ran.out);
    assert_eq!(found(&watch(&server, &["--shrink", "90%"]).exits(0)), []);
    assert_eq!(found(&watch(&server, &["--tables-lost"]).exits(1)), [of("tables-lost", "shop")]);

    // in a filter they are speech, beside the paths that pass, and somebody is told
    let hook = Hook::start(Answer::Status(200));
    let filter = ["--latest", "--quick", "--tables-lost", "--notify", &hook.url("/")];
    let ran = watch(&server, &filter).exits(1).says("tables-lost shop shop_");
    assert!(ran.line().starts_with("backups/shop_"), "{}", ran.out);
    let told = hook.json();
    assert_eq!((&told["outcome"], &told["exit_code"]), (&"failure".into(), &1.into()));
    assert!(told["message"].as_str().unwrap().contains("tables-lost: tables of shop_"), "{told}");
}

#[test]
fn no_name_breaks_a_report() {
    let server = Server::start();
    let name = HOSTILE.replace('\n', "");
    server.make(&name);
    server.sql(&name, &format!("CREATE TABLE {} (n int)", quoted(HOSTILE)));
    server.rotate(&["-d", &name]).exits(0);
    server.sql(&name, &format!("DROP TABLE {}", quoted(HOSTILE)));
    server.rotate(&["-d", &name, "--tag", HOSTILE]).exits(0);
    let reports = ["html", "junit", "json"].map(|f| ["--report".to_owned(), f.into(), format!("report.{f}")]);
    let words: Vec<&str> = reports.iter().flatten().map(String::as_str).chain(["--watch"]).collect();
    watch(&server, &words).exits(1);
    let read = |form: &str| fs::read_to_string(server.home().join(format!("report.{form}"))).unwrap();

    for form in ["html", "junit"] {
        let text = read(form);
        assert!(
            text.contains("&lt;script&gt;alert(1)&lt;/script&gt;\\u{1b}[2J\\u{202e}&quot;&#39;&amp;`"),
            "{text}"
        );
        assert!(!text.contains("<script"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    }
    let xml = read("junit");
    assert!(xml.contains(" tests=\"2\" failures=\"1\" "), "{xml}");
    // every angle bracket belongs to a tag
    assert_eq!(xml.matches('<').count(), xml.matches('>').count(), "{xml}");
    let json: serde_json::Value = serde_json::from_str(&read("json")).unwrap();
    assert_eq!(json["groups"][0]["database"], name.as_str());
    assert_eq!(json["groups"][0]["backups"][0]["tag"], HOSTILE);
    assert_eq!(json["findings"][0]["finding"], "tables-lost");
}

#[test]
fn a_file_that_somebody_took_away_is_missed() {
    let server = Server::start();
    server.make("shop");
    let kept = server.rotate(&["-q", "-d", "shop"]).exits(0).line().to_owned();
    let taken = server.rotate(&["-q", "-d", "shop"]).exits(0).line().to_owned();
    fs::remove_file(server.home().join(&taken)).unwrap();
    let ran = watch(&server, &["--watch"]).exits(1);
    assert_eq!(found(&ran), [of("unproven", "shop")]);
    assert!(ran.out.contains("its file is missing"), "{}", ran.out);
    assert_eq!(watch(&server, &["--all"]).exits(3).says(&taken).line(), kept);
    watch(&server, &["--latest"]).exits(1).says(&taken);
}

#[test]
fn a_manifest_that_somebody_took_away_is_missed() {
    let server = Server::start();
    server.make("shop");
    let made = || server.rotate(&["-q", "-d", "shop"]).exits(0).line().to_owned();
    let (first, second) = (made(), made());
    let path = |name: &str| server.home().join(name);
    fs::remove_file(path(&format!("{second}.json"))).unwrap();
    let ran = watch(&server, &["--watch"]).exits(1);
    assert_eq!(found(&ran), [of("unproven", "shop")]);
    assert!(ran.out.contains("its manifest is missing"), "{}", ran.out);
    // nobody's list, but unlike the others
    fs::remove_file(path("backups/SHA256SUMS")).unwrap();
    let ran = watch(&server, &["--watch"]).exits(1);
    assert!(ran.out.contains("it has no manifest, others of its series have"), "{}", ran.out);
    // a foreign file is none of ours
    fs::rename(path(&second), path("backups/foreign_20251127_143022.sql")).unwrap();
    watch(&server, &["--watch"]).exits(0);

    // the one that a drill was held of, and all that told of it
    server.run("backup-validate", ["--drill", &first]).exits(0);
    for name in [first.clone(), format!("{first}.json")] {
        fs::remove_file(path(&name)).unwrap();
    }
    let ran = watch(&server, &["--watch"]).exits(1);
    assert_eq!(found(&ran), [of("missing", "-"), of("unproven", "shop")]);
    assert!(ran.out.contains("its file is missing") && ran.out.contains("drills.jsonl"), "{}", ran.out);
    // a series that was given up
    fs::rename(path("backups/drills.jsonl"), path("drills.jsonl")).unwrap();
    assert_eq!(found(&watch(&server, &["--watch"]).exits(1)), [of("missing", "-")]);
    fs::rename(path("drills.jsonl"), path("backups/drills.jsonl")).unwrap();
    // what rotation removes is not missed
    server.rotate(&["-q", "-d", "shop"]).exits(0);
    watch(&server, &["--watch"]).exits(0);
}

#[test]
fn a_file_and_its_manifest_are_missed_by_the_list_of_digests() {
    let server = Server::start();
    server.make("shop");
    let made = || server.rotate(&["-q", "-d", "shop", "--keep-last", "2"]).exits(0).line().to_owned();
    let names = [made(), made(), made()];
    watch(&server, &["--watch"]).exits(0);
    for name in [names[1].clone(), format!("{}.json", names[1])] {
        fs::remove_file(server.home().join(name)).unwrap();
    }
    let ran = watch(&server, &["--watch"]).exits(1);
    assert_eq!(found(&ran), [of("unproven", "shop")]);
    assert!(ran.out.contains("its file is missing"), "{}", ran.out);
    watch(&server, &["--metrics", "m.prom", "--watch"]).exits(1);
    let text = fs::read_to_string(server.home().join("m.prom")).unwrap();
    assert!(text.lines().any(|l| l.starts_with("pgkeep_backups_unproven{") && l.ends_with(" 1")), "{text}");
}

#[test]
fn a_table_that_is_gone_is_told_until_it_is_back_or_somebody_allows_it() {
    let server = Server::start();
    server.make("shop");
    let made = |more: &[&str]| server.rotate(&[&["-q", "-d", "shop"], more].concat()).exits(0);
    let lost = |rules: &[&str]| {
        let ran = watch(&server, rules);
        let of_tables = |line: &&str| line.starts_with("tables-lost");
        (ran.code, ran.lines().iter().filter(|l| of_tables(l)).map(|l| l.to_string()).collect::<Vec<_>>())
    };
    server.sql("shop", "CREATE TABLE small (n int); INSERT INTO small VALUES (1)");
    made(&[]);
    server.sql("shop", "DROP TABLE small");
    // the night it happens, the next, and the one after
    for night in 0..3 {
        made(&[]);
        for rules in [&["--tables-lost"][..], &["--watch"]] {
            let (code, lines) = lost(rules);
            assert_eq!((code, lines.len()), (1, 1), "{night}: {lines:?}");
            assert!(lines[0].contains("shop.public.small (1 rows before, 0 now)"), "{lines:?}");
        }
    }
    // what came later and went is told, too, each once
    server.sql("shop", "CREATE TABLE later (n int)");
    made(&[]);
    server.sql("shop", "DROP TABLE later");
    made(&[]);
    made(&[]);
    let (_, lines) = lost(&["--watch"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("public.later") && lines[1].contains("public.small"), "{lines:?}");
    // it is back; and the other is given up
    server.sql("shop", "CREATE TABLE small (n int)");
    made(&[]);
    assert_eq!(lost(&["--watch"]).1.len(), 1);
    made(&["--allow-shrink"]);
    assert_eq!(lost(&["--watch"]), (0, vec![]));
    made(&[]);
    assert_eq!(lost(&["--watch"]), (0, vec![]));
}

#[test]
fn rows_that_are_gone_are_told_until_they_are_back_or_somebody_allows_it() {
    let server = Server::start();
    server.make("shop");
    let made = |more: &[&str]| server.rotate(&[&["-q", "-d", "shop"], more].concat()).exits(0);
    server.sql("shop", "CREATE TABLE big AS SELECT generate_series(1, 50000) AS n");
    server.sql("shop", "CREATE TABLE small AS SELECT generate_series(1, 5000) AS n");
    made(&[]);
    server.sql("shop", "DELETE FROM small");
    for night in 0..3 {
        // the total is nearly what it was, so only the table tells
        made(&[]);
        let ran = watch(&server, &["--watch"]).exits(1);
        assert_eq!(found(&ran), [of("shrunken", "shop")], "{night}");
        assert!(ran.out.contains("shop.public.small (5,000 rows before, 0 now)"), "{night}: {}", ran.out);
    }
    server.sql("shop", "INSERT INTO small SELECT generate_series(1, 5000)");
    made(&[]);
    watch(&server, &["--watch"]).exits(0);
    server.sql("shop", "DELETE FROM small");
    made(&[]);
    watch(&server, &["--watch"]).exits(1);
    made(&["--allow-shrink"]);
    watch(&server, &["--watch"]).exits(0);
    made(&[]);
    watch(&server, &["--watch"]).exits(0);
}

#[test]
fn many_small_tables_that_shrank_together_are_named() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE many");
    let each = |sql: &str| (1..=12).map(|i| sql.replace('N', &i.to_string())).collect::<String>();
    server.sql("many", &each("CREATE TABLE tN AS SELECT generate_series(1, 50) AS n;"));
    server.rotate(&["-q", "-d", "many"]).exits(0);
    server.sql("many", &each("DELETE FROM tN WHERE n > 9;"));
    server.rotate(&["-q", "-d", "many"]).exits(0);
    let ran = watch(&server, &["--watch"]).exits(1);
    assert_eq!(found(&ran), [of("shrunken", "many"), of("shrunken", "many")]);
    assert!(ran.out.contains("many.public.t1 (50 rows before, 9 now)"), "{}", ran.out);
    assert!(ran.out.contains(" and 2 more; a backup by pgdump-rotate --allow-shrink"), "{}", ran.out);
}

/// What Redis writes, of so many bytes of one value.
pub(crate) fn rdb(bytes: usize) -> Vec<u8> {
    let value = vec![b'x'; bytes];
    [b"REDIS0011\xfe\x00\x00\x01k\x80".as_slice(), &(bytes as u32).to_be_bytes(), &value, &[0xff], &[0; 8]]
        .concat()
}

#[test]
fn snapshots_of_redis_are_watched() {
    let server = Server::start();
    let dir = server.home().join("backups");
    fs::create_dir(&dir).unwrap();
    let stamp = |hours: i64| {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        kit::stamp::Stamp::from_unix(clock.as_secs() as i64 - hours * 3600).compact()
    };
    let name = |hours| format!("redis_{}.rdb", stamp(hours));
    let (old, new) = (name(30), name(3));
    fs::write(dir.join(&old), rdb(200_000)).unwrap();
    let stale = watch(&server, &["--watch"]).exits(1);
    assert_eq!(found(&stale), [of("stale", "redis")]);
    fs::write(dir.join(&new), rdb(190_000)).unwrap();
    watch(&server, &["--watch"]).exits(0);
    fs::write(dir.join(&new), rdb(90_000)).unwrap();
    assert_eq!(found(&watch(&server, &["--watch"]).exits(1)), [of("shrunken", "redis")]);
    // cut short it is no backup, and the one before it is too old
    fs::write(dir.join(&new), &rdb(190_000)[..1000]).unwrap();
    assert_eq!(
        found(&watch(&server, &["--watch"]).exits(1)),
        [of("unproven", "redis"), of("stale", "redis")]
    );
    fs::write(dir.join(&new), rdb(190_000)).unwrap();
    watch(&server, &["--watch", "--metrics", "m.prom", "--report", "html", "r.html"]).exits(0);
    let text = fs::read_to_string(server.home().join("m.prom")).unwrap();
    let size = text.lines().find(|l| l.starts_with("pgkeep_backup_size_bytes{")).unwrap();
    assert!(size.contains("series=\"redis\",kind=\"redis\"") && size.ends_with(" 190028"), "{size}");
    // another codec is no loss
    let packed =
        run(server.shell("gzip -c \"backups/$1\" > \"backups/$1.gz\" && rm \"backups/$1\"").arg(&new));
    packed.exits(0);
    watch(&server, &["--watch", "--metrics", "m.prom", "--report", "json", "r.json"]).exits(0);
    // and how much is in it is not known
    let text = fs::read_to_string(server.home().join("m.prom")).unwrap();
    assert!(text.contains("pgkeep_backup_size_bytes{") && !text.contains("raw_size_bytes{"), "{text}");
    let json = fs::read_to_string(server.home().join("r.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let raw = |i: usize| &json["groups"][0]["backups"][i]["raw_bytes"];
    assert!(raw(0).is_null() && raw(1) == 200_028, "{json}");
    let page = fs::read_to_string(server.home().join("r.html")).unwrap();
    assert!(
        page.contains("2 backups, never read,") && page.contains(&new) && !page.contains("Never restored"),
        "{page}"
    );
}
