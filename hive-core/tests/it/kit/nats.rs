use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use hive_core::testing::Nats;

use super::{assert_gone, killed, killed_at_any_moment, listens, other, panicked, say_and_wait};

/// What is answered to a request.
fn ask(url: &str, subject: &str, body: &str) -> String {
    let (user, address) = url.strip_prefix("nats://").unwrap().split_once('@').unwrap();
    let (user, password) = user.split_once(':').unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        &stream,
        "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{password}\"}}\r\nSUB answer 1\r\n\
         PUB {subject} answer {length}\r\n{body}\r\n"
    )
    .unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("MSG ") {
        assert!(!line.starts_with("-ERR"), "{line}");
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the server hung up");
    }
    let length: usize = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_server_has_streams_and_is_gone_when_dropped() {
    let server = Nats::start();
    let answer = ask(server.url(), "$JS.API.INFO", "");
    assert!(answer.contains("\"streams\":0"), "{answer}");
    let (folder, port) = (server.folder().to_owned(), server.port());
    drop(server);
    assert_gone(&folder, port);
}

#[test]
fn a_server_is_gone_after_a_panic() {
    let (folder, port) = panicked(|say| {
        let server = Nats::start();
        say(server.folder(), server.port());
        panic!("on purpose");
    });
    assert_gone(&folder, port);
}

#[test]
fn a_server_is_gone_when_its_process_is_killed() {
    if let Some(file) = other() {
        let server = Nats::start();
        say_and_wait(&file, server.folder(), server.port());
    }
    let (folder, port) = killed("kit::nats::a_server_is_gone_when_its_process_is_killed");
    assert_gone(&folder, port);
}

#[test]
fn nothing_is_left_of_a_process_killed_at_any_moment() {
    if let Some(file) = other() {
        let server = Nats::start();
        say_and_wait(&file, server.folder(), server.port());
    }
    killed_at_any_moment("kit::nats::nothing_is_left_of_a_process_killed_at_any_moment");
}

#[test]
fn two_servers_at_once_do_not_clash() {
    let (left, right) = (Nats::start(), Nats::start());
    assert_ne!(left.port(), right.port());
    ask(
        left.url(),
        "$JS.API.STREAM.CREATE.s",
        r#"{"name":"s","subjects":["s"]}"#,
    );
    assert!(ask(left.url(), "$JS.API.INFO", "").contains("\"streams\":1"));
    assert!(ask(right.url(), "$JS.API.INFO", "").contains("\"streams\":0"));
}

#[test]
fn data_stays_when_a_server_is_stopped_or_killed() {
    let server = Nats::start();
    let made = ask(
        server.url(),
        "$JS.API.STREAM.CREATE.s",
        r#"{"name":"s","subjects":["s"]}"#,
    );
    assert!(!made.contains("error"), "{made}");
    assert!(ask(server.url(), "s", "one").contains("\"seq\":1"));
    server.restart();
    assert!(ask(server.url(), "s", "two").contains("\"seq\":2"));
    server.kill();
    assert!(!listens(server.port()));
    server.start_again();
    assert!(ask(server.url(), "s", "three").contains("\"seq\":3"));
}

#[test]
fn the_shared_server_answers() {
    assert!(ask(Nats::shared().url(), "$JS.API.INFO", "").contains("\"streams\":"));
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let empty = tempfile::tempdir().unwrap();
    let error = Nats::try_start(Some(empty.path())).err().unwrap();
    assert_eq!(error.field("program"), Some("nats-server"));
    assert!(error.hint().contains("`nats-server`"), "{}", error.hint());
}
