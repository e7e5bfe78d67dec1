//! Safety backups: what a restore replaces is backed up before anything is changed.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::PathBuf;

use crate::beside::{Was, rows};
use crate::lab::{Server, names, run, wait_until};
use crate::stage::{back_up, dumps, manifest};

fn shop() -> (Server, String) {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]).to_str().unwrap().to_owned();
    (server, backup)
}

fn safety(server: &Server) -> PathBuf {
    server.home().join("backups/safety")
}

#[test]
fn what_is_replaced_is_backed_up_listed_and_can_be_restored() {
    let (server, backup) = shop();
    server.sql("shop", "DELETE FROM grades WHERE id > 7");
    let was = Was::of(&server);
    let plan = server.restore(&[&backup, "--dry-run"]).exits(0).out;
    assert!(plan.contains("backup  of what is replaced, before"), "{plan}");
    assert!(!safety(&server).exists());
    let ran = server.restore(&[&backup, "--yes", "-D"]).exits(0).says("safety backup: ");
    let made = dumps(&safety(&server));
    assert!(ran.err.contains(&made[0]) && made.len() == 1, "{made:?}: {}", ran.err);
    let record = manifest(&safety(&server).join(&made[0]));
    assert_eq!((record["tag"].as_str(), record["rows"].as_u64()), (Some("pre-restore"), Some(12)));
    let listed = server.restore(&["--list", "-o", "backups/safety"]).exits(0).out;
    assert!(listed.contains(&made[0]) && listed.contains("proven"), "{listed}");
    // it is no backup of the others' series
    server.restore(&["--latest", "--dry-run"]).exits(0);
    assert_eq!(rows(&server, "shop"), "500");
    server.restore(&["-o", "backups/safety", "--latest", "--yes", "-D", "--no-safety"]).exits(0);
    was.again(&server);
}

#[test]
fn of_a_cluster_all_is_backed_up_and_of_a_new_one_the_roles() {
    let server = Server::start();
    for name in ["shop", "blog", "mail"] {
        server.make(name);
    }
    let backup = back_up(&server, &[]);
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    let made = dumps(&safety(&server));
    assert_eq!(manifest(&safety(&server).join(&made[0]))["rows"].as_u64(), Some(3 * 505));
    let empty = Server::start();
    empty.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    let made = dumps(&safety(&empty));
    let record = manifest(&safety(&empty).join(&made[0]));
    assert_eq!((made.len(), record["rows"].as_u64()), (1, Some(0)));
    let only = [backup.to_str().unwrap(), "--only", "mail", "--yes"];
    empty.restore(&only).exits(0);
    let newest = dumps(&safety(&empty)).pop().unwrap();
    assert_eq!(manifest(&safety(&empty).join(newest))["rows"].as_u64(), Some(505));
}

#[test]
fn the_newest_stay_and_none_is_made_where_none_is_wanted() {
    let (server, backup) = shop();
    let mut all = Vec::new();
    for _ in 0..3 {
        server.restore(&[&backup, "--yes", "-D", "--safety-keep", "2"]).exits(0);
        all.extend(dumps(&safety(&server)).pop());
    }
    assert_eq!(dumps(&safety(&server)), all[1..]);
    server.restore(&[&backup, "--yes", "-D", "--no-safety"]).exits(0);
    let plan = server.restore(&[&backup, "--dry-run", "--no-safety"]).exits(0).out;
    assert!(!plan.contains("backup "), "{plan}");
    server.restore(&[&backup, "-d", "copy"]).exits(0);
    assert_eq!(dumps(&safety(&server)), all[1..]);
    server.restore(&[&backup, "--yes", "-D", "--safety-keep", "1"]).exits(0);
    assert_eq!(dumps(&safety(&server)).len(), 1);
}

