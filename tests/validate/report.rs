//! Reports: what they say of real backups, where they go, and that one that cannot be written is an error.

use std::fs;

use rustix::process::getuid;
use serde_json::Value;

use crate::lab::{Server, run};

#[test]
fn a_report_tells_what_was_judged_and_what_comes_next() {
    let server = Server::start();
    server.make("shop");
    let first = server.rotate(&["-d", "shop", "--keep-last", "2"]).exits(0).line().to_owned();
    let second = server.rotate(&["-d", "shop", "--keep-last", "2"]).exits(0).line().to_owned();
    let words =
        ["--all", "--report", "json", "r.json", "--report", "junit", "r.xml", "--report", "html", "r.html"];
    let ran = server.run("backup-validate", words).exits(0);
    assert_eq!(ran.lines(), [second.as_str(), first.as_str()]);
    let read = |name: &str| fs::read_to_string(server.home().join(name)).unwrap();

    let json: Value = serde_json::from_str(&read("r.json")).unwrap();
    assert_eq!(json["judged"][0]["verdict"], "ok");
    let group = &json["groups"][0];
    assert_eq!((&group["series"], &group["rules"][0]), (&"shop".into(), &"--keep-last 2".into()));
    let next = |i: usize| &group["backups"][i]["next"];
    assert_eq!(*next(0), serde_json::json!({"removed": false, "why": "last 2"}));
    assert_eq!(*next(1), serde_json::json!({"removed": true, "why": "no rule keeps it"}));
    // what it foretells is what happens
    server.rotate(&["-d", "shop", "--keep-last", "2"]).exits(0);
    assert!(!server.home().join(&first).exists() && server.home().join(&second).exists());

    let xml = read("r.xml");
    assert!(xml.contains(" tests=\"4\" failures=\"0\" "), "{xml}");
    assert!(xml.contains(&format!("<testcase classname=\"backup\" name=\"{second}\"")), "{xml}");
    let html = read("r.html");
    assert!(html.contains("<h1>Proven, but never restored</h1>"), "{html}");
    assert!(html.contains("by <code>--keep-last 2</code>"), "{html}");
    for loads in ["http:", "https:", "src=", "href=", "<script", "@import", "url("] {
        assert!(!html.contains(loads), "it loads something: {loads}");
    }
}

#[test]
fn a_drill_is_in_the_report_and_in_the_numbers() {
    let server = Server::start();
    server.make("shop");
    server.rotate(&["-d", "shop"]).exits(0);
    let words = [
        "--latest",
        "--drill",
        "--report",
        "html",
        "r.html",
        "--report",
        "json",
        "r.json",
        "--metrics",
        "m.prom",
    ];
    server.run("backup-validate", words).exits(0);
    let read = |name: &str| fs::read_to_string(server.home().join(name)).unwrap();
    let html = read("r.html");
    assert!(html.contains("<h1>Recoverable</h1>") && html.contains("restored in a drill"), "{html}");
    let json: Value = serde_json::from_str(&read("r.json")).unwrap();
    let drill = &json["groups"][0]["drills"][0];
    assert_eq!((&drill["ok"], &drill["faults"]), (&true.into(), &serde_json::json!([])));
    let took = drill["seconds"].as_f64().unwrap();
    assert!(took > drill["restore_seconds"].as_f64().unwrap(), "{drill}");
    let metrics = read("m.prom");
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|l| l.starts_with(&format!("{name}{{"))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("pgkeep_drill_success"), 1.0);
    assert_eq!(value("pgkeep_drill_duration_seconds"), took);
    // it stays when the backup goes
    server.rotate(&["-d", "shop", "--keep-last", "1"]).exits(0);
    server.run("backup-validate", ["--report", "json", "r.json"]).exits(0);
    let json: Value = serde_json::from_str(&read("r.json")).unwrap();
    assert_eq!(json["groups"][0]["drills"][0], *drill);
}

