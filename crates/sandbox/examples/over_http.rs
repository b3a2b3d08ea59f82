//! The embedded Azure over HTTP, for a client in any language: `cargo run -p azmend-sandbox --example over_http`.
//!
//! Prints where it listens and how to sign in, and serves the built-in estate until Ctrl-C. A minute of its time passes in a
//! second.

#![expect(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use azmend_base::clock::SystemClock;
use azmend_sandbox::{Estate, Server, ServerOptions, Sim, World};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sim = Sim::new(World::from_estate(&Estate::built_in()));
        let options = ServerOptions { port: 0, speed: 60, token_life: Duration::from_secs(3600) };
        let server = Server::bind(sim, options, Arc::new(SystemClock)).await?;
        println!("ARM endpoint:       {}", server.base());
        println!("IDENTITY_ENDPOINT=  {}", server.identity_endpoint());
        println!("IDENTITY_HEADER=    {}", server.identity().secret());
        server.run(CancellationToken::new()).await;
        Ok(())
    })
}
