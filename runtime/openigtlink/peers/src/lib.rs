//! The C++ library 1.11 behind safe functions: one message there, one message back, in message objects that it keeps.

mod foreign {
    //! What `cpp.cxx` has.

    unsafe extern "C" {
        pub(super) fn cpp_begin();
        pub(super) fn cpp_transform_encode(x: f32, to: *mut u8) -> usize;
        pub(super) fn cpp_transform_decode(from: *const u8) -> f32;
        pub(super) fn cpp_image_encode(pixels: *const u8, to: *mut u8) -> usize;
        pub(super) fn cpp_image_decode(from: *const u8, check: i32) -> i32;
    }
}

/// Bytes of a TRANSFORM of header version 1.
pub const TRANSFORM: usize = 106;
/// Pixels of the IMAGE, of 640×480.
pub const PIXELS: usize = 640 * 480;
/// Bytes of the IMAGE: header, its own head, pixels.
pub const IMAGE: usize = 58 + 72 + PIXELS;

/// The library's message objects. They are the library's own globals: one of this at a time, on one thread.
pub struct Cpp(std::marker::PhantomData<*const ()>);

impl Cpp {
    /// Makes the message objects.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is no value: it begins something")]
    pub fn new() -> Self {
        // SAFETY: it makes objects and nothing else.
        unsafe { foreign::cpp_begin() };
        Self(std::marker::PhantomData)
    }

    /// The identity, moved along x by `x` mm.
    pub fn encode_transform(&mut self, x: f32, to: &mut [u8; TRANSFORM]) {
        // SAFETY: the objects are there; what it writes is as long as `to`, or this would not return.
        assert_eq!(unsafe { foreign::cpp_transform_encode(x, to.as_mut_ptr()) }, TRANSFORM);
    }

    /// How far it is moved along x, in mm, the CRC checked.
    #[must_use]
    pub fn decode_transform(&mut self, from: &[u8; TRANSFORM]) -> f32 {
        // SAFETY: the objects are there, and the message that `from` holds was written by one of the codecs here.
        unsafe { foreign::cpp_transform_decode(from.as_ptr()) }
    }

    /// An IMAGE of these pixels.
    pub fn encode_image(&mut self, pixels: &[u8; PIXELS], to: &mut [u8; IMAGE]) {
        // SAFETY: the objects are there, and were made for as many pixels.
        assert_eq!(unsafe { foreign::cpp_image_encode(pixels.as_ptr(), to.as_mut_ptr()) }, IMAGE);
    }

    /// Its eighth pixel, the CRC checked.
    #[must_use]
    pub fn decode_image(&mut self, from: &[u8; IMAGE]) -> i32 {
        // SAFETY: the objects are there, and the message that `from` holds was written by one of the codecs here.
        unsafe { foreign::cpp_image_decode(from.as_ptr(), 1) }
    }
}