#[test]
fn a_damaged_backup_and_an_empty_folder_are_what_a_report_is_for() {
    let server = Server::start();
    fs::create_dir(server.home().join("backups")).unwrap();
    let report = ["--report", "html", "r.html"];
    let html = || fs::read_to_string(server.home().join("r.html")).unwrap();
    server.run("backup-validate", report).exits(0);
    assert!(html().contains("<h1>Not recoverable</h1>"), "{}", html());
    server.run("backup-validate", [&["--latest"][..], &report].concat()).exits(1).says("holds no backup");
    // what was judged is the news, and the other trouble is told as well
    let nowhere = ["--latest", "--report", "html", "no/such/dir/x.html"];
    server.run("backup-validate", nowhere).exits(1).says("holds no backup").says("cannot create");

    server.make("shop");
    let backup = server.rotate(&["-d", "shop", "--compress", "none"]).exits(0).line().to_owned();
    let mut bytes = fs::read(server.home().join(&backup)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(server.home().join(&backup), bytes).unwrap();
    server.run("backup-validate", [&["--latest"][..], &report].concat()).exits(1);
    // the check has entered into the manifest that it is no good: then there is none
    assert!(html().contains("<h1>Not recoverable</h1>"), "{}", html());
    assert!(html().contains(&backup), "{}", html());
}

#[test]
fn gaps_in_the_log_are_found_and_shown() {
    let server = Server::start();
    server.make("shop");
    server.rotate(&["-d", "shop"]).exits(0);
    // by the names of files alone: what stands in them is for another program
    let archive = server.home().join("wal");
    let identity = r#"{"format_version": 1, "system_identifier": "7", "segment_bytes": 16777216}"#;
    for folder in ["00000001", "00000002"] {
        fs::create_dir_all(archive.join(folder)).unwrap();
    }
    fs::write(archive.join("archive.json"), identity).unwrap();
    for name in ["1/01", "1/02", "1/03.gz", "1/05", "2/05", "2/06"] {
        let (timeline, part) = name.split_once('/').unwrap();
        fs::write(archive.join(format!("0000000{timeline}/0000000{timeline}00000000000000{part}")), "")
            .unwrap();
    }
    fs::write(archive.join("00000002/00000002.history"), "1\t0/5800000\tno recovery target specified\n")
        .unwrap();
    let words =
        ["--wal", "wal", "--report", "html", "r.html", "--report", "json", "r.json", "--max-age", "1h"];
    let ran = server.run("backup-validate", words).exits(1);
    assert_eq!(ran.line(), "gap\t-\t-\tthe log lacks 000000010000000000000004");
    let read = |name: &str| fs::read_to_string(server.home().join(name)).unwrap();
    let wal = &serde_json::from_str::<Value>(&read("r.json")).unwrap()["wal"];
    assert_eq!(wal["timelines"][0]["gaps"][0]["first"], "000000010000000000000004");
    assert_eq!(wal["timelines"][0]["segments"], 4);
    assert_eq!(wal["timelines"][1]["gaps"], serde_json::json!([]));
    let html = read("r.html");
    assert!(html.contains("<title>Timeline 1: 1 gap</title>"), "{html}");
    assert!(html.contains("<title>Timeline 2: no gap</title>"), "{html}");
    fs::remove_file(archive.join("archive.json")).unwrap();
    server.run("backup-validate", ["--wal", "wal"]).exits(5).says("cannot open the archive 'wal'");
}

#[test]
fn a_report_goes_to_standard_output_or_is_an_error() {
    let server = Server::start();
    server.make("shop");
    server.rotate(&["-d", "shop"]).exits(0);
    let ran = server.run("backup-validate", ["--report", "json", "-"]).exits(0);
    assert_eq!(serde_json::from_str::<Value>(ran.line()).unwrap()["groups"][0]["series"], "shop");
    server
        .run("backup-validate", ["--report", "html", "no/such/dir/x.html"])
        .exits(1)
        .says("cannot create 'no/such/dir/x.html.part'");
    let names = crate::lab::names(&server.home());
    assert_eq!(names, ["backups"]);
}

#[test]
fn a_forgotten_name_costs_no_backup() {
    let server = Server::start();
    server.make("shop");
    let backup = server.rotate(&["-d", "shop"]).exits(0).line().to_owned();
    run(server.client("pg_dump").args(["-w", "-Fc", "-f", "foreign", "shop"])).exits(0);
    let home = server.home();
    let log = server.data().join("pg_wal");
    let segment = crate::lab::names(&log).into_iter().find(|name| name.len() == 24).unwrap();
    let segment = fs::read(log.join(segment)).unwrap();
    fs::write(home.join("backups/redis_20261129_000000.rdb"), crate::watch::rdb(100)).unwrap();
    fs::write(home.join("backups/000000010000000000000001"), segment).unwrap();
    fs::write(home.join("backups/archive.json"), "{\"format_version\":1}").unwrap();
    fs::write(home.join("conf"), "of somebody else").unwrap();
    let read = |name: &str| fs::read(home.join(name)).unwrap();
    let others = ["redis_20261129_000000.rdb", "000000010000000000000001", "archive.json", "SHA256SUMS"];
    let others = others.map(|name| format!("backups/{name}"));
    for name in
        [&backup, &format!("{backup}.json"), "foreign", "conf"].into_iter().chain(others.iter().map(|n| &**n))
    {
        let before = read(name);
        for option in [&["--report", "html"][..], &["--report", "junit"], &["--metrics"]] {
            let ran = server.run("backup-validate", [&["--latest"][..], option, &[name]].concat());
            ran.exits(4).says("something else is there");
        }
        server.rotate(&["-d", "shop", "--metrics", name]).exits(4);
        assert_eq!(read(name), before, "{name}");
    }
    assert_eq!(server.rotate(&["--list"]).exits(0).lines().len(), 1);
}

#[test]
fn several_write_one_file_and_others_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    server.make("shop");
    server.rotate(&["-d", "shop"]).exits(0);
    let validate = env!("CARGO_BIN_EXE_backup-validate");
    let script = format!(
        "for i in 1 2 3 4 5 6; do {validate} --watch --report html r.html --metrics m.prom & all=\"$all $!\"; done; \
        for i in $all; do wait $i || exit 1; done"
    );
    run(&mut server.shell(&script)).exits(0);
    let metrics = fs::read_to_string(server.home().join("m.prom")).unwrap();
    let runs = "pgkeep_runs_total{file=\"m.prom\",tool=\"backup-validate\",outcome=\"success\"} 6";
    assert!(metrics.contains(runs), "{metrics}");
    let page = server.home().join("r.html");
    let mode = || fs::metadata(&page).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o644);
    // what somebody gave it, it keeps, also behind a link
    fs::set_permissions(&page, fs::Permissions::from_mode(0o640)).unwrap();
    let link = server.home().join("link");
    std::os::unix::fs::symlink("r.html", &link).unwrap();
    let before = fs::read(&page).unwrap();
    fs::write(&page, &before[..1000]).unwrap();
    server.run("backup-validate", ["--watch", "--report", "html", "link"]).exits(0);
    assert_eq!(mode(), 0o640);
    assert!(fs::read_link(&link).is_ok() && fs::read(&page).unwrap().len() > 1000);
    server.run("backup-validate", ["--watch", "--report", "html", "r", "--report", "json", "r"]).exits(2);
    server
        .run("backup-validate", ["--watch", "--report", "html", "s3://a/r"])
        .exits(2)
        .says("copied to a store");
}

