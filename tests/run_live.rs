//! `bregma run` on real sources: a GStreamer test picture, a tracker on the network, a registration that other commands write.

mod program;
mod tracker;

use bregma_core::time::{Duration, pause};
use program::{bregma, said};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, atomic::AtomicBool};

/// Lines that may wait to be read.
const LINES: usize = 4096;
/// Longest wait for a line; only a failing test waits that long.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// The program, and its lines as they come.
struct Session {
    program: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Session {
    fn open(folder: &Path, config: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bregma"));
        command
            .args(["run", config, "--seconds", "240"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut program = command.spawn().expect("it starts");
        let output = BufReader::new(program.stdout.take().expect("piped"));
        let (to, lines) = sync_channel(LINES);
        let reads = move || output.lines().map_while(Result::ok).for_each(|line| drop(to.send(line)));
        // Ends with the program's output.
        std::thread::Builder::new().name("lines".into()).spawn(reads).expect("a thread");
        Self { program, lines, heard: Vec::new() }
    }

    /// A line that holds the phrase, each line once: waits for it if none has come yet.
    fn until(&mut self, phrase: &str) -> String {
        if let Some(at) = self.heard.iter().position(|line| line.contains(phrase)) {
            return self.heard.remove(at);
        }
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(phrase) => return line,
                Ok(line) => self.heard.push(line),
                Err(_) => panic!("`{phrase}` was not said; it said\n{}", self.heard.join("\n")),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Sends the tip and the reference array to the program, 50 times a second, with or without a status.
fn track(
    port: u16,
    array_mm: Arc<AtomicI32>,
    silent: Arc<AtomicBool>,
    ending: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let sends = move || {
        let mut client = None;
        let mut count = 0_u32;
        while !ending.load(Ordering::Acquire) {
            pause(Duration::from_millis(20));
            client = client.or_else(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
            count += 1;
            // Some hundredths of a mm, different each time.
            let noise = (count % 7) as f32 * 0.01;
            let bump = array_mm.load(Ordering::Relaxed) as f32;
            for (device, at) in
                [("TipToReference", [10.0 + noise, 20.0, 30.0]), ("ReferenceToTracker", [bump + noise, 0.0, 1500.0])]
            {
                let bytes = tracker::transform(device, at, (!silent.load(Ordering::Relaxed)).then_some("OK"));
                if client.as_mut().is_some_and(|c| c.write_all(&bytes).is_err()) {
                    client = None;
                }
            }
        }
    };
    std::thread::Builder::new().name("tracker".into()).spawn(sends).expect("a thread")
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port").local_addr().expect("an address").port()
}

/// Four landmarks in the scan, and where the reference array has them; one of them off by so much.
fn landmarks(folder: &Path, off_mm: f64) {
    let mut scan = String::from(
        "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n",
    );
    let mut touched = scan.clone();
    for (name, [x, y, z]) in [
        ("nose", [0.0, -90.0, 0.0]),
        ("left", [75.0, 0.0, 10.0]),
        ("right", [-75.0, 5.0, -10.0]),
        ("brow", [20.0, -70.0, 60.0]),
    ] {
        scan += &format!("{name},{x},{y},{z},0,0,0,1,1,1,0,{name},,\n");
        let aside = if name == "nose" { off_mm } else { 0.0 };
        touched += &format!("{name},{},{},{z},0,0,0,1,1,1,0,{name},,\n", x - 7.0 + aside, y + 3.0);
    }
    std::fs::write(folder.join("scan.fcsv"), scan).expect("written");
    std::fs::write(folder.join("touched.fcsv"), touched).expect("written");
}

#[test]
fn a_session_takes_up_what_is_registered_beside_it_and_drops_what_no_longer_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let (status, text) = said(&bregma(here, &["patient", "show", "--seed", "7", "--out", "patient"]));
    assert_eq!(status, 0, "{text}");
    let (tracking_port, display) = (free_port(), free_port());
    let config = std::fs::read_to_string(here.join("patient/run.toml")).expect("written");
    let mut table: toml::Table = config.parse().expect("TOML");
    let source = table["source"].as_table_mut().expect("[source]");
    source.insert("registration".into(), toml::toml! { file = "../r.toml" check = "needed" }.into());
    let tracking = source["tracking"].as_table_mut().expect("[source.tracking]");
    tracking.insert("address".into(), format!("127.0.0.1:{tracking_port}").into());
    let mri = source["mri"].as_table_mut().expect("[source.mri]");
    mri.insert("intraoperative".into(), "scans".into());
    let t1c = here.join("patient").join(mri["t1c"].as_str().expect("a name"));
    let text = toml::to_string(&table).expect("TOML").replace("follow_shift = true", "follow_shift = false");
    std::fs::write(here.join("patient/still.toml"), text).expect("written");
    let (status, text) = said(&bregma(here, &["run", "patient/still.toml", "--seconds", "1"]));
    assert!(status == 2 && text.contains("`align.follow_shift` is false; it must be true"), "{status}: {text}");
    table["align"].as_table_mut().expect("[align]").insert("follow_shift".into(), true.into());
    let shown = table["display"].as_table_mut().expect("[display]");
    shown.insert("address".into(), format!("127.0.0.1:{display}").into());
    std::fs::write(here.join("patient/live.toml"), toml::to_string(&table).expect("TOML")).expect("written");

    let mut session = Session::open(here, "patient/live.toml");
    let (array, silent) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicBool::new(true)));
    let ending = Arc::new(AtomicBool::new(false));
    let sends = track(tracking_port, Arc::clone(&array), Arc::clone(&silent), Arc::clone(&ending));
    session.until("r.toml is not taken");
    let line = session.until("come without TransformStatus");
    assert!(line.contains("taken for invalid"), "{line}");
    silent.store(false, Ordering::Relaxed);

    // A scan that was cut off, and one that is whole.
    let scans = here.join("patient/scans");
    std::fs::create_dir_all(scans.join("a-broken")).expect("made");
    let whole = std::fs::read(&t1c).expect("written before");
    std::fs::write(scans.join("a-broken/t1c.nii.gz"), &whole[..whole.len() / 2]).expect("written");
    std::fs::create_dir_all(scans.join("b-whole")).expect("made");
    std::fs::write(scans.join("b-whole/t1c.nii.gz"), &whole).expect("written");

    // A person registers, and touches a landmark again, with commands of their own.
    landmarks(here, 0.0);
    let targets = here.join("targets.fcsv");
    std::fs::write(&targets, "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\nt,20,10,40,0,0,0,1,1,1,0,tumour,,\n").expect("written");
    let desk = |args: &[&str]| said(&bregma(here, &[&["register"], args].concat()));
    let register = [
        "landmarks",
        "--scan",
        "scan.fcsv",
        "--touched",
        "touched.fcsv",
        "--targets",
        "targets.fcsv",
        "--out",
        "r.toml",
    ];
    let (status, text) = desk(&register);
    assert_eq!(status, 0, "{text}");
    session.until("no landmark was touched since it was made");
    let check = ["check", "--registration", "r.toml", "--scan", "scan.fcsv", "--touched", "touched.fcsv", "--keep"];
    let (status, text) = desk(&check);
    assert_eq!(status, 0, "{text}");
    let line = session.until("registered,");
    assert!(line.contains("4 landmarks touched within 0.0 mm"), "{line}");

    // What has no room for a check is said before anybody touches anything.
    let (status, text) =
        desk(&["check", "--registration", "r.tfm", "--scan", "scan.fcsv", "--touched", "touched.fcsv", "--keep"]);
    assert!(status == 2 && text.contains("r.tfm has no room for a check"), "{status}: {text}");

    // Long enough to learn where the array sits; then somebody knocks it.
    pause(Duration::from_millis(4000));
    array.store(4, Ordering::Relaxed);
    let line = session.until("no longer holds");
    assert!(line.contains("moved by 4.0 mm") && line.contains("register anew"), "{line}");

    // Registered anew where it sits now, without a restart.
    let (status, text) = desk(&register);
    assert_eq!(status, 0, "{text}");
    session.until("no landmark was touched since it was made");
    assert_eq!(desk(&check).0, 0);
    session.until("registered,");

    // And a touch that is off ends it.
    landmarks(here, 5.0);
    let (status, text) = desk(&check);
    assert_eq!(status, 1, "{text}");
    let line = session.until("no longer holds");
    assert!(line.contains("a landmark was touched 5.0 mm from where it should be"), "{line}");

    // Meanwhile the scans were looked at.
    let line = session.until("a-broken is not taken up");
    assert!(line.contains("the scan before goes on") && line.contains("t1c.nii.gz"), "{line}");
    session.until("b-whole: an intraoperative examination");
    let line = session.until("the intraoperative scan is taken up");
    assert!(line.contains("(T1c): tissue had gone 0.") && line.contains("entry, 0."), "nothing had moved: {line}");
    ending.store(true, Ordering::Release);
    sends.join().expect("it ended well");
}
