//! Real data directories: read only when nobody runs on them, and every row comes back.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::lab::{Ran, Server, bin, run};

fn snap(server: &Server, args: &[&str]) -> Ran {
    let volume = format!("data=dir:{}", server.data().display());
    let mut command = server.tool("volsnap");
    run(command.arg(&volume).args(args))
}

fn restore(server: &Server, args: &[&str]) -> Ran {
    run(server.tool("volrestore").args(args))
}

fn record(server: &Server, ran: &Ran) -> Value {
    serde_json::from_str(&fs::read_to_string(server.home().join(ran.line())).unwrap()).unwrap()
}

/// What PostgreSQL's own program says of the data directory.
fn controldata(server: &Server, field: &str) -> String {
    let text = run(Command::new(bin("pg_controldata")).env("LC_ALL", "C").arg(server.data())).exits(0).out;
    let line = text.lines().find_map(|l| l.strip_prefix(field)).unwrap_or_default();
    line.trim_start_matches(':').trim().to_owned()
}

/// What stops and starts the server, for a shell.
pub(crate) fn commands(server: &Server) -> (String, String) {
    let start = format!(
        "{}/pg_ctl -D {} -o '-k {}' -w start >/dev/null",
        bin("").display(),
        server.data().display(),
        server.host().display()
    );
    let start =
        if rustix::process::getuid().is_root() { format!("runuser -u postgres -- {start}") } else { start };
    (start.replace(" -w start", " -m fast -w stop"), start)
}

/// Runs a command at the end, however the test ends.
pub(crate) struct Stops(pub(crate) String);

impl Drop for Stops {
    fn drop(&mut self) {
        let _ = Command::new("sh").args(["-c", &self.0]).status();
    }
}

#[test]
fn every_row_comes_back_and_later_ones_are_kept_aside() {
    let mut server = Server::start();
    server.seed("university");
    let before = server.everything();
    server.stop_in_order();
    let ran = snap(&server, &[]).exits(0);
    server.start_again();
    server.sql("university", "DELETE FROM grades; CREATE TABLE later AS SELECT 1 AS n");
    server.stop_in_order();
    restore(&server, &["--latest", "--yes"]).exits(0);
    server.start_again();
    assert_eq!(server.everything(), before);
    server.stop_in_order();
    restore(&server, &["--undo", "--yes"]).exits(0);
    server.start_again();
    assert_eq!(server.sql("university", "SELECT n FROM later"), "1");
    drop(ran);
}

#[test]
fn going_back_under_an_archive_is_warned_of() {
    let mut server = Server::start_with(
        "wal_level = replica\nmax_wal_senders = 0\narchive_mode = on\narchive_command = 'true'\n",
    );
    server.stop_in_order();
    snap(&server, &[]).exits(0);
    let plan = |server: &Server| restore(server, &["--latest", "--dry-run"]).exits(0).out;
    assert!(plan(&server).contains("recover instead with --wal"), "{}", plan(&server));
    // the last word counts
    let auto = server.data().join("postgresql.auto.conf");
    fs::write(&auto, "archive_mode = 'off'\n").unwrap();
    assert!(!plan(&server).contains("WARNING"), "{}", plan(&server));
}

