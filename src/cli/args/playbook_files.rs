//! What was typed for `playbook new` and `playbook test`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use super::fix::key_value;

pub(super) const TEST_EXAMPLES: &str = "\
Examples:
  azmend playbook test weekly-room.yaml                            on the built-in estate
  azmend playbook test weekly-room.yaml --estate estate.yaml       on a copy of your own (azmend capture)
  azmend playbook test weekly-room.yaml --vm web-01 -o json        one VM, for a pipeline";

/// `azmend playbook new`.
#[derive(Debug, ClapArgs)]
pub struct NewArgs {
    /// The name: lower-case letters, digits and hyphens
    pub name: String,
    /// The file to write; it must not exist [default: NAME.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}

/// `azmend playbook test`.
#[derive(Debug, ClapArgs)]
pub struct TestArgs {
    /// The playbook
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The estate to test on, as `azmend capture` or `azmend sandbox init` writes it [default: that of --sandbox, else the
    /// built-in one]
    #[arg(long, value_name = "ESTATE", value_hint = ValueHint::FilePath)]
    pub estate: Option<PathBuf>,
    /// Only this VM: name or group/name; repeatable [default: all]
    #[arg(long, value_name = "VM")]
    pub vm: Vec<String>,
    /// Set a parameter of the playbook; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Let the playbook look inside the VMs of the estate
    #[arg(long)]
    pub allow_guest: bool,
}
