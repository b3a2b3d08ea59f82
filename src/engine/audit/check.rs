//! The checks that are no playbook's: their names and titles.
//!
//! Duty: the one place where their names are text, for a finding's `rule` is either one of these or a playbook. Must never:
//! rename one, because people filter and compare by it.

/// A check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Locks over a resource group that holds restore points.
    GroupLocked,
    /// A ReadOnly lock over a vault.
    VaultLocked,
    /// Nearly as many restore points as are allowed.
    NearLimit,
    /// More than are allowed.
    OverLimit,
    /// Restore points of a VM that is gone.
    OrphanCandidate,
    /// Protection was stopped, and the VM is gone.
    ProtectionStopped,
    /// A running VM without a ready agent.
    AgentNotReady,
    /// An extension beside VMSnapshot failed.
    ExtensionFailed,
    /// A backup is missing.
    BackupLate,
    /// Backups end with warnings.
    BackupWarnings,
    /// The VM is in another place than its backups.
    VmMoved,
    /// The VM is another machine than that of its backups.
    VmRemade,
    /// An item says that it is not well.
    ItemInError,
    /// A job hangs.
    JobStuck,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::GroupLocked,
        Self::VaultLocked,
        Self::NearLimit,
        Self::OverLimit,
        Self::OrphanCandidate,
        Self::ProtectionStopped,
        Self::AgentNotReady,
        Self::ExtensionFailed,
        Self::BackupLate,
        Self::BackupWarnings,
        Self::VmMoved,
        Self::VmRemade,
        Self::ItemInError,
        Self::JobStuck,
    ];

    /// As a finding's `rule`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.words().0
    }

    /// In a sentence.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.words().1
    }

    /// Whether a rule is this check.
    #[must_use]
    pub fn is(self, rule: &str) -> bool {
        self.name() == rule
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::GroupLocked => ("group-locked", "Locks over a resource group that holds restore points"),
            Self::VaultLocked => ("vault-locked", "A ReadOnly lock covers a vault: Azure accepts no on-demand backup"),
            Self::NearLimit => ("near-limit", "Restore points near the limit of their policy"),
            Self::OverLimit => ("over-limit", "More restore points than their policy's limit"),
            Self::OrphanCandidate => ("orphan-candidate", "Restore points whose VM is no longer listed"),
            Self::ProtectionStopped => ("protection-stopped", "Protection stopped, data kept, and no VM to protect"),
            Self::AgentNotReady => ("agent-not-ready", "The guest agent of a running VM is not ready"),
            Self::ExtensionFailed => ("extension-failed", "An extension of the VM failed"),
            Self::BackupLate => {
                ("backup-late", "The newest recovery point is older than the policy schedules, and nothing says why")
            }
            Self::BackupWarnings => ("backup-warnings", "Backups end with warnings, one after the other"),
            Self::VmMoved => ("vm-moved", "The VM was moved, and its backups stayed behind"),
            Self::VmRemade => {
                ("vm-remade", "The VM was recreated under its name: its restore points are of another machine")
            }
            Self::ItemInError => ("item-in-error", "A protected item is not healthy"),
            Self::JobStuck => ("job-stuck", "A backup job runs for more than a day"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_title_and_is_no_playbook() {
        let library = crate::playbook::library::Library::shipped();
        for check in Check::ALL {
            assert!(!check.title().is_empty() && library.find(check.name()).is_err(), "{check:?}");
        }
        let names: std::collections::BTreeSet<&str> = Check::ALL.iter().map(|check| check.name()).collect();
        assert_eq!(names.len(), Check::ALL.len());
    }
}
