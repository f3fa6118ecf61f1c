//! The testing kit itself: servers that answer, and are gone whatever happens to the test.

mod databases;
mod folders;
mod nats;
mod postgres;
mod proxy;
mod redis;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hive_core::rng::{Rng as _, SystemRng};
use hive_core::testing::until;

/// How long to wait for something that happens in other processes: far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a process is killed while it starts a server.
const ROUNDS: u32 = 12;

/// Set in a process that a test starts of its own binary: where it says what it has started.
const OTHER: &str = "HIVE_CORE_TEST_KIT";

/// The file in which this process is to say what it has started, if a test has started it.
fn other() -> Option<PathBuf> {
    std::env::var_os(OTHER).map(PathBuf::from)
}

/// Says it, and then waits for the end that is to come.
fn say_and_wait(file: &Path, folder: &Path, port: u16) -> ! {
    // Whole or missing, because a rename is.
    let draft = file.with_extension("draft");
    std::fs::write(&draft, format!("{port} {}", folder.display())).unwrap();
    std::fs::rename(draft, file).unwrap();
    loop {
        std::thread::park();
    }
}

/// Runs `test` in a process of its own until it has started a server, kills it, and returns the server's folder and port.
fn killed(test: &str) -> (PathBuf, u16) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("said");
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(OTHER, &file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let said = until(PATIENCE * 2, || std::fs::read_to_string(&file).ok());
    // All of its group at once, as test runners do.
    let group = format!("-{}", process.id());
    let kill = Command::new("sh")
        .args(["-c", "kill -s KILL -- \"$1\"", "kill", &group])
        .status();
    assert!(kill.unwrap().success());
    assert!(!process.wait().unwrap().success());
    let said = said.unwrap();
    let (port, folder) = said.split_once(' ').unwrap();
    (PathBuf::from(folder), port.parse().unwrap())
}

/// Fails unless the server's folder goes away and nothing listens on its port.
#[track_caller]
fn assert_gone(folder: &Path, port: u16) {
    assert!(
        until(PATIENCE, || (!folder.exists()).then_some(())).is_some(),
        "the folder is still there: {}",
        folder.display()
    );
    assert!(!listens(port), "something still listens on port {port}");
    // The one that removed the folder goes a moment later.
    let gone = until(PATIENCE, || processes(folder).is_empty().then_some(()));
    assert!(gone.is_some(), "processes are left: {:?}", processes(folder));
}

fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The command lines of all processes that name the folder.
fn processes(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder))
        .collect()
}

/// Runs `start`, which says what it has started and then panics; returns that.
fn panicked(start: impl FnOnce(&dyn Fn(&Path, u16))) -> (PathBuf, u16) {
    let said = std::sync::Mutex::new(None);
    let say = |folder: &Path, port| *said.lock().unwrap() = Some((folder.to_owned(), port));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| start(&say)));
    assert!(ended.is_err(), "it was to panic");
    said.into_inner().unwrap().unwrap()
}

/// Runs `test` again and again in a process of its own that is killed at some moment, most likely during a start, and fails if
/// anything is left of it.
fn killed_at_any_moment(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    // The user that PostgreSQL runs as has to get there.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = dir.path().join("said");
    let rng = SystemRng;
    for _ in 0..ROUNDS {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(OTHER, &said)
            .env("TMPDIR", dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let moment = Duration::from_millis(rng.next_u64() % 400);
        let early = until(moment, || said.exists().then_some(()));
        process.kill().unwrap();
        process.wait().unwrap();
        if early.is_some() {
            std::fs::remove_file(&said).unwrap();
        }
        let left = || {
            let folders = std::fs::read_dir(dir.path()).unwrap();
            let names = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names
                .filter(|name| name.starts_with("hive-") && !name.contains("templates"))
                .collect::<Vec<_>>()
        };
        let gone = until(PATIENCE, || left().is_empty().then_some(()));
        assert!(gone.is_some(), "folders are left: {:?}", left());
        // The last process goes a moment after the folder.
        let gone = until(PATIENCE, || processes(dir.path()).is_empty().then_some(()));
        assert!(gone.is_some(), "processes are left: {:?}", processes(dir.path()));
    }
}
