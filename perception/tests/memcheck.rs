//! Kernels under Valgrind's memcheck: nothing is decided by memory that was never written, and none is touched that was
//! given back. It has no AVX-512, so this is of the portable path and of AVX2; without Valgrind the test prints `not run`.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "a test that reads what was never written")]

mod kernels;

use bregma_perception::engine::Pool;
use kernels::{ODD, distances, layers, plans};
use std::io::Write;
use std::process::Command;

/// Set in the process that Valgrind watches.
const WATCHED: &str = "BREGMA_UNDER_MEMCHECK";
/// What Valgrind's process returns where it has found something.
const FOUND: &str = "9";

/// This program again, one test of it, under Valgrind; its status and what it said. `None` where there is no Valgrind.
fn watched(test: &str) -> Option<(std::process::ExitStatus, String)> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", &format!("--error-exitcode={FOUND}")]);
    valgrind.arg(std::env::current_exe().expect("this program")).args(["--exact", test, "--test-threads", "1"]);
    match valgrind.env(WATCHED, "1").output() {
        Ok(output) => Some((output.status, String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(why) => {
            writeln!(std::io::stderr(), "not run: no Valgrind: {why}").expect("stderr takes a line");
            None
        }
    }
}

#[test]
fn no_result_depends_on_memory_that_was_never_written() {
    if std::env::var_os(WATCHED).is_some() {
        let pool = Pool::new(2).expect("threads");
        layers(&pool, &ODD);
        plans(&pool, &[[4, 8]]);
        distances();
        return;
    }
    let Some((status, said)) = watched("no_result_depends_on_memory_that_was_never_written") else { return };
    assert!(status.success(), "{status}: {said}");
}

/// The watch itself works: a decision by memory that was never written is found.
#[test]
fn a_decision_by_what_was_never_written_is_found() {
    if std::env::var_os(WATCHED).is_some() {
        let never = Box::<[f32; 64]>::new_uninit();
        let at = never.as_ptr().cast::<f32>();
        // SAFETY: none: the room was never written, which is what is tried.
        let above = (0..64).filter(|i| unsafe { at.add(*i).read_volatile() } > 0.5).count();
        assert!(above <= 64, "as many as there are");
        return;
    }
    let Some((status, said)) = watched("a_decision_by_what_was_never_written_is_found") else { return };
    assert_eq!(status.code(), FOUND.parse().ok(), "{status}: {said}");
}
