//! Restores that fail or are cut off midway: what was stopped is started again, and the reason is told.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::lab::{Server, end, is_ignored, wait_until};
use crate::stage::{back_up, descendants, identities, lives, plain_dump, signal, start, with_last_act};

/// Commands that write down when they ran, and how many grades there were then.
struct Log {
    stop: String,
    start: String,
}

fn logging(server: &Server) -> Log {
    let count = "psql -XAtqw shop -c 'SELECT count(*) FROM grades' 2>/dev/null || echo none";
    let line = |what: &str| format!("echo {what} $({count}) >>'{}/log'", server.home().display());
    Log { stop: line("stop"), start: line("start") }
}

impl Log {
    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--stop", &self.stop, "--start", &self.start]].concat()
    }
}

/// What the commands wrote, which is taken away.
fn log(server: &Server) -> String {
    let path = server.home().join("log");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    text
}

/// A server with a small database.
fn with_a_shop() -> Server {
    let server = Server::start();
    server.make("shop");
    server
}

#[test]
fn services_stop_before_anything_is_dropped_and_start_after_all_is_back() {
    let server = with_a_shop();
    back_up(&server, &[]);
    server.sql("shop", "DELETE FROM grades WHERE id > 3");
    let commands = logging(&server);
    server.restore(&commands.args(&["--latest", "--yes"])).exits(0);
    assert_eq!(log(&server), "stop 3\nstart 500\n");
    server.restore(&commands.args(&["--undo", "--yes"])).exits(0);
    assert_eq!(log(&server), "stop 500\nstart 3\n");
    // each may stand alone, and what they print is speech
    let ran = server.restore(&["--latest", "--yes", "--start", "echo heard"]).exits(0).says("heard");
    assert_eq!(ran.lines().len(), 1, "{}", ran.out);
    server.restore(&["--latest", "--yes", "--stop", "touch stopped"]).exits(0);
    assert!(server.home().join("stopped").exists());
}

#[test]
fn what_cannot_be_stopped_keeps_the_restore_from_beginning() {
    let server = with_a_shop();
    back_up(&server, &[]);
    let before = identities(&server);
    let commands = logging(&server);
    let stop = format!("{}; exit 9", commands.stop);
    let ran = server.restore(&["--latest", "--yes", "--stop", &stop, "--start", &commands.start]).exits(1);
    assert!(ran.err.contains("cannot stop") && ran.out.is_empty(), "{}", ran.err);
    // half of it may be down
    assert_eq!(log(&server), "stop 500\nstart 500\n");
    assert_eq!(identities(&server), before);
}

#[test]
fn what_cannot_be_started_is_told_though_the_data_are_back() {
    let server = with_a_shop();
    back_up(&server, &[]);
    server.sql("shop", "TRUNCATE grades");
    server
        .restore(&["--latest", "--yes", "--start", "exit 7"])
        .exits(1)
        .says("cannot start what was stopped");
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
}

