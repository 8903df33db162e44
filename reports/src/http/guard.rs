//! What a request has to be before anybody looks at what it asks: for us, from a page of ours or no page at all, not too large, and
//! not too often.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::problem::Problem;

/// Longest path with its query, in bytes.
const LONGEST_URL: usize = 8 * 1024;

/// Largest body, in bytes.
pub const LARGEST_BODY: usize = 64 * 1024;

/// What pages may load: what we serve, and nothing from anywhere; no script and no style in the page itself.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What a report may load, which is a file of its own: its style is in it.
pub const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; \
    frame-ancestors 'none'; sandbox";

/// Names under which the server may be asked.
#[derive(Debug, Clone)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// The address that is listened on, this machine's own names where that is a loopback address, and `others`.
    pub fn new(listen: SocketAddr, others: &[String]) -> Self {
        let mut hosts = vec![listen.ip().to_string()];
        if listen.ip().is_loopback() || listen.ip().is_unspecified() {
            hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        }
        hosts.extend(others.iter().map(|host| host.to_ascii_lowercase()));
        Self(hosts)
    }

    /// Whether a `Host` names the server; ports may be forwarded, so any port does. Only a name can be made to point here by who owns it.
    fn has(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name),
        };
        // An address is nobody's to point elsewhere: pods, which have many, are scraped by theirs.
        name.parse::<IpAddr>().is_ok() || self.0.iter().any(|known| known == name)
    }
}

/// Looks at a request before it is known who asks.
///
/// # Errors
/// A [`Problem`].
pub fn check(parts: &Parts, hosts: &Hosts) -> Result<(), Problem> {
    if parts.uri.to_string().len() > LONGEST_URL {
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "the URL is too long"));
    }
    let mut named = parts.headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => return Err(Problem::bad("the request names no host, or several")),
    };
    if !hosts.has(host) {
        // A page of somebody else's can make its own name point to this address, and would then read every answer.
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "the server is not known by this name; add it with --host",
        ));
    }
    let is_foreign = match parts.headers.get(header::ORIGIN) {
        None => false,
        Some(origin) => {
            let origin = origin.to_str().unwrap_or_default();
            let of = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            of.is_none_or(|of| !of.eq_ignore_ascii_case(host))
        }
    };
    if is_foreign {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the request comes from a page of another origin",
        ));
    }
    // Browsers say where a request comes from; what changes something has to come from here.
    let site = parts
        .headers
        .get("sec-fetch-site")
        .and_then(|site| site.to_str().ok());
    let is_told_elsewhere = site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if is_told_elsewhere && parts.method != Method::GET && parts.method != Method::HEAD {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the request comes from a page of another origin",
        ));
    }
    Ok(())
}

/// Puts what every answer says into its headers.
pub fn harden(headers: &mut HeaderMap, is_tls: bool) {
    let mut set = |name: header::HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::CACHE_CONTROL, "private, no-cache");
    set(
        header::HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        header::HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    set(
        header::HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    );
    if is_tls {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

/// What stands for one client: an address, of IPv6 its /64, of which a client has all (RFC 4291, section 2.5.4).
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

/// Addresses that are remembered at most.
const MOST_ADDRESSES: usize = 10_000;

/// How often an address may do something: so many times a second, saved up to a burst.
pub struct Limit {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Limit {
    pub fn new(per_second: f64, burst: f64) -> Self {
        Self {
            per_second,
            burst,
            buckets: Mutex::default(),
        }
    }

    /// What a bucket has by now.
    fn left(&self, (left, at): (f64, Instant), now: Instant) -> f64 {
        (left + now.duration_since(at).as_secs_f64() * self.per_second).min(self.burst)
    }

    /// Takes one of what an address has left; false where nothing is.
    pub fn take(&self, address: IpAddr, now: Instant) -> bool {
        let address = network(address);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_ADDRESSES && !buckets.contains_key(&address) {
            // Nobody is locked out by others: what has the most left loses the least by being forgotten.
            let fullest = buckets
                .iter()
                .map(|(address, bucket)| (*address, self.left(*bucket, now)))
                .max_by(|(_, one), (_, other)| one.total_cmp(other));
            if let Some((fullest, _)) = fullest {
                buckets.remove(&fullest);
            }
        }
        let bucket = buckets.entry(address).or_insert((self.burst, now));
        let filled = self.left(*bucket, now);
        let (left, at) = bucket;
        *left = filled;
        *at = now;
        if *left < 1.0 {
            return false;
        }
        *left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = axum::http::Request::builder().uri("/teams");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_our_own_names_and_pages_are_answered() {
        let hosts = Hosts::new(
            "127.0.0.1:9480".parse().unwrap(),
            &["Costs.example.com".to_owned()],
        );
        for (host, origin, is_answered) in [
            ("127.0.0.1:9480", None, true),
            ("localhost:8080", None, true),
            ("[::1]:9480", None, true),
            ("10.0.0.7:9480", None, true),
            ("10.0.0.7:9480", Some("http://10.0.0.8:9480"), false),
            ("[2001:db8::7]", None, true),
            ("costs.example.com", Some("https://costs.example.com"), true),
            ("evil.example", None, false),
            ("localhost.evil.example", None, false),
            ("127.0.0.1.evil.example:9480", None, false),
            ("127.0.0.1:9480", Some("http://evil.example"), false),
            ("127.0.0.1:9480", Some("http://127.0.0.1:9481"), false),
            ("127.0.0.1:9480", Some("null"), false),
            ("127.0.0.1:9480", Some("http://127.0.0.1:9480"), true),
            ("", None, false),
        ] {
            let mut headers = vec![("host", host)];
            headers.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(
                check(&parts(&headers), &hosts).is_ok(),
                is_answered,
                "{host} {origin:?}"
            );
        }
        assert!(check(&parts(&[]), &hosts).is_err());
        assert!(check(&parts(&[("host", "localhost"), ("host", "evil.example")]), &hosts).is_err());
    }

    #[test]
    fn who_asks_too_often_waits() {
        let limit = Limit::new(2.0, 3.0);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::now();
        assert_eq!((0..5).filter(|_| limit.take(one, now)).count(), 3);
        assert!(limit.take(other, now));
        assert!(!limit.take(one, now));
        assert!(limit.take(one, now + Duration::from_secs(1)));
    }

    #[test]
    fn one_network_cannot_lock_out_others() {
        let limit = Limit::new(2.0, 3.0);
        let now = Instant::now();
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        // All addresses of a /64 are one client's.
        let taken = (0..100_u128).filter(|number| {
            let address = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + number));
            limit.take(address, now)
        });
        assert_eq!(taken.count(), 3);
        assert!(limit.take(of("2001:db8:0:1::1"), now));
        assert_eq!(network(of("::ffff:10.0.0.1")), of("10.0.0.1"));
        // However many there are, another is let in, and who has used up what it had is remembered.
        let greedy = of("192.0.2.1");
        assert_eq!((0..5).filter(|_| limit.take(greedy, now)).count(), 3);
        for number in 0..u32::try_from(MOST_ADDRESSES).unwrap() + 10 {
            let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            assert!(limit.take(address, now), "{address}");
        }
        assert!(!limit.take(greedy, now));
    }
}
