//! The certificate of a service principal: from a PEM file to the signed assertion that Entra ID takes.
//!
//! Duty: read the file (certificate and unencrypted private key), sign `PS256` assertions over it, and say what is wrong with a
//! file in words that help. Invariants: the key never shows itself; an assertion is made for one sign-in and lives ten minutes.
//! Must never: fall back to another way to sign in.
//!
//! `ClientCertificateCredential` of `azure_identity` needs OpenSSL. The format of the assertion is documented:
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

/// How long an assertion is good for; it is used at once.
const LIFE_SECONDS: i64 = 600;
/// Certificate and key are some KB; a chain with them is still far below this.
const MOST_BYTES: u64 = 256 * 1024;

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Certificate {
    key: Arc<RsaKeyPair>,
    thumbprint: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(redacted)")
    }
}

impl Certificate {
    /// Reads a PEM file.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let size = std::fs::metadata(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
        if !size.is_file() || size.len() > MOST_BYTES {
            return Err(format!("{shown} is no certificate: it is not a file of at most 256 KB"));
        }
        let bytes = std::fs::read(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
        Self::of(&bytes).map_err(|why| format!("{shown}: {why}"))
    }

    fn of(pem: &[u8]) -> Result<Self, String> {
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| {
            "it has no certificate in PEM; a PFX is converted by: openssl pkcs12 -in IN.pfx -out OUT.pem -nodes"
                .to_owned()
        })?;
        if contains(pem, b" ENCRYPTED PRIVATE KEY-----") {
            return Err(
                "its private key is encrypted, which azmend does not read; decrypt it with: openssl pkey -in IN.pem"
                    .to_owned(),
            );
        }
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "it has no private key".to_owned())?;
        let key = match &key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err("its private key is not an RSA key, and Entra ID takes no other".to_owned()),
        };
        let key =
            key.map_err(|error| format!("its private key cannot be used (RSA of 2048 bits or more?): {error}"))?;
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate));
        Ok(Self { key: Arc::new(key), thumbprint })
    }

    /// What signs in as `client` at the token endpoint `audience`, from `now` on.
    pub(crate) fn assertion(&self, client: &str, audience: &str, now: Timestamp) -> Result<String, String> {
        let now = now.as_second();
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint });
        let claims = json!({
            "aud": audience,
            "iss": client,
            "sub": client,
            "jti": uuid::Uuid::new_v4(),
            "nbf": now,
            "iat": now,
            "exp": now.saturating_add(LIFE_SECONDS),
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the certificate's key cannot sign".to_owned())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
