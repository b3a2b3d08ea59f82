//! Resource ids: the only way a name gets into a URL.
//!
//! Ids are compared without case, as ARM does (recordings return `resourcegroups`, `resourceGroups` and lower-cased
//! names for one resource), and keep the case they were given for display. [`ResourceId::parse`] accepts what Azure
//! sends; every segment is checked, so no `..`, `%2F`, control character or query can come through either from a user or
//! from a response (S11).
//!
//! Form: `/subscriptions/{guid}[/resourceGroups/{name}][/providers/{namespace}/{type}/{name}[/{type}/{name}]...]...`;
//! an extension resource (a lock) repeats the `providers` part.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest name azmend sends. ARM's own limit for most names is 80 to 260 characters.
const MAX_SEGMENT: usize = 260;

/// An ARM resource id, from a subscription down. A copy shares its text: a reading of many VMs names each id many times.
#[derive(Debug, Clone)]
pub struct ResourceId {
    /// Without a trailing slash, with the leading one, in the case it was given.
    text: Arc<str>,
    /// `text` in lower case: the identity. The same allocation where `text` is in lower case already.
    key: Arc<str>,
}

/// Why a text is not a resource id or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text does not have the form of an id.
    #[error("{text:?} is not a resource id: {why}")]
    NotAnId {
        /// The text, shortened.
        text: String,
        /// What is wrong, with the place.
        why: String,
    },
    /// The name holds something no Azure name may hold.
    #[error("{name:?} is not a valid {what} name: {why}")]
    BadName {
        /// The kind of name.
        what: &'static str,
        /// The name, shortened.
        name: String,
        /// What is wrong.
        why: String,
    },
}

