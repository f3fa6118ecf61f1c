use super::*;
use crate::testing::TestHost;

#[test]
fn a_request_arrives_as_it_was_made_and_the_response_too() {
    let host = TestHost::new();
    host.answer_http(|request| {
        assert_eq!((request.method(), request.url()), ("POST", "https://api.example/v1"));
        assert_eq!(
            request.headers(),
            [("content-type".to_owned(), "application/json".to_owned())]
        );
        assert_eq!(request.body(), b"[1]");
        Ok(Response::new(404, [0xff, 0x00]).with_header("X-Why", "gone"))
    });
    let response = Request::post("https://api.example/v1")
        .with_json(&[1])
        .unwrap()
        .send()
        .unwrap();
    assert_eq!((response.status(), response.is_success()), (404, false));
    assert_eq!(response.header("x-why"), Some("gone"));
    assert_eq!(response.body(), [0xff, 0x00]);
    assert!(response.text().unwrap_err().is_terminal());
}

#[test]
fn what_is_not_set_is_not_sent() {
    let request = Request::get("https://a.example")
        .with_timeout(Duration::from_secs(1))
        .with_credential("key");
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(
        text,
        r#"{"method":"GET","url":"https://a.example","headers":[],"timeout_ms":1000,"credential":"key"}"#
    );
}
