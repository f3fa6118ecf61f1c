//! NATS with JetStream.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use hive_errors::Result;

use super::program::Program;
use super::server::{Launch, Server, make_folder, secret, write};
use super::service::{Service, controls, or_panic};

const VARIABLE: &str = "HIVE_TEST_NATS";

const NATS: Program = Program {
    name: "nats-server",
    package: "nats-server",
};

/// A NATS server with JetStream for tests: a private one, or one that was named to [`shared`](Self::shared).
///
/// A private one keeps streams in files and asks for a password that nobody knows. For the rest see
/// [`Postgres`](super::Postgres).
///
/// ```no_run
/// let server = hive_core::testing::Nats::start();
/// assert!(server.url().starts_with("nats://hive:"));
/// server.kill();
/// server.start_again();
/// ```
pub struct Nats {
    service: Service,
}

controls!(Nats, stop: "TERM");

impl Nats {
    /// The server that this process's tests share: the one whose url is in the environment variable `HIVE_TEST_NATS`, which the
    /// test command sets; without it a private one that ends with the process. Each test gives its streams and subjects a prefix
    /// of its own.
    ///
    /// # Panics
    /// When NATS is not installed or does not start.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Nats> = OnceLock::new();
        SHARED.get_or_init(|| match Service::given(VARIABLE) {
            Some(service) => Self { service },
            None => Self::start(),
        })
    }

    /// Starts a private server.
    ///
    /// # Panics
    /// When NATS is not installed or does not start.
    #[track_caller]
    pub fn start() -> Self {
        or_panic(Self::try_start(None))
    }

    /// As [`start`](Self::start), with the failure as a value, and with the program from a certain folder if one is given.
    ///
    /// # Errors
    /// As [`Postgres::try_start`](super::Postgres::try_start).
    pub fn try_start(programs: Option<&Path>) -> Result<Self> {
        let program = NATS.find(programs)?;
        let (name, password) = (secret(), secret());
        let server = Server::start("nats", &std::env::temp_dir(), "KILL", |folder, port| {
            let data = folder.join("data");
            make_folder(&data)?;
            let settings = folder.join("settings");
            let lines = format!(
                "listen: \"127.0.0.1:{port}\"\nserver_name: \"{name}\"\njetstream {{ store_dir: \"{}\" }}\n\
                 authorization {{ user: \"hive\", password: \"{password}\" }}\n",
                data.display()
            );
            write(&settings, &lines)?;
            let name = name.clone();
            Ok(Launch {
                command: vec![program.clone(), "-c".into(), settings],
                ready: Box::new(move |_| answers(port, &name)),
            })
        })?;
        let url = format!("nats://hive:{password}@127.0.0.1:{}", server.port());
        Ok(Self {
            service: Service::private(VARIABLE, url, server),
        })
    }
}

/// Whether this very server, which alone has the name, greets its clients. It does once its streams are open.
fn answers(port: u16, name: &str) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let limit = Duration::from_secs(1);
    let greeting = || {
        let stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        std::io::Result::Ok(line)
    };
    greeting().is_ok_and(|line| line.starts_with("INFO ") && line.contains(name))
}
