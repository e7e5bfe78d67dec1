//! Restores that are refused: whatever is wrong with a dump is found before anything is touched.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use crate::lab::{Ran, Server, feed};
use crate::stage::{back_up, beside, edit, identities, plain_dump, same};

/// A server whose state is known, with a session open in its database `shop`.
struct Known {
    server: Server,
    everything: String,
    identities: String,
    session: std::process::Child,
}

impl Known {
    fn start() -> Known {
        let server = Server::start();
        server.make("shop");
        let session = crate::stage::start(server.client("psql").args([
            "-Xq",
            "-d",
            "shop",
            "-c",
            "SET application_name = 'guest'; SELECT pg_sleep(600)",
        ]));
        let (everything, identities) = (server.everything(), identities(&server));
        let guest = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'guest'";
        crate::lab::wait_until("the session is open", || server.sql("postgres", guest) == "1");
        Known { server, everything, identities, session }
    }

    /// Runs a restore, which must fail with `code` and touch nothing.
    #[track_caller]
    fn refuses(&mut self, code: i32, args: &[&str]) -> Ran {
        let ran =
            self.server.restore(&[args, &["--stop", "touch stopped", "--start", "touch started"]].concat());
        self.holds(ran.exits(code))
    }

    /// At the end of a test: all is as it was.
    #[track_caller]
    fn is_untouched(&self) {
        same(&self.server.everything(), &self.everything);
    }

    #[track_caller]
    fn holds(&mut self, ran: Ran) -> Ran {
        assert_eq!(ran.out, "");
        assert_eq!(identities(&self.server), self.identities);
        assert_eq!(self.session.try_wait().unwrap(), None, "its session was ended");
        assert!(!self.server.home().join("stopped").exists(), "it stopped what uses the database");
        ran
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let _ = self.session.kill();
        let _ = self.session.wait();
    }
}

/// The path as an argument.
fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn nobody_at_a_terminal_and_no_yes() {
    let mut known = Known::start();
    let backup = back_up(&known.server, &[]);
    known.refuses(4, &[arg(&backup)]).says("no terminal").says("--yes");
    known.refuses(4, &["--latest"]).says("--yes");
    known.refuses(4, &["-"]).says("--yes");
    let ran = feed(known.server.tool("pgdump-restore").arg("--pick"), "1\nyes\n").exits(4).says("--yes");
    known.holds(ran);
    known.is_untouched();
}

#[test]
fn a_file_that_is_cut_short() {
    let mut known = Known::start();
    known.server.sql("postgres", "CREATE ROLE later");
    known.everything = known.server.everything();
    for args in [
        &["--compress", "gzip"][..],
        &["--compress", "zstd"],
        &["--compress", "none"],
        &["-d", "shop"],
        &["-d", "shop", "--format", "custom"],
    ] {
        let backup = back_up(&known.server, args);
        let whole = fs::read(&backup).unwrap();
        for left in [whole.len() - 1, whole.len() / 2, 10, 0] {
            fs::write(&backup, &whole[..left]).unwrap();
            let ran = known.refuses(1, &[arg(&backup), "--yes"]);
            assert!(ran.err.contains(backup.to_str().unwrap()), "{}", ran.err);
        }
        // without its manifest it is as bad
        fs::remove_file(beside(&backup)).unwrap();
        let target = if args.contains(&"-d") { &["-d", "shop"][..] } else { &[] };
        for left in [whole.len() - 30, whole.len() / 2, 10] {
            fs::write(&backup, &whole[..left]).unwrap();
            known.refuses(1, &[&[arg(&backup), "--yes"], target].concat());
        }
    }
    known.refuses(1, &["--latest", "--yes", "--name", "shop"]).says("no proven backup");
    known.is_untouched();
}

#[test]
fn a_single_flipped_bit() {
    let mut known = Known::start();
    for args in [
        &["--compress", "gzip"][..],
        &["--compress", "zstd"],
        &["--compress", "none"],
        &["-d", "shop", "--format", "custom"],
    ] {
        let backup = back_up(&known.server, args);
        let whole = fs::read(&backup).unwrap();
        for at in [20, whole.len() / 3, whole.len() / 2, whole.len() - 30] {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&backup, &bytes).unwrap();
            known.refuses(1, &[arg(&backup), "--yes"]);
        }
    }
    known.is_untouched();
}

