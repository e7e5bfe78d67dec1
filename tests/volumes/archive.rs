//! Everything that a file system keeps comes back: by our restore and by tar.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::{fs, iter};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::stage::Stage;

/// A volume with all that is hard.
pub(crate) fn hard() -> Stage {
    let stage = Stage::with_data();
    fs::hard_link(stage.path("data/a"), stage.path("data/sub/hard")).unwrap();
    symlink("sub/b", stage.path("data/soft")).unwrap();
    symlink("../a", stage.path("data/sub/up")).unwrap();
    symlink(format!("{}b", "../data/".repeat(0)), stage.path("data/short")).unwrap();
    symlink("x".repeat(300), stage.path("data/broken")).unwrap();
    let deep: String = iter::repeat_n("directory-with-a-long-name/", 20).collect();
    stage.write(&format!("data/{deep}{}", "f".repeat(255)), "deep");
    stage.write("data/ümlaut und\nNeue Zeile", "odd");
    fs::create_dir(stage.path("data/empty")).unwrap();
    fs::set_permissions(stage.path("data/empty"), fs::Permissions::from_mode(0o1711)).unwrap();
    fs::set_permissions(stage.path("data/sub/b"), fs::Permissions::from_mode(0o440)).unwrap();
    // a hole at the beginning, in the middle, at the end, and nothing but one
    let sparse = fs::File::create(stage.path("data/sparse")).unwrap();
    sparse.set_len(20 << 20).unwrap();
    for n in [1_u64, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18] {
        sparse.write_all_at(&[n as u8; 5000], n << 20).unwrap();
    }
    fs::File::create(stage.path("data/hole")).unwrap().set_len(1 << 20).unwrap();
    stage.write(
        "data/big",
        (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(7).to_le_bytes()).collect::<Vec<_>>(),
    );
    stage
}

#[test]
fn all_of_it_comes_back_by_us_and_by_tar() {
    let stage = hard();
    let before = stage.tree("data");
    let changed = fs::metadata(stage.path("data")).unwrap().modified().unwrap();
    let listener = UnixListener::bind(stage.path("data/socket")).unwrap();
    fs::File::open(stage.path("data")).unwrap().set_modified(changed).unwrap();
    let stamp = stage.stamp();
    drop(listener);
    stage.restore(&[&stamp, "--into", "out"]).exits(0);
    assert_eq!(stage.tree("out/data"), before);
    let numbers = |path: &str| fs::metadata(stage.path(path)).unwrap().ino();
    assert_eq!(numbers("out/data/a"), numbers("out/data/sub/hard"));
    for name in ["sparse", "hole"] {
        let meta = fs::metadata(stage.path(&format!("out/data/{name}"))).unwrap();
        assert!(meta.blocks() * 512 < meta.len() / 10, "{name} takes {} blocks", meta.blocks());
    }
    fs::create_dir(stage.path("tar")).unwrap();
    stage.sh(&format!("tar -xpzf backups/snapshots/{stamp}_data.tar.gz -C tar")).exits(0);
    assert_eq!(stage.tree("tar"), before);
    assert!(stage.read(&format!("backups/snapshots/{stamp}.json")).contains("\"left_out\":[\"socket\"]"));
}

#[test]
fn extended_attributes_come_back() {
    let stage = Stage::with_data();
    let value = b"any\nbytes\0=".as_slice();
    let names = ["user.pgkeep", "user.a=b", "user.100%", "user.%3D%25=", "user.="];
    for (path, name) in ["data/a", "data/sub"].iter().flat_map(|path| names.map(|name| (path, name))) {
        let set = rustix::fs::setxattr(stage.path(path), name, value, rustix::fs::XattrFlags::empty());
        set.expect("/tmp keeps no extended attributes of users: mount one that does");
    }
    let stamp = stage.stamp();
    stage.restore(&["--latest", "--into", "out"]).exits(0);
    let archive = format!("backups/snapshots/{stamp}_data.tar.gz");
    stage.sh(&format!("mkdir tar && tar --xattrs -xpf {archive} -C tar")).exits(0);
    for (root, path) in ["out/data", "tar"].iter().flat_map(|root| ["a", "sub"].map(|path| (root, path))) {
        let path = stage.path(&format!("{root}/{path}"));
        let mut list = vec![0; 4096];
        let n = rustix::fs::listxattr(&path, list.as_mut_slice()).unwrap();
        let list = String::from_utf8_lossy(&list[..n]).into_owned();
        let mut listed: Vec<&str> = list.split('\0').filter(|n| n.starts_with("user.")).collect();
        listed.sort_unstable();
        let mut wanted = names;
        wanted.sort_unstable();
        assert_eq!(listed, wanted, "{}", path.display());
        for name in names {
            let mut got = vec![0; 100];
            let n = rustix::fs::getxattr(&path, name, got.as_mut_slice()).unwrap();
            assert_eq!(&got[..n], value, "{name}");
        }
    }
}

