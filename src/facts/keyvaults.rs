//! Key vaults of an encrypted VM: which it uses, and who may do what there.
//!
//! Duty: [`uses`] says from the VM's model, instance view and extensions which key vaults hold its secrets and keys
//! (Azure Disk Encryption only: disks that the platform encrypts ask nothing of Azure Backup); [`read`] reads those.
//! Invariants: a VM that is not encrypted costs no request; what was not read is unread, never "not encrypted" and never
//! "no permission" (S12). Must never: read a key, a secret, or the directory: who an object id is, ARM does not know.

use super::read::{Reader, action, one_line, part, single};
use super::vm_facts::{KeyVaultFacts, Part, VmFacts};
use crate::arm::id::ResourceId;
use crate::arm::model::KeyUse;

/// The type of a key vault.
const KEY_VAULT: &str = "Microsoft.KeyVault/vaults";

/// A key vault by its id, with what it holds: keys, secrets.
pub type Used = (ResourceId, bool, bool);

/// The key vaults that the VM uses, each once; empty when it is not encrypted.
///
/// # Errors
/// Why that cannot be said.
pub fn uses(facts: &VmFacts) -> Result<Vec<Used>, String> {
    let mut named: Vec<&KeyUse> = Vec::new();
    let unread = [facts.vm.unread(), facts.instance.unread(), facts.extensions.unread()];
    if let Some(why) = unread.into_iter().flatten().next() {
        return Err(why.to_owned());
    }
    named.extend(facts.vm.known().into_iter().flat_map(|vm| &vm.encryption));
    named.extend(facts.instance.known().into_iter().flat_map(|view| &view.encryption));
    named.extend(facts.extensions.known().into_iter().flatten().flat_map(|extension| &extension.encryption));
    merged(&named)
}

fn merged(named: &[&KeyUse]) -> Result<Vec<Used>, String> {
    let mut found: Vec<Used> = Vec::new();
    let mut addresses = Vec::new();
    for one in named {
        match ResourceId::parse(&one.vault).ok().filter(|id| id.is_type(KEY_VAULT)) {
            Some(id) => match found.iter_mut().find(|(known, ..)| *known == id) {
                Some((_, key, secret)) => (*key, *secret) = (*key || one.key, *secret || one.secret),
                None => found.push((id, one.key, one.secret)),
            },
            None => addresses.push(one),
        }
    }
    // An address alone (`https://name.vault.azure.net/...`) tells a vault whose id another place has named.
    for one in addresses {
        let host = one.vault.split("://").nth(1).unwrap_or_default();
        let name = host.split(['.', '/']).next().unwrap_or_default();
        match found.iter_mut().find(|(known, ..)| !name.is_empty() && known.name().eq_ignore_ascii_case(name)) {
            Some((_, key, secret)) => (*key, *secret) = (*key || one.key, *secret || one.secret),
            None => {
                let shown = if one.vault.is_empty() { "nothing" } else { name };
                return Err(one_line(&format!(
                    "the VM is encrypted and names its key vault by no resource id: {shown}"
                )));
            }
        }
    }
    Ok(found)
}

/// Reads the key vaults of an encrypted VM.
pub(super) async fn read(reader: &Reader<'_>, facts: &VmFacts) -> Part<Vec<KeyVaultFacts>> {
    let at = reader.now();
    if facts.vm.is_absent() {
        return Part::Absent { at };
    }
    let used = match uses(facts) {
        Ok(used) => used,
        Err(why) => return Part::Unread { why },
    };
    let calls = used.into_iter().map(|(id, key, secret)| async move {
        let at = reader.now();
        let vault = single(at, reader.arm.key_vault(&id).await);
        let roles = match vault.known() {
            Some(known) if !known.rbac => Part::Absent { at },
            Some(_) => {
                let call = reader.arm.role_assignments(&id);
                part(reader.list(&id, &[action::ROLES], "role assignments", call).await)
            }
            None => Part::Unread { why: vault.unread().unwrap_or_default().to_owned() },
        };
        KeyVaultFacts { id, key, secret, vault, roles }
    });
    Part::Known { at, value: reader.side_by_side(calls.collect()).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(vault: &str, key: bool) -> KeyUse {
        KeyUse { vault: vault.to_owned(), key, secret: !key }
    }

    const KV: &str =
        "/subscriptions/5b1c0de0-0000-4000-8000-000000000001/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv";

    #[test]
    fn one_vault_named_in_several_ways_is_one() {
        let (id, address, key) =
            (named(KV, false), named("https://KV.vault.azure.net/secrets/s", false), named(KV, true));
        let found = merged(&[&address, &id, &key]).unwrap();
        assert_eq!(found, vec![(ResourceId::parse(KV).unwrap(), true, true)]);
        assert_eq!(merged(&[]).unwrap(), Vec::new());
    }

    #[test]
    fn an_address_alone_is_not_a_vault() {
        let why = merged(&[&named("https://other.vault.azure.net/keys/k", true)]).unwrap_err();
        assert!(why.contains("other"), "{why}");
        merged(&[&named("", false)]).unwrap_err();
        merged(&[&named(KV, false), &named("https://other.vault.azure.net/keys/k", true)]).unwrap_err();
    }
}
