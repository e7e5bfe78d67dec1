//! The damage table: good backups, damaged in every way that disks, copies and people know, and how many
//! of these go unseen. None, where there is a manifest; where there is none, as many as is stated.

mod others;
mod table;
mod ways;

use crate::lab::Server;

pub(crate) use table::dump;

use table::{Table, place, seal};
use ways::{compressed, gzip, plain, uncompressed, zstd};

#[test]
fn nothing_is_missed_where_there_is_a_manifest() {
    let mut all = (0, 0);
    for (codec, pack) in [("gzip", &gzip as &dyn Fn(&str) -> Vec<u8>), ("zstd", &zstd), ("none", &plain)] {
        let mut table = if codec == "none" { uncompressed() } else { compressed(codec) };
        table.manifests();
        table.forgeries(pack);
        let judged = table.judge();
        let sum = judged.tell(&format!("{codec}, with a manifest"));
        all = (all.0 + sum.0, all.1 + sum.1);
    }
    println!("{} damaged backups with a manifest, {} missed", all.0, all.1);
    assert_eq!(all.1, 0);
    assert!(all.0 >= 2_000, "{}", all.0);
}

#[test]
fn nothing_is_missed_in_an_archive_with_a_manifest() {
    let server = Server::start();
    server.make("shop");
    let made = || {
        let path = server.rotate(&["-d", "shop", "--format", "custom"]).exits(0).line().to_owned();
        Table::of(place(), &server.home().join(path))
    };
    let mut archive = made();
    server.sql("shop", "DELETE FROM grades WHERE id = 7");
    let other = made();
    archive.flip("bit", (0..archive.file.len()).step_by(archive.file.len() / 150 + 1));
    for step in 0..60 {
        archive.case("cut", |file| file.truncate(1 + file.len() * step / 60));
    }
    archive.manifests();
    // that of another backup, under this name
    let sidecar = other.manifest.replace(&other.name, &archive.name);
    archive.edited("manifest of another", seal(&sidecar));
    archive.edited("manifest of another", other.manifest);
    let judged = archive.judge();
    assert_eq!(judged.tell("custom, with a manifest").1, 0);
}

#[test]
fn without_a_manifest_as_much_is_missed_as_is_stated() {
    for (codec, pack) in [("gzip", gzip as fn(&str) -> Vec<u8>), ("zstd", zstd), ("none", plain)] {
        let table = if codec == "none" {
            uncompressed()
        } else {
            let mut table = compressed(codec);
            table.forgeries(&pack);
            table
        };
        let judged = table.alone().judge();
        judged.tell(&format!("{codec}, no manifest"));
        let stated: Vec<(&str, u64)> = STATED.iter().filter(|s| s.0 == codec).map(|s| (s.1, s.2)).collect();
        assert_eq!(judged.missed(), stated, "{codec}");
    }
}

/// What nobody can see without a manifest: a gzip file's own time and system, pieces that are whole and stand
/// where others stood within rows, and all that is another text. `docs/backup-validate.1` says so.
const STATED: [(&str, &str, u64); 18] = [
    ("gzip", "bit of a head", 76),
    ("gzip", "piece doubled", 3),
    ("gzip", "piece lost", 3),
    ("gzip", "pieces swapped", 3),
    ("gzip", "row changed, forged", 120),
    ("gzip", "row doubled, forged", 120),
    ("gzip", "row lost, forged", 120),
    ("gzip", "statement lost, forged", 4),
    ("none", "bit of a row", 180),
    ("none", "bit of a statement", 177),
    ("zstd", "bit of a head", 4),
    ("zstd", "piece doubled", 3),
    ("zstd", "piece lost", 3),
    ("zstd", "pieces swapped", 3),
    ("zstd", "row changed, forged", 120),
    ("zstd", "row doubled, forged", 120),
    ("zstd", "row lost, forged", 120),
    ("zstd", "statement lost, forged", 4),
];
