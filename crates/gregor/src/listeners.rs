//! `listeners` and `advertised.listeners` as addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use crate::failure::Failure;

/// An address to bind. The second address of `localhost` and of "everywhere" may be missing on
/// a machine without IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Where.
    pub at: SocketAddr,
    /// Whether the broker cannot start without it.
    pub required: bool,
}

/// One `NAME://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub name: String,
    /// Empty means everywhere.
    pub host: String,
    /// Port; 0 picks a free one.
    pub port: u16,
}

impl Endpoint {
    /// Whether it stands for every address of the machine.
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "" | "0.0.0.0" | "::")
    }
}

/// Reads a list of endpoints, leaving out those that are not for clients: the listeners named in
/// `controller.listener.names` (this broker has its controller inside).
///
/// # Errors
/// [`Failure::Config`] for anything that is not `NAME://host:port`, and for protocols other than
/// PLAINTEXT.
pub fn parse(list: &str, keys: &BTreeMap<String, String>) -> Result<Vec<Endpoint>, Failure> {
    let controllers = keys.get("controller.listener.names").map_or("", String::as_str);
    let controllers: Vec<&str> = controllers.split(',').map(str::trim).collect();
    let mut endpoints = Vec::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let endpoint = endpoint(text)?;
        if controllers.contains(&endpoint.name.as_str()) {
            continue;
        }
        let protocol = protocol_of(&endpoint.name, keys);
        if protocol != "PLAINTEXT" {
            return Err(Failure::Config(format!(
                "listener {text} speaks {protocol}; this version serves PLAINTEXT only"
            )));
        }
        endpoints.push(endpoint);
    }
    if endpoints.is_empty() {
        return Err(Failure::Config(format!("no client listener in '{list}'")));
    }
    Ok(endpoints)
}

fn protocol_of(name: &str, keys: &BTreeMap<String, String>) -> String {
    let map = keys.get("listener.security.protocol.map").map_or("", String::as_str);
    let pairs = map.split(',').filter_map(|pair| pair.trim().split_once(':'));
    pairs
        .into_iter()
        .find(|(listener, _)| *listener == name)
        .map_or_else(|| name.to_owned(), |(_, protocol)| protocol.to_owned())
}

fn endpoint(text: &str) -> Result<Endpoint, Failure> {
    let malformed =
        || Failure::Config(format!("'{text}' is not a listener; write PLAINTEXT://host:port"));
    let (name, address) = text.split_once("://").ok_or_else(malformed)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let port = port.parse().map_err(|_| malformed())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() {
        return Err(malformed());
    }
    Ok(Endpoint { name: name.to_owned(), host: host.to_owned(), port })
}

/// The addresses to bind for one endpoint.
///
/// # Errors
/// [`Failure::Config`] for a host that cannot be resolved.
pub fn binds(endpoint: &Endpoint) -> Result<Vec<Bind>, Failure> {
    let at = |ip: IpAddr, required| Bind { at: SocketAddr::new(ip, endpoint.port), required };
    let pair = |v4: Ipv4Addr, v6: Ipv6Addr| vec![at(v4.into(), true), at(v6.into(), false)];
    match endpoint.host.as_str() {
        "" => Ok(pair(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)),
        "localhost" => Ok(pair(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)),
        host => {
            let unresolved = |why: String| {
                Failure::Config(format!("the host of listener '{host}' cannot be resolved: {why}"))
            };
            let found = (host, endpoint.port)
                .to_socket_addrs()
                .map_err(|error| unresolved(error.to_string()))?
                .next()
                .ok_or_else(|| unresolved("no address".to_owned()))?;
            Ok(vec![Bind { at: found, required: true }])
        },
    }
}

/// What clients are told for a listener without `advertised.listeners`: an IPv4 literal, which
/// every client understands; for a wildcard this machine alone.
pub fn advertised_host(endpoint: &Endpoint) -> String {
    match endpoint.host.as_str() {
        "localhost" => Ipv4Addr::LOCALHOST.to_string(),
        _ if endpoint.is_wildcard() => Ipv4Addr::LOCALHOST.to_string(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_kraft_configuration_serves_its_client_listener_only() {
        let keys = keys(&[
            ("controller.listener.names", "CONTROLLER"),
            ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
        ]);

        let endpoints = parse("PLAINTEXT://:9092,CONTROLLER://:9093", &keys).expect("valid");

        assert_eq!(endpoints.len(), 1);
        assert_eq!((endpoints[0].host.as_str(), endpoints[0].port), ("", 9092));
    }

    #[test]
    fn localhost_is_both_loopback_addresses_and_only_the_first_is_required() {
        let endpoints = parse("PLAINTEXT://localhost:9092", &BTreeMap::new()).expect("valid");

        let binds = binds(&endpoints[0]).expect("resolvable");

        let shown: Vec<_> = binds.iter().map(|b| (b.at.to_string(), b.required)).collect();
        assert_eq!(shown, [("127.0.0.1:9092".to_owned(), true), ("[::1]:9092".to_owned(), false)]);
    }

    #[test]
    fn anything_else_is_refused_with_the_form_that_is_wanted() {
        for bad in ["", "localhost:9092", "PLAINTEXT://localhost", "SSL://localhost:9093"] {
            assert!(parse(bad, &BTreeMap::new()).is_err(), "{bad}");
        }
    }
}