#[test]
fn an_archive_that_only_the_command_line_or_a_file_elsewhere_tells_of_is_warned_of() {
    let mut server = Server::start_with("wal_level = replica\nmax_wal_senders = 0\n");
    server.stop_in_order();
    snap(&server, &[]).exits(0);
    let plan = |server: &Server| restore(server, &["--latest", "--dry-run"]).exits(0).out;
    let ran_with = |options: &str| {
        let ctl = |args: &[&str]| {
            let mut ctl = crate::lab::as_runner(bin("pg_ctl"));
            ctl.arg("-D").arg(server.data()).args(["-w", "-l", "/dev/null"]).args(args);
            run(ctl.stdout(std::process::Stdio::null())).exits(0);
        };
        ctl(&["-o", &format!("-k {} {options}", server.host().display()), "start"]);
        ctl(&["-m", "fast", "stop"]);
    };
    assert!(!plan(&server).contains("WARNING"), "{}", plan(&server));
    ran_with("-c archive_mode=on -c archive_command=true");
    assert!(plan(&server).contains("recover instead with --wal"), "{}", plan(&server));
    // as Debian has it
    let etc = server.host().join("etc");
    fs::create_dir(&etc).unwrap();
    fs::rename(server.data().join("postgresql.conf"), etc.join("postgresql.conf")).unwrap();
    let conf = format!("\ndata_directory = '{}'\ninclude_dir 'conf.d'\n", server.data().display());
    let text = fs::read_to_string(etc.join("postgresql.conf")).unwrap() + &conf;
    fs::write(etc.join("postgresql.conf"), text).unwrap();
    fs::create_dir(etc.join("conf.d")).unwrap();
    fs::write(etc.join("conf.d/wal.conf"), "archive_mode = on\narchive_command = 'true'\n").unwrap();
    ran_with(&format!("-c config_file={}", etc.join("postgresql.conf").display()));
    assert!(plan(&server).contains("recover instead with --wal"), "{}", plan(&server));
    ran_with(&format!("-c config_file={} -c archive_mode=off", etc.join("postgresql.conf").display()));
    assert!(!plan(&server).contains("WARNING"), "{}", plan(&server));
}

#[test]
fn rows_before_and_after_are_told_beside_those_of_a_dump() {
    let mut server = Server::start();
    server.make("shop");
    let (stop, start) = commands(&server);
    let _stops = Stops(stop.clone());
    let dump = server.rotate(&["-d", "shop"]).exits(0).line().replace("backups/", "");
    server.stop_in_order();
    snap(&server, &[]).exits(0);
    let shell = |server: &Server, script: &str| drop(run(&mut server.shell(script)).exits(0));
    shell(&server, &start);
    server.sql("shop", "DELETE FROM grades WHERE id > 300; DROP TABLE people CASCADE");
    let restored =
        |server: &Server| restore(server, &["--latest", "--yes", "--stop", &stop, "--start", &start]);
    restored(&server)
        .exits(0)
        .says(&format!("rows of public.grades in shop: 300 before, 500 now, 500 in {dump}"))
        .says(&format!("rows of public.people in shop: - before, 5 now, 5 in {dump}"));
    // the server is away before; then it is only told what came
    shell(&server, &stop);
    let ran = restore(&server, &["--latest", "--yes", "--stop", "true", "--start", &start]).exits(0);
    ran.says("rows of public.grades in shop: - before, 500 now");
    // of another server's nothing is said
    let manifest = server.home().join(format!("backups/{dump}.json"));
    let text = fs::read_to_string(&manifest).unwrap();
    let identifier = controldata(&server, "Database system identifier");
    assert!(text.contains(&identifier), "{text}");
    fs::write(&manifest, text.replace(&identifier, "7000000000000000001")).unwrap();
    let ran = restored(&server).exits(0);
    assert!(!ran.err.contains("rows of"), "{}", ran.err);
}

#[test]
fn the_record_says_what_pg_controldata_says() {
    let mut server = Server::start();
    server.stop_in_order();
    let ran = snap(&server, &[]).exits(0);
    let record = record(&server, &ran);
    let data = &record["volumes"][0]["data"][0]["control"];
    assert_eq!(
        data["system_identifier"].as_str().unwrap(),
        controldata(&server, "Database system identifier")
    );
    assert_eq!(data["checkpoint"].as_str().unwrap(), controldata(&server, "Latest checkpoint location"));
    assert_eq!(data["redo"].as_str().unwrap(), controldata(&server, "Latest checkpoint's REDO location"));
    assert_eq!(data["timeline"].to_string(), controldata(&server, "Latest checkpoint's TimeLineID"));
    assert_eq!(data["segment_bytes"].to_string(), controldata(&server, "Bytes per WAL segment"));
    assert_eq!(data["state"], "shut_down");
    assert_eq!(controldata(&server, "Database cluster state"), "shut down");
    assert_eq!(record["leader"], "data");
    assert_eq!(record["system_identifier"], data["system_identifier"]);
    assert_eq!(record["volumes"][0]["content"], "postgresql");
}

