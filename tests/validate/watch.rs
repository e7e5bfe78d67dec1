//! The folder as a whole: what is late, small, shrunken or gone is found, on real backups, and told once a line.

use std::fs;

use crate::lab::hook::{Answer, Hook};
use crate::lab::{Ran, Server, wait_until};

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
