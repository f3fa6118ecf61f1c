//! The network, as far as it was granted: named hosts only. Needs the capability `http`.
//!
//! A later attempt sends again unless the response is remembered with [`steps::remember`](crate::steps::remember).

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::{host, json};

#[cfg(test)]
mod tests;

/// A request to a host that the plugin was granted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    #[serde(skip)]
    body: Vec<u8>,
}

impl Request {
    /// A request by any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            timeout_ms: None,
            credential: None,
            body: Vec::new(),
        }
    }

    /// Asks for what is at `url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Sends something to `url`.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends these bytes along.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends a value along as JSON, and says so in a header.
    ///
    /// # Errors
    ///
    /// A terminal failure when the value has no JSON.
    pub fn with_json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, Failure> {
        let body = json::encode("the body", value)?;
        Ok(self.with_header("content-type", "application/json").with_body(body))
    }

    /// Has the hive add a credential that was configured for this plugin. The plugin never sees it.
    #[must_use]
    pub fn with_credential(mut self, name: impl Into<String>) -> Self {
        self.credential = Some(name.into());
        self
    }

    /// Gives up after this time, counted in whole milliseconds.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Where it goes.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers, in order.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The bytes to send along.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Sends it. A status such as 404 is a response, not a failure.
    ///
    /// # Errors
    ///
    /// The hive's: the host is not granted or cannot be reached, the time is over, or the response is too large.
    pub fn send(&self) -> Result<Response, Failure> {
        let (head, body) = host::http_fetch(&json::encode("the request", self)?, &self.body)?;
        let mut response: Response = json::decode("the response's head", &head)?;
        response.body = body;
        Ok(response)
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(skip)]
    body: Vec<u8>,
}

impl Response {
    /// A response to give in a test.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Adds a header, in a test.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status says that it worked.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text, where it is UTF-8.
    ///
    /// # Errors
    ///
    /// A terminal failure where it is not.
    pub fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.body).map_err(|error| Failure::from(error).into_terminal())
    }

    /// The body as a type, from JSON.
    ///
    /// # Errors
    ///
    /// A terminal failure with the code `invalid-input` when it does not fit `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::decode("the response", self.text()?)
    }
}
