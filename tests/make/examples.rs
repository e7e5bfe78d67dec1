//! The workflows in docs/examples: what their steps run is run here.

use std::fs;

use crate::host::{Host, home, said};

/// The scripts of a workflow's steps, in order: `run: LINE`, and the lines below `run: |`.
fn steps(workflow: &str) -> Vec<String> {
    let text = fs::read_to_string(home().join("docs/examples").join(workflow)).unwrap();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (mut steps, mut lines) = (Vec::new(), text.lines().peekable());
    while let Some(line) = lines.next() {
        let Some(script) =
            line.trim_start().strip_prefix("run: ").or(line.trim_start().strip_prefix("- run: "))
        else {
            continue;
        };
        if script != "|" {
            steps.push(script.to_owned());
            continue;
        }
        let mut script = String::new();
        let inner = lines.peek().map_or(0, |first| indent(first));
        while let Some(next) = lines.next_if(|next| next.trim().is_empty() || indent(next) >= inner) {
            script += &format!("{}\n", next.get(inner..).unwrap_or(""));
        }
        steps.push(script);
    }
    steps
}

/// Runs a step as a runner does; what earlier ones have put into the environment is there.
#[track_caller]
fn run(host: &Host, script: &str, env: &[(&str, &str)]) -> String {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_pgdump-rotate")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let all = format!("set -a; [ ! -f github.env ] || . ./github.env; set +a\n{script}");
    let mut command = host.command("bash");
    command.args(["-e", "-c", &all]).env("PATH", path).env("GITHUB_ENV", host.path().join("github.env"));
    let output = command.envs(env.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", said(&output));
    said(&output)
}

#[test]
fn the_weekly_test_of_backups_does_what_it_says() {
    let host = Host::new("GUEST\n");
    let steps = steps("backup-test.yml");
    assert_eq!(steps.len(), 7, "{steps:?}");
    assert!(steps[0].contains("git clone"));
    for step in &steps[1..] {
        run(&host, step, &[]);
    }
    assert!(host.path().join("backup-test.xml").is_file() && host.path().join("backup-test.html").is_file());
}

#[test]
fn the_button_that_restores_shows_its_plan_first() {
    let host = Host::new("GUEST\n");
    host.ok(&["dev-up", "dev-seed"]);
    host.ok(&["dev-backup"]);
    let grades = || host.sql("SELECT count(*) FROM grades");
    let before = grades();
    host.sql("DELETE FROM grades");
    let steps = steps("recover.yml");
    assert_eq!(steps.len(), 2, "{steps:?}");
    let summary = host.path().join("summary");
    let env = [
        ("BACKUP", ""),
        ("FORCE", "version,roles"),
        ("SERVICES", ""),
        ("BACKUP_DIR", "backups"),
        ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()),
    ];
    let here = |step: &str| format!(". ./.dev/env\n{step}");
    run(&host, &here(&steps[0]), &env);
    assert_eq!(grades(), "0", "a plan changes nothing");
    let plan = fs::read_to_string(&summary).unwrap();
    assert!(plan.contains("replace database university"), "{plan}");
    run(&host, &here(&steps[1]), &env);
    assert_eq!(grades(), before);
}
