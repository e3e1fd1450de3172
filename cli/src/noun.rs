//! The five kinds of resources as the commands see them: what is alike in all of them, and their calls. The generated
//! clients share no trait, so one macro writes the shells.

use prost::Message;
use proto::v1;
use tonic::{Request, Status, Streaming};

use crate::client::{LARGEST_ANSWER, Node};

/// A stored resource.
pub(crate) trait Noun: Message + Clone + Default + Sized + 'static {
    /// What a user calls it.
    const WORD: &'static str;
    /// Its message.
    const FULL_NAME: &'static str;
    /// One event of its watch.
    type Event: Message + Default + Into<Event<Self>>;

    fn meta(&self) -> Option<&v1::Meta>;
    /// Empty while there is no status.
    fn conditions(&self) -> &[v1::Condition];
    /// A document that holds these alone.
    fn document(resources: Vec<Self>) -> v1::Config;
    /// Those of a document.
    fn of(document: &v1::Config) -> &[Self];

    async fn get(node: &Node, name: &str) -> Result<Self, Status>;
    /// All of them, page by page.
    async fn list(node: &Node) -> Result<Vec<Self>, Status>;
    async fn delete(node: &Node, name: &str, validate_only: bool) -> Result<(), Status>;
    /// From the present state on.
    async fn watch(node: &Node) -> Result<Streaming<Self::Event>, Status>;

    fn name(&self) -> &str {
        self.meta().map_or("", |meta| meta.name.as_str())
    }
}

/// One event of a watch, whatever its kind.
pub(crate) struct Event<T> {
    pub(crate) kind: v1::EventType,
    pub(crate) revision: u64,
    pub(crate) resource: Option<T>,
}

macro_rules! noun {
    ($kind:ident, $word:literal, $field:ident, $list:ident, $client:path, $event:ident) => {
        impl From<v1::$event> for Event<v1::$kind> {
            fn from(event: v1::$event) -> Self {
                Event { kind: event.r#type(), revision: event.revision, resource: event.$field }
            }
        }

        impl Noun for v1::$kind {
            const WORD: &'static str = $word;
            const FULL_NAME: &'static str = concat!("vipcast.v1.", stringify!($kind));
            type Event = v1::$event;

            fn meta(&self) -> Option<&v1::Meta> {
                self.meta.as_ref()
            }

            fn conditions(&self) -> &[v1::Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }

            fn document($list: Vec<Self>) -> v1::Config {
                v1::Config { $list, ..v1::Config::default() }
            }

            fn of(document: &v1::Config) -> &[Self] {
                &document.$list
            }

            async fn get(node: &Node, name: &str) -> Result<Self, Status> {
                use $client as Client;
                let request = node.request(v1::GetRequest { name: name.to_owned() });
                let mut client = Client::new(node.channel.clone()).max_decoding_message_size(LARGEST_ANSWER);
                Ok(client.get(request).await?.into_inner())
            }

            async fn list(node: &Node) -> Result<Vec<Self>, Status> {
                use $client as Client;
                let mut client = Client::new(node.channel.clone()).max_decoding_message_size(LARGEST_ANSWER);
                let (mut all, mut page_token) = (Vec::new(), String::new());
                loop {
                    let request = node.request(v1::ListRequest { page_size: 0, page_token });
                    let page = client.list(request).await?.into_inner();
                    all.extend(page.$list);
                    if page.next_page_token.is_empty() {
                        return Ok(all);
                    }
                    page_token = page.next_page_token;
                }
            }

            async fn delete(node: &Node, name: &str, validate_only: bool) -> Result<(), Status> {
                use $client as Client;
                let request = v1::DeleteRequest { name: name.to_owned(), etag: String::new(), validate_only };
                Client::new(node.channel.clone()).delete(node.request(request)).await?;
                Ok(())
            }

            async fn watch(node: &Node) -> Result<Streaming<Self::Event>, Status> {
                use $client as Client;
                // No deadline: a watch lasts as long as the user wants.
                let request = Request::new(v1::WatchRequest { from_revision: 0 });
                Ok(Client::new(node.channel.clone()).watch(request).await?.into_inner())
            }
        }
    };
}

noun!(Vip, "vip", vip, vips, v1::vip_service_client::VipServiceClient, VipEvent);
noun!(Pool, "pool", pool, pools, v1::pool_service_client::PoolServiceClient, PoolEvent);
noun!(Service, "service", service, services, v1::service_service_client::ServiceServiceClient, ServiceEvent);
noun!(Peer, "peer", peer, peers, v1::peer_service_client::PeerServiceClient, PeerEvent);
noun!(
    EndpointRoute,
    "route",
    route,
    routes,
    v1::endpoint_route_service_client::EndpointRouteServiceClient,
    EndpointRouteEvent
);
