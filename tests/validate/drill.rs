//! Drills: what they prove, what they find, and what is left of them: nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lab::{self, Ran, Server, names, run, wait_until};

/// A server with a backup of it, and a folder of the test's own for what drills make.
struct Stage {
    server: Server,
    backup: String,
}

impl Stage {
    fn new(args: &[&str]) -> Stage {
        let server = Server::start();
        server.make("shop");
        let backup = server.rotate(args).exits(0).line().to_owned();
        let stage = Stage { server, backup };
        fs::create_dir(stage.temp()).unwrap();
        // whoever runs the server of a drill must get through
        fs::set_permissions(stage.temp(), fs::Permissions::from_mode(0o755)).unwrap();
        stage
    }

    fn temp(&self) -> PathBuf {
        self.server.home().join("t")
    }

    fn validate(&self, args: &[&str]) -> Command {
        let mut command = self.server.tool("backup-validate");
        command.args(args).env("TMPDIR", self.temp());
        command
    }

    #[track_caller]
    fn drill(&self, args: &[&str]) -> Ran {
        let ran = run(self.validate(&["--drill"]).args(args));
        assert_eq!(names(&self.temp()), [""; 0], "something is left of the drill");
        ran
    }

    /// Drills a plain dump of the database that was changed by hand.
    #[track_caller]
    fn drill_changed(&self, args: &[&str], change: impl FnOnce(String) -> String) -> Ran {
        let dump = run(self.server.client("pg_dump").args(["-w", "-d", "shop"])).exits(0).out;
        let changed = change(dump.clone());
        assert_ne!(changed, dump);
        fs::write(self.server.home().join("changed.sql"), changed).unwrap();
        self.drill(&[&["changed.sql"], args].concat())
    }

