//! Which VM a user means.
//!
//! Duty: a bare name, `group/name` or a resource id becomes one resource id, or an error that lists the candidates.
//! Invariants: text from the user is checked before it gets near a URL (S11). A bare name is taken only when it is unique
//! over *every* subscription in question and every one of them could be listed completely (S12): the wrong VM's restore
//! points do not come back.
//! Must never: normalise letters. A Cyrillic `е` is another name; the near one is suggested.
//!
//! A deleted VM is found through the `source.id` of the restore point collections that outlive it.

use std::collections::BTreeSet;

use super::read::{Read, Reader, action, complete, one_line, same_id, why};
use crate::arm::id::{IdError, ResourceId, check_name, is_guid};
use crate::arm::model::{Collection, Subscription};
use crate::arm::{Arm, ArmError, ErrorClass};
use crate::spelling::near_by;
use crate::text::look_alikes;

/// Why a text does not name one VM. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No VM and no restore point collection has this name.
    #[error("no VM {name:?} in {}", places(*.subscriptions))]
    NotFound {
        /// What was asked for.
        name: String,
        /// How many subscriptions were looked into.
        subscriptions: usize,
        /// VMs with a similar name, the nearest first.
        near: Vec<ResourceId>,
    },
    /// Several VMs have this name.
    #[error("{name:?} names {} VMs", .candidates.len())]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// All of them.
        candidates: Vec<ResourceId>,
    },
    /// A scope could not be listed completely, so the name may not be unique (or be there).
    #[error("cannot tell which VM {name:?} is: {scope} could not be listed completely: {why}")]
    CannotList {
        /// What was asked for.
        name: String,
        /// Where.
        scope: String,
        /// Why.
        why: String,
        /// Azure could not be asked now: the same may be answered later.
        passing: bool,
    },
    /// The text cannot be a name or an id.
    #[error("{0}")]
    BadName(String),
    /// No visible subscription has this id or name.
    #[error("no subscription {name:?} is visible to this identity")]
    SubscriptionNotFound {
        /// What was asked for.
        name: String,
        /// Names of similar ones, the nearest first.
        near: Vec<String>,
    },
    /// Several visible subscriptions have this display name.
    #[error("{} subscriptions are named {name:?}", .ids.len())]
    SubscriptionAmbiguous {
        /// What was asked for.
        name: String,
        /// Their ids.
        ids: Vec<String>,
    },
}

fn places(subscriptions: usize) -> String {
    match subscriptions {
        1 => "the subscription that was searched".to_owned(),
        count => format!("the {count} subscriptions that were searched"),
    }
}

impl ResolveError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let list = |ids: &[ResourceId]| ids.iter().map(ResourceId::to_string).collect::<Vec<_>>().join("\n  ");
        let meant = |name: &str, near: Vec<String>| {
            let near = (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or ")));
            let letters =
                look_alikes(name).map(|letters| format!("the name has letters that only look Latin: {letters}"));
            let hints: Vec<String> = letters.into_iter().chain(near).collect();
            (!hints.is_empty()).then(|| hints.join("; "))
        };
        match self {
            Self::NotFound { name, near, .. } => meant(name, near.iter().map(ResourceId::short_name).collect()),
            Self::Ambiguous { candidates, .. } => Some(format!("give one of these as --vm:\n  {}", list(candidates))),
            Self::CannotList { passing: true, .. } => {
                Some("try again later; with group/name or the resource id of the VM nothing is listed".to_owned())
            }
            Self::CannotList { .. } => Some("give group/name or the resource id of the VM".to_owned()),
            Self::BadName(_) => Some("--vm takes a name, group/name or a resource id".to_owned()),
            Self::SubscriptionNotFound { name, near } => meant(name, near.clone()),
            Self::SubscriptionAmbiguous { ids, .. } => Some(format!("give one of the ids: {}", ids.join(", "))),
        }
    }
}

impl From<IdError> for ResolveError {
    fn from(error: IdError) -> Self {
        Self::BadName(error.to_string())
    }
}