fn short(text: &str) -> String {
    let mut out: String = text.chars().take(120).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// Checks a name that a person typed: a VM, a resource group, a vault, a subscription.
///
/// Azure names of these kinds are letters, digits and `. _ - ( )`, vaults and subscriptions may add spaces and commas. Letters
/// of other alphabets are allowed by Azure in resource group names (`\p{L}`), so they pass here; everything that
/// [`ResourceId`] refuses and the signs of shells, queries and quotes never pass.
///
/// # Errors
/// [`IdError::BadName`] says which character or length is wrong.
pub fn check_name(what: &'static str, name: &str) -> Result<(), IdError> {
    check_segment(what, name)?;
    let odd = |c: &char| matches!(c, '&' | '<' | '>' | '"' | '\'' | '*' | '|' | '`' | '{' | '}');
    match name.chars().find(odd) {
        Some(c) => Err(IdError::BadName { what, name: short(name), why: format!("it contains {c:?}") }),
        None => Ok(()),
    }
}

/// Checks one name of an id before it may become a URL segment (S11).
///
/// Azure allows more in the names of some resources than it shows in most of them: a lock may be called `Don't delete`, a
/// protected item has `;`, a saved search `|`. They pass and are percent-encoded by the URL. What could change the path or
/// the resource never passes: separators (`/`, `\`), escapes (`%`), the ends of a path (`?`, `#`), `.` and `..`, control
/// and invisible characters, a space at either end; nor `<` and `>`, which no Azure name has.
fn check_segment(what: &'static str, name: &str) -> Result<(), IdError> {
    let bad = |why: String| Err(IdError::BadName { what, name: short(name), why });
    // Nearly every name, and one reading checks millions.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b';' | b'(' | b')');
    if (1..=MAX_SEGMENT).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    if name.is_empty() {
        return bad("it is empty".into());
    }
    if name.chars().count() > MAX_SEGMENT {
        return bad(format!("it is longer than {MAX_SEGMENT} characters"));
    }
    if name == "." || name == ".." {
        return bad("it is a path".into());
    }
    if let Some(c) = name
        .chars()
        .find(|c| c.is_control() || matches!(c, '/' | '\\' | '?' | '#' | '%' | '<' | '>') || is_invisible(*c))
    {
        return bad(format!("it contains {c:?}"));
    }
    if name.starts_with(' ') || name.ends_with(' ') {
        return bad("it starts or ends with a space".into());
    }
    Ok(())
}

/// Characters that show nothing or turn the direction of text: no Azure name has them, a copied hostile one may.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

impl ResourceId {
    /// Parses an id in any case. A leading slash may be missing and a trailing one present, as in recorded bodies.
    ///
    /// # Errors
    /// [`IdError`] with the segment that is wrong.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let not = |why: String| IdError::NotAnId { text: short(text), why };
        let trimmed = text.trim_matches('/');
        let segments: Vec<&str> = trimmed.split('/').collect();
        let mut rest = segments.as_slice();
        let Some((first, tail)) = rest.split_first() else { return Err(not("it is empty".into())) };
        if !first.eq_ignore_ascii_case("subscriptions") {
            return Err(not("it must start with /subscriptions/".into()));
        }
        let Some((subscription, tail)) = tail.split_first() else {
            return Err(not("the subscription id is missing".into()));
        };
        if !is_guid(subscription) {
            return Err(not(format!("the subscription id {:?} is not a GUID", short(subscription))));
        }
        rest = tail;
        if let Some((word, tail)) = rest.split_first()
            && word.eq_ignore_ascii_case("resourceGroups")
        {
            let Some((group, tail)) = tail.split_first() else {
                return Err(not("the resource group name is missing".into()));
            };
            check_segment("resource group", group)?;
            rest = tail;
        }
        while let Some((word, tail)) = rest.split_first() {
            if !word.eq_ignore_ascii_case("providers") {
                return Err(not(format!("found {:?} where \"providers\" is expected", short(word))));
            }
            let Some((namespace, mut tail)) = tail.split_first() else {
                return Err(not("the provider namespace is missing".into()));
            };
            check_segment("provider", namespace)?;
            let mut pairs = 0;
            while let Some((kind, after)) = tail.split_first() {
                if kind.eq_ignore_ascii_case("providers") && pairs > 0 {
                    break;
                }
                check_segment("resource type", kind)?;
                let Some((name, after)) = after.split_first() else {
                    return Err(not(format!("the name after {:?} is missing", short(kind))));
                };
                check_segment("resource", name)?;
                pairs += 1;
                tail = after;
            }
            if pairs == 0 {
                return Err(not("the resource type is missing".into()));
            }
            rest = tail;
        }
        Ok(match text.strip_prefix('/') {
            Some(rest) if rest.len() == trimmed.len() => Self::from_checked(text),
            _ => Self::from_checked(&format!("/{trimmed}")),
        })
    }

    fn from_checked(text: &str) -> Self {
        let shown: Arc<str> = text.into();
        let low = text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        Self { key: if low { Arc::clone(&shown) } else { text.to_lowercase().into() }, text: shown }
    }

    /// The id of a subscription.
    ///
    /// # Errors
    /// When `subscription` is not a GUID.
    pub fn subscription_scope(subscription: &str) -> Result<Self, IdError> {
        Self::parse(&format!("/subscriptions/{subscription}"))
    }

    /// The id of a resource group.
    ///
    /// # Errors
    /// When a name is not valid.
    pub fn group(subscription: &str, group: &str) -> Result<Self, IdError> {
        check_name("resource group", group)?;
        Self::parse(&format!("/subscriptions/{subscription}/resourceGroups/{group}"))
    }

    /// The id of a virtual machine.
    ///
    /// # Errors
    /// When a name is not valid.
    pub fn vm(subscription: &str, group: &str, name: &str) -> Result<Self, IdError> {
        Self::group(subscription, group)?.resource("Microsoft.Compute", "virtualMachines", name)
    }

    /// A resource of `namespace/kind` in this scope (also an extension resource, such as a lock on a resource).
    ///
    /// # Errors
    /// When the name is not valid.
    pub fn resource(&self, namespace: &str, kind: &str, name: &str) -> Result<Self, IdError> {
        check_segment("resource", name)?;
        Ok(Self::from_checked(&format!("{}/providers/{namespace}/{kind}/{name}", self.text)))
    }

    /// A child of this resource.
    ///
    /// # Errors
    /// When the name is not valid.
    pub fn child(&self, kind: &str, name: &str) -> Result<Self, IdError> {
        check_segment("resource", name)?;
        Ok(Self::from_checked(&format!("{}/{kind}/{name}", self.text)))
    }

    /// The id in the case it was given, with a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id in lower case: equal for equal resources.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').skip(1)
    }

    /// The subscription's GUID.
    #[must_use]
    pub fn subscription(&self) -> &str {
        self.segments().nth(1).unwrap_or_default()
    }

    /// The resource group's name, if the id is at or below one.
    #[must_use]
    pub fn resource_group(&self) -> Option<&str> {
        let mut segments = self.segments().skip(2);
        segments.next().filter(|word| word.eq_ignore_ascii_case("resourceGroups"))?;
        segments.next()
    }

    /// The id of the resource group that holds this resource.
    #[must_use]
    pub fn group_id(&self) -> Option<Self> {
        self.resource_group()
            .map(|group| Self::from_checked(&format!("/subscriptions/{}/resourceGroups/{group}", self.subscription())))
    }

    /// The id of the subscription.
    #[must_use]
    pub fn subscription_id(&self) -> Self {
        Self::from_checked(&format!("/subscriptions/{}", self.subscription()))
    }

    /// The last segment: the name of the resource, the group, or the subscription's GUID.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// The name that follows the type segment `kind` (any case), e.g. `segment("vaults")`.
    #[must_use]
    pub fn segment(&self, kind: &str) -> Option<&str> {
        // In pairs: a group may itself be named `vaults`.
        let mut segments = self.segments();
        while let Some(segment) = segments.next() {
            let name = segments.next();
            if segment.eq_ignore_ascii_case(kind) {
                return name;
            }
        }
        None
    }

    /// The id cut after the name that follows the type segment `kind`, e.g. the vault of a protected item.
    #[must_use]
    pub fn up_to(&self, kind: &str) -> Option<Self> {
        let mut out = String::new();
        let mut segments = self.segments();
        while let Some(segment) = segments.next() {
            let name = segments.next()?;
            out.extend(["/", segment, "/", name]);
            if segment.eq_ignore_ascii_case(kind) {
                return Some(Self::from_checked(&out));
            }
        }
        None
    }

    /// The full type of the resource in lower case, e.g. `microsoft.compute/restorepointcollections/restorepoints`;
    /// `subscription` or `resourcegroup` for those scopes.
    #[must_use]
    pub fn resource_type(&self) -> String {
        let Some(start) = self.key.rfind("/providers/") else {
            return if self.resource_group().is_some() { "resourcegroup".into() } else { "subscription".into() };
        };
        let mut segments = self.key[start + "/providers/".len()..].split('/');
        let mut out = segments.next().unwrap_or_default().to_owned();
        for kind in segments.step_by(2) {
            out.push('/');
            out.push_str(kind);
        }
        out
    }

    /// Whether the id is of this type (`Microsoft.Compute/virtualMachines`, any case).
    #[must_use]
    pub fn is_type(&self, kind: &str) -> bool {
        self.resource_type() == kind.to_lowercase()
    }

    /// The scope that an extension resource (a lock) stands on: everything before its last `providers` part.
    #[must_use]
    pub fn scope(&self) -> Option<Self> {
        let start = self.key.rfind("/providers/")?;
        // A normal resource has one `providers` part; its "scope" is its resource group or subscription.
        Some(Self::from_checked(&self.text[..start]))
    }

    /// Whether `self` is `other` or stands above it, as locks and permissions are inherited.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.key == self.key || other.key.strip_prefix(&*self.key).is_some_and(|rest| rest.starts_with('/'))
    }

    /// `group/name` for resources in a group, else the id: short enough for a line of output.
    #[must_use]
    pub fn short_name(&self) -> String {
        match (self.resource_group(), self.key.contains("/providers/")) {
            (Some(group), true) => format!("{group}/{}", self.name()),
            (Some(group), false) => group.to_owned(),
            (None, _) => self.text.to_string(),
        }
    }
}

