//! What TLS needs to know: whom to trust, and whom we talk to.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::trouble::{Kind, Trouble};

/// How TLS is begun with one server.
#[derive(Debug, Clone)]
pub struct Secure {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Secure {
    /// Trusts what this machine trusts, or, if `insecure`, anybody.
    pub fn with(host: &str, insecure: bool) -> Result<Secure, Trouble> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Trouble::new(Kind::BadUrl, format!("{host}: TLS knows no such name")))?;
        let provider = Arc::new(ring::default_provider());
        let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Trouble::system("TLS", error))?;
        let config = if insecure {
            let anybody = Arc::new(Anybody(provider));
            versions.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
        } else {
            versions.with_root_certificates(roots()?).with_no_client_auth()
        };
        Ok(Secure { config: Arc::new(config), name })
    }

    /// The client's side of a new connection.
    pub fn begin(&self) -> Result<ClientConnection, Error> {
        let mut connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        // What is said is bounded already; a limit would make a large upload need a second buffer.
        connection.set_buffer_limit(None);
        Ok(connection)
    }
}

fn roots() -> Result<RootCertStore, Trouble> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let line =
            "this machine has no root certificates: apt-get install ca-certificates, or use --insecure";
        return Err(Trouble::new(Kind::System, line));
    }
    Ok(roots)
}

/// Accepts every certificate, but not every signature: the server has the key of what it shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
