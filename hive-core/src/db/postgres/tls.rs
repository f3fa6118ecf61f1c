//! TLS to the server, with as much proof of who it is as was asked for.

use std::sync::Arc;

use hive_errors::{Error, ErrorKind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::SslMode;

/// What the server has to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Nothing: whoever answers is talked to. Listeners are kept out, impostors are not.
    None,
    /// That somebody we trust vouches for it.
    Chain,
    /// That it has the name it was called by, too.
    Name,
}

/// # Errors
/// `config` when the certificates cannot be read, or there are none.
pub(super) fn connector(mode: SslMode, root_cert: Option<&str>) -> Result<MakeRustlsConnect> {
    let proof = match (mode, root_cert) {
        (SslMode::Disable | SslMode::Prefer, _) | (SslMode::Require, None) => Proof::None,
        // As libpq does: whoever names a file wants it used.
        (SslMode::Require, Some(_)) | (SslMode::VerifyCa, _) => Proof::Chain,
        (SslMode::VerifyFull, _) => Proof::Name,
    };
    let certificates = match (proof, root_cert) {
        (Proof::None, _) => Vec::new(),
        (Proof::Chain | Proof::Name, None | Some("system")) => of_system()?,
        (Proof::Chain | Proof::Name, Some(path)) => of_file(path)?,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier {
        proof,
        roots,
        certificates,
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::new(ErrorKind::Internal, "TLS could not be set up").with_source(e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // What libpq announces; a server that speaks TLS without being asked first requires it.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn of_file(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let unread = |source: rustls::pki_types::pem::Error| {
        Error::new(ErrorKind::Config, "the certificates to trust could not be read")
            .with("sslrootcert", path)
            .with_source(source)
    };
    let found = CertificateDer::pem_file_iter(path).map_err(unread)?;
    let found = found.collect::<std::result::Result<Vec<_>, _>>().map_err(unread)?;
    if found.is_empty() {
        return Err(Error::new(ErrorKind::Config, "the file holds no certificate").with("sslrootcert", path));
    }
    Ok(found)
}

fn of_system() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let error = Error::new(
            ErrorKind::Config,
            "the operating system offers no certificates to trust",
        )
        .with_hint("install the certificates of the system, or name a file with sslrootcert");
        return Err(match found.errors.into_iter().next() {
            Some(source) => error.with_source(source),
            None => error,
        });
    }
    Ok(found.certs)
}

#[derive(Debug)]
struct Verifier {
    proof: Proof,
    roots: RootCertStore,
    /// The same, whole: a server may present the trusted certificate itself.
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if self.proof == Proof::None {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // A self-signed certificate vouches for itself where the very same one is trusted.
        if !self
            .certificates
            .iter()
            .any(|trusted| trusted.as_ref() == end_entity.as_ref())
        {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.proof == Proof::Name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a handshake failed because of who the server is, rather than of how it speaks.
pub(super) fn is_distrust(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = io
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .or_else(|| error.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(reason)) = found {
            return !matches!(reason, CertificateError::BadEncoding);
        }
        next = error.source();
    }
    false
}
