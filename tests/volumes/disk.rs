//! A disk that is full: found out before, or without harm in the midst.

use std::fs;

use crate::stage::Stage;

/// A small file system of the test's own, which only root can make.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(stage: &Stage, name: &str, size: &str) -> Option<Small> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let path = stage.path(name);
        fs::create_dir_all(&path).unwrap();
        let made = stage.sh(&format!("mount -t tmpfs -o size={size} tmpfs '{}'", path.display()));
        (made.code == 0).then_some(Small(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Bytes that do not shrink.
fn noise(n: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(n / 8).flatten().collect()
}

#[test]
fn a_snapshot_that_does_not_fit_leaves_nothing_and_services_start() {
    let stage = Stage::with_data();
    stage.write("data/big", noise(8 << 20));
    let Some(small) = Small::mount(&stage, "backups", "4m") else { return };
    let ran = stage.snap(&["dir:data", "--stop", "echo stop >>log", "--start", "echo start >>log"]);
    ran.exits(5).says("no space left");
    assert_eq!(stage.read("log"), "stop\nstart\n");
    assert!(stage.names("backups/snapshots").is_empty());
    drop(small);
}

#[test]
fn a_restore_that_does_not_fit_stops_nothing() {
    let stage = Stage::new();
    let Some(small) = Small::mount(&stage, "disk", "12m") else { return };
    stage.write("disk/data/big", noise(8 << 20));
    stage.snap(&["dir:disk/data"]).exits(0);
    stage.write("disk/data/big", "small");
    stage.write("disk/other", noise(8 << 20));
    stage.restore(&["--latest", "--yes", "--stop", "touch stopped"]).exits(5).says("no room");
    assert!(!stage.there("stopped"));
    assert_eq!(stage.read("disk/data/big"), "small");
    drop(small);
}
