//! A certificate for a server on this machine.

use std::path::{Path, PathBuf};

use hive_errors::Result;

use super::write_private;
use crate::testing::program::Program;
use crate::testing::server::{User, run};

const OPENSSL: Program = Program {
    name: "openssl",
    package: "openssl",
};

/// What the server shows, and the key to it.
pub(super) struct Certificate {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Where [`make`] puts the authority's certificate.
pub(super) fn ca(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

/// Makes an authority, and a certificate by it. Two, because clients rightly refuse a server that is its own authority.
pub(super) fn make(folder: &Path, user: User) -> Result<Certificate> {
    let openssl = OPENSSL.find(None)?;
    let call = |words: &[&str]| {
        let words = words.iter().map(PathBuf::from);
        let words: Vec<PathBuf> = std::iter::once(openssl.clone()).chain(words).collect();
        run(&words, |command| {
            command.current_dir(folder);
        })
    };
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = ["req", "-x509", "-days", "2", "-subj", "/CN=hive test authority"];
    let rights = [
        "-addext",
        "keyUsage=critical,keyCertSign",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ];
    call(&[&authority[..], &new, &rights].concat())?;
    let request = [
        "req",
        "-subj",
        "/CN=localhost",
        "-keyout",
        "server.key",
        "-out",
        "server.csr",
    ];
    call(&[&request[..], &new].concat())?;
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n";
    write_private(&folder.join("names"), names, user)?;
    let sign = ["x509", "-req", "-days", "2", "-in", "server.csr", "-extfile", "names"];
    let by = [
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "server.pem",
    ];
    call(&[&sign[..], &by].concat())?;
    let made = Certificate {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
    };
    // Made readable for its owner alone; the server insists on being that owner.
    user.owns(&made.key)?;
    user.owns(&made.certificate)?;
    Ok(made)
}
