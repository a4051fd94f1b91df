//! The GStreamer elements that Bregma uses or that sites are likely to: which are here, and who has the rest.

use super::VideoError;
use gstreamer as gst;

/// Whether an element is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementStatus {
    /// Its name.
    pub name: &'static str,
    /// Whether it is here.
    pub present: bool,
    /// Whether no video can be read without it.
    pub required: bool,
    /// Debian's package that has it.
    pub package: &'static str,
}

const CORE: &str = "libgstreamer1.0-0";
const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const UGLY: &str = "gstreamer1.0-plugins-ugly";
const LIBAV: &str = "gstreamer1.0-libav";

/// Name, whether ours needs it, package.
const KNOWN: [(&str, bool, &str); 32] = [
    ("appsink", true, BASE),
    ("appsrc", true, BASE),
    ("videoconvert", true, BASE),
    ("videoscale", true, BASE),
    ("capsfilter", true, CORE),
    ("identity", true, CORE),
    ("tee", true, CORE),
    ("queue", true, CORE),
    ("x264enc", true, UGLY),
    ("h264parse", true, BAD),
    ("filesrc", false, CORE),
    ("decodebin", false, BASE),
    ("uridecodebin", false, BASE),
    ("videotestsrc", false, BASE),
    ("v4l2src", false, GOOD),
    ("rtspsrc", false, GOOD),
    ("udpsrc", false, GOOD),
    ("rtph264depay", false, GOOD),
    ("rtpjitterbuffer", false, GOOD),
    ("jpegdec", false, GOOD),
    ("matroskademux", false, GOOD),
    ("qtdemux", false, GOOD),
    ("srtsrc", false, BAD),
    ("tsdemux", false, BAD),
    ("decklinkvideosrc", false, BAD),
    ("webrtcbin", false, BAD),
    ("h265parse", false, BAD),
    ("avdec_h264", false, LIBAV),
    ("avdec_h265", false, LIBAV),
    ("nvh264dec", false, BAD),
    ("vah264dec", false, BAD),
    ("v4l2h264dec", false, GOOD),
];

/// The elements that Bregma knows of, the required ones first.
///
/// # Errors
/// [`VideoError::Init`] when GStreamer does not start.
pub fn elements() -> Result<Vec<ElementStatus>, VideoError> {
    init()?;
    let status = |&(name, required, package): &(&'static str, bool, &'static str)| ElementStatus {
        name,
        present: gst::ElementFactory::find(name).is_some(),
        required,
        package,
    };
    Ok(KNOWN.iter().map(status).collect())
}

/// GStreamer's version, such as `GStreamer 1.22.0`.
///
/// # Errors
/// [`VideoError::Init`] when GStreamer does not start.
pub fn gstreamer_version() -> Result<String, VideoError> {
    init()?;
    Ok(gst::version_string().to_string())
}

/// Starts GStreamer; more than once does nothing.
pub(super) fn init() -> Result<(), VideoError> {
    gst::init().map_err(|why| VideoError::Init { message: why.to_string() })
}

/// What to do about an element that is missing.
pub(super) fn remedy(element: &str) -> String {
    match KNOWN.iter().find(|(name, ..)| *name == element) {
        Some((_, _, package)) => format!("Debian has it in {package}"),
        None => "gst-inspect-1.0 lists those that are installed".to_owned(),
    }
}
