//! Archives written byte by byte: of every version, and wrong where a test wants them wrong.
#![allow(clippy::unwrap_used)]

use std::io::Write;

/// What an archive is like.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) minor: u8,
    pub(crate) int_bytes: u8,
    pub(crate) offset_bytes: u8,
    /// 0 none, 1 gzip, 2 lz4, 3 zstd.
    pub(crate) compression: u8,
    /// Whether the table of contents tells where the data are.
    pub(crate) offsets: bool,
    /// Whether the data stand in the opposite order.
    pub(crate) reversed: bool,
}

impl Shape {
    pub(crate) fn version(minor: u8) -> Shape {
        let compression = u8::from(minor < 2);
        Shape { minor, int_bytes: 4, offset_bytes: 8, compression, offsets: true, reversed: false }
    }

    pub(crate) fn int(self, value: i64) -> Vec<u8> {
        let mut bytes = if self.minor > 0 { vec![u8::from(value < 0)] } else { Vec::new() };
        // 1.0 has no byte for the sign
        let magnitude = if self.minor > 0 { value.unsigned_abs().to_le_bytes() } else { value.to_le_bytes() };
        bytes.extend((0..usize::from(self.int_bytes)).map(|n| magnitude.get(n).copied().unwrap_or(0)));
        bytes
    }

    pub(crate) fn text(self, text: Option<&str>) -> Vec<u8> {
        let length = text.map_or(-1, |text| text.len() as i64);
        [self.int(length), text.unwrap_or_default().as_bytes().to_vec()].concat()
    }

    /// All up to the number of entries.
    pub(crate) fn header(self) -> Vec<u8> {
        let mut bytes = [b"PGDMP".as_slice(), &[1, self.minor]].concat();
        bytes.extend((self.minor > 0).then_some(0));
        bytes.push(self.int_bytes);
        bytes.extend((self.minor >= 7).then_some(self.offset_bytes));
        bytes.push(1);
        match self.minor {
            15.. => bytes.push(self.compression),
            4.. => bytes.extend(self.int(if self.compression == 1 { -1 } else { 0 })),
            2.. => bytes.push(self.compression),
            _ => {}
        }
        if self.minor >= 4 {
            bytes.extend([1, 2, 3, 4, 5, 100, 0].iter().flat_map(|field| self.int(*field)));
            bytes.extend(self.text(Some("shop")));
        }
        if self.minor >= 10 {
            bytes.extend(["12.3", "12.4"].iter().flat_map(|version| self.text(Some(version))));
        }
        bytes
    }

    /// One entry of the custom format; its data at `offset`.
    pub(crate) fn entry(self, entry: &Made, offset: u64) -> Vec<u8> {
        [self.common(entry), self.place(entry, offset)].concat()
    }

    /// One entry of a tar or a folder; its data in a file.
    pub(crate) fn filed(self, entry: &Made, file: &str) -> Vec<u8> {
        [self.common(entry), self.text(Some(file))].concat()
    }

    fn common(self, entry: &Made) -> Vec<u8> {
        let since = |minor: u8, bytes: Vec<u8>| if self.minor >= minor { bytes } else { Vec::new() };
        let section = match entry.desc {
            "TABLE DATA" | "BLOBS" => 3,
            "INDEX" => 4,
            "ACL" => 1,
            _ => 2,
        };
        let dependencies = entry.dependencies.iter().flat_map(|id| self.text(Some(&id.to_string())));
        [
            self.int(entry.id),
            self.int(i64::from(!entry.data.is_empty())),
            since(8, self.text(Some("1259"))),
            self.text(Some("16384")),
            self.text(Some(entry.tag)),
            self.text(Some(entry.desc)),
            since(11, self.int(section)),
            self.text(Some(entry.defn)),
            self.text(Some(entry.drop)),
            since(3, self.text(Some(entry.copy))),
            since(6, self.text(entry.schema)),
            since(10, self.text(Some(""))),
            since(14, self.text((entry.desc == "TABLE").then_some("heap"))),
            since(16, self.int(entry.relkind.into())),
            self.text(Some("o\nwner")),
            since(9, self.text(Some("false"))),
            since(5, dependencies.chain(self.text(None)).collect()),
        ]
        .concat()
    }

