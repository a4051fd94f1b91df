//! Any bytes as a whole message, header first, in all ways to receive.
#![no_main]

#[path = "../../tests/exercise/mod.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for options in exercise::WAYS {
        exercise::bytes(bytes, &options);
    }
});
