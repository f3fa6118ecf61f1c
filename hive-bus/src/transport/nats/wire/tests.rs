use std::borrow::Cow;

use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use hive_core::payload::Payload;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::event::Attributes;
use crate::limits;

/// JSON whose spelling says more than its value: what comes back is what was written.
const SPELLED: &[&str] = &[
    "0.10",
    "1E+2",
    "-0.0",
    "1e999",
    "18446744073709551616",
    "\"\\u0000\"",
    "{\"a\":[{}]}",
    "null",
];

fn text() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,40}".prop_filter("it has to fit", |text| text.len() <= limits::CORRELATION_BYTES_MAX)
}

fn data() -> impl Strategy<Value = Payload> {
    let spelled = prop::sample::select(SPELLED).prop_map(|json| Payload::from_bytes(json).unwrap());
    let text = any::<String>().prop_map(|text| Payload::encode(&text, limits::DATA_BYTES_MAX).unwrap());
    let bytes = vec(any::<f64>(), 0..5).prop_map(|numbers| Payload::encode(&numbers, limits::DATA_BYTES_MAX).unwrap());
    prop_oneof![spelled, text, bytes]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()).prop_map(Timestamp::from_micros)
}

fn event() -> impl Strategy<Value = NewEvent> {
    let names = (
        "[!-~]{1,20}",
        "[a-zA-Z0-9/._~:?#@!$&'()*+,;=-]{1,40}",
        "[a-zA-Z0-9_.-]{1,20}",
        1..=u16::MAX,
    );
    let topic = "[a-zA-Z0-9_:@/+=~%#-]{1,9}(\\.[a-zA-Z0-9_:@/+=~%#-]{1,9}){0,4}";
    let ids = (option::of(text()), option::of(text()), option::of(text()));
    let trace = option::of(Just(
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
    ));
    (
        names,
        topic,
        ids,
        trace,
        any::<[u8; 16]>(),
        time(),
        option::of(time()),
        data(),
    )
        .prop_map(
            |(
                (event_type, source, tenant, schema_version),
                topic,
                (correlation, causation, key),
                traceparent,
                id,
                time,
                expires,
                data,
            )| {
                let mut event = NewEvent::new(event_type, topic, &())
                    .unwrap()
                    .id(EventId::from_bytes(id))
                    .time(time);
                event.attributes = Attributes {
                    schema_version,
                    source: Cow::Owned(source),
                    tenant: Cow::Owned(tenant),
                    correlation,
                    causation,
                    key,
                    traceparent,
                    expires,
                    data,
                    ..event.attributes
                };
                event
            },
        )
}

proptest! {
    #[test]
    fn what_was_written_is_read(event in event(), stream in 1..u64::MAX, relayed in option::of(1..i64::MAX)) {
        prop_assert_eq!(event.check().err().map(|e| e.to_string()), None);
        let (id, time, attributes) = event.into_parts().unwrap();
        let relayed = relayed.map(|number| Sequence::new(number.cast_unsigned()));
        let sent = Event::published(relayed.unwrap_or(Sequence::START), id, time, attributes.clone());
        let body = write(&sent).unwrap();
        prop_assert_eq!(body.windows(12).any(|part| part == b"\"sequence\":\""), relayed.is_some());
        let headers = relayed.map(|number| {
            let mut headers = HeaderMap::new();
            headers.insert(SEQUENCE, number.to_string());
            headers
        });
        let expected = Event::published(relayed.unwrap_or(Sequence::new(stream)), id, time, attributes);
        prop_assert_eq!(read(stream, headers.as_ref(), &body).unwrap(), expected);
    }

    #[test]
    fn anything_else_is_refused_and_no_more(body in vec(any::<u8>(), 0..200)) {
        prop_assert!(read(1, None, &body).is_err());
    }
}
