//! Any bytes as a query, a referrer, cookies and subprotocols: what is taken out is out whatever stands around it, and a second look finds
//! nothing more.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use portico::edge::gate::{strip_cookie, strip_query, strip_referer, strip_subprotocols};

const SESSION: &[u8] = b"__Host-preview=";

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fuzz_target!(|input: (&[u8], &[u8])| {
    let (one, other) = input;
    let target = Bytes::from([b"/?", one].concat());
    if let Some(stripped) = strip_query(&target) {
        assert!(stripped.len() < target.len());
        assert_eq!(strip_query(&stripped), None, "{stripped:?}");
    }
    // Whatever is beside it, a token in the query does not get through.
    let hidden = Bytes::from([b"/?", one, b"&mt=mp_x.y.z&", other].concat());
    let stripped = strip_query(&hidden).expect("there is one");
    assert!(!holds(&stripped, b"&mt=mp_x.y.z"), "{stripped:?}");
    if let Some(stripped) = strip_referer(one) {
        assert_eq!(strip_referer(&stripped), None, "{stripped:?}");
    }
    let cookies = [one, b"a=1; __Host-preview=mp_x.y.z; b=2", other];
    if let Some(kept) = strip_cookie(cookies.into_iter()) {
        let names = kept.split(|byte| *byte == b';').map(<[u8]>::trim_ascii_start);
        assert!(!names.into_iter().any(|pair| pair.starts_with(SESSION)), "{kept:?}");
        assert_eq!(strip_cookie([&kept[..]].into_iter()), Some(kept.clone()));
    }
    let ours = ["bearer.mp_x.y.z".to_owned()];
    let offered = [one, b"chat, bearer.mp_x.y.z", other];
    if let Some(kept) = strip_subprotocols(offered.into_iter(), &ours) {
        let mut elements = kept.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        assert!(!elements.any(|element| element == ours[0].as_bytes()), "{kept:?}");
    }
});
