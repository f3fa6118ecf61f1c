//! Input that nobody should have sent.

use hive_core::id::TaskId;

use super::*;

/// A good CloudEvent with one attribute replaced, or taken out.
fn with(name: &str, value: Value) -> Value {
    let mut good = json!({
        "specversion": "1.0", "id": id(1), "source": "/a", "type": "a", "subject": "a", "time": "2026-01-01T00:00:00Z",
        "sequence": "0000000000000000001", "data": {}, "otherextension": "an extension that is carried along",
    });
    Event::from_cloudevent(&good).unwrap();
    if value == json!("(out)") {
        good.as_object_mut().unwrap().remove(name);
    } else {
        good[name] = value;
    }
    good
}

/// The same with an attribute more, or another one replaced.
fn and(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

/// What is said of each, one to a line.
fn told(errors: impl IntoIterator<Item = Error>) -> String {
    let mut seen = String::new();
    for error in errors {
        let line = format!("{}: {error}", error.code());
        assert!(
            line.len() < 300,
            "a message must not carry a stranger's text along: {line}"
        );
        assert!(!line.chars().any(char::is_control), "{line:?}");
        seen += &line;
        seen.push('\n');
    }
    seen
}

#[test]
fn a_hostile_cloudevent_is_refused_with_its_reason() {
    let long = "x".repeat(100_000);
    let media = |media_type: &str, data: Value| and(with("datacontenttype", json!(media_type)), "data", data);
    let base64 = |text: Value| and(with("data", json!("(out)")), "data_base64", text);
    let cases = [
        json!([]),
        json!("evt"),
        with("specversion", json!("(out)")),
        with("specversion", json!("0.3")),
        with("specversion", json!(1.0)),
        with("id", json!("(out)")),
        with("id", json!("")),
        with("id", json!(7)),
        with("id", json!(TaskId::from_bytes([0; 16]))),
        with("id", json!("a\u{0}")),
        with("id", json!(long)),
        with("source", json!("(out)")),
        with("source", json!("")),
        with("source", json!("not a uri")),
        with("source", json!("/100%")),
        with("source", json!("/%4")),
        with("source", json!("/\u{1b}[2J")),
        with("source", json!(long)),
        with("type", json!("(out)")),
        with("type", json!("")),
        with("type", json!("two words")),
        with("type", json!("t\u{0}")),
        with("type", json!(["a"])),
        with("type", json!(long)),
        with("subject", json!("(out)")),
        with("subject", json!("a.>")),
        with("subject", json!("a\n.b")),
        with("subject", json!(long)),
        and(with("subject", json!("")), "id", json!("1")),
        and(with("subject", json!("a\n")), "id", json!("1")),
        and(with("subject", json!(long)), "id", json!("1")),
        with("time", json!("yesterday")),
        with("time", json!("2026-02-30T00:00:00Z")),
        with("time", json!("2026-01-01T00:00:00")),
        with("time", json!("\u{1b}[2J")),
        with("time", json!(long)),
        with("time", json!(0)),
        with("time", json!("(out)")),
        with("sequence", json!("(out)")),
        with("sequence", json!("-1")),
        with("sequence", json!("+1")),
        with("sequence", json!("0")),
        with("sequence", json!("99999999999999999999")),
        with("sequence", json!(1)),
        and(with("id", json!("1")), "hivesequence", json!("one")),
        with("tenant", json!("")),
        with("tenant", json!("../other")),
        with("tenant", json!(long)),
        with("correlationid", json!("")),
        with("correlationid", json!("a\r\nSet-Cookie: b")),
        with("correlationid", json!(long)),
        with("causationid", json!({})),
        with("partitionkey", json!("")),
        with(
            "traceparent",
            json!("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
        ),
        with("traceparent", json!("01")),
        with("expirytime", json!("never")),
        with("schemaversion", json!(0)),
        with("schemaversion", json!(65_536)),
        with("schemaversion", json!(-1)),
        with("schemaversion", json!("one")),
        with("schemaversion", json!(true)),
        with("datacontenttype", json!("")),
        with("datacontenttype", json!("text")),
        with("datacontenttype", json!("a/b\r\nSet-Cookie: b")),
        with("datacontenttype", json!("/json")),
        with("dataschema", json!("two words")),
        media("text/xml", json!({})),
        media("text/plain; charset=iso-8859-1", json!("ü")),
        with("data_base64", json!("AAAA")),
        base64(json!("A")),
        base64(json!("AA=A")),
        base64(json!("AB==")),
        base64(json!("AA")),
        base64(json!("A A=")),
        base64(json!("__==")),
        base64(json!([0])),
        and(base64(json!("AA==")), "datacontenttype", json!("application/json")),
        with("Extension", json!("a")),
        with("with-dash", json!("a")),
        with("ünï", json!("a")),
        with("", json!("a")),
        with(&long, json!("a")),
        with("other", json!({ "a": 1 })),
        with("other", json!([])),
        with("other", json!(1.5)),
        with("other", json!(2_147_483_648_u64)),
        with("other", json!("\u{7}")),
        with("other", json!("\u{ffff}")),
        with("other", json!(long)),
        (0..100).fold(with("a", json!(1)), |event, number| {
            and(event, &format!("a{number}"), json!(1))
        }),
        with("data", json!(vec![long.clone(); 3])),
        and(
            base64(json!("AAAA".repeat(limits::DATA_BYTES_MAX / 4 + 1))),
            "datacontenttype",
            json!("a/b"),
        ),
    ];
    let seen = told(
        cases
            .iter()
            .map(|case| Event::from_cloudevent(case).expect_err(&case.to_string()[..200.min(case.to_string().len())])),
    );
    expect![[r#"
        invalid-input: a CloudEvent is a JSON object (found=array)
        invalid-input: a CloudEvent is a JSON object (found=string)
        invalid-input: an attribute of the CloudEvent is missing (attribute=specversion)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=specversion, found=0.3)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=specversion, found=number)
        invalid-input: an attribute of the CloudEvent is missing (attribute=id)
        invalid-input: an attribute of the event is empty (attribute=id)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=id, found=number)
        invalid-input: an attribute of the CloudEvent is missing (attribute=hivesequence)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=id, character=\0, byte=1)
        invalid-input: an attribute of the event is too long (attribute=id, bytes=100000, limit=1024)
        invalid-input: an attribute of the CloudEvent is missing (attribute=source)
        invalid-input: an attribute of the event is empty (attribute=source)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=source, character=" ", byte=3)
        invalid-input: a % in a URI must be followed by two hexadecimal digits (attribute=source)
        invalid-input: a % in a URI must be followed by two hexadecimal digits (attribute=source)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=source, character=\u{1b}, byte=1)
        invalid-input: an attribute of the event is too long (attribute=source, bytes=100000, limit=256)
        invalid-input: an attribute of the CloudEvent is missing (attribute=type)
        invalid-input: an attribute of the event is empty (attribute=type)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=type, character=" ", byte=3)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=type, character=\0, byte=1)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=type, found=array)
        invalid-input: an attribute of the event is too long (attribute=type, bytes=100000, limit=128)
        invalid-input: an attribute of the CloudEvent is missing (attribute=subject)
        invalid-input: a topic has no wildcards; only a pattern does (wildcard=>, topic=a.>, attribute=subject)
        invalid-input: the topic has a character that is not allowed (topic=a\n.b, character=\n, attribute=subject)
        invalid-input: the topic is too long (bytes=100000, limit=255, attribute=subject)
        invalid-input: an attribute of the event is empty (attribute=subject)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=subject, character=\n, byte=1)
        invalid-input: an attribute of the event is too long (attribute=subject, bytes=100000, limit=1024)
        invalid-input: the text is not an RFC 3339 time (value=yesterday, attribute=time)
        invalid-input: the text is not an RFC 3339 time (value=2026-02-30T00:00:00Z, attribute=time)
        invalid-input: the text is not an RFC 3339 time (value=2026-01-01T00:00:00, attribute=time)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=time, found=\u{1b}[2J)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=time, found=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=time, found=number)
        invalid-input: an attribute of the CloudEvent is missing (attribute=time)
        invalid-input: an attribute of the CloudEvent is missing (attribute=sequence)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=sequence, found=-1)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=sequence, found=+1)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=sequence, found=0)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=sequence, found=99999999999999999999)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=sequence, found=number)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=hivesequence, found=one)
        invalid-input: an attribute of the event is empty (attribute=tenant)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=tenant, character=/, byte=2)
        invalid-input: an attribute of the event is too long (attribute=tenant, bytes=100000, limit=64)
        invalid-input: an attribute of the event is empty (attribute=correlationid)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=correlationid, character=\r, byte=1)
        invalid-input: an attribute of the event is too long (attribute=correlationid, bytes=100000, limit=128)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=causationid, found=object)
        invalid-input: an attribute of the event is empty (attribute=partitionkey)
        invalid-input: the trace context of the event is not one (attribute=traceparent, found=00-00000000000000000000000000000000-b7ad6b7169203331-01)
        invalid-input: the trace context of the event is not one (attribute=traceparent, found=01)
        invalid-input: the text is not an RFC 3339 time (value=never, attribute=expirytime)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=0)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=65536)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=-1)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=one)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=schemaversion, found=true)
        invalid-input: an attribute of the event is empty (attribute=datacontenttype)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=datacontenttype, found=text)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=datacontenttype, character=\r, byte=3)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=datacontenttype, found=/json)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=dataschema, character=" ", byte=3)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=data, found=object)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=datacontenttype, found="text/plain; charset=iso-8859-1")
        invalid-input: a CloudEvent has its data in `data` or in `data_base64`, not in both (attribute=data_base64)
        invalid-input: the text is not Base64 (RFC 4648, padded) (attribute=data_base64)
        invalid-input: the text is not Base64 (RFC 4648, padded) (attribute=data_base64)
        invalid-input: the text is not Base64 (RFC 4648, padded) (attribute=data_base64)
        invalid-input: the text is not Base64 (RFC 4648, padded) (attribute=data_base64)
        invalid-input: the text is not Base64 (RFC 4648, padded) (attribute=data_base64)
        invalid-input: the text is not Base64 (RFC 4648, padded) (attribute=data_base64)
        invalid-input: an attribute of the CloudEvent is not a string (attribute=data_base64, found=array)
        invalid-input: the payload is not JSON (line=1, column=1, attribute=data)
        invalid-input: an attribute of the event has a name that none can have (attribute=Extension, limit=20)
        invalid-input: an attribute of the event has a name that none can have (attribute=with-dash, limit=20)
        invalid-input: an attribute of the event has a name that none can have (attribute=ünï, limit=20)
        invalid-input: an attribute of the event has a name that none can have (attribute="", limit=20)
        invalid-input: an attribute of the event has a name that none can have (attribute=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, limit=20)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=other, found=object)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=other, found=array)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=other, found=number)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=other, found=number)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=other, character=\u{7}, byte=0)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=other, character=\u{ffff}, byte=0)
        invalid-input: an attribute of the event is too long (attribute=other, bytes=100000, limit=1024)
        limit-reached: the CloudEvent has too many attributes (limit=52)
        payload-too-large: the payload is too large (size=300010, limit=262144, attribute=data)
        payload-too-large: the payload is too large (size=262150, limit=262144, attribute=data)
    "#]].assert_eq(&seen);
}

