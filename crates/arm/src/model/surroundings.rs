//! What surrounds a VM and can stop its backup: disks, the load it was under, the rules of its network.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::{FromWire, Malformed, first_text, flag, id, integer, object, objects, text, texts, time};
use crate::id::ResourceId;

/// A disk as the VM's storage profile names it. What Azure leaves out of the profile (sizes and kinds, while a VM is
/// deallocated) is on the disk itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedDisk {
    /// Its name in the profile.
    pub name: String,
    /// The managed disk; `None` for a page blob, or when the id is not one.
    pub id: Option<ResourceId>,
    /// Whether it is the OS disk.
    pub os: bool,
    /// `diskSizeGB`, when it is sent.
    pub size_gb: Option<i64>,
    /// `managedDisk.storageAccountType`, e.g. `Premium_LRS`; empty when not sent.
    pub sku: String,
    /// `diffDiskSettings.option` is `Local`: an ephemeral OS disk.
    pub ephemeral: bool,
    /// A page blob (`vhd.uri`).
    pub unmanaged: bool,
    /// `encryptionSettings.enabled`: Azure Disk Encryption with the settings on the VM.
    pub encrypted: bool,
}

impl AttachedDisk {
    /// The OS disk and the data disks of a VM's body.
    pub(super) fn all(vm: &Value) -> Vec<Self> {
        let os = vm.pointer("/properties/storageProfile/osDisk").filter(|disk| disk.is_object());
        let os = os.map(|disk| Self { os: true, ..Self::read(disk) });
        os.into_iter().chain(objects(vm, "/properties/storageProfile/dataDisks").map(Self::read)).collect()
    }

    fn read(disk: &Value) -> Self {
        Self {
            name: text(disk, "/name"),
            id: ResourceId::parse(&text(disk, "/managedDisk/id")).ok(),
            os: false,
            size_gb: integer(disk, "/diskSizeGB"),
            sku: text(disk, "/managedDisk/storageAccountType"),
            ephemeral: text(disk, "/diffDiskSettings/option").eq_ignore_ascii_case("Local"),
            unmanaged: disk.get("vhd").is_some_and(Value::is_object),
            encrypted: flag(disk, "/encryptionSettings/enabled").unwrap_or(false),
        }
    }
}

/// The network interfaces of a VM's body.
pub(super) fn interfaces(vm: &Value) -> Vec<ResourceId> {
    objects(vm, "/properties/networkProfile/networkInterfaces").filter_map(|nic| id(nic).ok()).collect()
}

/// A managed disk (`Microsoft.Compute/disks`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Resource id.
    pub id: ResourceId,
    /// `properties.diskSizeGB`.
    pub size_gb: Option<i64>,
    /// `sku.name`, e.g. `UltraSSD_LRS`.
    pub sku: String,
    /// `properties.maxShares`: more than one is a shared disk; absent means one.
    pub max_shares: Option<i64>,
    /// `properties.encryptionSettingsCollection.enabled`: Azure Disk Encryption.
    pub encrypted: bool,
}

impl FromWire for Disk {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        Ok(Self {
            id: id(value)?,
            size_gb: integer(value, "/properties/diskSizeGB"),
            sku: first_text(value, &["/sku/name", "/properties/accountType"]),
            max_shares: integer(value, "/properties/maxShares"),
            encrypted: flag(value, "/properties/encryptionSettingsCollection/enabled").unwrap_or(false),
        })
    }
}

/// A VM that a vault could protect (`backupProtectableItems`; recorded in azure-cli's test_backup_softdelete).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protectable {
    /// `.../protectionContainers/{container}/protectableItems/{item}`.
    pub id: ResourceId,
    /// `properties.virtualMachineId` as sent.
    pub vm: String,
}

impl Protectable {
    /// The protected item that it becomes: the same names (azure-cli takes both from this id; recorded).
    #[must_use]
    pub fn item(&self) -> Option<ResourceId> {
        let container = self.id.up_to("protectionContainers")?;
        container.child("protectedItems", self.id.segment("protectableItems")?).ok()
    }
}

impl FromWire for Protectable {
    fn from_wire(value: &Value) -> Result<Self, Malformed> {
        Ok(Self { id: id(value)?, vm: text(value, "/properties/virtualMachineId") })
    }
}

/// One metric of a resource (`Microsoft.Insights/metrics`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// `name.value`, e.g. `Percentage CPU`.
    pub name: String,
    /// Its values with their times, oldest first; moments without a value are left out.
    pub values: Vec<(Timestamp, f64)>,
}

impl Metric {
    /// The metrics of an answer, by the named aggregation (`average`, `maximum`, `minimum`).
    pub(crate) fn all(body: &Value, aggregation: &str) -> Result<Vec<Self>, Malformed> {
        if !object(body)?.get("value").is_some_and(Value::is_array) {
            return Err(Malformed("it has no list of metrics".into()));
        }
        let read = |metric: &Value| {
            let points = objects(metric, "/timeseries").flat_map(|series| objects(series, "/data"));
            let value = |point: &Value| Some((time(point, "/timeStamp")?, point.get(aggregation)?.as_f64()?));
            let mut values: Vec<_> = points.filter_map(value).collect();
            values.sort_by_key(|(at, _)| *at);
            Self { name: text(metric, "/name/value"), values }
        };
        Ok(objects(body, "/value").map(read).collect())
    }
}

