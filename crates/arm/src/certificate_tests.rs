use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use super::*;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sign-in").join(name)
}

#[test]
fn an_assertion_is_signed_by_the_key_and_names_the_certificate() {
    let now = "2026-11-20T09:00:00Z".parse().unwrap();
    for file in ["certificate.pem", "certificate-pkcs1.pem"] {
        let certificate = Certificate::read(&fixture(file)).unwrap();
        let text = certificate.assertion("me", "https://login/t/oauth2/v2.0/token", now).unwrap();
        let parts: Vec<&str> = text.split('.').collect();
        let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        let (header, claims) = (json(parts[0]), json(parts[1]));
        assert_eq!(
            (header["alg"].as_str(), header["x5t#S256"].as_str()),
            (Some("PS256"), Some("cO5EI_oiv8p3fmDXOgEHNNB5df-UmLtheAB7HThhMXo"))
        );
        assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("me"), Some("me")));
        assert_eq!(claims["aud"], "https://login/t/oauth2/v2.0/token");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), LIFE_SECONDS);
        let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, certificate.key.public().as_ref().to_vec());
        let signed = format!("{}.{}", parts[0], parts[1]);
        public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
        assert_ne!(text, certificate.assertion("me", "https://login/t/oauth2/v2.0/token", now).unwrap());
        assert!(!format!("{certificate:?}").contains("RsaKeyPair"));
    }
}

#[test]
fn what_is_wrong_with_a_file_is_reported() {
    let why = |name: &str| Certificate::read(&fixture(name)).unwrap_err();
    assert!(why("none.pem").contains("cannot read"), "{}", why("none.pem"));
    assert!(why("README.md").contains("openssl pkcs12"), "{}", why("README.md"));
    assert!(why("certificate-encrypted.pem").contains("encrypted"), "{}", why("certificate-encrypted.pem"));
    assert!(why("certificate-ec.pem").contains("cannot be used"), "{}", why("certificate-ec.pem"));
    assert!(why("").contains("not a file"), "{}", why(""));
    let only = std::fs::read_to_string(fixture("certificate.pem")).unwrap();
    let only = only.split("-----BEGIN PRIVATE").next().unwrap().to_owned();
    assert_eq!(Certificate::of(only.as_bytes()).unwrap_err(), "it has no private key");
}
