//! Redis.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use hive_errors::Result;

use super::program::Program;
use super::server::{Launch, Server, make_folder, secret, write};
use super::service::{Service, controls, or_panic};

const VARIABLE: &str = "HIVE_TEST_REDIS";

const REDIS: Program = Program {
    name: "redis-server",
    package: "redis-server",
};

/// A Redis server for tests: a private one, or one that was named to [`shared`](Self::shared).
///
/// A private one keeps what it is told in a file that it syncs every second, as a careful user's does, and asks for a password
/// that nobody knows. For the rest see [`Postgres`](super::Postgres).
///
/// ```no_run
/// let server = hive_core::testing::Redis::start();
/// assert!(server.url().starts_with("redis://:"));
/// server.restart();
/// ```
pub struct Redis {
    service: Service,
}

controls!(Redis, stop: "TERM");

impl Redis {
    /// The server that this process's tests share: the one whose url is in the environment variable `HIVE_TEST_REDIS`, which the
    /// test command sets; without it a private one that ends with the process. Each test gives its keys a prefix of its own.
    ///
    /// # Panics
    /// When Redis is not installed or does not start.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| match Service::given(VARIABLE) {
            Some(service) => Self { service },
            None => Self::start(),
        })
    }

    /// Starts a private server.
    ///
    /// # Panics
    /// When Redis is not installed or does not start.
    #[track_caller]
    pub fn start() -> Self {
        or_panic(Self::try_start(None))
    }

    /// As [`start`](Self::start), with the failure as a value, and with the program from a certain folder if one is given.
    ///
    /// # Errors
    /// As [`Postgres::try_start`](super::Postgres::try_start).
    pub fn try_start(programs: Option<&Path>) -> Result<Self> {
        let program = REDIS.find(programs)?;
        let password = secret();
        let server = Server::start("redis", &std::env::temp_dir(), "KILL", |folder, port| {
            let data = folder.join("data");
            make_folder(&data)?;
            let settings = folder.join("settings");
            let lines = format!(
                "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir \"{}\"\nappendonly yes\nsave \"\"\ndaemonize no\n",
                data.display()
            );
            write(&settings, &lines)?;
            let password = password.clone();
            Ok(Launch {
                command: vec![program.clone(), settings],
                ready: Box::new(move |_| answers(port, &password)),
            })
        })?;
        let url = format!("redis://:{password}@127.0.0.1:{}/0", server.port());
        Ok(Self {
            service: Service::private(VARIABLE, url, server),
        })
    }
}

/// Whether this very server, which alone knows the password, has read its data and takes commands.
fn answers(port: u16, password: &str) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let limit = Duration::from_secs(1);
    let talk = || {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(format!("AUTH {password}\r\nPING\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    talk().is_ok_and(|answer| answer.contains("+PONG"))
}
