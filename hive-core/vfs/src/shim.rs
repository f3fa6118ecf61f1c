//! The file system as SQLite sees it: C functions that look, and hand on to the platform's own.
//!
//! A watched file is a [`Shim`] followed by the platform's own file in the same piece of memory, as SQLite's documentation of
//! `szOsFile` has it. Every function here gets its arguments from SQLite, which promises what the interface documents: pointers are
//! valid for the call, and a file is used by one thread at a time.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, OnceLock};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

use crate::event::{Event, File};
use crate::fault::{Call, Verdict};
use crate::tape::{self, Shared};

/// The head of a watched file; the platform's own follows.
#[repr(C)]
struct Shim {
    head: sqlite3_file,
    /// Made by `open`, freed by `close`.
    handle: *mut Handle,
}

struct Handle {
    shared: Arc<Shared>,
    file: File,
    /// How many failed syncs of the file this handle knows of.
    known: u64,
}

/// Where the platform's own file begins: memory that is aligned for it, because `Shim` is made of pointers.
const OFFSET: usize = size_of::<Shim>();

/// Makes the shim the process's default file system, once.
pub(crate) fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<c_int> = OnceLock::new();
    let code = *INSTALLED.get_or_init(|| {
        // SAFETY: both functions may be called from any thread at any time; what is registered is never freed.
        unsafe {
            let base = ffi::sqlite3_vfs_find(ptr::null());
            let Some(template) = base.as_ref() else {
                return ffi::SQLITE_NOTFOUND;
            };
            let Ok(head) = c_int::try_from(OFFSET) else {
                return ffi::SQLITE_TOOBIG;
            };
            let vfs = sqlite3_vfs {
                // Without the hooks into system calls, which are the platform's own affair.
                iVersion: 2,
                szOsFile: template.szOsFile + head,
                mxPathname: template.mxPathname,
                pNext: ptr::null_mut(),
                zName: c"hive-test".as_ptr(),
                pAppData: base.cast(),
                xOpen: Some(open),
                xDelete: Some(delete),
                xAccess: Some(access),
                xFullPathname: Some(full_pathname),
                xDlOpen: Some(dl_open),
                xDlError: Some(dl_error),
                xDlSym: Some(dl_sym),
                xDlClose: Some(dl_close),
                xRandomness: Some(randomness),
                xSleep: Some(sleep),
                xCurrentTime: Some(current_time),
                xGetLastError: Some(get_last_error),
                xCurrentTimeInt64: Some(current_time_int64),
                xSetSystemCall: None,
                xGetSystemCall: None,
                xNextSystemCall: None,
            };
            ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 1)
        }
    });
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "SQLite refuses the file system with code {code}"
        )))
    }
}

/// The platform's own file system.
///
/// # Safety
/// `vfs` is the one that `install` registered.
unsafe fn base(vfs: *mut sqlite3_vfs) -> *mut sqlite3_vfs {
    // SAFETY: `install` put it there.
    unsafe { (*vfs).pAppData.cast() }
}

/// The platform's own part of a watched file.
///
/// # Safety
/// `file` was opened by `open` as a watched one.
unsafe fn inner(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: SQLite gave room for both, as `szOsFile` says.
    unsafe { file.byte_add(OFFSET) }
}

/// # Safety
/// As with [`inner`]; no other reference to the handle is alive, because one thread at a time uses a file.
unsafe fn handle<'a>(file: *mut sqlite3_file) -> &'a mut Handle {
    // SAFETY: `open` made it and `close`, after which the file is not used any more, frees it.
    unsafe { &mut *(*file.cast::<Shim>()).handle }
}

