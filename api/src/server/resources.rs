//! Get, List, Apply, Delete and Watch of the five kinds. They differ in their message types only, which protobuf
//! cannot abstract over: one macro writes the shells, the functions above it do the work.

use std::sync::Arc;

use futures::StreamExt;
use proto::v1;
use tonic::{Request, Response, Status};

use super::Node;
use crate::control::{BoxStream, Control, ControlError, Kind, Resource, WatchEvent};
use crate::redact;

/// Most resources of one page, and the default.
const MOST_PER_PAGE: usize = 1000;

/// One resource service.
pub(super) struct Resources {
    pub(super) node: Arc<Node>,
    pub(super) kind: Kind,
}

impl Resources {
    fn control(&self) -> &dyn Control {
        &*self.node.control
    }

    async fn get(&self, name: &str) -> Result<Resource, Status> {
        Ok(redact::resource(self.control().get(self.kind, name).await?))
    }

    /// One page and the token of the next. The token is the last name that was sent, so that changes between two pages
    /// neither repeat nor skip a resource that was there all the time.
    async fn list(&self, request: v1::ListRequest) -> Result<(Vec<Resource>, String), Status> {
        let size = match usize::try_from(request.page_size) {
            Ok(size @ 1..MOST_PER_PAGE) => size,
            _ => MOST_PER_PAGE,
        };
        let all = self.control().list(self.kind).await?;
        let start = all.partition_point(|resource| resource.name() <= request.page_token.as_str());
        let mut rest = all.into_iter().skip(start);
        let page: Vec<Resource> = rest.by_ref().take(size).map(redact::resource).collect();
        let next = match (page.last(), rest.next()) {
            (Some(last), Some(_)) => last.name().to_owned(),
            _ => String::new(),
        };
        Ok((page, next))
    }

    async fn apply(&self, resource: Option<Resource>, validate_only: bool) -> Result<Resource, Status> {
        let missing = || {
            let field = self.kind.word();
            ControlError::Invalid(model::Violations::one(field, "is required: the resource to apply"))
        };
        let applied = self.control().apply(resource.ok_or_else(missing)?, validate_only).await?;
        Ok(redact::resource(applied))
    }

    async fn delete(&self, request: v1::DeleteRequest) -> Result<(), Status> {
        Ok(self.control().delete(self.kind, &request.name, &request.etag, request.validate_only).await?)
    }

    async fn watch(&self, from_revision: u64) -> Result<BoxStream<Result<Event, Status>>, Status> {
        let events = self.control().watch(self.kind, from_revision).await?;
        let events = events.map(|event| Ok(Event::from(event?)));
        Ok(self.node.until_stop(Box::pin(events)))
    }
}

/// A watch event before it gets its kind's message type.
struct Event {
    kind: v1::EventType,
    revision: u64,
    resource: Option<Resource>,
}

impl From<WatchEvent> for Event {
    fn from(event: WatchEvent) -> Self {
        match event {
            WatchEvent::Updated { revision, resource } => {
                Self { kind: v1::EventType::Updated, revision, resource: Some(redact::resource(*resource)) }
            }
            WatchEvent::Deleted { revision, resource } => {
                Self { kind: v1::EventType::Deleted, revision, resource: Some(redact::resource(*resource)) }
            }
            WatchEvent::Synced { revision } => Self { kind: v1::EventType::Synced, revision, resource: None },
        }
    }
}

macro_rules! service {
    ($kind:ident, $field:ident, $list:ident, $module:ident :: $service:ident, $apply:ident, $response:ident, $event:ident) => {
        impl TryFrom<Resource> for v1::$kind {
            type Error = Status;

            fn try_from(resource: Resource) -> Result<Self, Status> {
                match resource {
                    Resource::$kind(it) => Ok(it),
                    other => {
                        Err(Status::internal(format!("a {} where a {} belongs", other.kind(), Kind::$kind)))
                    }
                }
            }
        }

        #[tonic::async_trait]
        impl v1::$module::$service for Resources {
            type WatchStream = BoxStream<Result<v1::$event, Status>>;

            async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::$kind>, Status> {
                let resource = Resources::get(self, &request.get_ref().name).await?;
                Ok(Response::new(resource.try_into()?))
            }

            async fn list(
                &self,
                request: Request<v1::ListRequest>,
            ) -> Result<Response<v1::$response>, Status> {
                let (page, next_page_token) = Resources::list(self, request.into_inner()).await?;
                let $list = page.into_iter().map(v1::$kind::try_from).collect::<Result<_, _>>()?;
                Ok(Response::new(v1::$response { $list, next_page_token }))
            }

            async fn apply(&self, request: Request<v1::$apply>) -> Result<Response<v1::$kind>, Status> {
                let request = request.into_inner();
                let resource = request.$field.map(Resource::$kind);
                let applied = Resources::apply(self, resource, request.validate_only).await?;
                Ok(Response::new(applied.try_into()?))
            }

            async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<()>, Status> {
                Resources::delete(self, request.into_inner()).await.map(Response::new)
            }

            async fn watch(
                &self,
                request: Request<v1::WatchRequest>,
            ) -> Result<Response<Self::WatchStream>, Status> {
                let events = Resources::watch(self, request.get_ref().from_revision).await?;
                let events = events.map(|event| {
                    let Event { kind, revision, resource } = event?;
                    let $field = resource.map(v1::$kind::try_from).transpose()?;
                    Ok(v1::$event { r#type: kind.into(), revision, $field })
                });
                Ok(Response::new(Box::pin(events)))
            }
        }
    };
}

service!(Vip, vip, vips, vip_service_server::VipService, ApplyVipRequest, ListVipsResponse, VipEvent);
service!(Pool, pool, pools, pool_service_server::PoolService, ApplyPoolRequest, ListPoolsResponse, PoolEvent);
service!(
    Service,
    service,
    services,
    service_service_server::ServiceService,
    ApplyServiceRequest,
    ListServicesResponse,
    ServiceEvent
);
service!(Peer, peer, peers, peer_service_server::PeerService, ApplyPeerRequest, ListPeersResponse, PeerEvent);
service!(
    EndpointRoute,
    route,
    routes,
    endpoint_route_service_server::EndpointRouteService,
    ApplyEndpointRouteRequest,
    ListEndpointRoutesResponse,
    EndpointRouteEvent
);