#[test]
fn a_safety_backup_that_fails_stops_the_restore() {
    let (server, backup) = shop();
    server.sql("shop", "DELETE FROM grades WHERE id > 7");
    let was = Was::of(&server);
    // a file stands where the folder would be
    fs::write(safety(&server), "").unwrap();
    let args = [&backup, "--yes", "--stop", "touch stopped", "--start", "touch started"];
    let ran = server.restore(&args).says("cannot make the safety backup").says("--no-safety");
    assert!(matches!(ran.code, 1 | 5), "{}", ran.err);
    assert_eq!(ran.out, "");
    was.still(&server);
    assert_eq!(names(&server.home()), ["backups"]);
    server.restore(&[&backup, "--yes", "--no-safety"]).exits(0);
    assert_eq!(rows(&server, "shop"), "500");
}

#[test]
fn a_full_disk_under_the_safety_backup_stops_the_restore() {
    let (server, backup) = shop();
    server.sql("shop", "CREATE TABLE pages AS SELECT md5(n::text) FROM generate_series(1, 150000) n");
    let was = Was::of(&server);
    let script = "mkdir -p small && mount -t tmpfs -o size=1m tmpfs small && exec \"$@\"";
    let shares = |how: &str| run(&mut server.shell(&format!("unshare {how} true"))).code == 0;
    let Some(how) = ["-m", "-rm"].into_iter().find(|how| shares(how)) else {
        eprintln!(
            "nobody may mount a small disk here: only the test with a file in the way tells of failing ones"
        );
        return;
    };
    let mut command = server.shell(&format!("exec unshare {how} sh -c \"$@\""));
    command.args([script, "sh"]).arg(server.tool("pgdump-restore").get_program());
    let ran = run(command.args([&backup, "--yes", "-o", "small"])).exits(5);
    ran.says("cannot make the safety backup").says("no space left").says("Nothing was changed");
    was.still(&server);
}

#[test]
fn a_table_that_stays_locked_stops_the_restore_after_a_while() {
    let (server, backup) = shop();
    let mut psql = server.client("psql");
    let lock = "BEGIN; LOCK TABLE grades IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)";
    let holder = crate::stage::start(psql.args(["-Xqd", "shop", "-c", lock]));
    wait_until("it is locked", || crate::beside::sleeping(&server) == 1);
    let before = crate::stage::identities(&server);
    let ran = server.restore(&[&backup, "--yes"]).exits(5).says("cannot make the safety backup");
    assert!(ran.err.contains("timeout") && ran.err.contains("--no-safety"), "{}", ran.err);
    assert_eq!((crate::stage::identities(&server), crate::beside::sleeping(&server)), (before, 1));
    server.restore(&[&backup, "--yes", "--no-safety"]).exits(0);
    crate::lab::end(holder).exits(2);
}

#[test]
fn older_ones_that_stay_after_a_loss_stop_no_restore() {
    let (server, backup) = shop();
    server.make("blog");
    let blog = back_up(&server, &["-d", "blog"]).to_str().unwrap().to_owned();
    let restore = |backup: &str| {
        server.restore(&[backup, "--yes", "-D", "--safety-keep", "1"]).exits(0).says("safety backup: ")
    };
    assert!(!restore(&backup).err.contains("warning"));
    server.sql("shop", "DROP TABLE grades CASCADE; TRUNCATE people");
    // what was there before the loss is worth more than the newest
    let ran =
        restore(&backup).says("safety backup: warning: nothing older is removed").says("0 rows, 505 before");
    assert!(!ran.err.contains("--allow-shrink"), "{}", ran.err);
    assert_eq!((rows(&server, "shop").as_str(), dumps(&safety(&server)).len()), ("500", 2));
    restore(&blog);
    restore(&backup);
    assert_eq!(dumps(&safety(&server)).len(), 2);
}

#[test]
fn a_safety_backup_that_another_makes_is_waited_for_by_the_user() {
    let (server, backup) = shop();
    let was = Was::of(&server);
    fs::create_dir_all(safety(&server)).unwrap();
    let lock = fs::File::create(safety(&server).join(".pgkeep.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let ran = server.restore(&[&backup, "--yes"]).exits(5).says("another run holds it");
    let ran = ran.says("hint: Wait for it to end.").says("Nothing was changed");
    assert!(!ran.err.contains("--"), "{}", ran.err);
    was.still(&server);
}