/// Who watches the file called `name`, which may be null for files without one.
///
/// # Safety
/// `name` is null or ends with a zero byte.
unsafe fn watcher(name: *const c_char) -> Option<(Arc<Shared>, File)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller promises it.
    let name = unsafe { CStr::from_ptr(name) };
    // SQLite's names are UTF-8.
    tape::find(Path::new(name.to_str().ok()?))
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: the arguments are SQLite's; `file` has room for the head and the platform's own.
    unsafe {
        let base = base(vfs);
        let Some(open) = (*base).xOpen else {
            return ffi::SQLITE_CANTOPEN;
        };
        let Some((shared, kind)) = watcher(name) else {
            // Nobody looks: the memory is the platform's from its beginning.
            return open(base, name, file, flags, out);
        };
        (*file).pMethods = ptr::null();
        let code = open(base, name, inner(file), flags, out);
        if code != ffi::SQLITE_OK {
            // SQLite closes what has methods even when opening it failed.
            if let Some(close) = (*inner(file)).pMethods.as_ref().and_then(|methods| methods.xClose) {
                close(inner(file));
            }
            return code;
        }
        let known = shared.failed(kind);
        let handle = Handle {
            shared,
            file: kind,
            known,
        };
        file.cast::<Shim>().write(Shim {
            head: sqlite3_file { pMethods: &METHODS },
            handle: Box::into_raw(Box::new(handle)),
        });
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: the arguments are SQLite's.
    unsafe {
        let base = base(vfs);
        let Some(delete) = (*base).xDelete else {
            return ffi::SQLITE_IOERR_DELETE;
        };
        let code = delete(base, name, sync_folder);
        if code == ffi::SQLITE_OK
            && let Some((shared, file)) = watcher(name)
        {
            shared.record(Event::Delete { file });
        }
        code
    }
}

/// Functions of the file system that only hand on.
macro_rules! hand_on {
    ($($name:ident = $field:ident($($arg:ident: $type:ty),*) -> $answer:ty, or $missing:expr;)*) => {$(
        unsafe extern "C" fn $name(vfs: *mut sqlite3_vfs, $($arg: $type),*) -> $answer {
            // SAFETY: the arguments are SQLite's, and go to the platform's own as they came.
            unsafe {
                let base = base(vfs);
                match (*base).$field {
                    Some(function) => function(base, $($arg),*),
                    None => $missing,
                }
            }
        }
    )*};
}

type Symbol = Option<unsafe extern "C" fn(*mut sqlite3_vfs, *mut c_void, *const c_char)>;

hand_on! {
    access = xAccess(name: *const c_char, flags: c_int, out: *mut c_int) -> c_int, or ffi::SQLITE_IOERR_ACCESS;
    full_pathname = xFullPathname(name: *const c_char, room: c_int, out: *mut c_char) -> c_int, or ffi::SQLITE_CANTOPEN;
    dl_open = xDlOpen(name: *const c_char) -> *mut c_void, or ptr::null_mut();
    dl_error = xDlError(room: c_int, out: *mut c_char) -> (), or ();
    dl_sym = xDlSym(library: *mut c_void, name: *const c_char) -> Symbol, or None;
    dl_close = xDlClose(library: *mut c_void) -> (), or ();
    randomness = xRandomness(room: c_int, out: *mut c_char) -> c_int, or 0;
    sleep = xSleep(micros: c_int) -> c_int, or 0;
    current_time = xCurrentTime(out: *mut f64) -> c_int, or ffi::SQLITE_ERROR;
    get_last_error = xGetLastError(room: c_int, out: *mut c_char) -> c_int, or 0;
    current_time_int64 = xCurrentTimeInt64(out: *mut i64) -> c_int, or ffi::SQLITE_ERROR;
}

/// Version 2: shared memory, but no memory-mapped input and output, which would go past `read`.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Calls a method of the platform's own file.
macro_rules! inner {
    ($file:ident.$field:ident($($arg:expr),*), or $missing:expr) => {{
        let inner = inner($file);
        match (*inner).pMethods.as_ref().and_then(|methods| methods.$field) {
            Some(method) => method(inner, $($arg),*),
            None => $missing,
        }
    }};
}

/// Methods of a file that only hand on.
macro_rules! hand_on_file {
    ($($name:ident = $field:ident($($arg:ident: $type:ty),*) -> $answer:ty, or $missing:expr;)*) => {$(
        unsafe extern "C" fn $name(file: *mut sqlite3_file, $($arg: $type),*) -> $answer {
            // SAFETY: SQLite calls it on a file that `open` made; the arguments go on as they came.
            unsafe { inner!(file.$field($($arg),*), or $missing) }
        }
    )*};
}

