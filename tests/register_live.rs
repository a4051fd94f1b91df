//! `bregma register guided` and `check` with a tracker on the network and a person at the terminal, both played.

mod tracker;

use bregma_core::time::{Duration, pause};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a tracker sends until it is told otherwise.
#[derive(Debug, Clone)]
struct Pointer {
    at: [f64; 3],
    /// What it says of the status; nothing where it is empty.
    status: &'static str,
    /// Whether the hand shakes by centimetres.
    shakes: bool,
    /// Whether anything is sent.
    speaks: bool,
    /// Whether it hangs up.
    gone: bool,
}

/// A tracker that listens on loopback, as PLUS does, and sends 100 poses a second to one client after the other.
struct Tracker {
    address: SocketAddr,
    pointer: Arc<Mutex<Pointer>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tracker {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not wait");
        let address = listener.local_addr().expect("an address");
        let first = Pointer { at: [0.0; 3], status: "OK", shakes: false, speaks: true, gone: false };
        let (pointer, ending) = (Arc::new(Mutex::new(first)), Arc::new(AtomicBool::new(false)));
        let (said, end) = (Arc::clone(&pointer), Arc::clone(&ending));
        let serve = move || {
            let mut client: Option<TcpStream> = None;
            let mut count = 0_u32;
            while !end.load(Ordering::Acquire) {
                pause(Duration::from_millis(10));
                client = client.or_else(|| listener.accept().ok().map(|(stream, _)| stream));
                let now = said.lock().expect("sound").clone();
                count += 1;
                let hangs_up = |c: &mut TcpStream| now.speaks && c.write_all(&message(&now, count)).is_err();
                if now.gone || client.as_mut().is_some_and(hangs_up) {
                    client = None;
                }
            }
        };
        let thread = std::thread::Builder::new().name("tracker".into()).spawn(serve).expect("a thread");
        Self { address, pointer, ending, thread: Some(thread) }
    }

    fn set(&self, change: impl FnOnce(&mut Pointer)) {
        change(&mut self.pointer.lock().expect("sound"));
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ended well");
        }
    }
}

fn message(pointer: &Pointer, count: u32) -> Vec<u8> {
    // A tracker's noise: some hundredths of a mm, different each time.
    let noise = f64::from(count % 7) * 0.01 - 0.03 + if pointer.shakes { f64::from(count % 5) * 10.0 } else { 0.0 };
    let at = pointer.at.map(|v| (v + noise) as f32);
    tracker::transform("TipToReference", at, (!pointer.status.is_empty()).then_some(pointer.status))
}

/// The program, with somebody at its terminal.
struct Desk {
    program: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    text: String,
}

impl Desk {
    fn open(folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bregma"));
        command.arg("register").args(args).current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.spawn().expect("it starts");
        let (input, output) = (program.stdin.take(), BufReader::new(program.stdout.take().expect("piped")));
        Self { program, input, output, text: String::new() }
    }

    /// Reads until a line holds the phrase; that line. Ends with the program, so that nothing is waited for in vain.
    fn until(&mut self, phrase: &str) -> String {
        loop {
            let mut line = String::new();
            let bytes = self.output.read_line(&mut line).expect("text");
            self.text += &line;
            if bytes == 0 {
                let errors = self.errors();
                panic!("`{phrase}` was not said before the end: {}{errors}", self.text);
            }
            if line.contains(phrase) {
                return line;
            }
        }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("open"), "{line}").expect("it reads");
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        if let Some(errors) = self.program.stderr.as_mut() {
            errors.read_to_string(&mut text).expect("text");
        }
        text
    }

    /// Exit status, and all that was said; the input ends.
    fn end(mut self) -> (i32, String) {
        self.input = None;
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        let errors = self.errors();
        let text = format!("{}{rest}{errors}", self.text);
        assert!(!text.contains("panicked"), "{text}");
        (self.program.wait().expect("it ends").code().unwrap_or(-1), text)
    }
}

const HEAD: [(&str, [f64; 3]); 5] = [
    ("nasion", [0.0, -95.0, 10.0]),
    ("left tragus", [72.0, 5.0, -20.0]),
    ("right tragus", [-72.0, 4.0, -19.0]),
    ("inion", [2.0, 92.0, -5.0]),
    ("vertex", [1.0, 10.0, 88.0]),
];

/// Where the tracker sees a point of the head, mm.
fn touched(at: [f64; 3]) -> [f64; 3] {
    [-at[1] + 100.0, at[0] - 50.0, at[2] + 900.0]
}

