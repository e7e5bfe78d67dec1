//! Disks that are full or cannot be written, and what a folder may hold that is no backup.

use std::fs;

use crate::{HEAD, Place, dump, is_empty};

/// Runs `script` with a file system of so many KiB on `disk`, in a mount namespace of its own. `None`
/// where that is not possible.
fn on_small_disk(place: &Place, kib: usize, script: &str) -> Option<crate::lab::Ran> {
    fs::create_dir_all(place.path("disk")).unwrap();
    let mount = format!("mount -t tmpfs -o size={kib}k,mode=755 none disk");
    // root has the right by itself; others may have it in a user namespace
    let able = ["-m", "-rm"].into_iter().find(|how| {
        let mut command = place.command("unshare");
        command.args([how, "sh", "-c", &mount]).output().is_ok_and(|o| o.status.success())
    });
    let Some(how) = able else {
        println!("no small file system can be mounted here (unshare, mount): not all is tested");
        return None;
    };
    let mut command = place.command("unshare");
    Some(crate::lab::run(command.args([how, "sh", "-c", &format!("{mount} && {{ {script}\n}}")])))
}

#[test]
fn a_full_disk_is_temporary_and_nothing_is_lost() {
    let place = Place::new();
    fs::write(place.path("large.sql"), dump(100_000)).unwrap();
    let script = "\"$ROTATE\" -q -o disk -- cat dump.sql >one || exit 90
        before=$(ls -A disk; sha256sum disk/*)
        \"$ROTATE\" -o disk --compress none --keep-last 1 -- cat large.sql; code=$?
        \"$ROTATE\" -o disk --compress none --stdin <large.sql >out; [ $? = $code ] || exit 91
        [ ! -s out ] || exit 92
        after=$(ls -A disk; sha256sum disk/*)
        [ \"$before\" = \"$after\" ] || { echo \"$after\" >&2; exit 93; }
        exit $code";
    match on_small_disk(&place, 1024, script) {
        Some(ran) => drop(ran.exits(5).says("no space left on device")),
        None => {
            // what a process may not write is no full disk, and no retry helps
            let limited = format!("trap '' XFSZ; ulimit -f 2000; mkdir -p disk; {script}");
            place.sh(&limited).exits(1).says("file too large");
        }
    }
}

/// The dump fits to the last block; what belongs beside it does not.
#[test]
fn a_disk_that_fills_up_after_the_dump_keeps_no_half_backup() {
    let place = Place::new();
    // 64 blocks: one for the lock, 63 for the dump, none for the digests
    let (head, foot) = (HEAD.len() + 2, crate::FOOT.len() + 1);
    let row = "x".repeat(63 * 4096 - head - foot);
    fs::write(place.path("exact.sql"), format!("{HEAD}1\t{row}\n{}", crate::FOOT)).unwrap();
    assert_eq!(fs::metadata(place.path("exact.sql")).unwrap().len(), 63 * 4096);
    let script =
        "\"$ROTATE\" -o disk --compress none -- cat exact.sql; code=$?; ls -A disk >left; exit $code";
    let Some(ran) = on_small_disk(&place, 256, script) else { return };
    let ran = ran.exits(5).says("no space left on device");
    assert_eq!(fs::read_to_string(place.path("left")).unwrap(), ".pgkeep.lock\n", "{}", ran.err);
}

#[test]
fn a_disk_that_cannot_be_written_is_told() {
    let place = Place::new();
    let script = "mkdir disk/b && mount -t tmpfs -o ro none disk/b && \"$ROTATE\" -o disk/b -- cat dump.sql";
    let Some(ran) = on_small_disk(&place, 256, script) else { return };
    ran.exits(1).says("read-only file system");
}

#[test]
fn a_directory_that_is_a_file_is_told() {
    let place = Place::new();
    fs::write(place.path("backups"), "mine").unwrap();
    place.rotate(&["--", "cat", "dump.sql"]).exits(1).says("'backups'");
    place.rotate(&["-o", "backups/below", "--", "cat", "dump.sql"]).exits(1).says("'backups/below'");
    assert_eq!(fs::read(place.path("backups")).unwrap(), b"mine");
}

#[test]
fn directories_are_made_for_their_owner_alone() {
    let place = Place::new();
    place.sh("umask 022; \"$ROTATE\" -q -o a/b -- cat dump.sql").exits(0);
    let modes = place.sh("stat -c %a a a/b a/b/*").exits(0);
    assert_eq!(modes.lines(), ["700", "700", "600", "600", "600"]);
    // one that is there stays as its user made it
    place.sh("mkdir -m 755 mine; \"$ROTATE\" -q -o mine -- cat dump.sql").exits(0);
    assert_eq!(place.sh("stat -c %a mine").exits(0).out, "755\n");
}

#[test]
fn what_a_crash_left_is_swept_and_what_is_foreign_stays() {
    let place = Place::with_backup();
    let dir = place.path("backups");
    let ours = ["backup_20251127_143022.sql.gz.part", "shop_20251127_143022.sql.part", "SHA256SUMS.part"];
    let foreign = ["film.mkv.part", "notes.sql.part", ".hidden"];
    for name in ours.iter().chain(&foreign) {
        fs::write(dir.join(name), "half").unwrap();
    }
    assert_eq!(place.rotate(&["--list"]).exits(0).lines().len(), 1, "a part file is no backup");
    place.rotate(&["--", "cat", "dump.sql"]).exits(0).says("backup_20251127_143022.sql.gz.part");
    for name in foreign {
        fs::remove_file(dir.join(name)).unwrap();
    }
    place.holds(2);
}

#[test]
fn only_proven_backups_count_and_only_they_are_removed() {
    let place = Place::new();
    for _ in 0..4 {
        place.rotate(&["-q", "--", "cat", "dump.sql"]).exits(0);
    }
    let (dir, dumps) = (place.path("backups"), place.dumps());
    let manifest = |i: usize| dir.join(format!("{}.json", dumps[i]));
    fs::write(manifest(0), "{\"format_version\": 1,").unwrap();
    fs::remove_file(manifest(1)).unwrap();
    fs::write(dir.join(&dumps[2]), "shorter").unwrap();
    let kept = place.rotate(&["--dry-run", "--rotate-only", "--keep-last", "1"]).exits(0).out;
    assert_eq!(kept.matches("\tnot counted: ").count(), 3, "{kept}");
    // the oldest is the only one that counts, and so the newest
    place.rotate(&["--rotate-only", "--keep-last", "1"]).exits(0);
    assert_eq!(place.dumps(), dumps);
    let listed = place.rotate(&["--list"]).exits(0);
    assert_eq!(listed.lines().iter().filter(|l| l.ends_with("\tproven")).count(), 1, "{}", listed.out);
}

#[test]
fn a_link_to_the_newest_never_replaces_a_file() {
    let place = Place::new();
    let backup = ["--latest-link", "newest.sql.gz", "--", "cat", "dump.sql"];
    for _ in 0..2 {
        place.rotate(&backup).exits(0);
        place.sh("zcat backups/newest.sql.gz | cmp - dump.sql").exits(0);
        let link = fs::read_link(place.path("backups/newest.sql.gz")).unwrap();
        assert_eq!(link.to_str().unwrap(), place.dumps()[1], "it is listed once, as a link first");
    }
    place.sh("rm backups/* && echo mine >backups/newest.sql.gz").exits(0);
    place.rotate(&backup).exits(4).says("hint: Move it away");
    assert_eq!(fs::read(place.path("backups/newest.sql.gz")).unwrap(), b"mine\n");
    place.sh("rm backups/newest.sql.gz").exits(0);
    assert!(is_empty(&place.path("backups")), "nothing was made: {:?}", place.names());
}
