//! A VM with everything that its own GET carries.

use super::{Extension, InstanceView, Vm};

/// What a VM's own GET carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeVm {
    /// The VM.
    pub vm: Vm,
    /// Its instance view; `None` when Azure left it out.
    pub view: Option<InstanceView>,
    /// Its extension resources; `None` when the answer does not have them for certain, then only their list tells.
    pub extensions: Option<Vec<Extension>>,
}
