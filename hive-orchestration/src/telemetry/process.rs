//! What this process takes of the machine.

/// What a process holds and has used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Resources {
    pub(crate) memory_bytes: u64,
    pub(crate) open_fds: u64,
    pub(crate) cpu_s: f64,
}

/// What this process holds and has used; `None` where there is no `/proc` as Linux has it. Reading takes a moment for each open
/// descriptor: call it off the runtime.
pub(crate) fn resources() -> Option<Resources> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fds = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Resources {
        memory_bytes: resident(&status)?,
        // Listing them opened one more.
        open_fds: (fds as u64).saturating_sub(1),
        cpu_s: cpu(&stat)?,
    })
}

/// The line `VmRSS: … kB`.
fn resident(status: &str) -> Option<u64> {
    let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = held.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// Processor time in the kernel's language: proc(5) says "clock ticks", and for programs those are a hundredth of a second on every
/// architecture that Rust's standard library has Linux for.
const TICKS_PER_S: f64 = 100.0;

/// The fourteenth and fifteenth field: time in the program and in the kernel. The second, the name, is in parentheses and may hold
/// anything, these included.
fn cpu(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(super::float(user.saturating_add(system)) / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_program_is_called() {
        let stat =
            "7 (a) b (c)) S 1 7 7 0 -1 4194560 1000 0 0 0 250 50 9 9 20 0 1 0 100 1000000 300 18446744073709551615";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(cpu("7 (a) S 1"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tkthread\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_something() {
        let before = resources().unwrap();
        assert!(before.memory_bytes > 100 << 10 && before.open_fds >= 3, "{before:?}");
        let more: Vec<_> = (0..10)
            .map(|_| std::fs::File::open("/proc/self/status").unwrap())
            .collect();
        assert!(resources().unwrap().open_fds >= 13);
        drop(more);
        // Computes until that shows.
        let mut sum = 0_u64;
        while resources().unwrap().cpu_s < before.cpu_s + 0.05 {
            sum = (0..1_000_000).fold(sum, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        assert_ne!(std::hint::black_box(sum), 1);
    }
}
