//! Who is told of a look into a dump, and that nobody is who was not asked for.

use serde_json::json;

use crate::lab::hook::{Answer, Hook};
use crate::lab::{run, tool};

const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\nALTER SYSTEM SET fsync = off;\n
--\n-- PostgreSQL database dump complete\n--\n";

#[test]
fn what_guard_finds_and_index_makes_is_told_and_counted() {
    let (dir, hook) = (tempfile::tempdir().unwrap(), Hook::start(Answer::Status(200)));
    std::fs::write(dir.path().join("a.sql"), DUMP).unwrap();
    let url = hook.url("/");
    let look = |verb: &str, file: &str| {
        let telling = ["--notify", &url, "--metrics", "m.prom", verb, file];
        run(tool("dump-inspect", dir.path()).args(telling))
    };
    look("guard", "a.sql").exits(1);
    look("index", "a.sql").exits(0);
    look("tables", "b.sql").exits(1);
    let told: Vec<serde_json::Value> =
        hook.came().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect();
    let outcomes: Vec<_> = told.iter().map(|t| (&t["outcome"], &t["artifacts"])).collect();
    let (done, failed) = (json!("success"), json!("failure"));
    let manifest = dir.path().join("a.sql.json");
    let (none, manifest) = (json!([]), json!([manifest.to_str().unwrap()]));
    assert_eq!(outcomes, [(&failed, &none), (&done, &manifest), (&failed, &none)]);
    assert!(told[0]["message"].as_str().unwrap().contains("ALTER SYSTEM"), "{}", told[0]);
    assert!(told[2]["message"].as_str().unwrap().contains("b.sql"), "{}", told[2]);
    let numbers = std::fs::read_to_string(dir.path().join("m.prom")).unwrap();
    let line = "pgkeep_runs_total{file=\"m.prom\",tool=\"dump-inspect\",outcome=\"failure\"} 2";
    assert!(numbers.lines().any(|l| l == line), "{numbers}");
}

#[test]
fn those_who_are_told_of_backups_are_not_told_of_looks() {
    let (dir, hook) = (tempfile::tempdir().unwrap(), Hook::start(Answer::Status(200)));
    std::fs::write(dir.path().join("a.sql"), DUMP).unwrap();
    run(tool("dump-inspect", dir.path()).args(["guard", "a.sql"]).env("NOTIFY_URL", hook.url("/"))).exits(1);
    assert_eq!(hook.came().len(), 0);
    let words = ["--notify", "nonsense", "guard", "a.sql"];
    run(tool("dump-inspect", dir.path()).args(words)).exits(2).says("--notify");
}
