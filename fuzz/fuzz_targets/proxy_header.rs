//! Any bytes as the beginning of a connection from a load balancer: one verdict however they arrive, and never more than what was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portico::edge::listen::proxy_header;

fuzz_target!(|bytes: &[u8]| {
    let whole = proxy_header(bytes);
    if let Ok(Some((_, length))) = whole {
        assert!((1..=bytes.len()).contains(&length));
        // What follows belongs to the visitor and changes nothing.
        let alone = proxy_header(&bytes[..length]).expect("a header").expect("whole");
        assert_eq!(Some(alone), whole.ok().flatten());
        return;
    }
    // What may go on was no header before, either.
    if let Ok(None) = whole {
        for cut in 1..bytes.len().min(64) {
            assert!(!matches!(proxy_header(&bytes[..cut]), Ok(Some(_))), "{cut}");
        }
    }
});
