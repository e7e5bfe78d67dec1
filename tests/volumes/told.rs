//! Who is told of snapshots and restores, and that this changes nothing about them.

use serde_json::json;

use crate::lab::hook::{Answer, Hook};
use crate::stage::Stage;

#[test]
fn a_snapshot_and_a_restore_are_told_and_counted() {
    let (stage, hook) = (Stage::with_data(), Hook::start(Answer::Status(200)));
    let url = hook.url("/");
    let telling = ["--notify", &url, "--metrics", "m.prom"];
    let made = stage.snap(&[&["dir:data"], &telling[..]].concat()).exits(0).line().to_owned();
    stage.restore(&[&["--latest", "--yes"], &telling[..]].concat()).exits(0);
    stage.restore(&[&["--undo", "--yes"], &telling[..]].concat()).exits(0);
    stage.restore(&[&["--latest", "--into", "new"], &telling[..]].concat()).exits(0);
    stage.snap(&[&["dir:nowhere"], &telling[..]].concat()).exits(1);
    let told: Vec<serde_json::Value> =
        hook.came().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect();
    let told: Vec<_> = told.iter().map(|t| (&t["tool"], &t["outcome"], &t["artifacts"])).collect();
    let (snap, restore) = (json!("volsnap"), json!("volrestore"));
    let (done, failed) = (json!("success"), json!("failure"));
    assert_eq!(
        told,
        [
            (&snap, &done, &json!([made])),
            (&restore, &done, &json!(["data"])),
            (&restore, &done, &json!(["data"])),
            (&restore, &done, &json!(["new/data"])),
            (&snap, &failed, &json!([])),
        ]
    );
    let numbers = stage.read("m.prom");
    let place = stage.path("data").display().to_string();
    let backups = "pgkeep_backups{file=\"m.prom\",series=\"data\",kind=\"volumes\",database=\"\",server=\"\"";
    for line in [
        "pgkeep_run_exit_code{file=\"m.prom\",tool=\"volsnap\"} 1",
        "pgkeep_runs_total{file=\"m.prom\",tool=\"volsnap\",outcome=\"failure\"} 1",
        &format!("{backups},part=\"\",place=\"dir:{place}\"}} 1"),
    ] {
        assert!(numbers.lines().any(|l| l == line), "{line}\n{numbers}");
    }
}

#[test]
fn nobody_who_does_not_listen_changes_a_result() {
    let (stage, hook) = (Stage::with_data(), Hook::start(Answer::Status(403)));
    let url = hook.url("/secret");
    let telling = ["--notify", &url, "--metrics", "no/such/folder/m.prom"];
    let said = |ran: crate::lab::Ran| {
        assert!(!ran.err.contains("secret"), "{}", ran.err);
        ran.says("cannot notify").says("it answers 403").says("cannot write metrics");
    };
    said(stage.snap(&[&["-q", "dir:data"], &telling[..]].concat()).exits(0));
    said(stage.restore(&[&["-q", "--latest", "--yes"], &telling[..]].concat()).exits(0));
    said(stage.restore(&[&["-q", "20200101_000000", "--yes"], &telling[..]].concat()).exits(1));
    // a trial is no run
    let came = hook.came().len();
    stage.restore(&[&["--latest", "--dry-run"], &telling[..]].concat()).exits(0);
    stage.snap(&[&["dir:data", "--dry-run"], &telling[..]].concat()).exits(0);
    assert_eq!(hook.came().len(), came);
}