/// Finds the VM that `text` means: a bare name, `group/name`, or a resource id, in the subscriptions given by id or
/// display name, or in every visible one.
///
/// # Errors
/// [`ResolveError`]; nothing is guessed.
pub async fn resolve_vm(arm: &Arm, text: &str, subscriptions: &[String]) -> Result<ResourceId, ResolveError> {
    let asked = Asked::parse(text)?;
    let reader = Reader::new(arm, 8);
    let search = Search { reader: &reader, text, filtered: !subscriptions.is_empty() };
    match asked {
        Asked::Id(id) => {
            if search.filtered {
                let scopes = search.scopes(subscriptions).await?;
                if !scopes.contains(&id.subscription_id()) {
                    let why = format!("{id} is not in a subscription that was given");
                    return Err(ResolveError::BadName(why));
                }
            }
            search.by_id(id).await
        }
        Asked::InGroup { group, name } => {
            let scopes = search.scopes(subscriptions).await?;
            search.in_group(&scopes, &group, &name).await
        }
        Asked::Bare(name) => {
            let scopes = search.scopes(subscriptions).await?;
            search.bare(&scopes, &name).await
        }
    }
}

/// Resolves subscription filters (ids or display names, without case) to the ids of visible subscriptions; no filter
/// means all of them.
///
/// # Errors
/// [`ResolveError`] when one is not found, is ambiguous, or the subscriptions cannot be listed.
pub async fn resolve_subscriptions(arm: &Arm, filters: &[String]) -> Result<Vec<Subscription>, ResolveError> {
    for filter in filters {
        check_name("subscription", filter)?;
    }
    let first = filters.first().map_or("", String::as_str);
    let listed = arm.subscriptions().await;
    let passing = listed.as_ref().is_err_and(ArmError::is_passing);
    let visible = complete(listed, "subscriptions").map_err(|why| ResolveError::CannotList {
        name: first.to_owned(),
        scope: "the tenant".to_owned(),
        why,
        passing,
    })?;
    if filters.is_empty() {
        return Ok(visible);
    }
    let mut chosen: Vec<Subscription> = Vec::new();
    for filter in filters {
        let wanted = filter.to_lowercase();
        let by_id = visible.iter().find(|one| is_guid(filter) && one.id.to_lowercase() == wanted);
        let named: Vec<&Subscription> = visible.iter().filter(|one| one.name.to_lowercase() == wanted).collect();
        let found = match (by_id, named.as_slice()) {
            (Some(one), _) => one,
            (None, [one]) => *one,
            (None, []) => {
                let names = visible.iter().map(|one| (one.name.as_str(), one.name.clone()));
                return Err(ResolveError::SubscriptionNotFound { name: filter.clone(), near: near_by(filter, names) });
            }
            (None, several) => {
                let ids = several.iter().map(|one| one.id.clone()).collect();
                return Err(ResolveError::SubscriptionAmbiguous { name: filter.clone(), ids });
            }
        };
        if !chosen.iter().any(|one| one.id == found.id) {
            chosen.push(found.clone());
        }
    }
    Ok(chosen)
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Id(ResourceId),
    InGroup { group: String, name: String },
    Bare(String),
}

impl Asked {
    fn parse(text: &str) -> Result<Self, ResolveError> {
        let looks_like_id = text.starts_with('/') || text.to_ascii_lowercase().starts_with("subscriptions/");
        if looks_like_id {
            let id = ResourceId::parse(text)?;
            if !id.is_type("Microsoft.Compute/virtualMachines") {
                return Err(ResolveError::BadName(format!("{id} is a {}, not a virtual machine", id.resource_type())));
            }
            return Ok(Self::Id(id));
        }
        match text.split_once('/') {
            None => {
                check_name("VM", text)?;
                Ok(Self::Bare(text.to_owned()))
            }
            Some((group, name)) => {
                check_name("resource group", group)?;
                check_name("VM", name)?;
                Ok(Self::InGroup { group: group.to_owned(), name: name.to_owned() })
            }
        }
    }
}

struct Search<'a> {
    reader: &'a Reader<'a>,
    text: &'a str,
    filtered: bool,
}

