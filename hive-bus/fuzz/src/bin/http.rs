//! Text that may be a message: lines with a name and a value, an empty line, and a body.
#![no_main]

use hive_bus::NewEvent;
use hive_bus_fuzz::survives;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &[][..]),
    };
    let head = String::from_utf8_lossy(head);
    let headers = head.split('\n').map(|line| line.split_once(':').unwrap_or((line, "")));
    if let Ok(events) = NewEvent::from_http(headers, body) {
        events.into_iter().for_each(survives);
    }
});
