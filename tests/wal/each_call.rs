//! `push` killed, and out of space, at each of its system calls; and the order in which it makes
//! things durable.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::lab::{Ran, names, run};
use crate::stage::Stage;

/// All by which it changes the file system, and those around them.
const CALLS: [&str; 14] = [
    "openat",
    "copy_file_range",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat2",
    "linkat",
    "unlink",
    "mkdir",
    "ftruncate",
    "flock",
    "close",
];

/// `push` of a segment under strace with these options.
fn traced(stage: &Stage, strace: &[&str], segment: &str, options: &[&str]) -> Ran {
    let program = stage.server.tool("wal-archive");
    let mut command = Command::new("strace");
    command.current_dir(stage.server.data()).args(["-f", "-qq", "-o", "/dev/null"]).args(strace);
    command.arg(program.get_program()).args(["push", "-a", &stage.archive_text()]).args(options);
    command.arg(format!("pg_wal/{segment}")).arg(segment);
    let spawned = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let child = spawned.stderr(std::process::Stdio::piped()).spawn();
    crate::lab::end(child.unwrap_or_else(|e| panic!("strace: {e}: run 'scripts/setup test'")))
}

/// What stands under the segment's name is whole.
fn is_whole(stage: &Stage, segment: &str) -> bool {
    let there = names(&stage.folder()).into_iter().any(|n| n.starts_with(segment) && !n.ends_with(".part"));
    if there {
        let out = stage.server.home().join("out");
        stage
            .wal(&["get", "-a", &stage.archive_text(), "--retry-for", "0s", segment, out.to_str().unwrap()])
            .exits(0);
        let original = fs::read(stage.server.data().join("pg_wal").join(segment)).unwrap();
        assert!(fs::read(&out).unwrap() == original);
    }
    there
}

fn afresh(stage: &Stage) {
    let _ = fs::remove_dir_all(stage.archive());
    stage.wal(&["init", "-a", &stage.archive_text()]).exits(0);
}

/// Injects a fault at the first, second, … of each call until a run does not meet it.
fn at_each_call(
    stage: &Stage,
    segment: &str,
    options: &[&str],
    fault: &str,
    mut look: impl FnMut(&str, Ran),
) -> usize {
    let mut met = 0;
    for call in CALLS {
        for n in 1.. {
            afresh(stage);
            let inject = format!("inject={call}:{fault}:when={n}");
            let ran = traced(stage, &["-e", &inject], segment, options);
            if ran.code == 0 {
                break;
            }
            met += 1;
            assert!(n < 500, "{call}");
            look(&format!("{call} {n}"), ran);
        }
    }
    met
}

#[test]
fn killed_at_each_call_the_next_try_succeeds() {
    let stage = Stage::hoarding();
    stage.fill(1);
    let segment = &stage.ready()[0];
    for options in [&[][..], &["--compress", "gzip"]] {
        let mut placed = 0;
        let kills = at_each_call(&stage, segment, options, "signal=KILL", |at, ran| {
            assert_eq!(ran.code, 137, "{at}: {}", ran.err);
            placed += usize::from(is_whole(&stage, segment));
            stage.push(segment, options).exits(0);
            assert!(is_whole(&stage, segment), "{at}");
        });
        // some were killed before the rename, and some after
        assert!(placed > 0 && placed < kills && kills > 20, "{placed} of {kills}");
    }
}