#[test]
fn data_on_which_a_server_runs_are_neither_read_nor_replaced() {
    let mut server = Server::start();
    snap(&server, &[]).exits(4).says("runs on it").says("--stop");
    // the same without the file that says so, and by another name of the directory
    let pid_file = server.data().join("postmaster.pid");
    let text = fs::read(&pid_file).unwrap();
    fs::remove_file(&pid_file).unwrap();
    snap(&server, &[]).exits(4).says("runs on it");
    fs::write(&pid_file, text).unwrap();
    let link = server.home().join("link");
    std::os::unix::fs::symlink(server.data(), &link).unwrap();
    run(server.tool("volsnap").arg("dir:link")).exits(4).says("runs on it");
    server.stop_in_order();
    snap(&server, &[]).exits(0);
    server.start_again();
    restore(&server, &["--latest", "--yes"]).exits(4).says("runs on it");
    // a command that says it stops and does not
    restore(&server, &["--latest", "--yes", "--stop", "true"]).exits(4).says("runs on it");
    assert_eq!(server.sql("postgres", "SELECT 1"), "1");
}

#[test]
fn a_server_that_crashed_is_read_with_a_warning_and_recovers() {
    let mut server = Server::start();
    server.make("shop");
    server.stop();
    // a crash leaves the file behind, with a process that is gone
    fs::write(server.data().join("postmaster.pid"), "1\n").unwrap();
    let ran = snap(&server, &[]).exits(0).says("was not stopped in order (in production)");
    assert_eq!(record(&server, &ran)["volumes"][0]["left_out"], serde_json::json!(["postmaster.pid"]));
    restore(&server, &["--latest", "--yes"]).exits(0);
    server.start_again();
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
}

#[test]
fn a_server_that_starts_meanwhile_spoils_the_snapshot() {
    let mut server = Server::start();
    server.stop_in_order();
    // what is to stop does the opposite
    let (stop, start) = commands(&server);
    snap(&server, &["--stop", &start, "--start", &stop]).exits(4).says("runs on it");
    assert!(!server.data().join("postmaster.pid").exists());
}

#[test]
fn tablespaces_come_with_their_volume_or_the_snapshot_is_refused() {
    let mut server = Server::start();
    let space = server.data().with_file_name("space");
    fs::create_dir(&space).unwrap();
    if rustix::process::getuid().is_root() {
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(server.data()).unwrap());
        std::os::unix::fs::chown(&space, Some(owner), None).unwrap();
    }
    server.sql("postgres", &format!("CREATE TABLESPACE s LOCATION '{}'", space.display()));
    server.sql("postgres", "CREATE TABLE t TABLESPACE s AS SELECT generate_series(1, 1000) AS n");
    server.stop_in_order();
    snap(&server, &[]).exits(4).says("in none of the volumes");
    snap(&server, &["--allow-outside"]).exits(0).says("is not in the snapshot");
    let volume = format!("space=dir:{}", space.display());
    let ran = snap(&server, &[&volume]).exits(0);
    fs::remove_dir_all(&space).unwrap();
    fs::remove_dir_all(server.data()).unwrap();
    restore(&server, &[ran.line(), "--yes"]).exits(0);
    server.start_again();
    assert_eq!(server.sql("postgres", "SELECT sum(n) FROM t"), "500500");
}

#[test]
fn an_archive_of_another_cluster_is_found_out() {
    let mut server = Server::start();
    server.stop_in_order();
    let ran = snap(&server, &[]).exits(0);
    // a record that was put beside another's archive
    let path = server.home().join(ran.line());
    let record = record(&server, &ran);
    let own = record["system_identifier"].as_str().unwrap();
    fs::write(&path, record.to_string().replace(own, "7000000000000000001")).unwrap();
    restore(&server, &["--latest", "--yes", "--stop", "touch stopped"])
        .exits(1)
        .says(&format!("it holds cluster {own} instead of 7000000000000000001"));
    assert!(!server.home().join("stopped").exists());
}
