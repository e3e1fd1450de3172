//! The node as a whole, and the kernel's truth.

use std::sync::Arc;

use futures::StreamExt;
use proto::v1;
use tonic::{Request, Response, Status};

use super::Node;
use crate::control::{BoxStream, ControlError};
use crate::redact;

pub(super) struct NodeApi(pub(super) Arc<Node>);

#[tonic::async_trait]
impl v1::node_service_server::NodeService for NodeApi {
    type WatchStatusStream = BoxStream<Result<v1::NodeStatus, Status>>;

    async fn get_status(&self, _: Request<()>) -> Result<Response<v1::NodeStatus>, Status> {
        Ok(Response::new(self.0.control.node_status().await?))
    }

    async fn watch_status(
        &self,
        _: Request<v1::WatchNodeRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let statuses = self.0.control.watch_node().await?;
        Ok(Response::new(self.0.until_stop(Box::pin(statuses.map(Ok)))))
    }

    async fn get_config(&self, _: Request<()>) -> Result<Response<v1::Config>, Status> {
        Ok(Response::new(redact::config(self.0.control.get_config().await?)))
    }

    async fn apply_config(
        &self,
        request: Request<v1::ApplyConfigRequest>,
    ) -> Result<Response<v1::ApplyConfigResponse>, Status> {
        let request = request.into_inner();
        if request.config.is_none() {
            let violations = model::Violations::one("config", "is required: the document to apply");
            return Err(ControlError::Invalid(violations).into());
        }
        Ok(Response::new(self.0.control.apply_config(request).await?))
    }
}

#[tonic::async_trait]
impl v1::datapath_query_service_server::DatapathQueryService for NodeApi {
    async fn get(&self, _: Request<v1::DatapathRequest>) -> Result<Response<v1::DatapathState>, Status> {
        Ok(Response::new(self.0.control.datapath().await?))
    }
}
