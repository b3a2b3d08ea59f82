//! Microsoft.ResourceGraph 2021-03-01.

use azure_mgmt_resourcegraph::package_preview_2021_03 as graph;
use graph::models::query_request_options::ResultFormat;
use graph::models::{QueryRequest, QueryRequestOptions};

use super::bridge::{Exchange, ask, client};
use crate::error::ArmError;
use crate::gateway::Gateway;
use crate::graph::{GraphQuery, GraphScope};

/// One page of a query, as it came from the wire.
pub async fn query(gateway: &Gateway, asked: &GraphQuery) -> Result<Exchange, ArmError> {
    let mut request = QueryRequest::new(asked.text.clone());
    match &asked.scope {
        GraphScope::Subscriptions(guids) => request.subscriptions.clone_from(guids),
        GraphScope::ManagementGroups(names) => request.management_groups.clone_from(names),
        GraphScope::Tenant => {}
    }
    request.options = Some(QueryRequestOptions {
        skip_token: asked.skip_token.clone(),
        top: i32::try_from(asked.page_size).ok(),
        result_format: Some(ResultFormat::ObjectArray),
        ..QueryRequestOptions::new()
    });
    let exchange = ask(gateway, None, |seam| Ok(client!(seam, graph)?.resources(request).send()));
    exchange.await
}
