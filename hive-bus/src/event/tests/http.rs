//! Events over HTTP.

use super::*;

const FOREIGN: &[(&str, &str)] = &[
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/a"),
    ("ce-type", "a.b"),
];

/// The one event of a message in binary mode that has these headers besides.
fn receive(more: &[(&'static str, &'static str)], body: &[u8]) -> Result<Event> {
    let mut events = NewEvent::from_http(FOREIGN.iter().chain(more).copied(), body)?;
    assert_eq!(events.len(), 1);
    events.remove(0).time(Timestamp::EPOCH).at(Sequence::new(7))
}

fn order() -> Event {
    published(
        NewEvent::new("order.placed", "order.placed.berlin", &json!({ "b": "Grüße", "a": 1 }))
            .unwrap()
            .correlation("Euro € 😀")
            .key("100% \"sure\"")
            .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .extension("severity", "3"),
    )
}

#[test]
fn in_binary_mode_the_attributes_are_headers() {
    let message = order().to_http_binary().unwrap();
    let headers: Vec<String> = message
        .headers()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    expect![[r#"
        ce-specversion: 1.0
        ce-id: evt_00000000000000000000000001
        ce-source: /hive
        ce-type: order.placed
        ce-subject: order.placed.berlin
        ce-time: 1970-01-01T00:00:00.000000Z
        ce-sequence: 0000000000000000042
        ce-tenant: default
        ce-schemaversion: 1
        ce-correlationid: Euro%20%E2%82%AC%20%F0%9F%98%80
        ce-partitionkey: 100%25%20%22sure%22
        ce-traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
        ce-severity: 3
        content-type: application/json"#]]
    .assert_eq(&headers.join("\n"));
    assert_eq!(message.body, r#"{"a":1,"b":"Grüße"}"#.as_bytes());
    let received = NewEvent::from_http(message.headers(), &message.body).unwrap();
    assert_eq!(received, [order().into()]);
}

#[test]
fn in_the_other_modes_the_body_is_all() {
    let one = order().to_http_structured().unwrap();
    assert_eq!(
        one.headers,
        [("content-type".to_owned(), "application/cloudevents+json".to_owned())]
    );
    assert_eq!(one.body, order().to_cloudevent_json().unwrap().into_bytes());
    assert_eq!(NewEvent::from_http(one.headers(), &one.body).unwrap(), [order().into()]);

    let many = Event::batch_to_http(&[order(), order()]).unwrap();
    assert_eq!(
        many.headers,
        [(
            "content-type".to_owned(),
            "application/cloudevents-batch+json".to_owned()
        )]
    );
    assert_eq!(
        NewEvent::from_http(many.headers(), &many.body).unwrap(),
        [order().into(), order().into()]
    );
    let none = Event::batch_to_http(&[]).unwrap();
    assert_eq!(NewEvent::from_http(none.headers(), &none.body).unwrap(), []);

    // Case, parameters and headers that only repeat what the body says change nothing.
    let headers = [
        ("CONTENT-TYPE", "Application/CloudEvents+JSON ; Charset=\"UTF-8\""),
        ("ce-id", "other"),
        ("ce-id", "twice"),
    ];
    assert_eq!(NewEvent::from_http(headers, &one.body).unwrap(), [order().into()]);
}

#[test]
fn names_and_values_of_headers_are_read_as_they_are_written_elsewhere() {
    let value = |header: (&'static str, &'static str)| {
        let event = receive(&[header], b"").unwrap();
        event.extension("a").map(ToString::to_string)
    };
    for (written, read) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac%41", "€A"),
        ("Euro € 😀", "Euro € 😀"),
        ("\"two words\"", "two words"),
        (r#""a \"b\" \\ %25""#, r#"a "b" \ %"#),
        ("\"", "\""),
        ("%22a%22", "\"a\""),
        // Once, and only what is an escape.
        ("%2541", "%41"),
        ("100%", "100%"),
        ("%", "%"),
        ("%4", "%4"),
        ("%zz%é", "%zz%é"),
        (" \t padded\t", "padded"),
        ("", ""),
    ] {
        for name in ["ce-a", "CE-A", "Ce-A"] {
            assert_eq!(value((name, written)).as_deref(), Some(read), "{written}");
        }
    }
    assert_eq!(value(("cea", "1")), None);
    // What is escaped by the binding is, and nothing else.
    let printable: String = (' '..='~').collect();
    let event = published(
        NewEvent::new("a", "a", &())
            .unwrap()
            .extension("a", format!("{printable}é")),
    );
    let message = event.to_http_binary().unwrap();
    let written = message.headers().find(|(name, _)| *name == "ce-a").unwrap().1;
    let expected = printable.replace('%', "%25").replace(' ', "%20").replace('"', "%22") + "%C3%A9";
    assert_eq!(written, expected);
}

#[test]
fn the_trace_of_a_request_is_not_the_events() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let other = "00-11111111111111111111111111111111-2222222222222222-01";
    assert_eq!(receive(&[("traceparent", other)], b"").unwrap().traceparent(), None);
    let both = receive(&[("traceparent", other), ("ce-traceparent", trace)], b"").unwrap();
    assert_eq!(both.traceparent(), Some(trace));
    // Nor does it make another event of it.
    let again = receive(&[("traceparent", "anything"), ("ce-traceparent", trace)], b"").unwrap();
    assert_eq!(again, both);
}

#[test]
fn a_body_is_what_its_type_says() {
    let data = |content_type: Option<&'static str>, body: &[u8]| {
        let header = content_type.map(|text| ("content-type", text));
        let event = receive(header.as_slice(), body).unwrap();
        assert_eq!(event.content().unwrap(), body);
        let message = event.to_http_binary().unwrap();
        assert_eq!(message.body, body);
        let again = NewEvent::from_http(message.headers(), &message.body).unwrap();
        assert_eq!(again, [event.clone().into()]);
        // In JSON it is the same event.
        let json = event.to_cloudevent_json().unwrap();
        assert_eq!(
            NewEvent::from_cloudevent_json(json.as_bytes()).unwrap(),
            event.clone().into()
        );
        (
            event.content_type().map(str::to_owned),
            String::from_utf8(event.data().as_bytes().to_vec()).unwrap(),
        )
    };
    for (content_type, body, read, stored) in [
        (None, &b""[..], None, "null"),
        (None, b"{}", None, r#""e30=""#),
        (Some(""), b"{}", None, r#""e30=""#),
        (Some("application/json"), b"", None, "null"),
        (Some("application/json"), b"null", Some("application/json"), "null"),
        (
            Some(" application/json; charset=utf-8 "),
            b"[1]",
            Some("application/json; charset=utf-8"),
            "[1]",
        ),
        (Some("text/plain"), b"", Some("text/plain"), r#""""#),
        (
            Some("text/plain"),
            "Grüße\n".as_bytes(),
            Some("text/plain"),
            r#""Grüße\n""#,
        ),
        (
            Some("text/plain; charset=latin1"),
            b"\xfc",
            Some("text/plain; charset=latin1"),
            r#""/A==""#,
        ),
        (
            Some("application/octet-stream"),
            b"",
            Some("application/octet-stream"),
            r#""""#,
        ),
        (
            Some("application/octet-stream"),
            b"abc",
            Some("application/octet-stream"),
            r#""YWJj""#,
        ),
    ] {
        assert_eq!(
            data(content_type, body),
            (read.map(str::to_owned), stored.to_owned()),
            "{content_type:?}"
        );
    }
}

#[test]
fn an_event_that_would_be_taken_for_another_is_not_sent_in_binary_mode() {
    let inner = order().to_cloudevent().unwrap();
    for media_type in [
        "application/cloudevents+json",
        "APPLICATION/CloudEvents-Batch+json",
        "application/cloudevents+avro",
    ] {
        let outer = json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": "a", "datacontenttype": media_type,
            "data_base64": "AAAA" });
        let outer = if media_type.ends_with("json") {
            let mut outer = outer;
            outer.as_object_mut().unwrap().remove("data_base64");
            outer["data"] = inner.clone();
            outer
        } else {
            outer
        };
        let event = NewEvent::from_cloudevent(&outer)
            .unwrap()
            .time(Timestamp::EPOCH)
            .at(Sequence::new(1))
            .unwrap();
        assert_eq!(
            event.to_http_binary().unwrap_err().field("attribute"),
            Some("datacontenttype")
        );
        let structured = event.to_http_structured().unwrap();
        assert_eq!(
            NewEvent::from_http(structured.headers(), &structured.body).unwrap(),
            [event.into()]
        );
    }
}

type Headers<'a> = Vec<(&'a str, &'a str)>;

#[test]
fn a_hostile_message_is_refused_with_its_reason() {
    let many: Vec<String> = (0..limits::HTTP_HEADERS_MAX)
        .map(|number| format!("x-{number}"))
        .collect();
    let long = "x".repeat(limits::HTTP_HEADER_BYTES_MAX);
    let large = vec![b'1'; limits::CLOUDEVENTS_BYTES_MAX + 1];
    let good = || FOREIGN.to_vec();
    let and = |more: &[(&'static str, &'static str)]| [FOREIGN, more].concat();
    let cases: Vec<(Headers<'_>, &[u8])> = vec![
        (vec![], b"{}"),
        (vec![("content-type", "application/json")], b"{}"),
        (vec![("content-type", "application/cloudevents+json")], b"{}"),
        (vec![("content-type", "application/cloudevents+json")], b"[]"),
        (vec![("content-type", "application/cloudevents-batch+json")], b"{}"),
        (vec![("content-type", "application/cloudevents-batch+json")], b"[{}]"),
        (vec![("content-type", "application/cloudevents+avro")], b""),
        (vec![("content-type", "application/cloudevents")], b"{}"),
        (
            vec![("content-type", "application/cloudevents+json; charset=utf-16")],
            b"{}",
        ),
        (vec![("ce-id", "1")], b""),
        (and(&[("CE-ID", "2")]), b""),
        (and(&[("content-type", "a/b"), ("Content-Type", "a/b")]), b""),
        (and(&[("content-type", "json")]), b"{}"),
        (and(&[("content-type", "a/b\r\nx: y")]), b"{}"),
        (and(&[("content-type", "application/json")]), b"{"),
        (and(&[("content-type", "application/json")]), br#"{"a":1,"a":1}"#),
        (and(&[("content-type", "application/json")]), b"\xff"),
        (and(&[("ce-datacontenttype", "a/b")]), b""),
        (and(&[("ce-data", "a")]), b""),
        (and(&[("ce-data_base64", "a")]), b""),
        (and(&[("ce-", "a")]), b""),
        (and(&[("ce-a-b", "a")]), b""),
        (and(&[("ce-é", "a")]), b""),
        (and(&[("ce-a", "%C0%A0")]), b""),
        (and(&[("ce-a", "%ED%A0%80")]), b""),
        (and(&[("ce-a", "%0d%0aset-cookie:%20b")]), b""),
        (and(&[("ce-a", "%00")]), b""),
        (and(&[("ce-subject", "")]), b""),
        (and(&[("ce-time", "now")]), b""),
        (and(&[("ce-schemaversion", "1.5")]), b""),
        (and(&[("ce-traceparent", "00")]), b""),
        (
            good()
                .into_iter()
                .chain(many.iter().map(|name| (name.as_str(), "")))
                .collect(),
            b"",
        ),
        (good().into_iter().chain([("ce-a", long.as_str())]).collect(), b""),
        (good(), &large),
        (vec![("content-type", "application/cloudevents+json")], &large),
        (vec![("content-type", "application/cloudevents-batch+json")], &large),
    ];
    let mut seen = String::new();
    for (headers, body) in cases {
        let error = NewEvent::from_http(headers.iter().copied(), body).unwrap_err();
        let line = format!("{}: {error}", error.code());
        assert!(line.len() < 300 && !line.chars().any(char::is_control), "{line:?}");
        seen += &line;
        seen.push('\n');
    }
    expect![[r#"
        invalid-input: the message has no CloudEvent
        invalid-input: the message has no CloudEvent
        invalid-input: an attribute of the CloudEvent is missing (attribute=specversion)
        invalid-input: a CloudEvent is a JSON object (found=array)
        invalid-input: a batch of CloudEvents is a JSON array (found=object)
        invalid-input: an attribute of the CloudEvent is missing (attribute=specversion, event=0)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=content-type, found=application/cloudevents+avro)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=content-type, found=application/cloudevents)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=content-type, found="application/cloudevents+json; charset=utf-16")
        invalid-input: an attribute of the CloudEvent is missing (attribute=specversion)
        invalid-input: an attribute of the CloudEvent is there twice (attribute=id)
        invalid-input: a header of the message is there twice (header=content-type)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=datacontenttype, found=json)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=datacontenttype, character=\r, byte=3)
        invalid-input: the payload is not JSON (line=1, column=1, attribute=data)
        invalid-input: the payload names a key twice (key=a, attribute=data)
        invalid-input: the payload is not UTF-8 (offset=0, attribute=data)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=datacontenttype, found=a/b)
        invalid-input: an extension attribute of the event has a name that is taken (attribute=data)
        invalid-input: an attribute of the event has a name that none can have (attribute=data_base64, limit=20)
        invalid-input: an attribute of the event has a name that none can have (attribute="", limit=20)
        invalid-input: an attribute of the event has a name that none can have (attribute=a-b, limit=20)
        invalid-input: an attribute of the event has a name that none can have (attribute=é, limit=20)
        invalid-input: an attribute of the CloudEvent is not UTF-8 (attribute=a)
        invalid-input: an attribute of the CloudEvent is not UTF-8 (attribute=a)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=a, character=\r, byte=0)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=a, character=\0, byte=0)
        invalid-input: an attribute of the event is empty (attribute=subject)
        invalid-input: the text is not an RFC 3339 time (value=now, attribute=time)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=1.5)
        invalid-input: the trace context of the event is not one (attribute=traceparent, found=00)
        limit-reached: the message has too many headers (limit=128)
        limit-reached: the event's headers are too long together (limit=32768)
        payload-too-large: the data is too large (size=4194305, limit=262144)
        payload-too-large: the CloudEvent is larger than the limit (bytes=4194305, limit=327680)
        payload-too-large: the CloudEvent is larger than the limit (bytes=4194305, limit=4194304)
    "#]].assert_eq(&seen);
}

#[test]
fn headers_without_end_are_not_read_to_their_end() {
    let endless = std::iter::repeat(("x", ""));
    assert_eq!(
        NewEvent::from_http(endless, b"").unwrap_err().kind(),
        ErrorKind::LimitReached
    );
}
