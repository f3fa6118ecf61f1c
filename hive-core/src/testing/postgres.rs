//! PostgreSQL.

mod certificate;
mod options;
mod psql;
mod template;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hive_errors::{Error, ErrorKind, Result};

pub use options::PostgresOptions;

use super::program::Program;
use super::server::{Launch, Server, User, io, secret, write};
use super::service::{Service, controls, or_panic};

const VARIABLE: &str = "HIVE_TEST_POSTGRES";

const POSTGRES: Program = Program {
    name: "postgres",
    package: "postgresql",
};

/// A PostgreSQL server for tests: a private one, or one that was named to [`shared`](Self::shared).
///
/// A private one runs on a free port of 127.0.0.1 with data in a temporary folder, asks for a password that nobody knows, and
/// ends with this value: also when a test panics, and also when the process is killed. Its default collation is English and not
/// the order of bytes, as that of a user's server may be, so that SQL that forgets to ask for the order of bytes is noticed.
///
/// What fails panics with the server's own words, because a test cannot go on then; it is never skipped.
///
/// ```no_run
/// use hive_core::testing::{Postgres, PostgresOptions};
///
/// let server = Postgres::start(PostgresOptions::new().fsync(true));
/// let url = server.database();
/// server.kill();
/// server.start_again();
/// assert_eq!(server.sql(&url, "SELECT 1"), "1");
/// ```
pub struct Postgres {
    service: Service,
    ca: Option<PathBuf>,
}

controls!(Postgres, stop: "INT");

impl Postgres {
    /// The server that this process's tests share.
    ///
    /// The one whose url is in the environment variable `HIVE_TEST_POSTGRES`, which the test command sets. Without it a
    /// private one that ends with the process. Tests share it with each other, so each works in a
    /// [`database`](Self::database) of its own.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match Service::given(VARIABLE) {
            Some(service) => Self { service, ca: None },
            None => Self::start(PostgresOptions::new()),
        })
    }

    /// Starts a private server, which takes some tenths of a second.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    #[track_caller]
    pub fn start(options: PostgresOptions) -> Self {
        or_panic(Self::try_start(options))
    }

    /// As [`start`](Self::start), with the failure as a value.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a program is not installed: the field `program` names it and the hint the package.
    /// [`ErrorKind::Storage`] when the server does not start: its words are in the field `log`.
    pub fn try_start(options: PostgresOptions) -> Result<Self> {
        let postgres = POSTGRES.find_real(options.programs.as_deref())?;
        let place = options.place.clone().unwrap_or_else(std::env::temp_dir);
        let password = OnceLock::new();
        let server = Server::start("postgres", &place, "QUIT", |folder, port| {
            let user = User::plain(folder)?;
            user.owns(folder)?;
            let found = template::unpack(&postgres, user, folder)?;
            // One password lasts for as long as its template.
            let _known = password.set(found);
            let mut command = user.prefix();
            command.push(postgres.clone());
            command.push("-D".into());
            command.push(folder.join("data"));
            let tls = options.ssl.then(|| certificate::make(folder, user)).transpose()?;
            for setting in options.settings(port, tls.as_ref()) {
                command.extend(["-c".into(), setting.into()]);
            }
            let status = folder.join("data").join("postmaster.pid");
            Ok(Launch {
                command,
                ready: Box::new(move |pid| ready(&status, pid)),
            })
        })?;
        let password = password.get().map_or("", String::as_str);
        let url = format!("postgres://postgres:{password}@127.0.0.1:{}/postgres", server.port());
        Ok(Self {
            ca: options.ssl.then(|| certificate::ca(server.folder())),
            service: Service::private(VARIABLE, url, server),
        })
    }

    /// The certificate of the authority that vouches for the server, in PEM, when it was started with
    /// [`ssl`](PostgresOptions::ssl).
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Creates an empty database with a name that nobody else uses, and returns its url.
    ///
    /// It takes some eight megabytes and goes with a private server; [`drop_database`](Self::drop_database) gives them back
    /// earlier.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn database(&self) -> String {
        let name = format!("hive_{}", secret());
        or_panic(psql::run(self.url(), &format!("CREATE DATABASE {name}")));
        psql::in_database(self.url(), &name)
    }

    /// Removes a database that [`database`](Self::database) made, and ends the connections to it.
    ///
    /// # Panics
    /// When the server refuses, or when the url is not such a database's.
    #[track_caller]
    pub fn drop_database(&self, url: &str) {
        let name = psql::database_of(url);
        assert!(name.starts_with("hive_"), "not a database made for a test: {name}");
        or_panic(psql::run(
            self.url(),
            &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        ));
    }

    /// Runs SQL in the database of `url` from outside, and returns the rows as lines with `|` between columns.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn sql(&self, url: &str, sql: &str) -> String {
        or_panic(psql::run(url, sql))
    }

    /// Ends all connections to the database of `url`, as an administrator would, and returns how many there were.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn terminate_backends(&self, url: &str) -> usize {
        let name = psql::database_of(url);
        let sql = format!(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = '{name}' AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        );
        let count = or_panic(psql::run(self.url(), &sql));
        or_panic(count.parse().map_err(|_| {
            Error::new(
                ErrorKind::Internal,
                "the server did not say how many connections it ended",
            )
            .with("said", &count)
        }))
    }
}

/// The last line of the file in which the server writes its state, as its own tools read it.
fn ready(status: &Path, pid: u32) -> bool {
    std::fs::read_to_string(status).is_ok_and(|status| {
        let mut lines = status.lines();
        let own = lines.next() == Some(&pid.to_string());
        own && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    })
}

/// Writes a file that only the server's user can read, as the server insists.
fn write_private(path: &Path, text: &str, user: User) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| io(&error, "hiding a file from others failed").with("path", path.display()))?;
    user.owns(path)
}
