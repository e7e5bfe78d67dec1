//! A statement of any bytes: told apart without a panic, and unchanged where nothing is renamed.
#![no_main]

use kit::dump::columns::Columns;
use kit::dump::{names, object, statement};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = statement::classify(data);
    let _ = statement::connect_target(data);
    let _ = object::describe(data);
    let _ = Columns::of_table(data);
    let _ = Columns::of_copy(data);
    let _ = names::qualified(data);
    assert_eq!(names::renamed(data, &|_, _| None, &|_| None), data);
    let _ = names::renamed(data, &|_, name| Some(format!("{name}\"")), &|name| Some(format!("{name}'")));
});
