//! Ctrl-C at a terminal: at the question, while a dump is loaded, while sessions work beside each other.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::beside::{Was, dump_with, sleeping};
use crate::lab::{Ran, Server, end, is_ignored, wait_until};
use crate::stage::{back_up, descendants, lives};

/// A restore at a terminal, which `script` makes.
struct AtTerminal(Child);

impl AtTerminal {
    fn start(server: &Server, args: &str) -> AtTerminal {
        let mut script = server.shell("exec script -qec \"$1\" /dev/null");
        // `exec`: some shells stay in between, and end by the signal themselves.
        script.arg(format!("exec {} {args}", server.tool("pgdump-restore").get_program().to_str().unwrap()));
        let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        AtTerminal(script.spawn().unwrap())
    }

    /// Waits for a question.
    fn is_asked(&mut self, question: &str) {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&seen).contains(question) {
            let n = self.0.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert_ne!(n, 0, "{}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
    }

    /// Presses ctrl-C; all that ran must end.
    fn ctrl_c(mut self) -> Ran {
        let children = descendants(self.0.id());
        // the terminal stays open: to close it would end what is asked, too
        let mut keys = self.0.stdin.take().unwrap();
        keys.write_all(b"\x03").unwrap();
        let ran = end(self.0);
        drop(keys);
        wait_until("all that it started has ended", || !children.iter().any(|c| lives(*c)));
        ran
    }
}

#[test]
fn at_the_question_nothing_has_happened_yet() {
    if is_ignored(Signal::INT) {
        return;
    }
    let server = Server::start();
    server.make("shop");
    back_up(&server, &["-d", "shop"]);
    let was = Was::of(&server);
    let mut terminal = AtTerminal::start(&server, "--latest --start 'touch started'");
    terminal.is_asked("Type 'yes' to confirm: ");
    let ran = terminal.ctrl_c().exits(5);
    assert!(ran.out.contains("interrupted by SIGINT"), "{}", ran.out);
    was.still(&server);
    assert!(!server.home().join("started").exists() && !server.home().join("backups/safety").exists());
}

#[test]
fn in_the_middle_all_is_as_it_was() {
    if is_ignored(Signal::INT) {
        return;
    }
    let server = Server::start();
    server.make("shop");
    dump_with(&server, "shop", "SELECT pg_sleep(600);", "hangs.sql");
    let was = Was::of(&server);
    for jobs in ["1", "2"] {
        let args =
            format!("hangs.sql -d shop --swap --yes --force=guard -j {jobs} --start 'touch started{jobs}'");
        let terminal = AtTerminal::start(&server, &args);
        wait_until("it sleeps", || sleeping(&server) == 1);
        let ran = terminal.ctrl_c().exits(5);
        assert!(ran.out.contains("interrupted by SIGINT"), "{}", ran.out);
        assert!(ran.out.contains("Every database is as it was."), "{}", ran.out);
        was.still(&server);
        assert!(server.home().join(format!("started{jobs}")).exists());
    }
}
