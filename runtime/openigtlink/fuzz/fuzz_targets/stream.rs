//! Any bytes as a stream, in pieces of any size; memory stays bounded.
#![no_main]

#[path = "../../tests/exercise/mod.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for options in exercise::WAYS {
        exercise::stream(bytes, options);
    }
});