/// Whether the text is a GUID in its 36-character form.
#[must_use]
pub fn is_guid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for ResourceId {}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl FromStr for ResourceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl Serialize for ResourceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUB: &str = "11111111-1111-1111-1111-111111111111";

    #[test]
    fn compares_without_case_and_keeps_it() {
        let a = ResourceId::parse(&format!(
            "/subscriptions/{SUB}/resourceGroups/Prod/providers/Microsoft.Compute/virtualMachines/Web-01"
        ))
        .unwrap();
        let b = ResourceId::parse(&a.as_str().to_lowercase()).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.name(), "Web-01");
        assert_eq!(a.resource_group(), Some("Prod"));
        assert!(a.is_type("microsoft.compute/virtualMachines"));
    }

    #[test]
    fn knows_scopes() {
        let group = ResourceId::group(SUB, "AzureBackupRG_westeurope_1").unwrap();
        let rpc = group.resource("Microsoft.Compute", "restorePointCollections", "AzureBackup_web_123").unwrap();
        let lock = rpc.resource("Microsoft.Authorization", "locks", "keep").unwrap();
        assert_eq!(lock.scope(), Some(rpc.clone()));
        assert_eq!(lock.resource_type(), "microsoft.authorization/locks");
        assert!(group.covers(&rpc) && group.subscription_id().covers(&group) && !rpc.covers(&group));
        let sibling = ResourceId::group(SUB, "AzureBackupRG_westeurope_11").unwrap();
        assert!(!group.covers(&sibling));
        assert_eq!(rpc.group_id(), Some(group));
    }

    #[test]
    fn cuts_at_a_type() {
        let item = ResourceId::parse(&format!("/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.RecoveryServices/vaults/v/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;rg;vm/protectedItems/VM;iaasvmcontainerv2;rg;vm")).unwrap();
        assert_eq!(item.up_to("vaults").unwrap().name(), "v");
        assert_eq!(item.segment("protectionContainers"), Some("IaasVMContainer;iaasvmcontainerv2;rg;vm"));
        let odd = ResourceId::parse(&item.as_str().replace("/rg/", "/vaults/")).unwrap();
        assert_eq!(odd.segment("vaults"), Some("v"), "a group named like a type");
        assert_eq!(odd.up_to("vaults").unwrap().name(), "v");
    }

    #[test]
    fn refuses_hostile_ids() {
        for bad in [
            "",
            "/",
            "/subscriptions",
            "/subscriptions/x",
            "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/..",
            "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/a%2Fb",
            "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/a?x=1",
            "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/a/providers/Microsoft.Compute",
            "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/a/providers/Microsoft.Compute/virtualMachines",
            "/subscriptions/11111111-1111-1111-1111-111111111111/foo/bar",
            "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/a\u{202e}b",
        ] {
            assert!(ResourceId::parse(bad).is_err(), "{bad}");
        }
        for bad in ["a/b", "a\\b", "a?b", "a#b", "a%2Fb", "..", ".", "a\nb", "a\tb", " a", "a ", "<b>", "a\u{200b}"] {
            let lock = format!("/subscriptions/{SUB}/providers/Microsoft.Authorization/locks/{bad}");
            assert!(ResourceId::parse(&lock).is_err(), "{bad:?}");
        }
        assert!(check_name("VM", &"a".repeat(5000)).is_err());
        for typed in ["a'b", "a\"b", "a|b", "a`b", "a{b}", "a*", "a&b"] {
            assert!(check_name("VM", typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn names_that_azure_allows_are_one_segment_of_a_url() {
        for name in
            ["Don't delete", "\"do not\" delete", "a|b", "{x}*", "a&b=c", "50$ (old); `x`", "keep+it, é", "a..b"]
        {
            let id = ResourceId::parse(&format!("/subscriptions/{SUB}/providers/Microsoft.Authorization/locks/{name}"));
            let id = id.unwrap();
            assert_eq!(id.name(), name);
            let mut url: url::Url = "https://management.azure.com".parse().unwrap();
            url.set_path(id.as_str());
            url.query_pairs_mut().append_pair("api-version", "1");
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            assert_eq!(segments.len(), 6, "{url}");
            assert_eq!((url.query(), url.fragment()), (Some("api-version=1"), None), "{url}");
            assert!(!url.path().contains(' '), "{url}");
        }
    }
}
