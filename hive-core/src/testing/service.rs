//! A server as a test sees it: a url, and the switches of a private one.

use hive_errors::Result;

use super::server::Server;

/// A private server, or one that the environment names.
pub(super) struct Service {
    variable: &'static str,
    url: String,
    server: Option<Server>,
}

impl Service {
    /// The server that the test command has started for all tests.
    pub(super) fn given(variable: &'static str) -> Option<Self> {
        let url = std::env::var(variable).ok().filter(|url| !url.is_empty())?;
        Some(Self {
            variable,
            url,
            server: None,
        })
    }

    pub(super) fn private(variable: &'static str, url: String, server: Server) -> Self {
        Self {
            variable,
            url,
            server: Some(server),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    #[track_caller]
    pub(super) fn server(&self) -> &Server {
        match &self.server {
            Some(server) => server,
            None => panic!(
                "the server is the one that {} names, and others use it, too; start a private one for this",
                self.variable
            ),
        }
    }
}

/// The value, or the end of the test.
#[track_caller]
pub(super) fn or_panic<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        // The long form, with the hint and what the server has said.
        Err(error) => panic!("{error:?}"),
    }
}

/// The switches that all kinds of server have. `$signal` asks the kind to stop in good order.
macro_rules! controls {
    ($Server:ident, stop: $signal:literal) => {
        impl $Server {
            /// The url with the password, for a client with all rights.
            pub fn url(&self) -> &str {
                self.service.url()
            }

            /// The port of a private server on 127.0.0.1.
            ///
            /// # Panics
            /// When the server is not private.
            #[track_caller]
            pub fn port(&self) -> u16 {
                self.service.server().port()
            }

            /// The temporary folder of a private server.
            ///
            /// # Panics
            /// When the server is not private.
            #[track_caller]
            pub fn folder(&self) -> &std::path::Path {
                self.service.server().folder()
            }

            /// The end of what a private server has said.
            ///
            /// # Panics
            /// When the server is not private.
            #[track_caller]
            pub fn log(&self) -> String {
                self.service.server().log()
            }

            /// Stops a private server in good order: it cuts its connections and writes what it has. Its data stays.
            ///
            /// # Panics
            /// When the server is not private or does not stop.
            #[track_caller]
            pub fn stop(&self) {
                or_panic(self.service.server().stop($signal));
            }

            /// Kills all processes of a private server at once. Its data stays as it is, as when its machine fails; except that
            /// this machine still has what was written and not synced.
            ///
            /// # Panics
            /// When the server is not private or does not die.
            #[track_caller]
            pub fn kill(&self) {
                or_panic(self.service.server().kill());
            }

            /// Starts a private server that was stopped or killed, on the same port and data, and waits until it answers. One
            /// that runs is left alone.
            ///
            /// # Panics
            /// When the server is not private or does not start.
            #[track_caller]
            pub fn start_again(&self) {
                or_panic(self.service.server().start_again());
            }

            /// [`stop`](Self::stop) and [`start_again`](Self::start_again).
            ///
            /// # Panics
            /// When the server is not private, or does not stop or start.
            #[track_caller]
            pub fn restart(&self) {
                self.stop();
                self.start_again();
            }
        }
    };
}

pub(super) use controls;
