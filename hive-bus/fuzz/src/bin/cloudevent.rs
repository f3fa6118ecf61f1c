//! Bytes that may be a CloudEvent in JSON, or a batch of them.
#![no_main]

use hive_bus::{Event, NewEvent};
use hive_bus_fuzz::survives;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = NewEvent::from_cloudevent_json(bytes) {
        survives(event);
    }
    if let Ok(event) = Event::from_cloudevent_json(bytes) {
        let json = event.to_cloudevent_json().expect("it has a JSON form");
        assert_eq!(
            Event::from_cloudevent_json(json.as_bytes()).expect("it can be read"),
            event
        );
    }
    if let Ok(events) = NewEvent::from_cloudevents_json(bytes) {
        events.into_iter().for_each(survives);
    }
    if let Ok(value) = serde_json::from_slice(bytes)
        && let Ok(event) = NewEvent::from_cloudevent(&value)
    {
        survives(event);
    }
});