fn fcsv(points: &[(&str, [f64; 3])]) -> String {
    let mut text = "# CoordinateSystem = LPS\n".to_owned();
    for (label, p) in points {
        writeln!(text, "1,{},{},{},0,0,0,1,1,1,0,{label},,", p[0], p[1], p[2]).expect("a string takes it");
    }
    text
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("scan.fcsv"), fcsv(&HEAD)).expect("written");
    std::fs::write(folder.path().join("targets.fcsv"), fcsv(&[("tumour", [25.0, -10.0, 30.0])])).expect("written");
    folder
}

fn guided(folder: &Path, tracker: &Tracker, more: &[&str]) -> Desk {
    let address = tracker.address.to_string();
    let args = ["guided", "--scan", "scan.fcsv", "--tracker", &address, "--hold-s", "0.2", "--fle", "0.7"];
    Desk::open(folder, &[&args[..], more].concat())
}

const OUT: [&str; 6] = ["--targets", "targets.fcsv", "--touched", "touched.fcsv", "--out", "r.toml"];

/// Touches the landmark that is asked for, off by `off`.
fn touches(desk: &mut Desk, tracker: &Tracker, off: [f64; 3]) {
    let line = desk.until("touch  ");
    let at = HEAD.iter().find(|(name, _)| line.contains(name)).expect("one of them").1;
    let at = touched(at);
    tracker.set(|p| p.at = [at[0] + off[0], at[1] + off[1], at[2] + off[2]]);
    desk.types("");
    desk.until("held  ");
}

#[test]
fn a_patient_is_registered_landmark_by_landmark_and_checked_before_arming() {
    let (folder, tracker) = (folder(), Tracker::start());
    let mut desk = guided(folder.path(), &tracker, &OUT);
    for count in 1..=5 {
        touches(&mut desk, &tracker, [0.0; 3]);
        if count >= 3 {
            desk.until("FRE  ");
            desk.until("predicted at tumour");
        }
    }
    let (status, text) = desk.end();
    assert!(status == 0 && text.contains("registered 5 of 5"), "{status}: {text}");
    let kept = std::fs::read_to_string(folder.path().join("touched.fcsv")).expect("touches");
    assert_eq!(kept.lines().filter(|l| !l.starts_with('#')).count(), 5, "{kept}");

    let address = tracker.address.to_string();
    let check = ["check", "--registration", "r.toml", "--scan", "scan.fcsv", "--tracker", &address, "--hold-s", "0.2"];
    let mut desk = Desk::open(folder.path(), &check);
    touches(&mut desk, &tracker, [0.0; 3]);
    desk.until("touch  ");
    desk.types("what?");
    desk.until("Enter, s or q is right");
    desk.until("touch  ");
    desk.types("s");
    touches(&mut desk, &tracker, [0.0; 3]);
    desk.until("touch  ");
    desk.types("q");
    let (status, text) = desk.end();
    assert!(status == 0 && text.contains("at right tragus") && text.contains("chance, as predicted"), "{text}");
    assert!(text.contains("left out   left tragus"), "{text}");

    // The array is bumped by 5 mm.
    let mut desk = Desk::open(folder.path(), &check);
    for _ in 0..5 {
        touches(&mut desk, &tracker, [3.0, 0.0, 4.0]);
    }
    let (status, text) = desk.end();
    assert!(status == 1 && text.contains("OVER 2 mm") && text.contains("all have moved alike, by 5.0"), "{text}");
}

#[test]
fn an_outlier_is_offered_again_and_two_that_were_swapped_too() {
    let (folder, tracker) = (folder(), Tracker::start());
    let mut desk = guided(folder.path(), &tracker, &OUT);
    for off in [0.0, 0.0, 0.0, 0.0, 30.0] {
        touches(&mut desk, &tracker, [0.0, 0.0, off]);
    }
    assert!(desk.until("no fit").contains("vertex lies"), "{}", desk.text);
    desk.until("again      vertex");
    touches(&mut desk, &tracker, [0.0; 3]);
    let (status, text) = desk.end();
    assert!(status == 0 && text.contains("registered 5 of 5"), "{text}");

    let mut desk = guided(folder.path(), &tracker, &OUT);
    // Three of a head fit swapped, too: the fourth tells.
    for name in ["nasion", "right tragus", "left tragus", "inion"] {
        desk.until("touch  ");
        let at = touched(HEAD.iter().find(|(n, _)| *n == name).expect("one of them").1);
        tracker.set(|p| p.at = at);
        desk.types("");
        desk.until("held  ");
    }
    desk.until("left tragus and right tragus are swapped");
    touches(&mut desk, &tracker, [0.0; 3]);
    touches(&mut desk, &tracker, [0.0; 3]);
    touches(&mut desk, &tracker, [0.0; 3]);
    let (status, text) = desk.end();
    assert!(status == 0 && text.contains("registered 5 of 5"), "{text}");
}