impl Search<'_> {
    async fn scopes(&self, filters: &[String]) -> Result<Vec<ResourceId>, ResolveError> {
        let chosen = resolve_subscriptions(self.reader.arm, filters).await.map_err(|error| match error {
            ResolveError::CannotList { scope, why, passing, .. } => {
                ResolveError::CannotList { name: self.text.to_owned(), scope, why, passing }
            }
            other => other,
        })?;
        let ids: Result<Vec<ResourceId>, IdError> =
            chosen.iter().map(|one| ResourceId::subscription_scope(&one.id)).collect();
        let ids = ids.map_err(|error| self.cannot("the tenant".to_owned(), one_line(&error)))?;
        if ids.is_empty() {
            let why = "no subscription is visible to this identity".to_owned();
            return Err(self.cannot("the tenant".to_owned(), why));
        }
        Ok(ids)
    }

    fn cannot(&self, scope: String, why: String) -> ResolveError {
        ResolveError::CannotList { name: self.text.to_owned(), scope, why, passing: self.reader.may_pass() }
    }

    /// The VM's id as Azure writes it. It is read as the facts read it, so that one reading asks once; whether that needs a
    /// permission of its own is not verified, so a refusal is asked again without the instance view.
    async fn vm(&self, id: &ResourceId) -> Result<ResourceId, ArmError> {
        match self.reader.whole_vm(id).await.1 {
            Ok(whole) => Ok(whole.vm.id),
            Err(error) if error.class() == ErrorClass::Forbidden => self.reader.arm.vm(id).await.map(|vm| vm.id),
            Err(error) => Err(error),
        }
    }

    /// An id names its VM whatever else there is. Only when Azure says that it is not there do the collections decide.
    async fn by_id(&self, id: ResourceId) -> Result<ResourceId, ResolveError> {
        let error = match self.vm(&id).await {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        if !self.reader.arm.proves_absence(&error, &id).await {
            // Not readable now: the reading of the facts says so, with its reason.
            return Ok(id);
        }
        let scope = id.subscription_id();
        match self.collections(&scope).await {
            Ok(collections) if collections.iter().any(|one| same_id(&one.source, &id)) => Ok(id),
            Ok(_) => {
                let near = self.near(std::slice::from_ref(&scope), id.name()).await;
                Err(ResolveError::NotFound { name: self.text.to_owned(), subscriptions: 1, near })
            }
            Err(why) => Err(self.cannot(scope.to_string(), why)),
        }
    }

    async fn in_group(&self, scopes: &[ResourceId], group: &str, name: &str) -> Result<ResourceId, ResolveError> {
        let mut ids = Vec::new();
        for scope in scopes {
            ids.push(ResourceId::vm(scope.subscription(), group, name)?);
        }
        let calls = ids.iter().map(|id| self.vm(id));
        let mut found = Vec::new();
        let mut unknown = None;
        let mut passing = false;
        for (id, answer) in ids.iter().zip(self.reader.side_by_side(calls.collect()).await) {
            match answer {
                Ok(id) => found.push(id),
                Err(error) if self.reader.arm.proves_absence(&error, id).await => {}
                // Azure also answers 403 for a group that is not there. What this identity may not see, the user of it
                // cannot mean; but then nothing may be said to be missing either.
                Err(error) => {
                    let fatal = error.class() != ErrorClass::Forbidden;
                    passing |= error.is_passing();
                    unknown = Some((id.subscription_id().to_string(), why(&error), fatal));
                    if fatal {
                        break;
                    }
                }
            }
        }
        match (found.len(), unknown) {
            (_, Some((scope, why, true))) | (0, Some((scope, why, false))) => {
                Err(ResolveError::CannotList { name: self.text.to_owned(), scope, why, passing })
            }
            (1, _) => Ok(found.remove(0)),
            (0, None) => {
                let in_group = |id: &ResourceId| id.resource_group().is_some_and(|one| same_name(one, group));
                self.deleted(scopes, name, in_group).await
            }
            _ => Err(ResolveError::Ambiguous { name: self.text.to_owned(), candidates: found }),
        }
    }

    async fn bare(&self, scopes: &[ResourceId], name: &str) -> Result<ResourceId, ResolveError> {
        let mut found: Vec<ResourceId> = Vec::new();
        for (scope, listed) in self.vms(scopes).await {
            let vms = listed.map_err(|why| self.cannot(scope.to_string(), why))?;
            found.extend(vms.into_iter().filter(|id| same_name(id.name(), name)));
        }
        match found.len() {
            0 => self.deleted(scopes, name, |_| true).await,
            1 => Ok(found.remove(0)),
            _ => Err(ResolveError::Ambiguous { name: self.text.to_owned(), candidates: found }),
        }
    }

    async fn vms<'s>(&self, scopes: &'s [ResourceId]) -> Vec<(&'s ResourceId, Read<Vec<ResourceId>>)> {
        let calls = scopes.iter().map(|scope| async move {
            let listed = self.reader.list(scope, &[action::VMS], "VMs", self.reader.arm.vms(scope)).await;
            (scope, listed.map(|(_, vms)| vms.into_iter().map(|vm| vm.id).collect()))
        });
        self.reader.side_by_side(calls.collect()).await
    }

    async fn collections(&self, scope: &ResourceId) -> Read<Vec<Collection>> {
        let call = self.reader.arm.collections(scope);
        let listed = self.reader.list(scope, &[action::COLLECTIONS], "restore point collections", call).await;
        listed.map(|(_, collections)| collections)
    }

    /// No VM has the name: a collection may still name one that is gone.
    async fn deleted(
        &self,
        scopes: &[ResourceId],
        name: &str,
        fits: impl Fn(&ResourceId) -> bool,
    ) -> Result<ResourceId, ResolveError> {
        let calls = scopes.iter().map(|scope| async move { (scope, self.collections(scope).await) });
        let mut found = BTreeSet::new();
        for (scope, listed) in self.reader.side_by_side(calls.collect()).await {
            let collections = listed.map_err(|why| self.cannot(scope.to_string(), why))?;
            let sources = collections.iter().filter_map(Collection::source_id);
            found.extend(sources.filter(|id| is_vm(id) && same_name(id.name(), name) && fits(id)));
        }
        let mut found: Vec<ResourceId> = found.into_iter().collect();
        match found.len() {
            0 => {
                let near = self.near(scopes, name).await;
                Err(ResolveError::NotFound { name: self.text.to_owned(), subscriptions: scopes.len(), near })
            }
            1 => Ok(found.remove(0)),
            _ => Err(ResolveError::Ambiguous { name: self.text.to_owned(), candidates: found }),
        }
    }

    /// VMs of a similar name; only a suggestion, so a list that fails is left out.
    async fn near(&self, scopes: &[ResourceId], name: &str) -> Vec<ResourceId> {
        let listed = self.vms(scopes).await;
        let ids: Vec<ResourceId> = listed.into_iter().filter_map(|(_, listed)| listed.ok()).flatten().collect();
        near_by(name, ids.iter().map(|id| (id.name(), id.clone())))
    }
}

