//! Which engine runs the network, and why: asked before burn touches a device, since burn panics where there is none.
//!
//! A GPU's own driver is loaded by name and asked for its devices, for CUDA also the compiler of kernels that burn
//! needs (NVRTC). Whatever is missing is said in words, and the processor runs. **Allocation:** a few names.
//! **Not protected against:** a device that fails later, or that has too little memory; a library of a driver's name
//! that is none runs its own code when it is loaded, as it would in any program.
#![expect(unsafe_code, reason = "drivers are asked through their C functions, as their manuals declare them")]

use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Wish {
    /// A GPU through CUDA if there is one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A GPU through CUDA.
    Cuda,
    /// A GPU through wgpu.
    Wgpu,
}

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runs {
    /// Our own engine on the processor.
    Cpu,
    /// burn on CUDA.
    Cuda,
    /// burn on wgpu.
    Wgpu,
}

/// What runs, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What.
    pub runs: Runs,
    /// Why, for people.
    pub why: String,
}

/// Why a GPU is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDevice {
    /// The adapter is not in this program.
    #[error("this program was built without the feature `{0}`")]
    NotBuilt(&'static str),
    /// No driver, or a part of it.
    #[error("{library} cannot be loaded ({why}): install {install}")]
    NoLibrary {
        /// Its name.
        library: String,
        /// What the loader says.
        why: String,
        /// What brings it.
        install: &'static str,
    },
    /// Another library of that name.
    #[error("{library} has no function {function}: it is no driver")]
    NoFunction {
        /// Its name.
        library: String,
        /// What is missing.
        function: &'static str,
    },
    /// The driver refuses.
    #[error("{function} of the driver fails with {code}")]
    Refused {
        /// Which call.
        function: &'static str,
        /// Its result.
        code: i32,
    },
    /// A driver alone.
    #[error("the driver is there, and no device")]
    NoGpu,
    /// Only a renderer that runs on the processor.
    #[error("the only device is {0}, which computes on the processor: our own engine is faster")]
    Software(String),
}

/// Which engine runs.
#[must_use]
pub fn choose(wish: Wish) -> Choice {
    let cuda = || built(cfg!(feature = "cuda"), "cuda").and_then(|()| cuda("libcuda.so.1", &NVRTC));
    let wgpu = || built(cfg!(feature = "wgpu"), "wgpu").and_then(|()| vulkan("libvulkan.so.1"));
    decide(wish, cuda, wgpu)
}

fn built(is: bool, feature: &'static str) -> Result<(), NoDevice> {
    if is { Ok(()) } else { Err(NoDevice::NotBuilt(feature)) }
}

/// The same with what the probes say given; they are asked only where it matters.
fn decide(
    wish: Wish,
    cuda: impl FnOnce() -> Result<String, NoDevice>,
    wgpu: impl FnOnce() -> Result<String, NoDevice>,
) -> Choice {
    let (runs, name, found) = match wish {
        Wish::Cpu => return Choice { runs: Runs::Cpu, why: "the processor was asked for".into() },
        Wish::Auto | Wish::Cuda => (Runs::Cuda, "CUDA", cuda()),
        Wish::Wgpu => (Runs::Wgpu, "wgpu", wgpu()),
    };
    match found {
        Ok(device) => Choice { runs, why: format!("{name} has {device}") },
        Err(why) => Choice { runs: Runs::Cpu, why: format!("no {name}: {why}; the processor runs instead") },
    }
}

/// What cudarc, which burn uses, looks for.
const NVRTC: [&str; 3] = ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"];

fn load(library: &str, install: &'static str) -> Result<Library, NoDevice> {
    // SAFETY: the library's initialisers run; it is a system's driver, by the name that its vendor gave it.
    unsafe { Library::new(library) }.map_err(|why| NoDevice::NoLibrary {
        library: library.to_owned(),
        why: why.to_string(),
        install,
    })
}

/// A function of a library.
///
/// # Safety
/// `F` is its type.
unsafe fn function<F: Copy>(library: &Library, file: &str, name: &'static str) -> Result<F, NoDevice> {
    // SAFETY: the caller's.
    let found = unsafe { library.get::<F>(name.as_bytes()) };
    found.map(|f| *f).map_err(|_| NoDevice::NoFunction { library: file.to_owned(), function: name })
}