    fn place(self, entry: &Made, offset: u64) -> Vec<u8> {
        let state = if entry.data.is_empty() { 3 } else { 1 + u8::from(self.offsets) };
        let place = offset.to_le_bytes();
        let place = (0..usize::from(self.offset_bytes)).map(|n| place.get(n).copied().unwrap_or(0));
        let old_place = match state {
            3 => 0,
            2 => offset as i64,
            _ => -1,
        };
        if self.minor >= 7 {
            [state].into_iter().chain(place).collect()
        } else {
            [self.int(old_place), self.int(0)].concat()
        }
    }

    /// The `toc.dat` of a tar or a folder.
    pub(crate) fn toc(self, entries: &[(Made, &str)]) -> Vec<u8> {
        let filed = entries.iter().flat_map(|(entry, file)| self.filed(entry, file));
        let mut bytes: Vec<u8> =
            self.header().into_iter().chain(self.int(entries.len() as i64)).chain(filed).collect();
        // that of a folder calls itself tar, too
        bytes[10] = 3;
        bytes
    }

    pub(crate) fn packed(self, raw: &[u8]) -> Vec<u8> {
        match self.compression {
            0 => raw.to_vec(),
            1 => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(raw).unwrap();
                encoder.finish().unwrap()
            }
            2 => {
                // as LZ4F_compressBegin without preferences: linked blocks of 64 KiB
                let mut info = lz4_flex::frame::FrameInfo::new();
                info.block_mode = lz4_flex::frame::BlockMode::Linked;
                info.block_size = lz4_flex::frame::BlockSize::Max64KB;
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(raw).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::encode_all(raw, 3).unwrap(),
        }
    }

    /// `[length][bytes]` of some size, and 0.
    pub(crate) fn chunks(self, packed: &[u8]) -> Vec<u8> {
        let chunks =
            packed.chunks(4096).flat_map(|chunk| [self.int(chunk.len() as i64), chunk.to_vec()].concat());
        chunks.chain(self.int(0)).collect()
    }

    fn block(self, entry: &Made) -> Vec<u8> {
        let kind = if entry.desc == "BLOBS" { 3 } else { 1 };
        let mut bytes = if self.minor >= 3 { vec![kind] } else { Vec::new() };
        bytes.extend(self.int(entry.id));
        if kind == 1 {
            bytes.extend(self.chunks(&self.packed(&entry.data[0].1)));
            return bytes;
        }
        for (oid, object) in &entry.data {
            bytes.extend(self.int((*oid as i32).into()));
            bytes.extend(self.chunks(&self.packed(object)));
        }
        [bytes, self.int(0)].concat()
    }

    /// A whole archive.
    pub(crate) fn archive(self, entries: &[Made]) -> Vec<u8> {
        let head = [self.header(), self.int(entries.len() as i64)].concat();
        let length: usize = entries.iter().map(|entry| self.entry(entry, 0).len()).sum();
        let mut filled: Vec<&Made> = entries.iter().filter(|entry| !entry.data.is_empty()).collect();
        if self.reversed {
            filled.reverse();
        }
        let (mut data, mut places) = (Vec::new(), std::collections::HashMap::new());
        for entry in filled {
            places.insert(entry.id, (head.len() + length + data.len()) as u64);
            data.extend(self.block(entry));
        }
        let contents =
            entries.iter().flat_map(|entry| self.entry(entry, places.get(&entry.id).copied().unwrap_or(0)));
        head.into_iter().chain(contents).chain(data).collect()
    }
}

