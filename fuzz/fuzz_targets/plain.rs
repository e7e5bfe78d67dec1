//! A plain dump of any bytes: read without a panic, and the same however it is cut into chunks.
#![no_main]

use kit::dump::guard::Guard;
use kit::dump::scan::{Facts, Item, Scan};
use libfuzzer_sys::fuzz_target;

fn scanned<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Facts, Vec<Item>) {
    let (mut scan, mut items) = (Scan::default(), Vec::new());
    for chunk in chunks {
        scan.feed(chunk, &mut |item| items.push(item));
    }
    let facts = scan.finish(&mut |item| items.push(item));
    (facts, items)
}

fuzz_target!(|data: &[u8]| {
    let (size, data) = data.split_first().unwrap_or((&0, &[]));
    let (whole, items) = scanned([data]);
    let (cut, pieces) = scanned(data.chunks(usize::from(*size).max(1)));
    assert_eq!(items, pieces);
    assert_eq!((whole.rows, whole.tables, &whole.incomplete), (cut.rows, cut.tables, &cut.incomplete));
    // items follow each other and lie within the dump
    let mut end = 0;
    for item in &items {
        assert!(item.offset >= end && item.offset + item.bytes <= data.len() as u64, "{item:?}");
        end = item.offset + item.bytes;
    }
    let mut guard = Guard::default();
    guard.feed(data, &mut |_| {});
    guard.finish(&mut |_| {});
});