hand_on_file! {
    file_size = xFileSize(out: *mut i64) -> c_int, or ffi::SQLITE_IOERR_FSTAT;
    lock = xLock(level: c_int) -> c_int, or ffi::SQLITE_IOERR_LOCK;
    unlock = xUnlock(level: c_int) -> c_int, or ffi::SQLITE_IOERR_UNLOCK;
    check_reserved_lock = xCheckReservedLock(out: *mut c_int) -> c_int, or ffi::SQLITE_IOERR_CHECKRESERVEDLOCK;
    file_control = xFileControl(what: c_int, argument: *mut c_void) -> c_int, or ffi::SQLITE_NOTFOUND;
    sector_size = xSectorSize() -> c_int, or 4096;
    device_characteristics = xDeviceCharacteristics() -> c_int, or 0;
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> c_int, or ffi::SQLITE_IOERR_SHMMAP;
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int, or ffi::SQLITE_IOERR_SHMLOCK;
    shm_barrier = xShmBarrier() -> (), or ();
    shm_unmap = xShmUnmap(delete: c_int) -> c_int, or ffi::SQLITE_OK;
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file that `open` made once, and does not use it afterwards.
    unsafe {
        drop(Box::from_raw((*file.cast::<Shim>()).handle));
        inner!(file.xClose(), or ffi::SQLITE_OK)
    }
}

unsafe extern "C" fn read(file: *mut sqlite3_file, into: *mut c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite calls it on a file that `open` made; the arguments go on as they came.
    unsafe {
        let Handle { shared, file: kind, .. } = handle(file);
        match shared.meet(Call::Read, *kind) {
            Verdict::Pass => inner!(file.xRead(into, count, offset), or ffi::SQLITE_IOERR_READ),
            Verdict::Fail(code) | Verdict::Half(code) => code,
        }
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, count: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite calls it on a file that `open` made, with `count` bytes at `from`; half of them are there as well.
    unsafe {
        let Handle { shared, file: kind, .. } = handle(file);
        let (count, failed) = match shared.meet(Call::Write, *kind) {
            Verdict::Pass => (count, None),
            Verdict::Half(code) => (count / 2, Some(code)),
            Verdict::Fail(code) => return code,
        };
        let code = inner!(file.xWrite(from, count, offset), or ffi::SQLITE_IOERR_WRITE);
        // After it was done, so that a sync that begins in between is not taken to cover it.
        if code == ffi::SQLITE_OK
            && let (Ok(count), Ok(offset)) = (usize::try_from(count), u64::try_from(offset))
        {
            shared.record(Event::Write {
                file: *kind,
                offset,
                bytes: std::slice::from_raw_parts(from.cast::<u8>(), count).into(),
            });
        }
        failed.unwrap_or(code)
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite calls it on a file that `open` made.
    unsafe {
        let Handle { shared, file: kind, .. } = handle(file);
        if let Verdict::Fail(code) | Verdict::Half(code) = shared.meet(Call::Truncate, *kind) {
            return code;
        }
        let code = inner!(file.xTruncate(size), or ffi::SQLITE_IOERR_TRUNCATE);
        if code == ffi::SQLITE_OK
            && let Ok(bytes) = u64::try_from(size)
        {
            shared.record(Event::Truncate { file: *kind, bytes });
        }
        code
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite calls it on a file that `open` made.
    unsafe {
        let Handle {
            shared,
            file: kind,
            known,
        } = handle(file);
        let covers = shared.now();
        if let Verdict::Fail(code) | Verdict::Half(code) = shared.meet(Call::Sync, *kind) {
            shared.sync_failed(*kind, covers);
            *known = shared.failed(*kind);
            return code;
        }
        let code = inner!(file.xSync(flags), or ffi::SQLITE_IOERR_FSYNC);
        if code != ffi::SQLITE_OK {
            shared.sync_failed(*kind, covers);
            *known = shared.failed(*kind);
            return code;
        }
        shared.record(Event::Sync { file: *kind, covers });
        // The system tells each handle once of a failure that another one met.
        let failed = shared.failed(*kind);
        if failed > *known {
            *known = failed;
            return ffi::SQLITE_IOERR_FSYNC;
        }
        ffi::SQLITE_OK
    }
}