/// A tar of files, with the two blocks of zeros at its end.
pub(crate) fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, contents) in files {
        bytes.extend(tar_head(name, format!("{:011o} ", contents.len()).as_bytes()));
        bytes.extend(contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// The head of a tar's member; `size` is 12 bytes.
pub(crate) fn tar_head(name: &str, size: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[124..136].copy_from_slice(size);
    head[148..156].fill(b' ');
    head[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

/// An entry to write.
#[derive(Clone, Default)]
pub(crate) struct Made {
    pub(crate) id: i64,
    pub(crate) tag: &'static str,
    pub(crate) desc: &'static str,
    pub(crate) defn: &'static str,
    pub(crate) drop: &'static str,
    pub(crate) copy: &'static str,
    pub(crate) schema: Option<&'static str>,
    pub(crate) relkind: u8,
    pub(crate) dependencies: Vec<i64>,
    /// Large objects by OID; a table's rows without one.
    pub(crate) data: Vec<(u32, Vec<u8>)>,
}

/// Rows of COPY, with their end.
pub(crate) fn rows(count: u64) -> Vec<u8> {
    let rows = (0..count).flat_map(|n| format!("{n}\t{}\n", n.wrapping_mul(2_654_435_761)).into_bytes());
    rows.chain(*b"\\.\n\n\n").collect()
}

/// Two tables, two large objects, an index, a grant.
pub(crate) fn shop(minor: u8) -> Vec<Made> {
    let set = |id, desc, defn| Made { id, tag: desc, desc, defn, ..Made::default() };
    let table = |id, tag, defn, drop| Made {
        id,
        tag,
        desc: "TABLE",
        defn,
        drop,
        schema: Some("from"),
        relkind: b'r',
        ..Made::default()
    };
    let data = |id, tag, copy, count| Made {
        id,
        tag,
        desc: "TABLE DATA",
        copy,
        schema: Some("from"),
        dependencies: vec![id - 2],
        data: vec![(0, rows(count))],
        ..Made::default()
    };
    let objects = vec![(4_000_000_000, rows(1500)), (17, Vec::new()), (18, b"\0\xff".repeat(16384))];
    let mut entries = vec![
        set(1, "ENCODING", "SET client_encoding = 'LATIN1';\n"),
        set(2, "STDSTRINGS", "SET standard_conforming_strings = 'on';\n"),
        table(3, "a", "CREATE TABLE a (x int, y int);\n", "DROP TABLE a;\n"),
        table(4, "\"odd\r\nname", "CREATE TABLE \"\"\"odd\" (x int, y int);\n", "DROP …;\n"),
        data(5, "a", "COPY a (x, y) FROM stdin;\n", 2_000),
        data(6, "\"odd\r\nname", "COPY odd (x, y) FROM stdin;\n", 3),
    ];
    if minor >= 16 {
        let metadata = Made {
            id: 7,
            tag: "17..4000000000",
            desc: "BLOB METADATA",
            defn: "4000000000\n17\n18\n",
            drop: "LARGE OBJECTS",
            ..Made::default()
        };
        let grants = Made {
            id: 9,
            tag: "LARGE OBJECTS 17..4000000000",
            desc: "ACL",
            defn: "GRANT ALL ON LARGE OBJECT 17 TO \"LARGE OBJECT ;\";\nREVOKE ALL ON LARGE OBJECT 17 FROM x;\n",
            dependencies: vec![7],
            ..Made::default()
        };
        entries.extend([metadata, grants]);
    } else if minor >= 12 {
        let oids = [(7, "4000000000"), (9, "17"), (10, "18")];
        entries.extend(oids.map(|(id, tag)| Made {
            drop: "DROP",
            tag,
            ..set(id, "BLOB", "SELECT lo_create(1);\n")
        }));
    }
    // blocks of large objects came with 1.3
    if minor >= 3 {
        entries.push(Made { id: 8, tag: "BLOBS", desc: "BLOBS", data: objects, ..Made::default() });
    }
    entries.push(Made {
        id: 20,
        tag: "i",
        desc: "INDEX",
        defn: "CREATE INDEX i ON a (x);\n",
        ..Made::default()
    });
    entries
}