#[test]
fn a_full_disk_at_each_write_is_temporary_and_leaves_nothing_half() {
    let stage = Stage::hoarding();
    stage.fill(1);
    let segment = &stage.ready()[0];
    // compressed, the file is written by us; else the kernel copies it, where it can
    for options in [&[][..], &["--compress", "gzip"]] {
        let mut writes = 0;
        for call in ["write", "copy_file_range", "fsync"] {
            for n in 1..100 {
                afresh(&stage);
                // its first write is that of the file; none goes to standard output
                let inject = format!("inject={call}:error=ENOSPC:when={n}");
                let ran = traced(&stage, &["-e", &inject], segment, options);
                if ran.code == 0 {
                    break;
                }
                writes += 1;
                assert_eq!(ran.code, 5, "{call} {n}: {}", ran.err);
                is_whole(&stage, segment);
                assert!(!names(&stage.folder()).iter().any(|n| n.ends_with(".part")), "{call} {n}");
                stage.push(segment, options).exits(0);
                assert!(is_whole(&stage, segment));
            }
        }
        assert!(writes > 5, "{writes}");
    }
}

/// Nobody writes to a segment that is complete; but what is acknowledged is what is stored, whatever happens.
#[test]
fn what_changes_while_it_is_copied_is_stored_with_the_digest_of_what_is_stored() {
    let stage = Stage::hoarding();
    stage.fill(1);
    let segment = &stage.ready()[0];
    let source = stage.server.data().join("pg_wal").join(segment);
    let stage = &stage;
    let child = std::thread::scope(|scope| {
        let slow = ["-e", "inject=copy_file_range,write:delay_enter=400000"];
        let push = scope.spawn(move || traced(stage, &slow, segment, &[]));
        let part = stage.folder().join(format!("{segment}.part"));
        crate::lab::wait_until("it is about to copy", || part.exists());
        let file = fs::File::options().write(true).open(&source).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"later", 600_000).unwrap();
        push.join().unwrap()
    });
    child.exits(0);
    assert!(is_whole(stage, segment));
    stage.wal(&["verify", "-a", &stage.archive_text()]).exits(0);
}

/// The calls that make durable, in order, with the paths of their files.
fn durable_calls(stage: &Stage, segment: &str, options: &[&str]) -> Vec<String> {
    let log = stage.server.home().join("calls");
    let program = stage.server.tool("wal-archive");
    let mut command = Command::new("strace");
    command.current_dir(stage.server.data()).args([
        "-f",
        "-qq",
        "-y",
        "-e",
        "trace=fsync,fdatasync,renameat2",
        "-o",
    ]);
    command.arg(&log).arg(program.get_program()).args(["push", "-a", &stage.archive_text()]).args(options);
    run(command.arg(format!("pg_wal/{segment}")).arg(segment).stdin(std::process::Stdio::null())).exits(0);
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

fn position(calls: &[String], call: &str, path: &Path) -> Option<usize> {
    let path = path.to_str().unwrap();
    let is = |line: &String| {
        line.contains(call) && (line.contains(&format!("{path}>")) || line.contains(&format!("{path}\"")))
    };
    calls.iter().position(is)
}

#[test]
fn the_file_is_durable_before_its_name_and_its_name_before_the_answer() {
    let stage = Stage::hoarding();
    stage.fill(1);
    let segment = &stage.ready()[0];
    let stored = stage.folder().join(segment);
    let part = stage.folder().join(format!("{segment}.part"));
    let calls = durable_calls(&stage, segment, &[]);
    let at = |call: &str, path: &Path| {
        position(&calls, call, path).unwrap_or_else(|| panic!("no {call} of {}: {calls:#?}", path.display()))
    };
    let renamed = at("renameat2", &stored);
    assert!(at("sync", &part) < renamed);
    assert!(at("sync", &stage.folder().join("0000000100000000.xxh128")) < renamed);
    assert!(at("sync", &stage.archive()) < renamed, "the folder's own name");
    assert!(
        renamed < calls.iter().rposition(|c| c.contains(&format!("{}>", stage.folder().display()))).unwrap()
    );

    // whoever was here before may have been killed too early: what stands there is made durable again
    let calls = durable_calls(&stage, segment, &[]);
    assert!(position(&calls, "renameat2", &stored).is_none());
    let again = position(&calls, "sync", &stored).expect("the file");
    assert!(again < position(&calls, "sync", &stage.folder()).expect("the folder"));
}