#[test]
fn what_may_not_be_believed_is_no_touch_and_the_reason_is_said() {
    let (folder, tracker) = (folder(), Tracker::start());
    let mut desk = guided(folder.path(), &tracker, &["--patience-s", "0.5", "--out", "r.tfm"]);
    for (status, shakes, speaks, phrase) in [
        ("", false, true, "status unknown"),
        ("MISSING", false, true, "line of sight lost"),
        ("OUT_OF_VOLUME", false, true, "outside the tracker's volume"),
        ("perhaps", false, true, "status unknown"),
        ("OK", true, true, "the tip moves"),
        ("OK", false, false, "no pose of `TipToReference` has come"),
    ] {
        desk.until("touch  ");
        tracker.set(|p| (p.status, p.shakes, p.speaks) = (status, shakes, speaks));
        desk.types("");
        let said = desk.until("not taken");
        assert!(said.contains(phrase), "{phrase}: {said}");
    }
    let (status, text) = desk.end();
    assert!(status == 2 && text.contains("the input ended while 1 of 5: nasion was asked for"), "{text}");
    assert!(!folder.path().join("r.tfm").exists(), "nothing is written");

    // Who knows that the tracker leaves out what it does not see may say so.
    tracker.set(|p| (p.status, p.speaks, p.shakes) = ("", true, false));
    let mut desk = guided(folder.path(), &tracker, &["--without-status", "--out", "r.tfm"]);
    for _ in 0..3 {
        touches(&mut desk, &tracker, [0.0; 3]);
    }
    desk.until("touch  ");
    desk.types("q");
    let (status, text) = desk.end();
    assert!(status == 0 && text.contains("registered 3 of 5") && folder.path().join("r.tfm").exists(), "{text}");
}

#[test]
fn a_tracker_that_hangs_up_is_waited_for_and_touches_before_it_stay() {
    let (folder, tracker) = (folder(), Tracker::start());
    let mut desk = guided(folder.path(), &tracker, &OUT);
    touches(&mut desk, &tracker, [0.0; 3]);
    tracker.set(|p| p.gone = true);
    desk.until("touch  ");
    desk.types("");
    desk.until("is gone");
    tracker.set(|p| (p.gone, p.at) = (false, touched(HEAD[1].1)));
    desk.until("connected again");
    desk.until("held  ");
    for _ in 0..3 {
        touches(&mut desk, &tracker, [0.0; 3]);
    }
    let (status, text) = desk.end();
    assert!(status == 0 && text.contains("registered 5 of 5"), "{text}");

    // And one that is gone for good holds nobody up.
    let mut desk = guided(folder.path(), &tracker, &["--patience-s", "1", "--touched", "some.fcsv"]);
    touches(&mut desk, &tracker, [0.0; 3]);
    drop(tracker);
    desk.until("touch  ");
    desk.types("");
    let said = desk.until("not taken");
    assert!(said.contains("must be running there"), "{said}");
    desk.until("touch  ");
    desk.types("q");
    let (status, text) = desk.end();
    assert!(status == 2 && text.contains("1 fiducials; at least 3") && text.contains("some.fcsv"), "{text}");
}

#[test]
fn too_few_landmarks_to_touch_are_refused_before_anybody_touches() {
    let (folder, tracker) = (folder(), Tracker::start());
    std::fs::write(folder.path().join("scan.fcsv"), fcsv(&HEAD[..2])).expect("written");
    let (status, text) = guided(folder.path(), &tracker, &[]).end();
    assert!(status == 2 && text.contains("2 landmarks; at least 3 are needed"), "{text}");
    std::fs::write(folder.path().join("scan.fcsv"), fcsv(&HEAD)).expect("written");
    let (status, text) = guided(folder.path(), &tracker, &["--touched", "t.csv"]).end();
    assert!(status == 2 && text.contains(".fcsv is right"), "{text}");
    let (status, text) = guided(folder.path(), &tracker, &["--out", "r.toml"]).end();
    assert!(status == 2 && text.contains("name it with --targets"), "{text}");
}
