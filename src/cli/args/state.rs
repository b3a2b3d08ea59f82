//! Where runs are kept.

use clap::Args as ClapArgs;

/// The options of every command for where runs are kept.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct StateArgs {
    /// Where runs are kept: a directory (as --state-dir), or azblob://ACCOUNT/CONTAINER/PREFIX for a storage account that
    /// several machines share and that outlives them
    #[arg(
        long,
        global = true,
        value_name = "PLACE",
        env = "AZMEND_STATE",
        help_heading = "Output",
        hide_short_help = true
    )]
    pub state: Option<String>,
    /// Another blob endpoint of the storage account in --state, as the portal shows it (https)
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "AZMEND_BLOB_ENDPOINT",
        help_heading = "Output",
        hide_short_help = true
    )]
    pub blob_endpoint: Option<String>,
}
