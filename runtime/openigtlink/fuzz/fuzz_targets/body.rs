//! Any bytes as the content of any type: the first byte picks type and header version, header and CRC are made right.
#![no_main]

#[path = "../../tests/exercise/mod.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::body(bytes));
