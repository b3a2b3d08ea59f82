//! Who a token is of, as the token itself says.
//!
//! Duty: read the few claims of an access token that name an identity. Nothing is verified: Azure does that with every
//! request; this is for telling people whom they signed in as. Invariant: of the token's text only these claims come
//! out, each bounded in length; a token that is not a JWT (Azure does not promise one) has none.
//! Must never: keep or show the token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::token::Secret;

/// The claims that name an identity; empty when the token has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claims {
    /// `tid`: the tenant.
    pub tenant: String,
    /// `oid`: the object id, which role assignments name.
    pub object_id: String,
    /// `appid` or `azp`: the application.
    pub app_id: String,
    /// `idtyp`: `app` or `user`; empty when the token does not say.
    pub kind: String,
    /// `xms_mirid`: the resource id of a managed identity, or of the resource that has it.
    pub resource_id: String,
}

impl Claims {
    /// Reads the claims of a JWT without verifying it.
    #[must_use]
    pub fn of(token: &Secret) -> Option<Self> {
        let mut parts = token.expose().split('.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        let claims: Value = serde_json::from_slice(&base64url(payload)?).ok()?;
        let text = |name: &str| -> String {
            claims.get(name).and_then(Value::as_str).unwrap_or_default().chars().take(300).collect()
        };
        let app_id = Some(text("appid")).filter(|id| !id.is_empty()).unwrap_or_else(|| text("azp"));
        Some(Self {
            tenant: text("tid"),
            object_id: text("oid"),
            app_id,
            kind: text("idtyp"),
            resource_id: text("xms_mirid"),
        })
    }
}

/// Base64 with the URL alphabet (RFC 4648, section 5), with or without padding.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_and_every_length() {
        for (text, bytes) in [("", &b""[..]), ("Zg", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("-_8", &[0xfb, 0xff])] {
            assert_eq!(base64url(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(base64url("a+b/"), None);
    }

    #[test]
    fn claims_are_read_and_nothing_else_is_a_token() {
        // {"tid":"t","oid":"o","azp":"a","idtyp":"app"}
        let token = "eyJhbGciOiJub25lIn0.eyJ0aWQiOiJ0Iiwib2lkIjoibyIsImF6cCI6ImEiLCJpZHR5cCI6ImFwcCJ9.signature";
        let claims = Claims::of(&Secret::new(token)).unwrap();
        assert_eq!((claims.tenant.as_str(), claims.object_id.as_str()), ("t", "o"));
        assert_eq!((claims.app_id.as_str(), claims.kind.as_str(), claims.resource_id.as_str()), ("a", "app", ""));
        assert!(!format!("{claims:?}").contains("signature"));
        for not in ["sandbox", "a.b", "a.!.c", "a.Zm9v.c", ""] {
            assert_eq!(Claims::of(&Secret::new(not)), None, "{not}");
        }
    }
}
