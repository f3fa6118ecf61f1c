//! Events that other systems made.

use super::*;

/// The example of the CloudEvents specification.
fn example() -> Value {
    json!({
        "specversion": "1.0",
        "type": "com.github.pull_request.opened",
        "source": "https://github.com/cloudevents/spec/pull",
        "subject": "pull request #123",
        "id": "A234-1234-1234",
        "time": "2018-04-05T17:31:00Z",
        "comexampleextension1": "value",
        "comexampleothervalue": 5,
        "datacontenttype": "text/xml",
        "data": "<much wow=\"xml\"/>",
    })
}

fn receive(value: &Value) -> Event {
    let event = NewEvent::from_cloudevent(value).unwrap();
    let time = event.time.unwrap_or(Timestamp::EPOCH);
    event.time(time).at(Sequence::new(7)).unwrap()
}

/// What the event is sent on as, without its place in this log.
fn sent_on(event: &Event) -> Value {
    let mut value = event.to_cloudevent().unwrap();
    assert_eq!(
        value.as_object_mut().unwrap().remove("hivesequence").unwrap(),
        "0000000000000000007"
    );
    value
}

#[test]
fn an_event_of_another_system_gets_an_id_and_a_topic_here() {
    let event = receive(&example());
    assert_eq!(event.foreign_id(), Some("A234-1234-1234"));
    assert_eq!((event.tenant(), event.schema_version()), (TENANT_DEFAULT, 1));
    assert_eq!(event.subject(), Some("pull request #123"));
    // Both stand in stored events: they never change.
    assert_eq!(event.id().to_string(), "evt_1zd9khtz1za2htxdseds7ch2bh");
    assert_eq!(event.topic().as_str(), "com.github.pull_request.opened");
}

#[test]
fn it_is_sent_on_as_it_came() {
    let mut with_all = example();
    for (name, value) in [
        ("sequence", json!("0001")),
        ("tenant", json!("acme")),
        ("partitionkey", json!("7")),
        (
            "traceparent",
            json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
        ),
        ("dataschema", json!("#schema")),
        ("schemaversion", json!(3)),
        ("drill", json!(true)),
        ("empty", json!("")),
        ("lowest", json!(i32::MIN)),
    ] {
        with_all[name] = value;
    }
    for mut value in [example(), with_all] {
        let event = receive(&value);
        // The same moment, as Hive writes it.
        value["time"] = json!("2018-04-05T17:31:00.000000Z");
        assert_eq!(sent_on(&event), value);
        // Whoever receives it from here has the same event, and so has who stores it.
        assert_eq!(Event::from_cloudevent(&event.to_cloudevent().unwrap()).unwrap(), event);
        assert_eq!(
            NewEvent::from_cloudevent(&event.to_cloudevent().unwrap()).unwrap(),
            event.into()
        );
    }
}

#[test]
fn its_id_here_follows_from_tenant_source_and_id() {
    let with = |name: &str, value: &str| {
        let mut event = example();
        event[name] = json!(value);
        NewEvent::from_cloudevent(&event).unwrap()
    };
    let ids = [
        with("specversion", "1.0"),
        with("id", "B234-1234-1234"),
        // Half of an id of Hive's is none of them.
        with("id", "evt_"),
        with("id", "EVT_00000000000000000000000001"),
        with("source", "https://github.com/cloudevents/spec/pul"),
        with("tenant", "acme"),
    ];
    let ids: std::collections::BTreeSet<_> = ids.into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 6);
    // What follows from tenant and source follows them.
    let moved = with("id", "A234-1234-1234").tenant("acme");
    assert_eq!(moved.id, with("tenant", "acme").id);
    let moved = with("id", "A234-1234-1234").source("/a");
    assert_eq!(moved.id, with("source", "/a").id);
    // And what it is and says does not.
    assert_eq!(with("type", "other").id, with("subject", "other").id);
}

#[test]
fn with_an_id_of_hives_it_becomes_hives_own() {
    let mut value = example();
    value["sequence"] = json!("A");
    value.as_object_mut().unwrap().remove("data");
    let event = NewEvent::from_cloudevent(&value)
        .unwrap()
        .id(id(1))
        .at(Sequence::new(7))
        .unwrap();
    assert_eq!((event.foreign_id(), event.id()), (None, id(1)));
    assert_eq!(event.subject(), Some("com.github.pull_request.opened"));
    let sent = event.to_cloudevent().unwrap();
    assert_eq!(
        (&sent["sequence"], &sent["comexampleothervalue"]),
        (&json!("0000000000000000007"), &json!(5))
    );
    assert_eq!(Event::from_cloudevent(&sent).unwrap(), event);
}

#[test]
fn its_topic_is_its_subject_or_its_type() {
    let topic = |event_type: &str, subject: Value| {
        let event = json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": event_type, "subject": subject });
        let event = receive(&event);
        assert_eq!(event.subject(), subject.as_str());
        event.topic().to_string()
    };
    for (event_type, subject, expected) in [
        ("order.placed", json!("order.placed.berlin"), "order.placed.berlin"),
        ("order.placed", json!(null), "order.placed"),
        ("order.placed", json!("order.*"), "order.placed"),
        ("order.placed", json!("two words"), "order.placed"),
        ("order.placed", json!("Grüße"), "order.placed"),
        ("order.placed", json!("x".repeat(1024)), "order.placed"),
        ("order.*.>", json!(null), "order._._"),
        ("..a..b.", json!(null), "a.b"),
        ("...", json!(null), "_"),
        ("Order{placed}!", json!(null), "Order_placed__"),
        (
            "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p",
            json!(null),
            "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p",
        ),
        (
            "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r",
            json!(null),
            "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p_q_r",
        ),
    ] {
        assert_eq!(topic(event_type, subject), expected, "{event_type}");
    }
}

