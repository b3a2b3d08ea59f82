//! What was typed for `capture`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

pub(super) const CAPTURE_EXAMPLES: &str = "\
Examples:
  azmend capture --out estate.yaml                       every visible subscription
  azmend capture -s 'Contoso Production' --resource-group rg-shop --out shop.yaml
  azmend capture --vm rg-shop/web-01 --out web.yaml --anonymize     to send to someone who helps
  azmend --sandbox=estate.yaml fix rp-collection-limit --vm web-01  the rehearsal";

/// `azmend capture`.
#[derive(Debug, ClapArgs)]
pub struct CaptureArgs {
    /// The file to write; an existing file is replaced only with --force
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
    /// Replace every name, GUID, tag, note and message, each by the same substitute everywhere
    #[arg(long)]
    pub anonymize: bool,
    /// Replace the file
    #[arg(long)]
    pub force: bool,
    /// Only the VMs of this resource group
    #[arg(long, value_name = "GROUP", help_heading = "Which VMs")]
    pub resource_group: Option<String>,
    /// Only VMs with this tag; with several, with all of them
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Which VMs")]
    pub tag: Vec<String>,
    /// Only VMs with an item in this vault: name, group/name or resource id
    #[arg(long, value_name = "VAULT", help_heading = "Which VMs")]
    pub vault: Option<String>,
    /// Only this VM: name, group/name or resource id; repeatable
    #[arg(long, value_name = "VM", help_heading = "Which VMs", conflicts_with_all = ["resource_group", "tag", "vault"])]
    pub vm: Vec<String>,
}
