//! Whom to trust over https.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;

use crate::{Error, ErrorKind, Result};

/// The largest file of certificates, in bytes.
const MAX_PEM_BYTES: u64 = 4 << 20;

/// Whom to trust: the authorities of the machine, and those of a file. What was read is kept for as long as the file is
/// the same: the machine's are many.
#[derive(Debug)]
pub(in crate::source::git) struct Trust {
    file: Option<PathBuf>,
    kept: Mutex<Option<(Vec<u8>, ClientConfig)>>,
}

impl Trust {
    pub(in crate::source::git) fn new(file: Option<PathBuf>) -> Self {
        Self { file, kept: Mutex::new(None) }
    }

    /// The configuration of a client, with its own cryptography: the process may have chosen another one, or none.
    pub(in crate::source::git) fn config(&self) -> Result<ClientConfig> {
        let pem = self.file.as_deref().map_or(Ok(Vec::new()), read)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((same, config)) = &*kept
            && *same == pem
        {
            return Ok(config.clone());
        }
        let config = Self::build(&pem)?;
        *kept = Some((pem, config.clone()));
        Ok(config)
    }

    fn build(pem: &[u8]) -> Result<ClientConfig> {
        let unusable = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Invalid, "the certificates to trust cannot be used")
                .because(error.to_string())
        };
        let roots: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(&error))?;
        if roots.is_empty() && !pem.is_empty() {
            return Err(unusable(&"there is none in the file"));
        }
        let provider = Arc::new(ring::default_provider());
        let verifier =
            Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).map_err(|error| unusable(&error))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?;
        Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: io::Error| Error::from(error).with("path", path.display());
    if fs::metadata(path).map_err(failed)?.len() > MAX_PEM_BYTES {
        return Err(Error::new(ErrorKind::Invalid, "the file of certificates is too large")
            .with("path", path.display())
            .with("max_bytes", MAX_PEM_BYTES));
    }
    fs::read(path).map_err(failed)
}

/// Whether a request failed because of the server's certificate.
pub(in crate::source::git) fn distrusts(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls =
            inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref::<rustls::Error>());
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        cause = error.source().or_else(|| inner.map(|inner| inner as &(dyn std::error::Error + 'static)));
    }
    false
}

/// The words of an error and of all that it comes from, without any address: there may be a secret in one.
pub(in crate::source::git) fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