#[test]
fn an_error_in_the_middle_is_told_in_psqls_words() {
    let server = with_a_shop();
    let dump = plain_dump(&server, "shop");
    let commands = logging(&server);
    let rows = dump.find("COPY public.people").unwrap();
    let broken = [
        ("statement.sql", with_last_act(dump.as_bytes(), b"SELEC 1;"), "syntax error at or near \"SELEC\""),
        (
            "table.sql",
            with_last_act(dump.as_bytes(), b"DELETE FROM not_there;"),
            "relation \"not_there\" does not exist",
        ),
        (
            "rows.sql",
            dump.replace("\n499\t", "\nx\t").into_bytes(),
            "invalid input syntax for type integer: \"x\"",
        ),
        (
            "early.sql",
            [&dump[..rows], "SELECT 1/0;\n", &dump[rows..]].concat().into_bytes(),
            "division by zero",
        ),
    ];
    for (name, text, words) in broken {
        fs::write(server.home().join(name), text).unwrap();
        let ran = server
            .restore(&commands.args(&[name, "--yes", "-d", "shop", "--swap", "--force=guard"]))
            .exits(1)
            .says(words);
        assert!(ran.err.contains(&format!("cannot restore '{name}'")), "{}", ran.err);
        assert!(ran.err.contains("Every database is as it was.") && ran.out.is_empty(), "{}", ran.err);
        assert_eq!(
            log(&server).lines().map(|l| l.split(' ').next().unwrap()).collect::<Vec<_>>(),
            ["stop", "start"]
        );
    }
    // and then a good one mends it
    fs::write(server.home().join("good.sql"), dump).unwrap();
    server.restore(&["good.sql", "--yes", "-d", "shop", "--swap", "--force=guard"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
}

#[test]
fn rows_that_differ_afterwards_are_told_by_table() {
    let server = with_a_shop();
    let dump = plain_dump(&server, "shop");
    let commands = logging(&server);
    let acts: [(&str, &[&str]); 3] = [
        ("DELETE FROM public.grades WHERE id <= 2;", &["public.grades has 498 rows, the dump 500"]),
        (
            "DELETE FROM public.grades; DELETE FROM public.people;",
            &["public.grades has 0", "public.people has 0"],
        ),
        ("CREATE TABLE public.child () INHERITS (public.people); INSERT INTO public.child VALUES (9);", &[]),
    ];
    for (act, words) in acts {
        fs::write(server.home().join("dump.sql"), with_last_act(dump.as_bytes(), act.as_bytes())).unwrap();
        let ran =
            server.restore(&commands.args(&["dump.sql", "--yes", "-d", "shop", "--swap", "--force=guard"]));
        let ran = ran.exits(i32::from(!words.is_empty()));
        for words in words {
            assert!(ran.err.contains("differs from the dump") && ran.err.contains(words), "{}", ran.err);
        }
        assert_eq!(log(&server).lines().count(), 2);
    }
    // a trigger that swallows rows is no way to get a dump through
    let trigger = "CREATE FUNCTION public.half() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        IF NEW.id % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;\n\
        CREATE TRIGGER half BEFORE INSERT ON public.grades FOR EACH ROW EXECUTE FUNCTION public.half();\n";
    let at = dump.find("COPY public.grades").unwrap();
    fs::write(server.home().join("dump.sql"), [&dump[..at], trigger, &dump[at..]].concat()).unwrap();
    server
        .restore(&["dump.sql", "--yes", "-d", "shop", "--swap", "--force=guard"])
        .exits(1)
        .says("public.grades has 250 rows, the dump 500");
}

#[test]
fn a_signal_midway_ends_psql_and_starts_what_was_stopped() {
    for (with, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::HUP, "SIGHUP")] {
        if is_ignored(with) {
            continue;
        }
        let server = with_a_shop();
        let dump = plain_dump(&server, "shop");
        fs::write(server.home().join("slow.sql"), with_last_act(dump.as_bytes(), b"SELECT pg_sleep(600);"))
            .unwrap();
        let commands = logging(&server);
        let mut restore: Command = server.tool("pgdump-restore");
        let restore = start(restore.args(commands.args(&[
            "slow.sql",
            "--yes",
            "-d",
            "shop",
            "--swap",
            "--force=guard",
        ])));
        let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        wait_until("the restore is midway", || server.sql("postgres", sleeps) == "1");
        let children = descendants(restore.id());
        assert!(!children.is_empty());
        signal(restore.id(), with);
        let ran = end(restore).exits(5).says(&format!("interrupted by {name}"));
        assert_eq!(ran.out, "");
        assert_eq!(log(&server), "stop 500\nstart 500\n");
        wait_until("psql has ended", || !children.iter().any(|c| lives(*c)));
    }
}

#[test]
fn a_signal_while_services_stop_changes_no_data() {
    let server = with_a_shop();
    back_up(&server, &[]);
    let before = identities(&server);
    let commands = logging(&server);
    let stop = format!("{}; kill -TERM $PPID; sleep 0.2", commands.stop);
    let args = ["--latest", "--yes", "--stop", &stop, "--start", &commands.start];
    server.restore(&args).exits(5).says("interrupted by SIGTERM");
    assert_eq!(log(&server), "stop 500\nstart 500\n");
    assert_eq!(identities(&server), before);
}

#[test]
fn a_signal_while_standard_input_is_read_changes_nothing() {
    let server = with_a_shop();
    let before = identities(&server);
    let mut restore = server.tool("pgdump-restore");
    restore.args(["-", "--yes", "-d", "shop", "--swap", "--force=guard"]).stdin(std::process::Stdio::piped());
    let mut restore = start(&mut restore);
    let stdin = restore.stdin.take().unwrap();
    // it has asked the server who it is, and now reads
    let reads = || {
        let own = format!("/proc/{}/fd", restore.id());
        fs::read_dir(own)
            .unwrap()
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|to| to.to_string_lossy().ends_with("(deleted)") && !to.starts_with("/dev"))
    };
    wait_until("it keeps its input in a file", reads);
    signal(restore.id(), Signal::TERM);
    end(restore).exits(5).says("interrupted by SIGTERM");
    drop(stdin);
    assert_eq!(identities(&server), before);
}

#[test]
fn a_server_that_stops_midway_is_worth_a_retry() {
    let mut server = with_a_shop();
    let dump = plain_dump(&server, "shop");
    fs::write(server.home().join("slow.sql"), with_last_act(dump.as_bytes(), b"SELECT pg_sleep(600);"))
        .unwrap();
    let mut restore = server.tool("pgdump-restore");
    let restore = start(restore.args([
        "slow.sql",
        "--yes",
        "-d",
        "shop",
        "--swap",
        "--force=guard",
        "--start",
        "touch started",
    ]));
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    wait_until("the restore is midway", || server.sql("postgres", sleeps) == "1");
    server.stop();
    end(restore).exits(5).says("server closed the connection");
    assert!(server.home().join("started").exists());
}
