//! What must hold of every event that was received, whoever sent it and however it came.

use std::fmt::Debug;

use hive_bus::{Event, ExtensionValue, HttpMessage, NewEvent, Sequence};

/// It can be written in every form, and is the same event when it is read from there.
pub fn survives(received: NewEvent) {
    let sequence = Sequence::new(1);
    // One that came without a date would get one when it is published.
    let event = received
        .clone()
        .at(sequence)
        .or_else(|_| received.time(epoch()).at(sequence))
        .expect("what was received keeps the limits");
    let new = NewEvent::from(event.clone());

    let json = event.to_cloudevent_json().expect("it has a JSON form");
    same(Event::from_cloudevent_json(json.as_bytes()), &event);
    same(NewEvent::from_cloudevent_json(json.as_bytes()), &new);
    // Numbers may be too large for a value.
    if let Ok(value) = event.to_cloudevent() {
        Event::from_cloudevent(&value).expect("it can be read from a value");
    }

    read_again(event.to_http_structured().expect("it has a structured form"), &new);
    read_again(
        Event::batch_to_http(std::slice::from_ref(&event)).expect("it fits a batch"),
        &new,
    );
    let is_cloudevent = |text: &str| text.to_ascii_lowercase().starts_with("application/cloudevents");
    match event.to_http_binary() {
        Ok(message) => {
            let printable = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            assert!(
                message
                    .headers()
                    .all(|(name, value)| printable(name) && printable(value))
            );
            // Headers are text, so types are not told there.
            let typed = |(_, value): (_, &ExtensionValue)| value.as_text().is_none();
            if event.extensions().any(typed) {
                NewEvent::from_http(message.headers(), &message.body).expect("it can be read from headers");
            } else {
                read_again(message, &new);
            }
        }
        Err(error) => assert!(event.content_type().is_some_and(is_cloudevent), "{error}"),
    }
}

fn read_again(message: HttpMessage, expected: &NewEvent) {
    let read = NewEvent::from_http(message.headers(), &message.body);
    same(read, &vec![expected.clone()]);
}

fn same<T: PartialEq + Debug>(read: hive_bus::Result<T>, expected: &T) {
    let read = read.expect("what was written can be read");
    assert_eq!(&read, expected);
}

fn epoch<T: std::str::FromStr<Err: Debug>>() -> T {
    "1970-01-01T00:00:00Z".parse().expect("it is a date")
}
