//! What controllers say about links.

use dt_forward_core::{Inlet, Links, Outlet};
use dt_frame::RouteId;
use dt_ids::UserId;
use dt_rpc::{RpcError, RpcResult};
use dt_wire::internal::{self, Destination, RouteMediaCommand};

use crate::rpc::{id, spec};

/// The part of a route that leads over links.
pub(crate) fn links(request: &RouteMediaCommand) -> RpcResult<Links> {
    let beyond = |to: &&Destination| !to.handler_id.is_empty();
    let mut outlets: Vec<Outlet> = Vec::new();
    for to in request.destinations.iter().filter(beyond) {
        let outlet = outlet(to)?;
        if outlets.iter().any(|other| other.handler == outlet.handler) {
            let sentence = "a handler stands twice among the destinations";
            return Err(RpcError::Invalid(sentence.into()));
        }
        outlets.push(outlet);
    }
    Ok(Links {
        inlet: request.inlet.as_ref().map(inlet).transpose()?,
        outlets,
    })
}

fn hops(hops: u32) -> RpcResult<u8> {
    hops.try_into()
        .map_err(|_| RpcError::Invalid(format!("{hops} links are too many")))
}

fn outlet(to: &Destination) -> RpcResult<Outlet> {
    Ok(Outlet {
        handler: id(&to.handler_id)?,
        route: RouteId(to.route_id),
        origin: id(&to.origin_handler_id)?,
        hops: hops(to.hops)?,
    })
}

fn inlet(inlet: &internal::Inlet) -> RpcResult<Inlet> {
    let stream = inlet
        .stream
        .as_ref()
        .ok_or_else(|| RpcError::Invalid("an inlet without its stream".into()))?;
    Ok(Inlet {
        handler: id(&inlet.handler_id)?,
        route: RouteId(inlet.route_id),
        origin: id(&inlet.origin_handler_id)?,
        hops: hops(inlet.hops)?,
        spec: spec(stream)?,
        participant: id(&inlet.participant_id)?,
        user_id: UserId(inlet.user_id),
    })
}
