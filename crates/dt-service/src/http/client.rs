//! Where a request comes from, as far as that can be believed.
//!
//! The address of the connection, unless that is a proxy which the operator
//! trusts: then the one the proxy names. What anybody else writes into
//! `X-Forwarded-For` counts for nothing.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use axum::extract::ConnectInfo;
use http::{HeaderMap, Request};
use serde::{Deserialize, Deserializer};

/// Hops of `X-Forwarded-For` that are looked at; a longer list is a mistake or
/// an attempt to make work.
const FORWARDED_HOPS_MAX: usize = 16;

/// Addresses by their first bits: `10.0.0.0/8`, `fd00::/8`, `192.0.2.7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// A text is not an address or network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network (an address, or one with its number of bits like 10.0.0.0/8)")]
pub struct InvalidNetwork;

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            Some(bits) => bits.parse().map_err(|_| InvalidNetwork)?,
            None => bits_max,
        };
        if prefix_bits > bits_max {
            return Err(InvalidNetwork);
        }
        Ok(Self {
            address,
            prefix_bits,
        })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Network {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                shift == 32 || u32::from(network) >> shift == u32::from(address) >> shift
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                shift == 128 || u128::from(network) >> shift == u128::from(address) >> shift
            }
            _ => false,
        }
    }
}

/// The proxies whose word about the client's address counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct TrustedProxies(pub Vec<Network>);

impl TrustedProxies {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Where this request comes from; `None` in a test without a connection.
    #[must_use]
    pub fn client_address<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        Some(self.resolve(peer.ip().to_canonical(), request.headers()))
    }

    /// Walks the chain of proxies from the nearest on, and takes the first
    /// address that no trusted proxy has.
    fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer;
        if !self.contains(address) {
            return address;
        }
        let values: Vec<_> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let hops = values.iter().rev().flat_map(|value| value.rsplit(','));
        for hop in hops.take(FORWARDED_HOPS_MAX) {
            let Some(hop) = parse_hop(hop.trim()) else {
                break;
            };
            address = hop.to_canonical();
            if !self.contains(address) {
                break;
            }
        }
        address
    }
}

/// An address as proxies write it: with or without port and brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

/// The address as limits count it: a person with IPv6 has at least 2⁶⁴ of them,
/// so those count by their network.
#[must_use]
pub fn limit_key(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            format!("{}/64", Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(peer: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        proxies.resolve(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_stranger_can_not_choose_its_address() {
        assert_eq!(resolve("192.0.2.1", &["198.51.100.9"]), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        assert_eq!(resolve("10.0.0.1", &["198.51.100.9"]), "198.51.100.9");
        assert_eq!(resolve("10.0.0.1", &["198.51.100.9:4711"]), "198.51.100.9");
        assert_eq!(resolve("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn what_the_client_wrote_before_the_proxy_does_not_count() {
        assert_eq!(
            resolve("10.0.0.1", &["203.0.113.1, 198.51.100.9"]),
            "198.51.100.9"
        );
        assert_eq!(
            resolve("10.0.0.1", &["203.0.113.1", "198.51.100.9, 10.0.0.2"]),
            "198.51.100.9"
        );
    }

    #[test]
    fn nonsense_from_a_proxy_leaves_the_proxy_itself() {
        assert_eq!(resolve("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(resolve("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn networks_contain_what_shares_their_first_bits() {
        let network: Network = "2001:db8::/32".parse().unwrap();
        assert!(network.contains("2001:db8:1::1".parse().unwrap()));
        assert!(!network.contains("2001:db9::1".parse().unwrap()));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("192.0.2.1".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
        assert!("ten".parse::<Network>().is_err());
    }

    #[test]
    fn addresses_of_one_household_share_a_limit() {
        let key = |text: &str| limit_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
