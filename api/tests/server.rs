//! The services over a real unix socket, with the generated clients.

// clippy knows test functions, not what they call.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use proto::v1::*;
use support::{Server, document};
use tonic::Code;
use tonic_types::StatusExt;

use datapath_query_service_client::DatapathQueryServiceClient;
use endpoint_route_service_client::EndpointRouteServiceClient;
use node_service_client::NodeServiceClient;
use peer_service_client::PeerServiceClient;
use pool_service_client::PoolServiceClient;
use service_service_client::ServiceServiceClient;
use vip_service_client::VipServiceClient;

fn get(name: &str) -> GetRequest {
    GetRequest { name: name.to_owned() }
}

async fn with_document() -> Server {
    let server = Server::start().await;
    let mut node = NodeServiceClient::new(server.channel().await);
    let request = ApplyConfigRequest { config: Some(document()), ..Default::default() };
    node.apply_config(request).await.unwrap();
    server
}

#[tokio::test]
async fn every_kind_is_applied_read_listed_and_deleted() {
    let server = Server::start().await;
    let channel = server.channel().await;
    let config = document();
    macro_rules! kind {
        ($client:ident, $apply:ident, $field:ident, $list:ident, $name:literal) => {{
            let mut client = $client::new(channel.clone());
            let sent = config.$list[0].clone();
            client.apply($apply { $field: Some(sent.clone()), validate_only: true }).await.unwrap();
            assert_eq!(client.get(get($name)).await.unwrap_err().code(), Code::NotFound, "only validated");
            client.apply($apply { $field: Some(sent.clone()), validate_only: false }).await.unwrap();
            let got = client.get(get($name)).await.unwrap().into_inner();
            assert_eq!(got.meta.as_ref().unwrap().name, $name);
            let list = client.list(ListRequest::default()).await.unwrap().into_inner().$list;
            assert_eq!(list.len(), 1);
            let missing = client.apply($apply::default()).await.unwrap_err();
            assert_eq!(missing.code(), Code::InvalidArgument);
        }};
    }
    kind!(VipServiceClient, ApplyVipRequest, vip, vips, "web");
    kind!(PoolServiceClient, ApplyPoolRequest, pool, pools, "servers");
    kind!(ServiceServiceClient, ApplyServiceRequest, service, services, "web-tcp");
    kind!(PeerServiceClient, ApplyPeerRequest, peer, peers, "r1");
    kind!(EndpointRouteServiceClient, ApplyEndpointRouteRequest, route, routes, "ep1");

    let request = |name: &str| DeleteRequest { name: name.to_owned(), ..Default::default() };
    let mut pools = PoolServiceClient::new(channel.clone());
    let in_use = pools.delete(request("servers")).await.unwrap_err();
    assert_eq!(in_use.code(), Code::FailedPrecondition);
    let details = in_use.get_details_precondition_failure().unwrap();
    assert!(details.violations[0].subject.contains("service web-tcp"), "{details:?}");
    ServiceServiceClient::new(channel.clone()).delete(request("web-tcp")).await.unwrap();
    pools.delete(request("servers")).await.unwrap();
    VipServiceClient::new(channel.clone()).delete(request("web")).await.unwrap();
    PeerServiceClient::new(channel.clone()).delete(request("r1")).await.unwrap();
    EndpointRouteServiceClient::new(channel.clone()).delete(request("ep1")).await.unwrap();
    let absent = pools.get(get("servers")).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
    let info = absent.get_details_resource_info().unwrap();
    assert_eq!((info.resource_type.as_str(), info.resource_name.as_str()), ("vipcast.v1/pool", "servers"));
}

#[tokio::test]
async fn all_violations_come_at_once_and_nothing_is_stored() {
    let server = Server::start().await;
    let mut node = NodeServiceClient::new(server.channel().await);
    let mut config = document();
    config.vips[0].spec.as_mut().unwrap().address = "x".into();
    config.pools[0].spec.as_mut().unwrap().backends[0].weight = Some(0);
    config.services[0].spec.as_mut().unwrap().pool = "absent".into();
    let request = ApplyConfigRequest { config: Some(config), ..Default::default() };
    let status = node.apply_config(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let fields: Vec<String> =
        status.get_details_bad_request().unwrap().field_violations.into_iter().map(|it| it.field).collect();
    assert_eq!(fields, ["vips[0].spec.address", "pools[0].spec.backends[0].weight", "services[0].spec.pool"]);
    assert_eq!(server.fake.revision(), 0);
    assert_eq!(node.get_config(()).await.unwrap().into_inner(), Config::default());
}

#[tokio::test]
async fn the_longest_list_of_violations_arrives() {
    let server = Server::start().await;
    let mut node = NodeServiceClient::new(server.channel().await);
    let bad =
        Vip { spec: Some(VipSpec { address: "y".repeat(1000), ..Default::default() }), ..Default::default() };
    let request = ApplyConfigRequest {
        config: Some(Config { vips: vec![bad; 1000], ..Default::default() }),
        ..Default::default()
    };
    let status = node.apply_config(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), 201);
}