#[test]
fn data_of_any_type_is_the_same_bytes_again() {
    let with = |media_type: Value, member: &str, data: Value| {
        let event = json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": "a", "subject": "a",
            "time": "2026-01-01T00:00:00.000000Z", "datacontenttype": media_type, member: data });
        (receive(&event), event)
    };
    // What is sent on as it came.
    for (media_type, member, data, content) in [
        (json!("application/json"), "data", json!(null), &b"null"[..]),
        (json!("application/json"), "data", json!("a \"b\""), br#""a \"b\"""#),
        (
            json!("Application/Problem+JSON; a=b"),
            "data",
            json!({ "b": 1, "a": [] }),
            br#"{"a":[],"b":1}"#,
        ),
        (
            json!("text/plain"),
            "data",
            json!("Grüße\u{0}\r\n"),
            "Grüße\u{0}\r\n".as_bytes(),
        ),
        (json!("text/plain; charset=UTF-8"), "data", json!(""), b""),
        (json!("image/svg+xml"), "data", json!("<svg/>"), b"<svg/>"),
        (json!("image/png"), "data_base64", json!("iVBORw=="), b"\x89PNG"),
        (json!("image/png"), "data_base64", json!(""), b""),
        (
            json!("text/plain;charset=\"iso-8859-1\""),
            "data_base64",
            json!("/A=="),
            b"\xfc",
        ),
        (json!("text/plain"), "data_base64", json!("/A=="), b"\xfc"),
        (json!(null), "data_base64", json!("e30="), b"{}"),
    ] {
        let (event, mut expected) = with(media_type.clone(), member, data);
        assert_eq!(event.content_type(), media_type.as_str());
        assert_eq!(event.content().unwrap(), content);
        expected
            .as_object_mut()
            .unwrap()
            .retain(|_, value| member == "data" || !value.is_null());
        assert_eq!(sent_on(&event), expected);
        assert_eq!(Event::from_cloudevent(&event.to_cloudevent().unwrap()).unwrap(), event);
    }
    // What says the same in other words.
    for (media_type, member, data, (media_type_after, member_after, data_after)) in [
        (
            json!(null),
            "data",
            json!([1]),
            (json!("application/json"), "data", json!([1])),
        ),
        (
            json!("a/json"),
            "data_base64",
            json!("IFsxXQ=="),
            (json!("a/json"), "data", json!([1])),
        ),
        (
            json!("text/plain"),
            "data_base64",
            json!("YWJj"),
            (json!("text/plain"), "data", json!("abc")),
        ),
        (
            json!("a/b"),
            "data",
            json!("abc"),
            (json!("a/b"), "data_base64", json!("YWJj")),
        ),
    ] {
        let (event, _) = with(media_type, member, data);
        let sent = sent_on(&event);
        assert_eq!(
            (&sent["datacontenttype"], &sent[member_after]),
            (&media_type_after, &data_after)
        );
    }
    // What there is not has no type.
    for data in [
        ("data", json!(null)),
        ("data_base64", json!(null)),
        ("other", json!(null)),
    ] {
        let (event, _) = with(json!("text/plain"), data.0, data.1);
        assert_eq!((event.content_type(), event.content().unwrap().len()), (None, 0));
        assert_eq!(event.data().as_bytes(), b"null");
        let sent = sent_on(&event);
        assert_eq!(
            (sent.get("datacontenttype"), sent.get("data"), sent.get("data_base64")),
            (None, None, None)
        );
        assert_eq!(Event::from_cloudevent(&event.to_cloudevent().unwrap()).unwrap(), event);
    }
}

#[test]
fn what_is_carried_is_read_from_its_column_again() {
    let mut columns = String::new();
    for value in [
        example(),
        json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": "a" }),
        json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": "a", "subject": "b", "data": 1 }),
        json!({ "specversion": "1.0", "id": id(1), "source": "/a", "type": "a", "subject": "b", "dataschema": "c",
            "datacontenttype": "a/b", "data_base64": "AA==", "d": -1, "e": true, "f": "" }),
    ] {
        let extensions = NewEvent::from_cloudevent(&value)
            .unwrap()
            .attributes
            .extensions
            .unwrap();
        let column = extensions.to_column();
        assert_eq!(Extensions::from_column(&column).unwrap(), *extensions);
        columns += &column;
        columns.push('\n');
    }
    // They are stored: a change has to read these.
    expect![[r#"
        {"comexampleextension1":"value","comexampleothervalue":5,"data":"text","datacontenttype":"text/xml","id":"A234-1234-1234","subject":"pull request #123"}
        {"data":"none","id":"1","subject":null}
        {"id":"1"}
        {"d":-1,"data":"base64","datacontenttype":"a/b","dataschema":"c","e":true,"f":""}
    "#]].assert_eq(&columns);
    for damaged in [
        "",
        "[]",
        r#"{"a":[]}"#,
        r#"{"a":1.5}"#,
        r#"{"id":1}"#,
        r#"{"data":"other"}"#,
        r#"{"subject":{}}"#,
    ] {
        assert_eq!(
            Extensions::from_column(damaged).unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{damaged}"
        );
    }
}
