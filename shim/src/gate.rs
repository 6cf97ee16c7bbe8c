//! Whether close(2) lingers in this process: decided once, in the constructor.
//!
//! 1. `LINGER_PRELOAD=0|1` decides.
//! 2. Our own file, by device and inode, is named in `LD_PRELOAD` or /etc/ld.so.preload: on.
//! 3. The program's `close` is ours, though no loaded object asked for us (DT_NEEDED): on (`ld.so --preload`).
//! 4. Otherwise off: the program links us, or loaded us with dlopen(3).
//!
//! **Invariant:** before the decision the gate is closed.

use core::ffi::{c_int, c_void, CStr};
use core::sync::atomic::{AtomicBool, Ordering};
use engine::sys::{self, Identity};
use engine::{config, log};

static OPEN: AtomicBool = AtomicBool::new(false);

/// Whether the hooks are on.
#[inline]
pub(crate) fn is_open() -> bool {
    OPEN.load(Ordering::Relaxed)
}

/// Shuts it for good: the program has sandboxed itself.
pub(crate) fn shut() {
    OPEN.store(false, Ordering::Relaxed);
    SANDBOXED.store(true, Ordering::Relaxed);
}

static SANDBOXED: AtomicBool = AtomicBool::new(false);

/// Whether the program has sandboxed itself, so that no system call of ours may be made.
pub(crate) fn sandboxed() -> bool {
    SANDBOXED.load(Ordering::Relaxed)
}

/// Why the gate is as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// `LINGER_PRELOAD=1`
    Asked,
    /// `LINGER_PRELOAD=0`
    Declined,
    /// Named in LD_PRELOAD or /etc/ld.so.preload.
    Preloaded,
    /// First in the search order without being needed by anybody.
    Interposed,
    /// Linked, or loaded with dlopen(3).
    Linked,
}

impl Why {
    fn opens(self) -> bool {
        matches!(self, Why::Asked | Why::Preloaded | Why::Interposed)
    }
}

/// Decides, and opens the gate if so decided.
pub(crate) fn decide() -> Why {
    let why = reason();
    OPEN.store(why.opens(), Ordering::Relaxed);
    why
}

fn reason() -> Why {
    // SAFETY: getauxval only reads what the kernel passed at start.
    let trusted = unsafe { libc::getauxval(libc::AT_SECURE) } == 0;
    let mut asked = None;
    let mut named = false;
    let own = own_file();
    if trusted {
        config::each_environment_entry(&mut |entry| {
            if let Some(value) = entry.strip_prefix(b"LINGER_PRELOAD=") {
                match value {
                    b"0" => asked = Some(Why::Declined),
                    b"1" => asked = Some(Why::Asked),
                    _ => log::always(format_args!(
                        "LINGER_PRELOAD={:?} is not one of 0, 1; deciding as without it",
                        core::str::from_utf8(value).unwrap_or("(not UTF-8)")
                    )),
                }
            } else if let (Some(list), Some(own)) = (entry.strip_prefix(b"LD_PRELOAD="), &own) {
                named |= names(list, own);
            }
        });
    }
    if let Some(why) = asked {
        return why;
    }
    if named || own.as_ref().is_some_and(named_in_system_file) {
        return Why::Preloaded;
    }
    if close_is_ours() && !needed_by_somebody() {
        return Why::Interposed;
    }
    Why::Linked
}

/// The file this library was loaded from.
struct OwnFile {
    path: &'static CStr,
    identity: Identity,
}