#[tokio::test]
async fn a_lost_update_is_refused() {
    let server = with_document().await;
    let mut pools = PoolServiceClient::new(server.channel().await);
    let mut pool = document().pools.remove(0);
    let first =
        pools.apply(ApplyPoolRequest { pool: Some(pool.clone()), ..Default::default() }).await.unwrap();
    let etag = first.into_inner().meta.unwrap().etag;
    pool.meta.as_mut().unwrap().etag = etag;
    pools.apply(ApplyPoolRequest { pool: Some(pool.clone()), ..Default::default() }).await.unwrap();
    let conflict =
        pools.apply(ApplyPoolRequest { pool: Some(pool), ..Default::default() }).await.unwrap_err();
    assert_eq!(conflict.code(), Code::Aborted);
    assert_eq!(conflict.get_details_error_info().unwrap().reason, "ETAG_DIFFERS");
}

#[tokio::test]
async fn pages_hold_every_resource_once() {
    let server = Server::start().await;
    let channel = server.channel().await;
    let vips = (0..25).map(|i| Vip {
        meta: Some(Meta { name: format!("vip{i:02}"), ..Default::default() }),
        spec: Some(VipSpec { address: format!("20.20.20.{i}"), ..Default::default() }),
        status: None,
    });
    let config = Some(Config { vips: vips.collect(), ..Default::default() });
    let mut node = NodeServiceClient::new(channel.clone());
    node.apply_config(ApplyConfigRequest { config, ..Default::default() }).await.unwrap();
    let mut client = VipServiceClient::new(channel);
    let (mut names, mut sizes, mut page_token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = client.list(ListRequest { page_size: 10, page_token }).await.unwrap().into_inner();
        sizes.push(page.vips.len());
        names.extend(page.vips.into_iter().map(|vip| vip.meta.unwrap().name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(names, (0..25).map(|i| format!("vip{i:02}")).collect::<Vec<_>>());
    let all = client.list(ListRequest { page_size: u32::MAX, page_token: String::new() }).await.unwrap();
    assert_eq!(all.into_inner().next_page_token, "");
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there_and_follows() {
    let server = with_document().await;
    let channel = server.channel().await;
    let mut client = VipServiceClient::new(channel.clone());
    let mut events = client.watch(WatchRequest::default()).await.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap();
    assert_eq!((first.r#type(), first.vip.unwrap().meta.unwrap().name.as_str()), (EventType::Updated, "web"));
    assert_eq!(events.message().await.unwrap().unwrap().r#type(), EventType::Synced);
    let mut vip = document().vips.remove(0);
    vip.spec.as_mut().unwrap().echo = EchoPolicy::Off.into();
    client.apply(ApplyVipRequest { vip: Some(vip), ..Default::default() }).await.unwrap();
    let changed = events.message().await.unwrap().unwrap();
    assert_eq!(changed.r#type(), EventType::Updated);
    assert_eq!(changed.vip.unwrap().spec.unwrap().echo(), EchoPolicy::Off);
    assert!(changed.revision > first.revision);
    let request = |name: &str| DeleteRequest { name: name.to_owned(), ..Default::default() };
    ServiceServiceClient::new(channel).delete(request("web-tcp")).await.unwrap();
    client.delete(request("web")).await.unwrap();
    let deleted = events.message().await.unwrap().unwrap();
    assert_eq!(
        (deleted.r#type(), deleted.vip.unwrap().meta.unwrap().name.as_str()),
        (EventType::Deleted, "web")
    );
    let old = client.watch(WatchRequest { from_revision: 1 }).await.unwrap_err();
    assert_eq!(old.code(), Code::OutOfRange);
}

#[tokio::test]
async fn keys_are_stored_and_never_shown() {
    let server = with_document().await;
    let channel = server.channel().await;
    assert_eq!(server.fake.stored_key("r1"), "hunter2");
    let mut peers = PeerServiceClient::new(channel.clone());
    let mut node = NodeServiceClient::new(channel);
    let peer = document().peers.remove(0);
    let mut watch = peers.watch(WatchRequest::default()).await.unwrap().into_inner();
    let mut changed = document();
    changed.peers[0].spec.as_mut().unwrap().md5_key = "hunter3".into();
    let request = ApplyConfigRequest { config: Some(changed), validate_only: true, ..Default::default() };
    let answers = [
        format!("{:?}", peers.get(get("r1")).await.unwrap()),
        format!("{:?}", peers.list(ListRequest::default()).await.unwrap()),
        format!(
            "{:?}",
            peers.apply(ApplyPeerRequest { peer: Some(peer), ..Default::default() }).await.unwrap()
        ),
        format!("{:?}", watch.message().await.unwrap().unwrap()),
        format!("{:?}", node.get_config(()).await.unwrap()),
        format!("{:?}", node.apply_config(request).await.unwrap()),
    ];
    for answer in answers {
        assert!(!answer.contains("hunter"), "{answer}");
        assert!(answer.contains("(hidden)"), "{answer}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_refuses_writes_with_the_remedy() {
    let server = with_document().await;
    server.fake.read_only();
    let mut vips = VipServiceClient::new(server.channel().await);
    let vip = document().vips.remove(0);
    let status = vips.apply(ApplyVipRequest { vip: Some(vip), ..Default::default() }).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("restore it from last-good.pb"), "{status:?}");
    assert!(vips.get(get("web")).await.is_ok());
}

#[tokio::test]
async fn the_node_and_its_datapath_answer() {
    let server = with_document().await;
    let channel = server.channel().await;
    let mut node = NodeServiceClient::new(channel.clone());
    assert_eq!(node.get_status(()).await.unwrap().into_inner().name, "fake");
    let mut statuses = node.watch_status(WatchNodeRequest {}).await.unwrap().into_inner();
    assert_eq!(statuses.message().await.unwrap().unwrap().name, "fake");
    let missing = node.apply_config(ApplyConfigRequest::default()).await.unwrap_err();
    assert_eq!(missing.get_details_bad_request().unwrap().field_violations[0].field, "config");
    let state = DatapathQueryServiceClient::new(channel).get(DatapathRequest {}).await.unwrap().into_inner();
    assert_eq!(state.backends[0].address, "192.0.2.1");
}

#[tokio::test]
async fn reflection_lists_every_service() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let server = Server::start().await;
    let mut client = ServerReflectionClient::new(server.channel().await);
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["Vip", "Pool", "Service", "Peer", "EndpointRoute", "Node", "DatapathQuery"] {
        assert!(names.contains(&format!("vipcast.v1.{service}Service")), "{service}: {names:?}");
    }
    assert!(names.contains(&"grpc.health.v1.Health".to_owned()), "{names:?}");
}

#[tokio::test]
async fn health_follows_readiness() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let server = Server::start().await;
    let mut client = HealthClient::new(server.channel().await);
    let mut states = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while seen.last() != Some(&ServingStatus::NotServing) {
        seen.push(states.message().await.unwrap().unwrap().status());
    }
    server.ready.send_replace(true);
    while seen.last() != Some(&ServingStatus::Serving) {
        seen.push(states.message().await.unwrap().unwrap().status());
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let mut node = NodeServiceClient::new(server.channel().await);
    let vip =
        Vip { meta: Some(Meta { name: "a".repeat(5 << 20), ..Default::default() }), ..Default::default() };
    let request = ApplyConfigRequest {
        config: Some(Config { vips: vec![vip], ..Default::default() }),
        ..Default::default()
    };
    let status = node.apply_config(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
}

#[tokio::test]
async fn the_socket_is_private_and_removed_at_the_end() {
    let server = Server::start().await;
    let mode = std::fs::metadata(&server.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let path = server.path.clone();
    assert!(matches!(api::Listener::bind(&path, 0o660).await, Err(api::BindError::InUse { .. })));
    assert!(path.exists(), "a second daemon does not take the first one's socket away");
    let path = server.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_but_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = api::Listener::bind(&path, 0o600).await.unwrap();
    drop(listener);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(api::Listener::bind(&path, 0o600).await, Err(api::BindError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no unfinished socket is left");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_watchers() {
    let server = with_document().await;
    let mut client = VipServiceClient::new(server.channel().await);
    let mut events = client.watch(WatchRequest::default()).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    assert!(events.message().await.unwrap().is_some());
    tokio::time::timeout(Duration::from_secs(2), server.stop())
        .await
        .expect("stops although a watch is open");
    assert!(matches!(events.message().await, Ok(None) | Err(_)));
}
