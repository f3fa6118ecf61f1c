use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use hive_core::clock::{Clock, SystemClock};
use hive_core::testing::{Postgres, Proxy, until};

use super::PATIENCE;

/// A server's listener, a proxy to it, and a pair that talks through it.
fn pair() -> (TcpListener, Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap());
    let (client, server) = talkers(&listener, &proxy);
    (listener, proxy, client, server)
}

fn talkers(listener: &TcpListener, proxy: &Proxy) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address()).unwrap();
    let (server, _) = listener.accept().unwrap();
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

#[track_caller]
fn carries(mut from: &TcpStream, mut to: &TcpStream, bytes: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(|| from.write_all(bytes).unwrap());
        let mut heard = vec![0; bytes.len()];
        to.read_exact(&mut heard).unwrap();
        assert!(heard == bytes, "what came out is not what went in");
    });
}

/// Whether the other end is gone, in one way or another.
fn ended(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock && error.kind() != ErrorKind::TimedOut,
    }
}

#[test]
fn bytes_pass_in_both_directions_and_so_does_the_end() {
    let (_listener, _proxy, client, server) = pair();
    let long: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    carries(&client, &server, &long);
    carries(&server, &client, &long);
    // One side has said all; the other may still answer.
    client.shutdown(Shutdown::Write).unwrap();
    assert!(ended(&server));
    carries(&server, &client, b"goodbye");
    drop(server);
    assert!(ended(&client));
}

#[test]
fn a_cut_ends_what_is_there_and_refuses_what_comes() {
    let (listener, proxy, client, server) = pair();
    carries(&client, &server, b"before");
    assert_eq!(proxy.connections(), 1);
    proxy.cut();
    assert_eq!(proxy.connections(), 0);
    assert!(ended(&client) && ended(&server));
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Twice is no worse than once.
    proxy.cut();
    proxy.restore();
    proxy.restore();
    let (client, server) = talkers(&listener, &proxy);
    carries(&client, &server, b"after");
    proxy.drop_connections();
    assert!(ended(&client) && ended(&server));
    let (client, server) = talkers(&listener, &proxy);
    carries(&server, &client, b"again");
}

#[test]
fn a_stall_keeps_bytes_back_until_it_is_over() {
    let (listener, proxy, mut client, server) = pair();
    proxy.stall();
    client.write_all(b"held").unwrap();
    // New connections are taken, too.
    let (mut later, peer) = talkers(&listener, &proxy);
    later.write_all(b"back").unwrap();
    for end in [&server, &peer] {
        end.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let kind = (&mut &*end).read(&mut [0]).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind:?}");
        end.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    proxy.restore();
    for (mut end, expected) in [(server, b"held"), (peer, b"back")] {
        let mut heard = [0; 4];
        end.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, expected);
    }
}

#[test]
fn a_stalled_connection_can_be_cut() {
    let (_listener, proxy, mut client, server) = pair();
    proxy.stall();
    client.write_all(b"lost").unwrap();
    proxy.cut();
    assert!(ended(&client) && ended(&server));
}

#[test]
fn a_delay_makes_bytes_late_and_never_early() {
    let (_listener, proxy, client, server) = pair();
    let late = Duration::from_millis(50);
    proxy.delay(late);
    let begun = SystemClock.monotonic();
    carries(&client, &server, b"there");
    carries(&server, &client, b"and back");
    assert!(SystemClock.monotonic() - begun >= 2 * late);
}

#[test]
fn a_dropped_proxy_is_gone() {
    let (_listener, proxy, client, server) = pair();
    let address = proxy.address();
    proxy.stall();
    drop(proxy);
    assert!(ended(&client) && ended(&server));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_server_that_is_away_ends_its_clients() {
    let (listener, proxy, ..) = pair();
    drop(listener);
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(ended(&client));
}

#[test]
fn a_database_can_be_reached_through_a_proxy_and_lost() {
    let database = Postgres::start(hive_core::testing::PostgresOptions::new());
    let proxy = Proxy::start(("127.0.0.1", database.port()));
    let url = proxy.url(database.url());
    assert_eq!(database.sql(&url, "SELECT 1"), "1");
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| database.sql(&url, "SELECT pg_sleep(60)"));
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        let asleep = until(PATIENCE, || {
            (database.sql(database.url(), sleeping) == "1").then_some(())
        });
        assert!(asleep.is_some());
        proxy.cut();
        assert!(sleeper.join().is_err(), "the sleeper's connection was to be cut");
    });
    proxy.restore();
    assert_eq!(database.sql(&url, "SELECT 2"), "2");
}