fn is_vm(id: &ResourceId) -> bool {
    id.is_type("Microsoft.Compute/virtualMachines")
}

fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUB: &str = "11111111-1111-1111-1111-111111111111";

    #[test]
    fn three_forms_are_told_apart() {
        assert_eq!(Asked::parse("web-01"), Ok(Asked::Bare("web-01".into())));
        assert_eq!(Asked::parse("rg/web-01"), Ok(Asked::InGroup { group: "rg".into(), name: "web-01".into() }));
        let id = ResourceId::vm(SUB, "rg", "web-01").unwrap();
        assert_eq!(Asked::parse(id.as_str()), Ok(Asked::Id(id.clone())));
        assert_eq!(Asked::parse(&id.as_str()[1..]), Ok(Asked::Id(id)));
    }

    #[test]
    fn hostile_text_is_refused_before_any_call() {
        let other_type = format!("/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.Compute/disks/d");
        let huge = "a".repeat(5000);
        for bad in [
            "",
            " ",
            "..",
            "../x",
            "a/../b",
            "a/b/c",
            "a%2Fb",
            "a?b",
            "a\nb",
            "a\u{202e}b",
            "/",
            "/subscriptions/x",
            "rg/",
            "/web",
            &other_type,
            &huge,
        ] {
            assert!(matches!(Asked::parse(bad), Err(ResolveError::BadName(_))), "{bad:?}: {:?}", Asked::parse(bad));
        }
    }

    #[test]
    fn near_names_are_near() {
        let names = ["web-01", "web-02", "db-01", "web-01-old", "x"];
        let near = |name: &str| near_by(name, names.iter().map(|name| (*name, *name)));
        assert_eq!(near("wbe-01")[0], "web-01");
        assert_eq!(near("w\u{435}b-01")[0], "web-01", "a Cyrillic letter is one letter away");
        assert_eq!(near("WEB"), ["web-01", "web-02", "web-01-old"]);
        assert_eq!(near("completely-different"), Vec::<&str>::new());
    }

    #[test]
    fn messages_name_what_was_asked() {
        let near = vec![ResourceId::vm(SUB, "rg", "web-01").unwrap()];
        let error = ResolveError::NotFound { name: "web-1".into(), subscriptions: 2, near };
        assert_eq!(error.to_string(), "no VM \"web-1\" in the 2 subscriptions that were searched");
        assert_eq!(error.hint().unwrap(), "did you mean rg/web-01?");
    }
}
