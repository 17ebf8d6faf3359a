//! What stands in front of a WebTransport session: CONNECT with its QPACK header,
//! the answer, SETTINGS and capsules, as the library below us reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use web_transport_proto::{Capsule, ConnectRequest, ConnectResponse, Settings};

fuzz_target!(|input: &[u8]| {
    let Some((&what, bytes)) = input.split_first() else {
        return;
    };
    let mut written = Vec::new();
    match what % 4 {
        0 => {
            if let Ok(request) = ConnectRequest::decode(&mut &bytes[..])
                && request.encode(&mut written).is_ok()
            {
                let again = ConnectRequest::decode(&mut &written[..]);
                let again = again.expect("what was written is read").url;
                // The library puts the address together from authority and path as
                // they are: "a#b" makes a fragment of the rest, "a@b" a user, and
                // neither is written again. A program that asks so gets a path it could have
                // asked for anyway, and browsers write no such address.
                let url = &request.url;
                let is_plain = url.fragment().is_none() && url.username().is_empty();
                if is_plain && url.password().is_none() {
                    assert_eq!(again, *url);
                }
            }
        }
        1 => {
            if let Ok(response) = ConnectResponse::decode(&mut &bytes[..])
                && response.encode(&mut written).is_ok()
            {
                let again = ConnectResponse::decode(&mut &written[..]);
                let again = again.expect("what was written is read");
                assert_eq!(again.status, response.status);
            }
        }
        2 => {
            if let Ok(settings) = Settings::decode(&mut &bytes[..]) {
                settings.encode(&mut written);
                let again = Settings::decode(&mut &written[..]);
                let again = again.expect("what was written is read");
                assert_eq!(
                    again.supports_webtransport(),
                    settings.supports_webtransport()
                );
            }
        }
        _ => {
            let _ = Capsule::decode(&mut &bytes[..]);
        }
    }
});