#[test]
fn the_manifest_of_another_file() {
    let mut known = Known::start();
    let first = back_up(&known.server, &[]);
    known.server.sql("shop", "UPDATE people SET note = 'changed' WHERE id = 3");
    known.everything = known.server.everything();
    let second = back_up(&known.server, &[]);
    fs::copy(beside(&first), beside(&second)).unwrap();
    let ran = known.refuses(1, &[arg(&second), "--yes"]);
    assert!(
        ran.err.contains("is not the file of its manifest") || ran.err.contains("is damaged"),
        "{}",
        ran.err
    );
    // digest and size may be forged; then the rows tell
    let third = back_up(&known.server, &[]);
    edit(&third, |m| m["rows"] = 1.into());
    known.refuses(1, &[arg(&third), "--yes"]).says("505 rows, its manifest says 1");
    edit(&third, |m| {
        m["rows"] = 505.into();
        m["frames"] = serde_json::json!([[0, 0], [5, 9]]);
    });
    known.refuses(1, &[arg(&third), "--yes"]).says("damaged");
    known.is_untouched();
}

#[test]
fn what_is_no_dump() {
    let mut known = Known::start();
    let home = known.server.home();
    let dump = plain_dump(&known.server, "shop");
    let cases: [(&str, Vec<u8>, i32, &str); 7] = [
        ("empty.sql", vec![], 1, "it is empty"),
        ("text.sql", b"hello\n".to_vec(), 1, "not whole"),
        ("statement.sql", b"SELECT 1;\n".to_vec(), 1, "footer"),
        ("noise.sql", vec![0x1f, 0x8b, 1, 2, 3], 1, "cut short"),
        ("cut.sql", dump.as_bytes()[..dump.len() - 200].to_vec(), 1, "not whole"),
        ("more.sql", format!("{dump}\nDROP TABLE x;\n").into_bytes(), 1, "footer"),
        ("magic.dump", b"PGDMP and then nothing".to_vec(), 1, "damaged"),
    ];
    for (name, bytes, code, words) in cases {
        fs::write(home.join(name), bytes).unwrap();
        known.refuses(code, &[name, "--yes", "-d", "shop"]).says(words);
    }
    known.refuses(1, &["gone.sql", "--yes"]).says("cannot open 'gone.sql'").says("--list");
    fs::create_dir(home.join("folder")).unwrap();
    known.refuses(1, &["folder", "--yes"]).says("it is no file");
    let script = "touch x; tar -cf a.tar x; tar -cf b.tar --transform s/x/toc.dat/ x";
    crate::lab::run(&mut known.server.shell(script)).exits(0);
    known.refuses(4, &["a.tar", "--yes", "-d", "shop"]).says("not one of pg_dump");
    known.refuses(1, &["b.tar", "--yes", "-d", "shop"]).says("b.tar");
    known.is_untouched();
}

#[test]
fn a_standby_cannot_be_restored_to() {
    let mut server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &[]);
    let settings = "wal_level = replica\nhot_standby = on\nrestore_command = 'false'\n";
    fs::write(server.data().join("postgresql.auto.conf"), settings).unwrap();
    for signal in [None, Some("standby.signal")] {
        server.stop();
        if let Some(name) = signal {
            fs::write(server.data().join(name), "").unwrap();
        }
        server.start_again();
    }
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(4).says("standby");
    // but it can be backed up
    assert_eq!(crate::stage::manifest(&back_up(&server, &[]))["rows"], 505);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
}

#[test]
fn a_dump_that_fills_a_database_it_does_not_name() {
    let mut known = Known::start();
    // the tables would land wherever psql begins, and only the rest in the database that is named
    let dump = plain_dump(&known.server, "shop");
    let text = crate::stage::with_last_act(dump.as_bytes(), b"\\connect shop\nSELECT 1;");
    fs::write(known.server.home().join("mixed.sql"), text).unwrap();
    known.refuses(4, &["mixed.sql", "--yes"]);
    known.is_untouched();
}

#[test]
fn rows_without_their_tables() {
    let mut known = Known::start();
    // in a database that is made anew there is nothing to put them into
    for format in [&["--format", "plain"][..], &["--format", "custom"]] {
        let args = [&["-d", "shop", "--pg-dump-arg", "--data-only"], format].concat();
        let backup = back_up(&known.server, &args);
        known.refuses(4, &[arg(&backup), "--yes"]);
    }
    known.is_untouched();
}