/// What root replaces in `/dev` is gone for everybody.
#[test]
fn a_pipe_or_a_device_is_written_to_and_stays() {
    let server = Server::start();
    server.make("shop");
    server.rotate(&["-d", "shop"]).exits(0);
    run(&mut server.shell("mkfifo pipe")).exits(0);
    let validate = env!("CARGO_BIN_EXE_backup-validate");
    for (options, has) in [("--report json", "\"judged\""), ("--metrics", "pgkeep_run_exit_code")] {
        let script = format!(
            "timeout 20 cat pipe & {validate} --quick --latest {options} pipe >/dev/null; wait; test -p pipe"
        );
        let ran = run(&mut server.shell(&script)).exits(0);
        assert!(ran.out.contains(has), "{}{}", ran.out, ran.err);
        // nobody reads it
        let ran =
            run(&mut server.shell(&format!("{validate} --quick --latest {options} pipe; test -p pipe")))
                .exits(0);
        assert!(ran.err.contains("cannot write"), "{}", ran.err);
        // what stands in the file already stays
        let script = format!(
            "echo first >log; {validate} --quick --latest {options} /dev/stdout >>log; test -L /dev/stdout"
        );
        run(&mut server.shell(&script)).exits(0);
        let log = fs::read_to_string(server.home().join("log")).unwrap();
        assert!(log.starts_with("first\n") && log.contains(has), "{log}");
        if getuid().is_root() {
            let script = format!(
                "mknod -m 666 null c 1 3; {validate} --quick --latest {options} null; test -c null && rm null"
            );
            run(&mut server.shell(&script)).exits(0);
        }
    }
}

#[test]
fn files_are_reported_where_no_folder_of_backups_is() {
    let server = Server::start();
    server.make("shop");
    let backup = server.rotate(&["-d", "shop"]).exits(0).line().to_owned();
    fs::rename(server.home().join("backups"), server.home().join("elsewhere")).unwrap();
    let file = backup.replace("backups/", "elsewhere/");
    let reports = ["--report", "junit", "r.xml", "--report", "html", "r.html", "--report", "json", "r.json"];
    let run = |args: &[&str]| server.run("backup-validate", [&reports[..], args].concat());
    let read = |name: &str| fs::read_to_string(server.home().join(name)).unwrap();
    let ran = run(&[&file]).exits(0);
    assert!(ran.line() == file && !ran.err.contains("cannot list"), "{}", ran.err);
    let (xml, html) = (read("r.xml"), read("r.html"));
    assert!(xml.contains(" tests=\"1\" failures=\"0\" ") && xml.contains(&file), "{xml}");
    assert!(html.contains("<h1>Passed</h1>") && html.contains("1 of 1 backup passed"), "{html}");
    let json: Value = serde_json::from_str(&read("r.json")).unwrap();
    assert_eq!((&json["judged"][0]["verdict"], &json["findings"]), (&"ok".into(), &serde_json::json!([])));
    // a folder that somebody names is missed, and the report is there all the same
    for asked in [["-o", "nowhere"], ["--max-age", "1h"]] {
        run(&[&[file.as_str()], &asked[..]].concat()).exits(1).says("cannot list '");
        let xml = read("r.xml");
        assert!(xml.contains(" tests=\"2\" failures=\"1\" ") && xml.contains("unread: cannot list"), "{xml}");
    }
    // and what is bad is that
    fs::write(server.home().join(&file), "-- no dump").unwrap();
    run(&[&file]).exits(1);
    assert!(
        read("r.xml").contains(" tests=\"1\" failures=\"1\" ") && read("r.html").contains("<h1>Bad</h1>")
    );
    // without any file there is nothing to tell
    run(&["--all"]).exits(1).says("cannot list '");
}