/// A good CloudEvent as text, with more members in front.
fn text(more: &str) -> Vec<u8> {
    let rest = format!(
        r#""specversion":"1.0","id":"{}","source":"/a","type":"a","subject":"a","time":"2026-01-01T00:00:00Z","sequence":"1"}}"#,
        id(1)
    );
    format!("{{{more}{rest}").into_bytes()
}

#[test]
fn hostile_text_is_refused_with_its_reason() {
    Event::from_cloudevent_json(&text("")).unwrap();
    let deep = |times: usize| format!(r#""data":{}{},"#, "[".repeat(times), "]".repeat(times));
    let huge = "9".repeat(limits::DATA_BYTES_MAX);
    let latin = [&b"{\"a\":\"\xfc\","[..], &text("")[1..]].concat();
    let cases: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"\xff\xfe".to_vec(),
        b"\0".to_vec(),
        b"null".to_vec(),
        b"[{}]".to_vec(),
        br#"{"id":1}x"#.to_vec(),
        [text(""), text("")].concat(),
        latin,
        text("\"a\":\"\0\","),
        text(r#""id":"1","#),
        text(r#""a":1,"a":1,"#),
        text(r#""a":null,"\u0061":1,"#),
        text(r#""data":1,"data":1,"#),
        text(r#""data":{"b":[{"a":1,"a":2}]},"#),
        text(r#""data":"\ud800","#),
        text(r#""data":{"\udc00":1},"#),
        text(r#""data":01,"#),
        text(r#""data":"#),
        text(r#""a":"\ud800","#),
        text(r#""a":"\u0000","#),
        text(r#""\ud800":1,"#),
        text(r#""a":1e5,"#),
        text(r#""a":-2147483649,"#),
        text(&format!(r#""a":{huge},"#)),
        text(&deep(101)),
        text(&deep(100_000)),
        text(&deep(101).replace("data", "a")),
        text(&format!(r#""data":{huge}9,"#)),
        text(&format!(r#""data":1{},"#, " ".repeat(limits::CLOUDEVENT_BYTES_MAX))),
    ];
    let seen = told(cases.iter().map(|case| {
        Event::from_cloudevent_json(case).expect_err(&String::from_utf8_lossy(&case[..case.len().min(200)]))
    }));
    expect![[r#"
        invalid-input: the CloudEvent is not JSON (line=1, column=0)
        invalid-input: the CloudEvent is not JSON (line=1, column=1)
        invalid-input: the CloudEvent is not UTF-8 (offset=0)
        invalid-input: the CloudEvent is not JSON (line=1, column=1)
        invalid-input: a CloudEvent is a JSON object (found=null)
        invalid-input: a CloudEvent is a JSON object (found=array)
        invalid-input: the CloudEvent is not JSON (line=1, column=9)
        invalid-input: the CloudEvent is not JSON (line=1, column=144)
        invalid-input: the CloudEvent is not UTF-8 (offset=6)
        invalid-input: the CloudEvent is not JSON (line=1, column=6)
        invalid-input: an attribute of the CloudEvent is there twice (attribute=id)
        invalid-input: an attribute of the CloudEvent is there twice (attribute=a)
        invalid-input: an attribute of the CloudEvent is there twice (attribute=a)
        invalid-input: an attribute of the CloudEvent is there twice (attribute=data)
        invalid-input: the payload names a key twice (key=a, attribute=data)
        invalid-input: the payload is not JSON (offset=0, attribute=data)
        invalid-input: the payload is not JSON (offset=1, attribute=data)
        invalid-input: the CloudEvent is not JSON (line=1, column=10)
        invalid-input: the CloudEvent is not JSON (line=1, column=22)
        invalid-input: an attribute of the CloudEvent is not Unicode (attribute=a)
        invalid-input: an attribute of the event has a character that is not allowed (attribute=a, character=\0, byte=0)
        invalid-input: the CloudEvent is not JSON (line=1, column=9)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=a, found=number)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=a, found=number)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=a, found=number)
        invalid-input: the payload nests too deep (limit=100, attribute=data)
        invalid-input: the payload nests too deep (limit=100, attribute=data)
        invalid-input: an attribute of the CloudEvent has a value that none can have (attribute=a, found=array)
        payload-too-large: the payload is too large (size=262145, limit=262144, attribute=data)
        payload-too-large: the CloudEvent is larger than the limit (bytes=327832, limit=327680)
    "#]]
    .assert_eq(&seen);
    // As deep as the limit is deep enough.
    Event::from_cloudevent_json(&text(&deep(100))).unwrap();
}

#[test]
fn a_batch_says_which_of_its_events_is_refused() {
    let good = String::from_utf8(text("")).unwrap();
    let cases = [
        "{}".to_owned(),
        "[".to_owned(),
        "[[]]".to_owned(),
        format!("[{good},{good},7]"),
        format!("[{good},{}]", good.replace("1.0", "2.0")),
        format!("[{good},]"),
        format!("[{good}{good}]"),
        format!("[{good}] {good}"),
        format!("[{good},{}", good.replace("1.0", "2.0")),
    ];
    let seen = told(
        cases
            .iter()
            .map(|case| NewEvent::from_cloudevents_json(case.as_bytes()).unwrap_err()),
    );
    expect![[r#"
        invalid-input: a batch of CloudEvents is a JSON array (found=object)
        invalid-input: the CloudEvent is not JSON (line=1, column=1)
        invalid-input: a CloudEvent is a JSON object (found=array, event=0)
        invalid-input: a CloudEvent is a JSON object (found=number, event=2)
        invalid-input: an attribute of the CloudEvent is wrong (attribute=specversion, found=2.0, event=1)
        invalid-input: the CloudEvent is not JSON (line=1, column=146)
        invalid-input: the CloudEvent is not JSON (line=1, column=145)
        invalid-input: the CloudEvent is not JSON (line=1, column=147)
        invalid-input: the CloudEvent is not JSON (line=1, column=288)
    "#]]
    .assert_eq(&seen);
}