/// One effective rule of a network security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRule {
    /// Its name.
    pub name: String,
    /// Lower is asked earlier.
    pub priority: i64,
    /// Whether it lets traffic through (`Allow`).
    pub allows: bool,
    /// Whether it is about traffic out of the VM (`Outbound`).
    pub outbound: bool,
    /// `Tcp`, `Udp`, `All`.
    pub protocol: String,
    /// Destination ports: numbers, ranges (`80-90`, `0-65535`), `*`.
    pub ports: Vec<String>,
    /// Destinations: service tags, CIDR ranges, `*`.
    pub to: Vec<String>,
}

/// The effective rules of one group on a network interface: of the interface itself or of its subnet. Traffic must be let
/// through by each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSet {
    /// The id of the network security group.
    pub group: String,
    /// Its rules.
    pub rules: Vec<NetworkRule>,
}

impl RuleSet {
    /// The rule sets of the answer to `effectiveNetworkSecurityGroups` (contract
    /// `NetworkInterfaces_ListEffectiveNetworkSecurityGroups`).
    pub(crate) fn all(body: &Value) -> Result<Vec<Self>, Malformed> {
        if !object(body)?.get("value").is_some_and(Value::is_array) {
            return Err(Malformed("it has no list of network security groups".into()));
        }
        let both = |rule: &Value, one: &str, many: &str| {
            let mut all = texts(rule, many);
            let single = text(rule, one);
            if all.is_empty() && !single.is_empty() {
                all.push(single);
            }
            all
        };
        let rule = |rule: &Value| NetworkRule {
            name: text(rule, "/name"),
            // A rule without a number is asked last.
            priority: integer(rule, "/priority").unwrap_or(i64::MAX),
            allows: text(rule, "/access").eq_ignore_ascii_case("Allow"),
            outbound: text(rule, "/direction").eq_ignore_ascii_case("Outbound"),
            protocol: text(rule, "/protocol"),
            ports: both(rule, "/destinationPortRange", "/destinationPortRanges"),
            to: both(rule, "/destinationAddressPrefix", "/destinationAddressPrefixes"),
        };
        let set = |set: &Value| {
            let mut rules: Vec<_> = objects(set, "/effectiveSecurityRules").map(rule).collect();
            rules.sort_by_key(|rule| rule.priority);
            Self { group: text(set, "/networkSecurityGroup/id"), rules }
        };
        Ok(objects(body, "/value").map(set).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_profile_is_read_whatever_is_missing() {
        let vm = json!({ "properties": { "storageProfile": {
            "osDisk": { "name": "os", "diffDiskSettings": { "option": "Local" }, "managedDisk": { "id": "nonsense" } },
            "dataDisks": [ { "name": "d0", "diskSizeGB": 4095, "vhd": { "uri": "https://contoso.example/d0.vhd" } }, null, 7 ]
        }, "networkProfile": null } });
        let disks = AttachedDisk::all(&vm);
        assert_eq!(disks.len(), 2);
        assert!(disks[0].os && disks[0].ephemeral && disks[0].id.is_none() && disks[0].size_gb.is_none());
        assert!(disks[1].unmanaged && disks[1].size_gb == Some(4095));
        assert!(interfaces(&vm).is_empty());
    }

    #[test]
    fn metrics_without_values_are_left_out() {
        let body = json!({ "value": [ { "name": { "value": "Percentage CPU" }, "timeseries": [ { "data": [
            { "timeStamp": "2026-01-01T00:01:00Z", "average": 97.5 }, { "timeStamp": "2026-01-01T00:00:00Z", "average": 5 },
            { "timeStamp": "2026-01-01T00:02:00Z" } ] } ] }, { "name": { "value": "Egress" }, "timeseries": [] } ] });
        let metrics = Metric::all(&body, "average").unwrap();
        assert_eq!(metrics[0].values.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [5.0, 97.5]);
        assert!(metrics[1].values.is_empty());
        assert!(Metric::all(&json!({ "error": {} }), "average").is_err());
    }

    #[test]
    fn rules_come_in_the_order_they_are_asked() {
        let body = json!({ "value": [ { "networkSecurityGroup": { "id": "/x" }, "effectiveSecurityRules": [
            { "name": "late", "priority": 4000, "access": "Deny", "direction": "Outbound", "protocol": "All",
              "destinationPortRange": "0-65535", "destinationAddressPrefix": "0.0.0.0/0" },
            { "name": "early", "priority": 100, "access": "Allow", "direction": "Outbound", "protocol": "Tcp",
              "destinationPortRanges": ["443-443"], "destinationAddressPrefixes": ["Storage"] } ] } ] });
        let sets = RuleSet::all(&body).unwrap();
        assert_eq!(sets[0].rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["early", "late"]);
        assert_eq!((sets[0].rules[0].ports[0].as_str(), sets[0].rules[0].to[0].as_str()), ("443-443", "Storage"));
        assert!(!sets[0].rules[1].allows);
    }
}
