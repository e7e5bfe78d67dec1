//! Restores and disks: one that fills up midway, and bytes that are not what they were.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use crate::beside::{Was, rows};
use crate::lab::{Server, run};
use crate::stage::{back_up, beside};

/// A small disk that the server can see, until it is dropped.
struct Small(PathBuf);

impl Small {
    /// `None` where nobody may mount one.
    fn mount(server: &Server, size: &str) -> Option<Small> {
        let path = server.host().join("small");
        fs::create_dir(&path).unwrap();
        let option = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(&path).output();
        if !mounted.unwrap().status.success() {
            return None;
        }
        let small = Small(path);
        // it belongs to whoever runs the server
        let owner = fs::metadata(server.data()).unwrap();
        use std::os::unix::fs::MetadataExt;
        chown(&small.0, Some(owner.uid()), Some(owner.gid())).unwrap();
        Some(small)
    }

    fn grow(&self, size: &str) {
        let option = format!("remount,size={size}");
        run(Command::new("mount").args(["-o", &option]).arg(&self.0)).exits(0);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_fills_up_midway() {
    let server = Server::start();
    let Some(small) = Small::mount(&server, "24m") else {
        eprintln!("nobody may mount a small disk here: what happens on a full one is not tested");
        return;
    };
    server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", small.0.display()));
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE pages AS SELECT n, md5(n::text) || md5(n::text) AS t FROM generate_series(1, 90000) n",
    );
    server.sql("shop", "CREATE INDEX pages_t ON pages (t)");
    let backup = back_up(&server, &["-d", "shop"]);
    server.sql("shop", "DROP TABLE pages; DELETE FROM grades WHERE id > 7");
    server.sql("postgres", "ALTER DATABASE shop SET TABLESPACE small");
    let was = Was::of(&server);
    for jobs in ["1", "3"] {
        let args = [backup.to_str().unwrap(), "--yes", "--no-safety", "-j", jobs];
        let ran = server.restore(&args).exits(5).says("No space left on device");
        assert!(ran.err.contains("Every database is as it was."), "{}", ran.err);
        was.still(&server);
    }
    small.grow("99m");
    server.restore(&[backup.to_str().unwrap(), "--yes", "--no-safety"]).exits(0);
    assert_eq!(
        (rows(&server, "shop"), server.sql("shop", "SELECT count(*) FROM pages")),
        ("500".into(), "90000".into())
    );
}

#[test]
fn a_frame_that_is_damaged_in_the_middle() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE pages AS SELECT n, md5(n::text) || md5(n::text) AS t FROM generate_series(1, 40000) n",
    );
    for (codec, jobs) in [("gzip", "1"), ("zstd", "3")] {
        let backup = back_up(&server, &["-d", "shop", "--compress", codec]);
        let file = backup.to_str().unwrap();
        let was = Was::of(&server);
        let whole = fs::read(&backup).unwrap();
        assert!(whole.len() > 1 << 20, "{}", whole.len());
        // its manifest knows where frames begin; without it the file is one stream
        for manifest in [true, false] {
            if !manifest {
                fs::remove_file(beside(&backup)).unwrap();
            }
            let mut bytes = whole.clone();
            let middle = bytes.len() / 2;
            bytes[middle..middle + 64].fill(0xa5);
            fs::write(&backup, &bytes).unwrap();
            let args = [file, "-d", "shop", "--swap", "--yes", "-j", jobs, "--stop", "touch stopped"];
            let ran = server.restore(&args).exits(1);
            assert!(ran.err.contains(file) && ran.out.is_empty(), "{}", ran.err);
            was.still(&server);
        }
        assert!(!server.home().join("stopped").exists());
        fs::write(&backup, &whole).unwrap();
        server.restore(&[file, "-d", "shop", "-D", "--yes", "--no-safety"]).exits(0);
        was.again(&server);
    }
}
