//! Compiles the C++ side of the bench and links it with the C++ library.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/cpp.cxx");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let run = |command: &mut Command| assert!(command.status().expect("can be started").success(), "{command:?}");
    let object = out.join("cpp.o");
    run(Command::new("g++")
        .args(["-O3", "-fPIC", "-I/usr/include/openigtlink", "-c", "src/cpp.cxx", "-o"])
        .arg(&object));
    run(Command::new("ar").arg("rcs").arg(out.join("libcpp.a")).arg(&object));
    println!("cargo::rustc-link-search={}", out.display());
    for library in ["static=cpp", "OpenIGTLink", "stdc++", "pthread"] {
        println!("cargo::rustc-link-lib={library}");
    }
}