fn succeeded(function: &'static str, code: c_int) -> Result<(), NoDevice> {
    if code == 0 { Ok(()) } else { Err(NoDevice::Refused { function, code }) }
}

/// A name that a driver wrote.
fn name(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes).map_or_else(|_| "a device".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The first device of the CUDA driver, after its manual (CUDA Driver API, sections 6.2, 6.3 and 6.5).
fn cuda(driver: &str, compilers: &[&str]) -> Result<String, NoDevice> {
    let library = load(driver, "NVIDIA's driver")?;
    let (mut count, mut device, mut text) = (0, 0, [0_u8; 256]);
    // SAFETY: the functions' types are those of the manual; every pointer is to what the call writes.
    unsafe {
        let init = function::<unsafe extern "C" fn(c_uint) -> c_int>(&library, driver, "cuInit")?;
        let counted = function::<unsafe extern "C" fn(*mut c_int) -> c_int>(&library, driver, "cuDeviceGetCount")?;
        let get = function::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(&library, driver, "cuDeviceGet")?;
        type Name = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
        let named = function::<Name>(&library, driver, "cuDeviceGetName")?;
        succeeded("cuInit", init(0))?;
        succeeded("cuDeviceGetCount", counted(&raw mut count))?;
        if count < 1 {
            return Err(NoDevice::NoGpu);
        }
        succeeded("cuDeviceGet", get(&raw mut device, 0))?;
        succeeded("cuDeviceGetName", named(text.as_mut_ptr().cast(), text.len() as c_int, device))?;
    }
    let install = "NVIDIA's runtime compiler, of PyPI's nvidia-cuda-nvrtc or the CUDA toolkit";
    let mut missing = NoDevice::NoGpu;
    for compiler in compilers {
        match load(compiler, install) {
            Ok(_) => return Ok(name(&text)),
            Err(why) => missing = why,
        }
    }
    Err(missing)
}

/// `VkInstanceCreateInfo` with nothing in it but its type.
#[repr(C)]
struct InstanceInfo {
    kind: c_uint,
    next: *const c_void,
    flags: c_uint,
    application: *const c_void,
    layers: c_uint,
    layer_names: *const c_void,
    extensions: c_uint,
    extension_names: *const c_void,
}

/// `VkPhysicalDeviceProperties`: what is read of it, and room for the rest, which has 824 bytes in all.
#[repr(C, align(8))]
struct Properties {
    versions_and_ids: [u32; 4],
    kind: u32,
    name: [u8; 256],
    rest: [u8; 2048],
}

/// `VK_PHYSICAL_DEVICE_TYPE_CPU`.
const SOFTWARE: u32 = 4;

/// The first device of Vulkan that is not the processor itself, after the specification (Vulkan 1.0, sections 4.2 and
/// 5.1). On other systems than Linux wgpu has other ways, and is asked itself.
fn vulkan(loader: &str) -> Result<String, NoDevice> {
    if cfg!(not(target_os = "linux")) {
        return Ok("what this system offers".into());
    }
    let library = load(loader, "Vulkan's loader and a driver (Debian: libvulkan1 and the card's own)")?;
    let info = InstanceInfo {
        kind: 1,
        next: ptr::null(),
        flags: 0,
        application: ptr::null(),
        layers: 0,
        layer_names: ptr::null(),
        extensions: 0,
        extension_names: ptr::null(),
    };
    type Handle = *mut c_void;
    type Create = unsafe extern "C" fn(*const InstanceInfo, *const c_void, *mut Handle) -> c_int;
    type Devices = unsafe extern "C" fn(Handle, *mut c_uint, *mut Handle) -> c_int;
    type Describe = unsafe extern "C" fn(Handle, *mut Properties);
    type Destroy = unsafe extern "C" fn(Handle, *const c_void);
    let mut found = Vec::new();
    // SAFETY: the functions' types are those of the specification; every pointer is to what the call reads or writes,
    // the instance is destroyed once and not used afterwards, and devices are described while it lives.
    unsafe {
        let create = function::<Create>(&library, loader, "vkCreateInstance")?;
        let list = function::<Devices>(&library, loader, "vkEnumeratePhysicalDevices")?;
        let describe = function::<Describe>(&library, loader, "vkGetPhysicalDeviceProperties")?;
        let destroy = function::<Destroy>(&library, loader, "vkDestroyInstance")?;
        let mut instance = ptr::null_mut();
        succeeded("vkCreateInstance", create(&raw const info, ptr::null(), &raw mut instance))?;
        let mut devices = [ptr::null_mut(); 16];
        let mut count = devices.len() as c_uint;
        let listed = list(instance, &raw mut count, devices.as_mut_ptr());
        // 5 says that there are more than 16; those that were listed are there.
        if listed == 0 || listed == 5 {
            for device in &devices[..(count as usize).min(devices.len())] {
                let mut properties = Properties { versions_and_ids: [0; 4], kind: 0, name: [0; 256], rest: [0; 2048] };
                describe(*device, &raw mut properties);
                found.push((properties.kind == SOFTWARE, name(&properties.name)));
            }
        }
        destroy(instance, ptr::null());
        if listed != 5 {
            succeeded("vkEnumeratePhysicalDevices", listed)?;
        }
    }
    found.sort_by_key(|(software, _)| *software);
    match found.into_iter().next() {
        None => Err(NoDevice::NoGpu),
        Some((true, name)) => Err(NoDevice::Software(name)),
        Some((false, name)) => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_driver() -> NoDevice {
        cuda("libno-such-driver.so.1", &NVRTC).expect_err("no such library")
    }

    #[test]
    fn a_missing_driver_is_said_and_the_processor_runs() {
        let why = no_driver().to_string();
        assert!(why.starts_with("libno-such-driver.so.1 cannot be loaded ("), "{why}");
        assert!(why.ends_with("): install NVIDIA's driver"), "{why}");
        let untouched = || panic!("wgpu was not asked for");
        let choice = decide(Wish::Cuda, || Err(no_driver()), untouched);
        assert_eq!(choice.runs, Runs::Cpu);
        assert!(choice.why.starts_with("no CUDA: libno-such-driver.so.1 cannot be loaded"), "{}", choice.why);
        assert!(choice.why.ends_with("; the processor runs instead"), "{}", choice.why);
    }

    #[test]
    fn a_library_that_is_no_driver_is_named() {
        let expected = NoDevice::NoFunction { library: "libc.so.6".into(), function: "cuInit" };
        assert_eq!(cuda("libc.so.6", &NVRTC), Err(expected));
        let expected = NoDevice::NoFunction { library: "libc.so.6".into(), function: "vkCreateInstance" };
        assert_eq!(vulkan("libc.so.6"), Err(expected));
        assert!(matches!(vulkan("libno-such-loader.so.1"), Err(NoDevice::NoLibrary { .. })));
    }

    #[test]
    fn what_is_found_runs() {
        let (card, none) = (|| Ok("a card".to_owned()), || Err(NoDevice::NoGpu));
        let runs = |wish, cuda: fn() -> Result<String, NoDevice>, wgpu: fn() -> Result<String, NoDevice>| {
            let Choice { runs, why } = decide(wish, cuda, wgpu);
            (runs, why)
        };
        assert_eq!(runs(Wish::Auto, card, none), (Runs::Cuda, "CUDA has a card".into()));
        assert_eq!(runs(Wish::Auto, none, card).0, Runs::Cpu, "wgpu only where it is asked for");
        assert_eq!(runs(Wish::Wgpu, none, card), (Runs::Wgpu, "wgpu has a card".into()));
        assert_eq!(runs(Wish::Cpu, card, card), (Runs::Cpu, "the processor was asked for".into()));
        let why = "no wgpu: the driver is there, and no device; the processor runs instead";
        assert_eq!(runs(Wish::Wgpu, card, none), (Runs::Cpu, why.into()));
        let software = NoDevice::Software("llvmpipe".into()).to_string();
        assert!(software.starts_with("the only device is llvmpipe, which computes on the processor"), "{software}");
    }

    /// On this machine, whatever it has: an answer with a reason, and no GPU that this program has no adapter for.
    #[test]
    fn this_machine_is_answered() {
        for wish in [Wish::Auto, Wish::Cpu, Wish::Cuda, Wish::Wgpu] {
            let Choice { runs, why } = choose(wish);
            assert!(!why.is_empty());
            assert!(runs != Runs::Cuda || cfg!(feature = "cuda"), "{why}");
            assert!(runs != Runs::Wgpu || cfg!(feature = "wgpu"), "{why}");
        }
        // The probe itself, also where the adapter is not built.
        if let Err(why) = cuda("libcuda.so.1", &NVRTC) {
            assert!(!matches!(why, NoDevice::NotBuilt(_)));
        }
    }
}
