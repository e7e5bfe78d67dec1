//! Who follows whom after a restore, as real standbys have it.

use crate::lab::{Server, as_runner, bin, give, run, wait_until};
use crate::postgresql::{Stops, commands};

/// A standby of the server, not started.
fn standby(server: &Server) -> Server {
    let copy = server.host().join("copy");
    let mut program = as_runner(bin("pg_basebackup"));
    program.arg("-D").arg(&copy).args(["-R", "-c", "fast", "-U", "postgres", "-h"]).arg(server.host());
    run(&mut program).exits(0);
    Server::from(&copy, "cluster_name = 'second'\n")
}

#[test]
fn who_follows_is_told_and_who_cannot_any_more() {
    let mut server = Server::start_with("wal_level = replica\nmax_wal_senders = 5\n");
    server.make("shop");
    server.sql("shop", "CREATE ROLE plain LOGIN");
    let mut second = standby(&server);
    give(&second.data());
    let commands = [commands(&server), commands(&second)];
    let _stops = Stops(format!("{}; {}", commands[1].0, commands[0].0));
    server.stop_in_order();
    let streams = |server: &Server| {
        let of = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        wait_until("the standby streams", || server.sql("shop", of) == "1");
    };
    let both = |words: [&str; 2]| -> Vec<String> {
        let [(stop1, start1), (stop2, start2)] = &commands;
        [
            words[0].to_owned(),
            format!("{stop2}; {stop1}"),
            words[1].to_owned(),
            format!("{start1} && {start2}"),
        ]
        .into()
    };
    let [first_volume, second_volume] =
        [("data", &server), ("second", &second)].map(|(l, s)| format!("{l}=dir:{}", s.data().display()));
    // once it ran, it is a standby's
    for command in [&commands[0].1, &commands[1].1] {
        run(&mut server.shell(command)).exits(0);
    }
    streams(&server);

    // both in one set: the standby follows again
    let snap = |volumes: &[&String]| {
        let mut command = server.tool("volsnap");
        let ran = run(command.args(volumes).args(both(["--stop", "--start"]))).exits(0);
        streams(&server);
        ran.line().to_owned()
    };
    let set = snap(&[&first_volume, &second_volume]);
    server.sql("shop", "DELETE FROM grades");
    let restore = |set: &str| {
        run(server.tool("volrestore").args([set, "--yes"]).args(both(["--stop", "--start"]))).exits(0)
    };
    restore(&set).says("replication: second follows, ");
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
    assert_eq!(second.sql("shop", "SELECT count(*) FROM grades"), "500");

    // who may not see that is not told that nobody follows
    let mut command = server.tool("volrestore");
    command.env("PGUSER", "plain").args([&set, "--yes"]).args(both(["--stop", "--start"]));
    run(&mut command).exits(0).says("who follows is not shown to this user");

    // the leader alone: whoever followed it has another history by now
    let set = snap(&[&first_volume]);
    let ran = restore(&set).says("'second' followed the server that was here");
    assert!(!ran.err.contains("replication:"), "{}", ran.err);
    // where nobody starts it, nobody is asked
    run(&mut server.shell(&format!("{}; {}", commands[1].0, commands[0].0))).exits(0);
    second.stop();
    let ran = run(server.tool("volrestore").args([&set, "--yes"])).exits(0);
    assert!(!ran.err.contains("follow"), "{}", ran.err);
}