    fn history(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.server.home().join("backups/drills.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn manifest(&self) -> Value {
        let text = fs::read_to_string(self.server.home().join(format!("{}.json", self.backup))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Starts a drill and waits until its server runs; the pid of that.
    fn until_it_runs(&self) -> (Child, Pid) {
        let mut command = self.validate(&["--drill", &self.backup]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pid = None;
        wait_until("the server of a drill runs", || {
            let of = |name: &String| self.temp().join(name).join("data/postmaster.pid");
            let text = names(&self.temp()).iter().find_map(|name| fs::read_to_string(of(name)).ok());
            pid = text
                .filter(|t| t.contains("ready"))
                .and_then(|t| Pid::from_raw(t.lines().next()?.parse().ok()?));
            pid.is_some()
        });
        (child, pid.unwrap())
    }
}

fn runs(pid: Pid) -> bool {
    // one that has ended may not have been waited for yet
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    state.split(") ").last().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn a_drill_proves_a_backup_and_tells_how_long_it_took() {
    let stage = Stage::new(&[]);
    let answer = "1|Ada\n2|Zoë";
    let query = "SELECT id, name FROM people WHERE id < 3 ORDER BY id;";
    fs::write(stage.server.home().join("q"), "SELECT count(*) FROM grades -- expect 500\n").unwrap();
    let args = [&stage.backup, "-d", "shop", "--query", query, "--expect", answer, "--queries", "q"];
    let ran = stage.drill(&args).exits(0).says("and proven in ");
    assert_eq!(ran.line(), stage.backup);
    assert_eq!(stage.manifest()["verified"]["how"], "drill");
    let history = stage.history();
    let drill = &history[0];
    assert_eq!((&drill["ok"], &drill["queries"], history.len()), (&true.into(), &2.into(), 1));
    assert_eq!(drill["name"], Path::new(&stage.backup).file_name().unwrap().to_str().unwrap());
    assert!(drill["restore_seconds"].as_f64().unwrap() > 0.0);
    // and the program says the same again, for other programs
    let ran = stage.drill(&[&stage.backup, "--json", "-q"]).exits(0);
    let object: Value = serde_json::from_str(ran.line()).unwrap();
    assert_eq!((&object["verdict"], &object["drill"]["ok"]), (&"ok".into(), &true.into()));
}

#[test]
fn the_live_server_is_not_touched_whatever_leads_there() {
    let stage = Stage::new(&[]);
    let before = stage.server.everything();
    let host = stage.server.host();
    let env = format!("PG_VIA=env\nPGHOST={0}\nDATABASE_URL=postgresql:///shop?host={0}\n", host.display());
    fs::write(stage.server.home().join(".env"), env).unwrap();
    let mut command = stage.validate(&["--drill", &stage.backup]);
    command.env("PG_VIA", "env").env("PGHOSTADDR", "127.0.0.1").env("PGSERVICE", "nowhere");
    command.env("DATABASE_URL", format!("postgresql:///shop?host={}", host.display()));
    run(&mut command).exits(0);
    assert_eq!(stage.server.everything(), before);
}

#[test]
fn another_answer_is_no_proof() {
    let stage = Stage::new(&["-d", "shop"]);
    let ask = |sql: &str, answer: &str| stage.drill(&[&stage.backup, "--query", sql, "--expect", answer]);
    ask("SELECT count(*) FROM people", "6").exits(1).says("answers '5', not '6'");
    ask("SELECT nonsense", "6").exits(1).says("column \"nonsense\" does not exist");
    ask("DELETE FROM grades", "").exits(1).says("read-only transaction");
    // a file of queries is held to the same: one statement, and nothing that psql would run
    for query in ["COMMIT; DELETE FROM grades", "SELECT 1 \\! touch pwned"] {
        fs::write(stage.server.home().join("q"), query).unwrap();
        stage.drill(&[&stage.backup, "--queries", "q"]).exits(2).says("--queries: in 'q' ");
    }
    assert!(!stage.server.home().join("pwned").exists());
    // the file is what it was: it was checked before
    assert_eq!(stage.manifest()["verified"]["ok"], true);
    assert_eq!(stage.history().iter().filter(|drill| drill["ok"] == false).count(), 3);
}

#[test]
fn an_invalid_index_is_found() {
    let stage = Stage::new(&["-d", "shop"]);
    let sql = "CREATE TABLE part (id int) PARTITION BY RANGE (id); CREATE TABLE part1 PARTITION OF part \
        FOR VALUES FROM (0) TO (9); CREATE INDEX part_id ON part (id)";
    stage.server.sql("shop", sql);
    let without = |dump: String| {
        let kept: Vec<&str> =
            dump.lines().filter(|l| !l.contains("ATTACH PARTITION public.part1_id")).collect();
        kept.join("\n") + "\n"
    };
    stage.drill_changed(&[], without).exits(1).says("index part_id is invalid");
}

#[test]
fn rows_that_differ_are_found() {
    let stage = Stage::new(&["-d", "shop"]);
    // a trigger that is there before the rows changes one of them on its way in
    let trigger = "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;\n\
        CREATE TRIGGER t BEFORE INSERT ON public.people FOR EACH ROW EXECUTE FUNCTION public.f();\n";
    let before =
        |dump: String| dump.replacen("COPY public.people", &format!("{trigger}COPY public.people"), 1);
    stage
        .drill_changed(&["--force", "guard"], before)
        .exits(1)
        .says("differ from those of the dump: public.people");
}

#[test]
fn a_constraint_that_its_rows_break_is_found() {
    let stage = Stage::new(&["-d", "shop"]);
    // made before the rows, and not looked at while they came
    let key = "ALTER TABLE ONLY public.people\n    ADD CONSTRAINT people_pkey PRIMARY KEY (id);\n";
    let foreign = "ALTER TABLE ONLY public.grades\n    ADD CONSTRAINT grades_person_fkey FOREIGN KEY (person) \
        REFERENCES public.people(id);\n";
    let rows = "COPY public.grades";
    let ran = stage.drill_changed(&["-j", "1"], |dump| {
        let dump = [key, foreign].iter().fold(dump, |dump, part| dump.replacen(part, "", 1));
        let early = format!("{key}{foreign}SET session_replication_role = replica;\n{rows}");
        dump.replacen(rows, &early, 1).replacen("1\t2\t0.1\n", "1\t77\t0.1\n", 1)
    });
    ran.exits(1).says("constraint grades_person_fkey of public.grades does not hold");
}

#[test]
fn what_a_kill_leaves_is_swept_by_the_next_drill() {
    let stage = Stage::new(&["-d", "shop"]);
    let (mut child, postmaster) = stage.until_it_runs();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(runs(postmaster), "it outlives a kill; else there is nothing to sweep");
    stage.drill(&[&stage.backup]).exits(0).says("left by a drill that was killed");
    wait_until("the server of the killed drill has ended", || !runs(postmaster));
}

#[test]
fn a_signal_ends_a_drill_and_nothing_is_left() {
    let stage = Stage::new(&["-d", "shop"]);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        if lab::is_ignored(signal) {
            continue;
        }
        let (child, postmaster) = stage.until_it_runs();
        kill_process(Pid::from_child(&child), signal).unwrap();
        lab::end(child).exits(5).says("interrupted by SIG");
        assert_eq!(names(&stage.temp()), [""; 0]);
        assert!(!runs(postmaster));
    }
}

#[test]
fn two_drills_at_once_do_not_meet() {
    let stage = Stage::new(&["-d", "shop"]);
    let start = || {
        let mut command = stage.validate(&["--drill", &stage.backup]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [start(), start()] {
        lab::end(child).exits(0);
    }
    assert_eq!(names(&stage.temp()), [""; 0]);
    assert_eq!(stage.history().len(), 2);
}

#[test]
fn an_ordinary_user_drills_too() {
    let stage = Stage::new(&["-d", "shop"]);
    // the user who runs the server may not see our programs, nor the backups
    let owner = fs::metadata(stage.server.data()).unwrap();
    let home = stage.temp().join("his");
    fs::create_dir(&home).unwrap();
    for name in ["backup-validate", "pgdump-restore"] {
        fs::copy(lab::tool(name, &home).get_program(), home.join(name)).unwrap();
    }
    fs::copy(stage.server.home().join(&stage.backup), home.join("a.sql.gz")).unwrap();
    for path in [&home, &home.join("a.sql.gz")] {
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let mut command = Command::new(home.join("backup-validate"));
    command.current_dir(&home).env("HOME", &home).env("TMPDIR", &home).env("LC_ALL", "C.UTF-8");
    command.args(["--drill", "a.sql.gz"]).stdin(Stdio::null());
    if rustix::process::getuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    run(&mut command).exits(0).says("no manifest");
    assert_eq!(names(&home), ["a.sql.gz", "backup-validate", "pgdump-restore"]);
}

#[test]
fn a_full_disk_is_temporary_and_left_clean() {
    let stage = Stage::new(&["-d", "shop"]);
    stage
        .server
        .sql("shop", "CREATE TABLE much AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 40000) n");
    let backup = stage.server.rotate(&["-d", "shop"]).exits(0).line().to_owned();
    // too small for a server, and for what is restored
    for (size, why) in [(8, "No space left on device"), (56, "disk has ")] {
        let mut mount = Command::new("mount");
        let options = format!("size={size}m,mode=755");
        if run(mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(stage.temp())).code != 0 {
            println!("nobody may mount a small disk here: a drill on a full one is not tested");
            return;
        }
        let ran = run(&mut stage.validate(&["--drill", &backup]));
        let left = names(&stage.temp());
        run(Command::new("umount").arg(stage.temp())).exits(0);
        let ran = ran.exits(5).says("unproven ").says(why).says("that TMPDIR names");
        assert!(!ran.err.contains("--force"), "{}", ran.err);
        assert_eq!(left, [""; 0]);
    }
    assert_eq!(stage.history(), [Value::Null; 0]);
}

#[test]
fn a_server_that_is_killed_says_nothing_about_the_backup() {
    let stage = Stage::new(&["-d", "shop"]);
    let (child, postmaster) = stage.until_it_runs();
    kill_process(postmaster, Signal::KILL).unwrap();
    let ran = lab::end(child).exits(5).says("unproven ");
    assert!(!ran.err.contains("as it was") && !ran.err.contains("Left over"), "{}", ran.err);
    assert_eq!(names(&stage.temp()), [""; 0]);
    assert_eq!(stage.history(), [Value::Null; 0]);
}

#[test]
fn a_dump_that_reaches_beyond_its_database_is_drilled_where_it_is_trusted() {
    let stage = Stage::new(&["-d", "shop"]);
    stage.server.sql("shop", "CREATE EXTENSION dblink");
    let backup = stage.server.rotate(&["-d", "shop"]).exits(0).line().to_owned();
    let ran = stage.drill(&[&backup]).exits(4).says("unproven ").says("not drilled: the dump holds dblink");
    ran.says("--force=guard lifts this.");
    stage.drill(&[&backup, "--force=guard"]).exits(0).says("and proven in ");
}

#[test]
fn what_is_damaged_is_not_drilled() {
    let stage = Stage::new(&["-d", "shop"]);
    let path = stage.server.home().join(&stage.backup);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ran = stage.drill(&[&stage.backup]).exits(1);
    assert!(!ran.err.contains("drill of"), "{}", ran.err);
    assert_eq!(stage.manifest()["verified"]["ok"], false);
}

#[test]
fn what_this_machine_lacks_is_no_failed_restore() {
    let stage = Stage::new(&["-d", "shop"]);
    // a relative path leads where the drill stands, not where its server does
    let drill = |temp: &str| run(stage.validate(&["--drill", &stage.backup]).env("TMPDIR", temp));
    drill("t").exits(0).says("and proven in ");
    assert_eq!(stage.history().len(), 1);
    drill("nowhere").exits(4).says("cannot list '").says("hint: It is made in the folder that TMPDIR names");
    if rustix::process::getuid().is_root() {
        // whoever runs the server may not enter
        fs::set_permissions(stage.temp(), fs::Permissions::from_mode(0o700)).unwrap();
        drill("t").exits(4).says("not drilled: cannot ");
    }
    assert_eq!(stage.history().len(), 1, "what was not held is no drill");
    assert_eq!(names(&stage.temp()), [""; 0]);
}

#[test]
fn a_signal_while_programs_are_looked_for_is_no_lack_of_them() {
    let dir = tempfile::tempdir().unwrap();
    // the first that is asked for its version takes its time
    for name in ["psql", "pg_dumpall", "pg_restore", "pg_dump"] {
        let path = dir.path().join(name);
        fs::write(&path, "#!/bin/sh\n: > \"$0.asked\"\nexec sleep 60\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = lab::tool("backup-validate", dir.path());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = [dir.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
    command.args(["--drill", "any.sql"]).env("PATH", std::env::join_paths(dirs).unwrap());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("a version is asked for", || dir.path().join("pg_dump.asked").exists());
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    lab::end(child).exits(5).says("interrupted by SIGTERM");
}

#[test]
fn a_name_with_the_separators_of_lists_is_a_name() {
    let server = Server::start();
    let name = "a\u{1e}b\u{1f}c\u{1f}\u{1e}d";
    server.make(name);
    let backup = server.rotate(&["-q"]).exits(0).line().to_owned();
    let answered = ["-d", name, "--query", "SELECT count(*) FROM grades", "--expect", "500"];
    let ran = run(server.tool("backup-validate").args(["--drill", &backup]).args(answered)).exits(0);
    assert_eq!(ran.line(), backup);
}

#[test]
fn a_query_is_put_to_the_database_it_is_meant_for() {
    let stage = Stage::new(&["-d", "shop"]);
    stage.server.sql("postgres", "CREATE DATABASE two");
    let all = stage.server.rotate(&[]).exits(0).line().to_owned();
    // of several databases one must be named, which is known before anything is read
    let ran = stage.drill(&[&all, "--query", "SELECT 1"]).exits(2).says("there are several databases to ask");
    assert!(ran.out.is_empty() && !ran.err.contains("drill of"), "{}", ran.err);
    // the backup of another database is not concerned
    let ran = stage.drill(&[&stage.backup, &all, "-d", "two", "--query", "SELECT 1", "--json"]).exits(0);
    let ran = ran.says("not asked: it holds no database 'two'");
    let asked: Vec<Value> = ran.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&asked[0]["drill"]["queries"], &asked[1]["drill"]["queries"]), (&0.into(), &1.into()));
    let ran = stage.drill(&[&stage.backup, "-d", "two", "--query", "SELECT 1"]).exits(1);
    ran.says("no backup holds database 'two'");
}

#[test]
fn rows_without_tables_are_not_drilled() {
    let stage = Stage::new(&["-d", "shop"]);
    let rows = run(stage.server.client("pg_dump").args(["-w", "-a", "-d", "shop"])).exits(0).out;
    fs::write(stage.server.home().join("rows.sql"), rows).unwrap();
    let ran = stage.drill(&["rows.sql"]).exits(4).says("unproven ").says("rows without the tables");
    assert!(!ran.err.contains("--data-only"), "{}", ran.err);
}