#[test]
fn times_come_back_to_the_nanosecond_also_of_directories_and_links_and_before_1970() {
    let stage = hard();
    symlink("nowhere", stage.path("data/sub/dangling")).unwrap();
    let set = |path: &str, tv_sec, tv_nsec| {
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, stage.path(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    // what is in a directory before the directory
    for (path, seconds, nanoseconds) in [
        ("data/a", -1, 500_000_000),
        ("data/sub/b", -86_400, 0),
        ("data/sub/c", -2_000_000_000, 999_999_999),
        ("data/sparse", 1, 1),
        ("data/sub/up", -1, 1),
        ("data/sub/dangling", 1_234_567_890, 123_456_789),
        ("data/soft", 0, 0),
        ("data/sub", -7, 700_000_000),
        ("data/empty", 1_000_000_000, 10),
        ("data", 2_000_000_000, 999_999_990),
    ] {
        set(path, seconds, nanoseconds);
    }
    let before = stage.tree("data");
    assert!(before[0].contains(" 2000000000.999999990 "), "the file system keeps other times: {}", before[0]);
    let stamp = stage.stamp();
    stage.restore(&[&stamp, "--into", "out"]).exits(0);
    assert_eq!(stage.tree("out/data"), before);
    stage.sh(&format!("mkdir tar && tar -xpf backups/snapshots/{stamp}_data.tar.gz -C tar")).exits(0);
    assert_eq!(stage.tree("tar"), before);
    stage.restore(&[&stamp, "--yes"]).exits(0);
    assert_eq!(stage.tree("data"), before);
}

#[test]
fn numbers_of_owners_are_kept_where_root_restores_them() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let stage = Stage::with_data();
    std::os::unix::fs::chown(stage.path("data/a"), Some(12_345), Some(3_000_000_000)).unwrap();
    std::os::unix::fs::chown(stage.path("data"), Some(77), Some(78)).unwrap();
    let before = stage.tree("data");
    stage.stamp();
    stage.restore(&["--latest", "--into", "out"]).exits(0);
    assert_eq!(stage.tree("out/data"), before);
}

#[test]
fn thousands_of_tiny_files() {
    let stage = Stage::new();
    for n in 0..5_000 {
        let path = format!("data/{}/{n}", n / 500);
        if n % 500 == 0 {
            stage.write(&path, "");
        } else {
            fs::write(stage.path(&path), n.to_string()).unwrap();
        }
    }
    stage.stamp();
    stage.restore(&["--latest", "--into", "out"]).exits(0);
    assert_eq!(stage.tree("out/data"), stage.tree("data"));
}

#[test]
fn a_path_that_no_program_can_open_is_refused_at_once() {
    let stage = Stage::with_data();
    // longer than 4 KB, because it was moved into the depth
    let part = "d".repeat(250);
    let deep = vec![part.as_str(); 15].join("/");
    stage.write(&format!("x/{deep}/f"), "");
    fs::create_dir_all(stage.path(&format!("data/{part}/{part}"))).unwrap();
    fs::rename(stage.path("x"), stage.path(&format!("data/{part}/{part}/x"))).unwrap();
    stage.snap(&["dir:data"]).exits(1).says("file name too long");
    assert!(stage.names("backups/snapshots").is_empty());
}
