//! A network that fails on request.

mod pump;

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hive_errors::{Error, ErrorKind, Result};

use self::pump::{Line, Network};
use super::server::{free_port, io};
use super::service::or_panic;
use crate::limits::TESTING_PORTS_TRIED;

/// A TCP proxy on 127.0.0.1 between clients and one server, which cuts, delays or holds back what they say.
///
/// It runs on threads of its own, which end with it. Whole at first: what comes in goes out.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
/// use hive_core::testing::Proxy;
///
/// let server = TcpListener::bind("127.0.0.1:0")?;
/// let proxy = Proxy::start(server.local_addr()?);
/// let mut client = TcpStream::connect(proxy.address())?;
/// let (mut peer, _) = server.accept()?;
/// client.write_all(b"hello")?;
/// let mut heard = [0; 5];
/// peer.read_exact(&mut heard)?;
/// assert_eq!(&heard, b"hello");
///
/// proxy.cut();
/// assert!(matches!(client.read(&mut heard), Ok(0) | Err(_)));
/// assert!(TcpStream::connect(proxy.address()).is_err());
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    network: Arc<Network>,
    door: Mutex<Option<Door>>,
}

/// How long a client waits at the door while the server does not answer; what ends the proxy waits as long at most.
const CONNECT: Duration = Duration::from_secs(5);

/// The thread that lets clients in, while they are let in.
#[derive(Debug)]
struct Door {
    closing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy to `target`, such as `("127.0.0.1", server.port())`.
    ///
    /// # Panics
    /// When the target's name is not known, or no port can be had.
    #[track_caller]
    pub fn start(target: impl ToSocketAddrs) -> Self {
        or_panic(Self::try_start(target))
    }

    fn try_start(target: impl ToSocketAddrs) -> Result<Self> {
        let target = target
            .to_socket_addrs()
            .map_err(|error| io(&error, "finding the address behind a proxy failed"))?
            .next()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the name behind a proxy has no address"))?;
        let mut tried = 0;
        loop {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            tried += 1;
            match TcpListener::bind(address) {
                Ok(listener) => {
                    let proxy = Self {
                        address,
                        target,
                        network: Arc::default(),
                        door: Mutex::new(None),
                    };
                    *proxy.door() = Some(proxy.open(listener));
                    return Ok(proxy);
                }
                Err(_) if tried < TESTING_PORTS_TRIED => {}
                Err(error) => return Err(io(&error, "taking a port for a proxy failed").with("address", address)),
            }
        }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of [`address`](Self::address).
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `url` with this proxy's address instead of the server's; everything else stays.
    ///
    /// ```
    /// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let proxy = hive_core::testing::Proxy::start(server.local_addr()?);
    /// let expected = format!("postgres://me:secret@{}/data?a=b", proxy.address());
    /// assert_eq!(proxy.url("postgres://me:secret@127.0.0.1:1/data?a=b"), expected);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn url(&self, url: &str) -> String {
        let start = url.find("://").map_or(0, |at| at + 3);
        let (scheme, rest) = url.split_at(start);
        let (server, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let user = server.rfind('@').and_then(|at| server.get(..=at)).unwrap_or_default();
        format!("{scheme}{user}{}{path}", self.address)
    }

    /// Cuts all connections and refuses new ones. What was under way is lost.
    pub fn cut(&self) {
        let mut door = self.door();
        if let Some(open) = door.take() {
            self.close(open);
        }
        self.network.cut();
    }

    /// Cuts all connections, and goes on taking new ones.
    pub fn drop_connections(&self) {
        self.network.cut();
    }

    /// Takes connections and bytes and hands none on, as a network does that loses everything; [`restore`](Self::restore) lets
    /// them through.
    pub fn stall(&self) {
        self.network.set(Line::Stalled);
    }

    /// Hands everything on so much later: each piece of up to 64 KiB, in both directions.
    pub fn delay(&self, by: Duration) {
        self.network.set(Line::Late(by));
    }

    /// Makes the network whole again, after any fault. What was held back goes through.
    ///
    /// # Panics
    /// When another program has taken the port since it was [`cut`](Self::cut).
    #[track_caller]
    pub fn restore(&self) {
        self.network.set(Line::Whole);
        let mut door = self.door();
        if door.is_none() {
            let listener = TcpListener::bind(self.address)
                .map_err(|error| io(&error, "taking a proxy's port again failed").with("address", self.address));
            *door = Some(self.open(or_panic(listener)));
        }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.network.connections()
    }

    fn open(&self, listener: TcpListener) -> Door {
        let closing = Arc::new(AtomicBool::new(false));
        let (target, network, closed) = (self.target, Arc::clone(&self.network), Arc::clone(&closing));
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if closed.load(Ordering::SeqCst) {
                    break;
                }
                // A server that is away is one that refuses: the client's end closes.
                if let Ok(client) = client
                    && let Ok(server) = TcpStream::connect_timeout(&target, CONNECT)
                {
                    network.join(client, server);
                }
            }
            // To close it is not enough: a program that another thread is about to start holds it open until it has begun.
            drop(TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both));
        });
        Door { closing, thread }
    }

    fn close(&self, door: Door) {
        door.closing.store(true, Ordering::SeqCst);
        // Wakes the thread, which waits for a client.
        drop(TcpStream::connect(self.address));
        drop(door.thread.join());
    }

    fn door(&self) -> MutexGuard<'_, Option<Door>> {
        // It is open or it is not; a panic cannot leave it in between.
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}
