//! What all kinds of stored resources have in common: a key, a meta, a spec as canonical bytes.

use api::{Document, Kind, Resource};
use prost::Message;
use proto::v1;

/// Key of a stored resource.
pub type Key = (Kind, String);

/// Full name of the proto message.
pub fn message_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Vip => "vipcast.v1.Vip",
        Kind::Pool => "vipcast.v1.Pool",
        Kind::Service => "vipcast.v1.Service",
        Kind::Peer => "vipcast.v1.Peer",
        Kind::EndpointRoute => "vipcast.v1.EndpointRoute",
    }
}

/// The meta, made when there is none.
pub fn meta_mut(resource: &mut Resource) -> &mut v1::Meta {
    match resource {
        Resource::Vip(r) => r.meta.get_or_insert_default(),
        Resource::Pool(r) => r.meta.get_or_insert_default(),
        Resource::Service(r) => r.meta.get_or_insert_default(),
        Resource::Peer(r) => r.meta.get_or_insert_default(),
        Resource::EndpointRoute(r) => r.meta.get_or_insert_default(),
    }
}

pub fn key(resource: &Resource) -> Key {
    (resource.kind(), resource.name().to_owned())
}

/// Without status: what is stored.
pub fn without_status(mut resource: Resource) -> Resource {
    match &mut resource {
        Resource::Vip(r) => r.status = None,
        Resource::Pool(r) => r.status = None,
        Resource::Service(r) => r.status = None,
        Resource::Peer(r) => r.status = None,
        Resource::EndpointRoute(r) => r.status = None,
    }
    resource
}

/// What the user said alone: name, labels and spec. Equal values mean that nothing changed.
pub fn said(resource: &Resource) -> Resource {
    let mut said = without_status(resource.clone());
    let meta = meta_mut(&mut said);
    *meta = v1::Meta {
        name: std::mem::take(&mut meta.name),
        labels: std::mem::take(&mut meta.labels),
        ..v1::Meta::default()
    };
    said
}

pub fn encode(resource: &Resource) -> Vec<u8> {
    match resource {
        Resource::Vip(r) => r.encode_to_vec(),
        Resource::Pool(r) => r.encode_to_vec(),
        Resource::Service(r) => r.encode_to_vec(),
        Resource::Peer(r) => r.encode_to_vec(),
        Resource::EndpointRoute(r) => r.encode_to_vec(),
    }
}

pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Resource, prost::DecodeError> {
    Ok(match kind {
        Kind::Vip => Resource::Vip(v1::Vip::decode(bytes)?),
        Kind::Pool => Resource::Pool(v1::Pool::decode(bytes)?),
        Kind::Service => Resource::Service(v1::Service::decode(bytes)?),
        Kind::Peer => Resource::Peer(v1::Peer::decode(bytes)?),
        Kind::EndpointRoute => Resource::EndpointRoute(v1::EndpointRoute::decode(bytes)?),
    })
}

/// The resources of a document, in its order.
pub fn of_document(document: &Document) -> Vec<Resource> {
    let mut all = Vec::new();
    all.extend(document.vips.iter().cloned().map(Resource::Vip));
    all.extend(document.pools.iter().cloned().map(Resource::Pool));
    all.extend(document.services.iter().cloned().map(Resource::Service));
    all.extend(document.peers.iter().cloned().map(Resource::Peer));
    all.extend(document.routes.iter().cloned().map(Resource::EndpointRoute));
    all
}

pub fn push(document: &mut Document, resource: Resource) {
    match resource {
        Resource::Vip(r) => document.vips.push(r),
        Resource::Pool(r) => document.pools.push(r),
        Resource::Service(r) => document.services.push(r),
        Resource::Peer(r) => document.peers.push(r),
        Resource::EndpointRoute(r) => document.routes.push(r),
    }
}

/// A document of these resources, in the order given.
pub fn document<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Document {
    let mut document = Document::default();
    for resource in resources {
        push(&mut document, resource.clone());
    }
    document
}
