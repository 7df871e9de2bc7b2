//! A tenant's face and its rules.

use utoipa::ToSchema;

use crate::model::{self, WakePolicy};

envelopes!(PolicyData(Policy));

shapes! {
    /// A tenant's branding, or none.
    BrandingResponse {
        branding: Option<Branding>,
    }

    /// A tenant's branding on the pages that visitors see.
    Branding(b: &model::Branding) {
        product_name: Option<String> = b.product_name => name,
        logo_url: Option<String> = b.logo_url,
        support_url: Option<String> = b.support_url,
        support_email: Option<String> = b.support_email,
        primary_color: Option<String> = b.primary_color,
        background_color: Option<String> = b.background_color,
    }
}

/// Branding to set, in an envelope or as it is.
#[derive(ToSchema)]
#[schema(examples(json!({"branding": {"product_name": "OpenDesigns", "primary_color": "#ff5a1f"}})))]
#[serde(untagged)]
pub(in crate::control::api) enum BrandingOrder {
    Wrapped(FaceEnvelope),
    Bare(FaceOrder),
}

shapes! {
    /// Branding in its envelope. Fields beside it are ignored.
    FaceEnvelope {
        branding: Option<FaceOrder> [required],
    }

    /// The fields of branding. Fields that are not sent are unset.
    FaceOrder {
        /// The product's name: page titles and footer. No control characters.
        product_name: Option<String> [max_length = 120] => name app_name custom_app_name,
        /// An `https` URL of a logo.
        logo_url: Option<String> [max_length = 2048, pattern = "^(https://[!-~]+)?$"] => custom_logo_url custom_logo_light_url,
        /// An `https` URL where visitors find help.
        support_url: Option<String> [max_length = 2048, pattern = "^(https://[!-~]+)?$"],
        /// An address that visitors may write to.
        support_email: Option<String> [max_length = 2048, pattern = r"^([A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]+\.?)?$"],
        /// The accent, `#rgb` or `#rrggbb`.
        primary_color: Option<String> [max_length = 2048, pattern = "^(#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6})?$"] => brand_color_primary,
        /// The background, `#rgb` or `#rrggbb`.
        background_color: Option<String> [max_length = 2048, pattern = "^(#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6})?$"] => brand_color_secondary,
    }

    /// What a tenant may adjust about access to its previews.
    Policy {
        /// Origins whose pages may embed previews and do with a visitor's session what the preview's own pages may.
        allowed_origins: Vec<String>,
        /// Sources whose pages may embed previews and renew sessions.
        frame_ancestors: Vec<String>,
        /// Methods that scope `read` allows besides the safe ones.
        read_methods: Vec<String>,
        /// Whether scope `read` allows WebSockets.
        read_allows_upgrade: bool,
        /// Whether pages post their messages under the type `miosa:session-expired` as well.
        miosa_messages: bool,
        /// Whose visits wake a paused sandbox: `credential`, `anyone` or `never`.
        wake: WakePolicy,
        /// Whether sandboxes that Portico does not start itself are resumed on request.
        wake_registered: bool,
        /// How many sandboxes visitors may wake a minute; null leaves it to the operator.
        wakes_per_minute: Option<u32>,
        /// The longest lifetime of new share links, seconds; null = no limit.
        max_share_seconds: Option<u64>,
        limits: PreviewLimits,
    }

    /// What one preview may use at once. The operator's limits hold beside these, and the smaller one counts.
    PreviewLimits {
        /// Requests under way.
        requests_in_flight: Option<u32>,
        /// WebSockets and other switched connections.
        sockets: Option<u32>,
        requests_per_second: Option<u32>,
        /// Requests that may come at once after a pause.
        burst: Option<u32>,
        /// Bodies and WebSockets, both directions together.
        bytes_per_second: Option<u64>,
    }

    /// The same, to be set. What is not named is left to the operator.
    PreviewLimitsOrder {
        requests_in_flight: Option<u32> [minimum = 1, maximum = 1000000],
        sockets: Option<u32> [minimum = 1, maximum = 1000000],
        requests_per_second: Option<u32> [minimum = 1, maximum = 1000000],
        burst: Option<u32> [minimum = 1, maximum = 1000000],
        bytes_per_second: Option<u64> [minimum = 16384, maximum = 1099511627776_u64],
    }

    /// The whole policy: what is not named gets its default.
    #[schema(examples(json!({"allowed_origins": ["https://app.example.com"]})))]
    PolicyOrder {
        /// Origins exactly as browsers send them: lower case, no path, no default port.
        allowed_origins: Option<Vec<Origin>> [max_items = 64],
        /// `https://app.example`, `https://*.example.com`, `http://localhost:*`, or `*` for every site.
        frame_ancestors: Option<Vec<FrameSource>> [max_items = 64],
        /// Methods in capital letters.
        read_methods: Option<Vec<Method>> [max_items = 16],
        read_allows_upgrade: Option<bool>,
        miosa_messages: Option<bool>,
        wake: Option<WakePolicy>,
        wake_registered: Option<bool>,
        wakes_per_minute: Option<u32> [minimum = 0, maximum = 1000000],
        /// The longest that share links may live, seconds.
        max_share_seconds: Option<u64> [minimum = 1, maximum = 316224000],
        limits: Option<PreviewLimitsOrder>,
    }

    /// An origin as browsers send it.
    Origin = String [max_length = 300, pattern = r"^https?://[a-z0-9.\[\]:-]+$", examples("https://app.example.com")];

    /// Pages of an origin, of all below a domain, or of every site.
    FrameSource = String [
        max_length = 300,
        pattern = r"^(\*|https?://(\*\.)?[a-z0-9.-]+(:([0-9]+|\*))?)$",
        examples("https://*.example.com")
    ];

    /// A method of HTTP.
    Method = String [max_length = 32, pattern = "^[A-Z]+$", examples("POST")];
}
