//! Memory, whatever the size of the data.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::stage::Stage;

/// Below which all programs stay, KiB.
const MOST: u64 = 64 << 10;

/// Runs it to its end; the most memory that it had, KiB.
#[track_caller]
fn peak(command: &mut Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |l| l.trim().trim_end_matches(" kB").parse().unwrap());
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn stays_small_with_large_files_and_with_many() {
    let stage = Stage::new();
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    })
    .take(120 << 20)
    .collect();
    stage.write("data/noise", noise);
    stage.write("data/zeros", vec![0; 200 << 20]);
    for n in 0..2_000 {
        fs::write(stage.path(&format!("data/{n}-{}", "n".repeat(200))), "").unwrap();
    }
    for codec in ["gzip", "zstd", "none"] {
        let _ = fs::remove_dir_all(stage.path("out"));
        let made = peak(&mut stage.tool("volsnap", &["dir:data", "-q", "--compress", codec]));
        let back = peak(&mut stage.tool("volrestore", &["--latest", "-q", "--into", "out"]));
        assert!(made > 0 && made < MOST, "volsnap with {codec}: {made} KiB");
        assert!(back > 0 && back < MOST, "volrestore with {codec}: {back} KiB");
    }
}
