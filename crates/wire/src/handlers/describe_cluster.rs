//! DescribeCluster: brokers, controller and cluster id for administrators. Source: KIP-700, KIP-919.

use base::Probe;
use env::Env;
use protocol::messages::describe_cluster_response::DescribeClusterBroker;
use protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::topics::{CLUSTER_OPERATIONS, NOT_ASKED};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) fn handle<E: Env>(
    context: &Context<'_, E>,
    request: &DescribeClusterRequest,
) -> Outcome<FileOf<E>> {
    let refused = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type \
             CONTROLLER",
        )),
        _ => Some((ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, "Unsupported endpoint type")),
    };
    if let Some((error, message)) = refused {
        context.probe().reached("describe_cluster_wrong_endpoint");
        return context.reply(&DescribeClusterResponse {
            error_code: error.0,
            error_message: Some(message.to_owned()),
            endpoint_type: request.endpoint_type,
            ..DescribeClusterResponse::default()
        });
    }
    let view = context.shared.broker.cluster();
    let brokers = context.reachable(&view).map(|at| DescribeClusterBroker {
        broker_id: at.id.0,
        host: at.host.to_owned(),
        port: at.port,
        rack: at.rack.map(str::to_owned),
        is_fenced: false,
    });
    let asked = request.include_cluster_authorized_operations;
    context.reply(&DescribeClusterResponse {
        cluster_id: view.cluster_id.to_string(),
        controller_id: view.controller.0,
        brokers: brokers.collect(),
        cluster_authorized_operations: if asked { CLUSTER_OPERATIONS } else { NOT_ASKED },
        ..DescribeClusterResponse::default()
    })
}
