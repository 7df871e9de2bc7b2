//! What a server must be told.

use super::Config;

/// What only the operator can know, and what no default is right for.
pub(super) fn missing(config: &Config) -> Option<String> {
    // Without it every key of every tenant could have this machine's whole network previewed.
    config.networks.allow.is_empty().then(|| {
        "networks.allow: must name the networks that sandboxes are in, such as [\"10.0.0.0/8\"]; [\"0.0.0.0/0\", \"::/0\"] are all of them"
            .to_owned()
    })
}
