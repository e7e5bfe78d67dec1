//! What is no dump, or has layouts of its own: Redis, archives in tar and in folders.

use std::fs;

use super::table::{Table, place};
use crate::lab::{Server, names, run};

/// A snapshot of Redis as its server writes it.
fn rdb(checksum: bool) -> Vec<u8> {
    let mut bytes = b"REDIS0011\xfa\x09redis-ver\x057.0.0\xfe\x00\xfb\x02\x00".to_vec();
    for n in 0..60 {
        let (key, value) = (format!("key:{n:04}"), format!("value of {n}"));
        bytes.push(0);
        for text in [key, value] {
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
    }
    bytes.push(0xff);
    // bit by bit, as the polynomial is defined
    let crc = bytes.iter().fold(0_u64, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 }
        })
    });
    bytes.extend(if checksum { crc } else { 0 }.to_le_bytes());
    bytes
}

#[test]
fn a_snapshot_of_redis_is_proven_by_its_checksum() {
    let damaged = |checksum: bool| {
        let place = place();
        let path = place.path().join("redis_20251127_143022.rdb");
        fs::write(&path, rdb(checksum)).unwrap();
        let mut table = Table::of(place, &path);
        table.flip("bit", 0..table.file.len());
        for cut in 1..table.file.len() {
            table.case("cut", |file| file.truncate(cut));
        }
        table.judge()
    };
    let judged = damaged(true);
    judged.tell("Redis");
    assert_eq!(judged.missed(), []);
    // without it only header and end are there to be looked at, and that is a warning
    let judged = damaged(false);
    judged.tell("Redis, no checksum");
    assert_eq!(judged.missed(), [("bit", 3999)]);
}

#[test]
fn what_is_cut_out_of_a_tar_archive_or_a_folder_is_seen() {
    let server = Server::start();
    server.make("shop");
    let dump = |args: &[&str]| run(server.client("pg_dump").args(["-w", "-d", "shop"]).args(args)).exits(0);
    dump(&["-Ft", "-f", "a.tar"]);
    let mut table = Table::of(place(), &server.home().join("a.tar"));
    for block in 1..table.file.len() / 512 {
        table.case("cut", |file| file.truncate(block * 512));
        table.case("cut", |file| file.truncate(block * 512 - 100));
    }
    let heads: Vec<usize> = (0..table.file.len())
        .step_by(512)
        .filter(|at| table.file[at + 257..].starts_with(b"ustar"))
        .collect();
    for span in heads.windows(2) {
        table.case("entry lost", |file| _ = file.drain(span[0]..span[1]));
        table.case("entry doubled", |file| {
            let entry = file[span[0]..span[1]].to_vec();
            file.splice(span[1]..span[1], entry);
        });
    }
    table.flip("bit of a head", heads.iter().flat_map(|head| (0..12).map(move |n| head + n * 13)));
    let judged = table.judge();
    judged.tell("tar, no manifest");
    // of two of one name the first is read, as pg_restore does
    assert_eq!(judged.missed(), [("entry doubled", 3)]);

    dump(&["-Fd", "-f", "folder"]);
    let folder = server.home().join("folder");
    let validate = || run(server.tool("backup-validate").arg("folder"));
    validate().exits(0).says("warn folder: it has no manifest");
    for name in names(&folder) {
        let path = folder.join(&name);
        let good = fs::read(&path).unwrap();
        for cut in [0, 1, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..cut]).unwrap();
            validate().exits(1);
        }
        fs::remove_file(&path).unwrap();
        validate().exits(1);
        fs::write(&path, good).unwrap();
    }
    validate().exits(0);
}
