//! `--against`: the guardrails of a restore, as a check.

use std::fs;

use crate::lab::{Server, run};

#[test]
fn a_server_that_could_take_it_and_one_that_could_not() {
    let server = Server::start();
    server.make("shop");
    let backup = server.rotate(&["-d", "shop"]).exits(0).line().to_owned();
    let before = server.everything();
    let against = |args: &[&str]| run(server.tool("backup-validate").arg("--against").args(args));
    assert_eq!(against(&[&backup]).exits(0).says("the server could take it").line(), backup);
    assert_eq!(against(&[&backup, "-d", "other"]).exits(0).line(), backup);

    let dump = run(server.client("pg_dump").args(["-w", "-d", "shop"])).exits(0).out;
    let needs = dump.replacen("SET default_tablespace", "CREATE EXTENSION nix;\nSET default_tablespace", 1);
    assert_ne!(needs, dump);
    fs::write(server.home().join("needs.sql"), needs).unwrap();
    let ran = against(&["needs.sql", "-d", "other"])
        .exits(4)
        .says("unproven needs.sql")
        .says("nix")
        .says("; pgdump-restore --force=");
    assert_eq!(ran.out, "");
    let ran = against(&[&backup, "needs.sql", "-d", "other"]).exits(3);
    assert_eq!(ran.line(), backup);
    assert_eq!(server.everything(), before);
}

#[test]
fn a_server_that_is_away_is_worth_another_try() {
    let mut server = Server::start();
    server.make("shop");
    let backup = server.rotate(&["-d", "shop"]).exits(0).line().to_owned();
    server.stop();
    let ran = run(server.tool("backup-validate").args(["--against", &backup])).exits(5).says("unproven ");
    assert_eq!(ran.out, "");
}
