//! The certificate of HTTPS. It is read again when its files change, and when asked; connections that are open keep
//! the one they began with.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, version};
use tracing::{info, warn};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// A certificate with its key, and the files they come from.
#[derive(Debug)]
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// How the files looked when they were read, with success or not.
    seen: Mutex<[Stamp; 2]>,
}

/// Tells one content of a file from the next: inode, length, time of change in nanoseconds.
type Stamp = Option<(u64, u64, i128)>;

impl Certificates {
    /// Reads the files; the key may stand in that of the certificate. The error names the file.
    pub fn load(certificate: &Path, key: Option<&Path>) -> io::Result<Arc<Certificates>> {
        let (certificate, key) = (certificate.to_owned(), key.unwrap_or(certificate).to_owned());
        let provider = Arc::new(ring::default_provider());
        let seen = Mutex::new([stamp(&certificate), stamp(&key)]);
        let current = RwLock::new(Arc::new(read(&certificate, &key, &provider)?));
        Ok(Arc::new(Certificates { certificate, key, provider, current, seen }))
    }

    /// Reads the files again. When they can't be used the log says so, and what was read before stays.
    pub fn reload(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = [stamp(&self.certificate), stamp(&self.key)];
        match read(&self.certificate, &self.key, &self.provider) {
            Ok(key) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                info!(target: "http", "The certificate was read from {}", self.certificate.display());
            }
            Err(error) => warn!(target: "http", "The certificate stays as it is: {error}"),
        }
    }

    /// Reads the files when they have changed, until the task is dropped. A certificate and a key that were replaced one
    /// after the other are read once they fit.
    pub async fn watch(self: Arc<Certificates>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = [stamp(&self.certificate), stamp(&self.key)];
            let has_changed = *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != now;
            if has_changed {
                self.reload();
            }
        }
    }

    /// What shakes hands with clients.
    pub(super) fn acceptor(self: &Arc<Certificates>) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        #[allow(clippy::expect_used)]
        let builder = builder
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .expect("this provider has cipher suites for both versions");
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn stamp(path: &Path) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.ino(), data.len(), i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec())))
}

fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> io::Result<CertifiedKey> {
    let named = |path: &Path, error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| named(certificate, &error))?;
    if chain.is_empty() {
        return Err(named(certificate, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, &error))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| named(key, &error))
}
