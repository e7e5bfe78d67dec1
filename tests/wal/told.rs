//! Who is told of what people ask of an archive; the server's own calls tell nobody.

use std::fs;

use crate::lab::hook::{Answer, Hook};
use crate::lab::run;
use crate::stage::Stage;

#[test]
fn what_verify_status_and_prune_find_is_told_and_counted() {
    let stage = Stage::archiving(&[]);
    stage.fill(2);
    stage.base("one");
    stage.fill(3);
    stage.settle();
    let archive = stage.archive_text();
    let hook = Hook::start(Answer::Status(200));
    let url = hook.url("/");
    let told = |words: &[&str], code: i32| {
        let mut command = stage.server.tool("wal-archive");
        command.args(words).args(["-a", &archive, "--notify", &url, "--metrics", "m.prom"]);
        run(&mut command).exits(code);
        let body = hook.came().last().unwrap().body.clone();
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    assert_eq!(told(&["status"], 0)["outcome"], "success");
    assert_eq!(told(&["verify"], 0)["outcome"], "success");
    let pruned = told(&["prune", "--keep", "1"], 0);
    assert!(pruned["message"].as_str().unwrap().contains("stay: "), "{pruned}");
    let segments = stage.archived(1);
    let last = segments.iter().filter(|n| n.len() == 24).nth_back(1).unwrap();
    fs::remove_file(stage.folder().join(last)).unwrap();
    let gap = told(&["verify"], 1);
    assert!(gap["message"].as_str().unwrap().contains(&format!("missing: {last}")), "{gap}");
    let late = told(&["status"], 0);
    assert_eq!(late["tool"], "wal-archive");
    let numbers = fs::read_to_string(stage.server.home().join("m.prom")).unwrap();
    for line in ["outcome=\"success\"} 4", "outcome=\"failure\"} 1"] {
        assert!(
            numbers.lines().any(|l| l.starts_with("pgkeep_runs_total{") && l.ends_with(line)),
            "{numbers}"
        );
    }
    // a trial is no run
    let came = hook.came().len();
    let mut trial = stage.server.tool("wal-archive");
    run(trial.args(["prune", "--keep", "1", "-n", "-a", &archive, "--notify", &url])).exits(0);
    assert_eq!(hook.came().len(), came);
}

#[test]
fn the_servers_calls_tell_nobody() {
    let stage = Stage::hoarding();
    let hook = Hook::start(Answer::Status(200));
    stage.fill(1);
    let name =
        crate::lab::names(&stage.server.data().join("pg_wal")).into_iter().find(|n| n.len() == 24).unwrap();
    let path = stage.server.data().join("pg_wal").join(&name);
    let push = |options: &[&str]| {
        let mut command = stage.server.tool("wal-archive");
        command.args(["push", "-a", &stage.archive_text()]).args(options).arg(&path).arg(&name);
        run(command.env("NOTIFY_URL", hook.url("/")))
    };
    push(&[]).exits(0);
    push(&["--notify", "http://localhost/"]).exits(2).says("is not for this verb");
    assert!(hook.came().is_empty());
    // nor does an answer that nobody takes change one
    let silent = Hook::start(Answer::Status(500));
    let mut verify = stage.server.tool("wal-archive");
    let url = silent.url("/secret");
    let ran = run(verify.args(["verify", "-q", "-a", &stage.archive_text(), "--notify", &url])).exits(0);
    assert!(!ran.says("cannot notify").err.contains("secret"));
}
