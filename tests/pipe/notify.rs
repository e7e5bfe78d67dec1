//! Telling somebody how it went: in their words, and whatever they answer, the run's result stays its own.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::hook::{Answer, Hook};
use crate::{Place, lab};

const OK: Answer = Answer::Status(200);

#[test]
fn what_was_made_is_posted_as_json() {
    let (place, hook) = (Place::new(), Hook::start(OK));
    let made = place.rotate(&["--notify", &hook.url("/hook?key=secret"), "--", "cat", "dump.sql"]).exits(0);
    assert_eq!(hook.paths(), ["POST /hook?key=secret"]);
    let told = hook.json();
    assert_eq!(
        (&told["tool"], &told["outcome"], &told["exit_code"]),
        (&"pgdump-rotate".into(), &"success".into(), &0.into())
    );
    assert_eq!(told["artifacts"], serde_json::json!([made.line()]));
    assert!(told["message"].as_str().unwrap().contains("proven: backup_"), "{told}");
    assert!(!told["host"].as_str().unwrap().is_empty());
    assert!(told["duration_ms"].is_u64());
}

#[test]
fn a_failure_is_told_with_its_reason_and_its_exit_status() {
    let (place, hook) = (Place::new(), Hook::start(OK));
    let url = hook.url("/");
    let ran = place.rotate(&["--notify", &url, "--", "sh", "-c", "cat dump.sql; echo why >&2; exit 3"]);
    ran.exits(1);
    let told = hook.json();
    assert_eq!((&told["outcome"], &told["exit_code"]), (&"failure".into(), &1.into()));
    assert_eq!(told["artifacts"], serde_json::json!([]));
    assert!(told["message"].as_str().unwrap().contains("sh ended with status 3: why"), "{told}");
}

#[test]
fn a_watchman_hears_of_the_start_and_of_the_end() {
    let place = Place::new();
    for (script, end) in [("cat dump.sql", "POST /ping/id?rid=7"), ("exit 1", "POST /ping/id/fail?rid=7")] {
        let hook = Hook::start(OK);
        let url = format!("healthchecks:{}", hook.url("/ping/id?rid=7"));
        place.rotate(&["--notify", &url, "--", "sh", "-c", script]);
        assert_eq!(hook.paths(), ["GET /ping/id/start?rid=7", end]);
        assert!(hook.came()[1].body.starts_with("pgdump-rotate on "), "{:?}", hook.came());
    }
}

#[test]
fn the_end_is_told_after_a_signal_too() {
    if lab::is_ignored(Signal::TERM) {
        return;
    }
    let (place, hook) = (Place::new(), Hook::start(OK));
    let url = format!("healthchecks:{}", hook.url("/id"));
    let mut running = place.start(&["--notify", &url, "--", "sh", "-c", "head -n 99 dump.sql; sleep 1000"]);
    place.until_midway();
    lab::wait_until("the start is told", || hook.came().len() == 1);
    running.send(Signal::TERM);
    running.end().exits(5);
    assert_eq!(hook.paths(), ["GET /id/start", "POST /id/fail"]);
    assert!(hook.came()[1].body.contains("interrupted by SIGTERM"), "{:?}", hook.came());
}

#[test]
fn a_chat_gets_one_text_in_which_no_name_calls_anybody() {
    let (place, hook) = (Place::new(), Hook::start(OK));
    let url = format!("slack:{}", hook.url("/services/secret"));
    let name = "<!channel> `@all`";
    place.rotate(&["--name", name, "--notify", &url, "--", "cat", "dump.sql"]).exits(0);
    let told = hook.json();
    let text = told["text"].as_str().unwrap();
    assert!(text.starts_with("pgdump-rotate on ") && text.contains(": success (exit 0)"), "{text}");
    assert!(text.contains("\n```\nproven: &lt;!channel&gt; '@all'_"), "{text}");
    assert_eq!(told.as_object().unwrap().len(), 1);
}

/// A run that is told of in vain: it succeeds, says what went wrong, and keeps the URL to itself.
#[track_caller]
fn in_vain(url: &str, why: &str) {
    let place = Place::new();
    let ran = place.rotate(&["-q", "--notify", url, "--", "cat", "dump.sql"]).exits(0);
    assert!(ran.err.contains("cannot notify '") && ran.err.contains(why), "{why}: {}", ran.err);
    assert!(!ran.err.contains("secret"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    place.holds(1);
}

#[test]
fn who_cannot_be_told_changes_nothing() {
    let (hook, began) = (Hook::start(Answer::Status(500)), Instant::now());
    in_vain(&hook.url("/secret"), "it answers 500");
    assert!(began.elapsed() >= Duration::from_secs(4), "all three came at once: {:?}", began.elapsed());
    assert_eq!(hook.came().len(), 3, "a server that is busy is tried again");

    let hook = Hook::start(Answer::Status(404));
    in_vain(&hook.url("/secret"), "it answers 404");
    assert_eq!(hook.came().len(), 1, "one that says no is not");

    let hook = Hook::start(Answer::Redirect);
    in_vain(&hook.url("/secret"), "it answers 302");
    assert_eq!(hook.paths(), ["POST /secret"], "nobody asked for it to be told elsewhere");

    let hook = Hook::start(Answer::Cut);
    in_vain(&hook.url("/secret"), "");
    let gone = hook.url("/secret");
    drop(hook);
    in_vain(&gone, "connection refused");
    in_vain(&gone.replace("http://", "http://secret:secret@"), "connection refused");
    // speaks no TLS
    let hook = Hook::start(OK);
    in_vain(&hook.url("/secret").replace("http:", "https:"), "");
}

#[test]
fn who_never_answers_is_not_waited_for_long() {
    let hook = Hook::start(Answer::Never);
    in_vain(&hook.url("/secret"), "no answer in time");
}

#[test]
fn the_address_may_stand_in_the_environment_or_in_dotenv() {
    let (place, first, second) = (Place::new(), Hook::start(OK), Hook::start(OK));
    let both = format!("{} slack:{}", first.url("/a"), second.url("/b"));
    fs::write(place.path(".env"), format!("NOTIFY_URL=\"{both}\"\n")).unwrap();
    place.rotate(&["--", "cat", "dump.sql"]).exits(0);
    assert_eq!((first.paths(), second.paths()), (vec!["POST /a".into()], vec!["POST /b".into()]));
    place.rotate(&["--notify", "none", "--", "cat", "dump.sql"]).exits(0);
    let elsewhere = Hook::start(OK);
    let mut tool = place.tool();
    lab::run(tool.env("NOTIFY_URL", elsewhere.url("/c")).args(["--", "cat", "dump.sql"])).exits(0);
    assert_eq!((first.came().len(), second.came().len(), elsewhere.came().len()), (1, 1, 1));
}

#[test]
fn a_wrong_command_line_and_looking_tell_nobody() {
    let (place, hook) = (Place::with_backup(), Hook::start(OK));
    let url = hook.url("/");
    place.rotate(&["--notify", &url, "--nonsense"]).exits(2);
    place.rotate(&["--notify", &url, "--list"]).exits(0);
    place.rotate(&["--notify", &url, "--dry-run", "--rotate-only"]).exits(0);
    assert_eq!(hook.came(), []);
    for wrong in ["secret", "ftp://secret/", "slack:secret", "https://"] {
        let ran = place.rotate(&["--notify", wrong, "--", "cat", "dump.sql"]).exits(2).says("--notify: it");
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    }
    place.holds(1);
}