fn own_file() -> Option<OwnFile> {
    // SAFETY: dladdr fills the structure for an address inside a loaded object; the path it gives lives as long as
    // the object, which is never unloaded (-z nodelete).
    unsafe {
        let mut info: libc::Dl_info = core::mem::zeroed();
        let address = (&OPEN as *const AtomicBool).cast::<c_void>();
        if libc::dladdr(address, &mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        let path = CStr::from_ptr(info.dli_fname);
        identity_of(path).map(|identity| OwnFile { path, identity })
    }
}

fn identity_of(path: &CStr) -> Option<Identity> {
    let fd = sys::open_at(libc::AT_FDCWD, path, libc::O_PATH).ok()?;
    let identity = sys::identity(fd);
    let _ = sys::close(fd);
    identity.ok()
}

/// Whether a list as in LD_PRELOAD (ld.so(8): separated by spaces or colons) names our file.
fn names(list: &[u8], own: &OwnFile) -> bool {
    list.split(|b| b" :\n\t".contains(b)).filter(|item| !item.is_empty()).any(|item| is_own(item, own))
}

fn is_own(item: &[u8], own: &OwnFile) -> bool {
    let mut path = [0u8; libc::PATH_MAX as usize];
    // A name without a slash was searched for: if it is us, it stands in our directory.
    let own_path = own.path.to_bytes();
    let directory = match own_path.iter().rposition(|b| *b == b'/') {
        Some(slash) if !item.contains(&b'/') => own_path.get(..=slash).unwrap_or(&[]),
        _ => &[],
    };
    for (place, byte) in path.iter_mut().zip(directory.iter().chain(item)) {
        *place = *byte;
    }
    CStr::from_bytes_until_nul(&path)
        .ok()
        .and_then(identity_of)
        .is_some_and(|identity| identity == own.identity)
}

fn named_in_system_file(own: &OwnFile) -> bool {
    let Ok(fd) = sys::open_at(libc::AT_FDCWD, c"/etc/ld.so.preload", libc::O_RDONLY) else {
        return false;
    };
    let mut text = [0u8; 4096];
    let length = sys::read(fd, &mut text).unwrap_or(0);
    let _ = sys::close(fd);
    // Comments run from # to the end of the line.
    text.get(..length)
        .unwrap_or(&[])
        .split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b'#').next())
        .any(|line| names(line, own))
}

/// Whether the first `close` of the search order is in this library. (Comparing addresses of the function would not do: our
/// own reference to it goes through that search, too.)
fn close_is_ours() -> bool {
    // SAFETY: the name is NUL-terminated; dladdr fills the structures for any address it knows.
    unsafe {
        let first = libc::dlsym(libc::RTLD_DEFAULT, c"close".as_ptr());
        let (mut theirs, mut ours): (libc::Dl_info, libc::Dl_info) = core::mem::zeroed();
        let here = (&raw const OPEN).cast::<c_void>();
        libc::dladdr(first, &mut theirs) != 0
            && libc::dladdr(here, &mut ours) != 0
            && core::ptr::eq(theirs.dli_fbase, ours.dli_fbase)
    }
}

/// Whether a loaded object has us among its needed libraries.
fn needed_by_somebody() -> bool {
    let mut needed = false;
    // SAFETY: the callback receives the pointer passed here, and only during this call.
    unsafe { libc::dl_iterate_phdr(Some(look_for_need), (&mut needed as *mut bool).cast()) };
    needed
}

unsafe extern "C" fn look_for_need(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr passes a valid description of a mapped object, and `data` is our bool.
    unsafe {
        let found = data.cast::<bool>();
        *found |= needs_us(&*info);
        c_int::from(*found)
    }
}

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;

/// One entry of an object's dynamic section (elf(5)).
#[repr(C)]
struct Dynamic {
    tag: u64,
    value: u64,
}

/// # Safety
/// `info` describes a mapped object.
unsafe fn needs_us(info: &libc::dl_phdr_info) -> bool {
    // SAFETY: the headers and the dynamic section of a mapped object are mapped; the section ends with DT_NULL. glibc
    // has relocated DT_STRTAB to an address; elsewhere, and in the vDSO, it is an offset.
    unsafe {
        let headers = core::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
        let Some(dynamic) = headers.iter().find(|h| h.p_type == libc::PT_DYNAMIC) else {
            return false;
        };
        let start = (info.dlpi_addr + dynamic.p_vaddr) as *const Dynamic;
        let entries = || (0..).map(|i| &*start.add(i)).take_while(|entry| entry.tag != DT_NULL);
        let Some(strings) = entries().find(|entry| entry.tag == DT_STRTAB).map(|entry| entry.value) else {
            return false;
        };
        let strings = if strings < info.dlpi_addr { strings + info.dlpi_addr } else { strings };
        entries().filter(|entry| entry.tag == DT_NEEDED).any(|entry| {
            CStr::from_ptr((strings + entry.value) as *const libc::c_char)
                .to_bytes()
                .starts_with(b"liblinger.so")
        })
    }
}
