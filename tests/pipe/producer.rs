//! Producers that fail, stop midway, or write what is no whole dump: nothing is kept of it.

use std::fs;

use crate::{FOOT, Place, lab};

/// Runs a script beside a good backup; it must end so, and change nothing.
#[track_caller]
fn keeps_nothing(script: &str, code: i32, words: &str) {
    let place = Place::with_backup();
    let before = place.contents();
    let ran = place.sh(script);
    assert_eq!(ran.code, code, "{script}: {}", ran.err);
    assert!(ran.err.contains(words), "{script}: '{words}' is not in {}", ran.err);
    assert_eq!(ran.out, "", "{script}");
    assert_eq!(place.contents(), before, "{script}");
}

#[test]
fn a_producer_that_fails_after_a_complete_dump_has_failed() {
    keeps_nothing(r#""$ROTATE" -- sh -c 'cat dump.sql; exit 1'"#, 1, "sh ended with status 1");
    keeps_nothing(r#""$ROTATE" -- sh -c 'cat dump.sql; exit 5'"#, 1, "sh ended with status 5");
    keeps_nothing(r#""$ROTATE" -- sh -c 'cat dump.sql; echo why >&2; exit 3'"#, 1, "status 3: why");
}

#[test]
fn a_producer_that_a_signal_killed_has_failed() {
    keeps_nothing(r#""$ROTATE" -- sh -c 'cat dump.sql; kill -9 $$'"#, 1, "sh was killed by SIGKILL");
    keeps_nothing(r#""$ROTATE" -- sh -c 'cat dump.sql; kill -TERM $$'"#, 1, "sh was killed by SIGTERM");
    keeps_nothing(r#""$ROTATE" -- sh -c 'head -c 9999 dump.sql; kill -9 $$'"#, 1, "sh was killed by SIGKILL");
}

#[test]
fn a_producer_killed_midway_from_outside_leaves_nothing() {
    let place = Place::with_backup();
    let before = place.contents();
    let script = "echo $$ >pid; head -c 9999 dump.sql; echo ready >ready; exec sleep 1000";
    let running = place.start(&["--", "sh", "-c", script]);
    lab::wait_until("the producer is midway", || place.path("ready").exists());
    place.until_midway();
    place.sh("kill -9 $(cat pid)").exits(0);
    running.end().exits(1).says("sh was killed by SIGKILL");
    assert_eq!(place.contents(), before);
}

#[test]
fn a_dump_that_is_not_whole_is_not_kept() {
    for (script, words) in [
        ("head -c 9999 dump.sql", "it ends within the rows of public.numbers"),
        ("head -n 8 dump.sql; printf 'CREATE TABLE t ('", "it ends within a statement"),
        ("head -n 8 dump.sql; printf \"SELECT '\"", "it ends within a statement"),
        ("grep -v complete dump.sql", "it does not end with pg_dump's completeness footer"),
        ("cat dump.sql; echo 'SELECT 1;'", "it does not end with pg_dump's completeness footer"),
        ("echo '-- PostgreSQL database cluster dump'; cat dump.sql", "ends after one of its databases"),
        ("printf 'Tables are fine.\\n'", "not whole"),
        ("head -c 100000 /dev/urandom | sed '1s/^/x/'", "not whole"),
        ("true", "it is empty"),
    ] {
        keeps_nothing(&format!("\"$ROTATE\" -- sh -c \"$(cat <<'E'\n{script}\nE\n)\""), 1, words);
        keeps_nothing(&format!("{{ {script}\n}} | \"$ROTATE\" --stdin"), 1, words);
    }
    keeps_nothing("\"$ROTATE\" --stdin </dev/null", 1, "it is empty");
    keeps_nothing("\"$ROTATE\" --stdin <&-", 1, "it is empty");
    keeps_nothing("\"$ROTATE\" --stdin <.", 1, "is a directory");
}

/// `pg_dump -W >file 2>&1`, or a container's terminal: psql would stop at the first statement, after
/// a restore had dropped the database.
#[test]
fn a_dump_behind_something_else_is_not_kept() {
    for before in ["Password: ", "pg_dump: warning: there are circular foreign-key constraints"] {
        keeps_nothing(&format!("{{ echo '{before}'; cat dump.sql; }} | \"$ROTATE\" --stdin"), 1, "not whole");
    }
}

#[test]
fn what_cannot_be_proven_is_refused() {
    for (begin, what) in [
        ("\\037\\213\\010", "compressed"),
        ("\\050\\265\\057\\375", "compressed"),
        ("\\120\\052\\115\\030", "compressed"),
        ("PGDMP\\001\\016", "a custom archive"),
    ] {
        let script = format!("{{ printf '{begin}'; cat dump.sql; }} | \"$ROTATE\" --stdin");
        keeps_nothing(&script, 4, what);
    }
    keeps_nothing("gzip -c dump.sql | \"$ROTATE\" --stdin", 4, "compressed");
    keeps_nothing("\"$ROTATE\" -- gzip -c dump.sql", 4, "hint: Take the compression out of the command");
    keeps_nothing("\"$ROTATE\" -- printf PGDMPxxxx", 1, "cannot back up the dump of printf");
}

#[test]
fn standard_input_proves_less_and_the_manifest_says_so() {
    let place = Place::new();
    place.sh("cat dump.sql | \"$ROTATE\" --stdin").exits(0).says("proven: ");
    // nobody can tell that the producer died after its footer
    place.sh("{ cat dump.sql; exit 9; } | \"$ROTATE\" --stdin").exits(0);
    place.rotate(&["--", "cat", "dump.sql"]).exits(0);
    place.holds(3);
    let how = |n: &String| place.manifest(n)["verified"]["how"].as_str().unwrap().to_owned();
    let how: Vec<bool> = place.dumps().iter().map(|n| how(n).contains("footer")).collect();
    assert_eq!(how, [false, true, true]);
    let producer = |n: &String| place.manifest(n)["source"]["producer"].as_str().unwrap().to_owned();
    assert_eq!(place.dumps().iter().map(producer).collect::<Vec<_>>(), ["cat", "stdin", "stdin"]);
}

#[test]
fn what_a_producer_says_is_heard_and_never_blocks_it() {
    let place = Place::new();
    let warned =
        place.rotate(&["--", "sh", "-c", "echo 'pg_dump: warning: circular' >&2; cat dump.sql"]).exits(0);
    assert!(warned.says("circular").out.starts_with("backups/backup_"));
    // far more than a pipe holds, without a newline
    let script = "head -c 3000000 /dev/zero | tr '\\0' x >&2; cat dump.sql";
    let ran = place.rotate(&["-q", "--", "sh", "-c", script]).exits(0);
    assert!(ran.err.len() < 200_000, "{} bytes", ran.err.len());
    // a grandchild that outlives the producer and holds its standard error
    place.rotate(&["--", "sh", "-c", "sleep 1000 >/dev/null & cat dump.sql; echo $! >pid"]).exits(0);
    place.sh("kill $(cat pid)").exits(0);
    place.holds(3);
}

/// A server that is away is worth a retry, one that says no is not.
#[test]
fn the_last_words_decide_whether_to_try_again() {
    let place = Place::with_backup();
    let mut faults = Vec::new();
    for (words, code) in [
        (
            "pg_dump: error: connection to server at \"db\" (10.0.0.2), port 5432 failed: Connection refused",
            5,
        ),
        ("pg_dump: error: could not translate host name \"db\" to address: Name or service not known", 5),
        ("pg_dump: error: query failed: server closed the connection unexpectedly", 5),
        ("FATAL:  the database system is starting up", 5),
        ("FATAL:  sorry, too many clients already", 5),
        ("ssh: connect to host db port 22: Connection timed out", 5),
        ("ssh: connect to host db port 22: No route to host", 5),
        ("ssh: Could not resolve hostname db: Temporary failure in name resolution", 5),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", 5),
        ("service \"db\" is not running", 5),
        ("Error response from daemon: container 0123456789ab is not running", 5),
        ("FATAL:  password authentication failed for user \"u\"", 1),
        ("fe_sendauth: no password supplied", 1),
        ("FATAL:  database \"shop\" does not exist", 1),
        ("FATAL:  no pg_hba.conf entry for host \"10.0.0.3\"", 1),
        ("ERROR:  permission denied for table pg_authid", 1),
        ("No such container: db", 1),
    ] {
        let mut tool = place.tool();
        tool.args(["--", "sh", "-c", "cat dump.sql; echo \"$1\" >&2; exit 1", "sh", words]);
        let ran = lab::run(&mut tool).says(words);
        if ran.code != code {
            faults.push(format!("{}, not {code}: {words}", ran.code));
        }
    }
    place.holds(1);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_dump_without_its_last_newline_is_whole() {
    let place = Place::new();
    let dump = fs::read_to_string(place.path("dump.sql")).unwrap();
    for end in ["-- PostgreSQL database dump complete", "-- PostgreSQL database dump complete\r\n--\r\n"] {
        let body = dump.strip_suffix(FOOT).unwrap();
        fs::write(place.path("dump.sql"), format!("{body}\\.\n\n{end}")).unwrap();
        place.sh("rm -rf backups; \"$ROTATE\" --stdin <dump.sql").exits(0);
        place.holds(1);
    }
}
