//! A tenant's face and its rules.

use utoipa::ToSchema;

use crate::model::WakePolicy;

envelopes!(PolicyData(Policy));

/// A tenant's branding, or none.
#[derive(ToSchema)]
pub(in crate::control::api) struct BrandingAnswer {
    branding: Option<Branding>,
}

/// A tenant's branding on the pages that visitors see.
#[derive(ToSchema)]
pub(in crate::control::api) struct Branding {
    product_name: Option<String>,
    /// The same as `product_name`.
    name: Option<String>,
    logo_url: Option<String>,
    support_url: Option<String>,
    support_email: Option<String>,
    primary_color: Option<String>,
    background_color: Option<String>,
}

/// Branding to set, in an envelope or as it is.
#[derive(ToSchema)]
#[schema(examples(json!({"branding": {"product_name": "OpenDesigns", "primary_color": "#ff5a1f"}})))]
#[serde(untagged)]
pub(in crate::control::api) enum BrandingOrder {
    Wrapped(FaceEnvelope),
    Bare(FaceOrder),
}

/// Branding in its envelope. Fields beside it are ignored.
#[derive(ToSchema)]
pub(in crate::control::api) struct FaceEnvelope {
    #[schema(required)]
    branding: Option<FaceOrder>,
}

/// The fields of branding. Fields that are not sent are unset.
#[derive(ToSchema)]
pub(in crate::control::api) struct FaceOrder {
    /// The product's name: page titles and footer. No control characters.
    #[schema(max_length = 120)]
    product_name: Option<String>,
    /// An `https` URL of a logo.
    #[schema(max_length = 2048, pattern = "^(https://[!-~]+)?$")]
    logo_url: Option<String>,
    /// An `https` URL where visitors find help.
    #[schema(max_length = 2048, pattern = "^(https://[!-~]+)?$")]
    support_url: Option<String>,
    /// An address that visitors may write to.
    #[schema(pattern = r"^([A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]+\.?)?$")]
    support_email: Option<String>,
    /// The accent, `#rgb` or `#rrggbb`.
    #[schema(pattern = "^(#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6})?$")]
    primary_color: Option<String>,
    /// The background, `#rgb` or `#rrggbb`.
    #[schema(pattern = "^(#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6})?$")]
    background_color: Option<String>,
    /// Another name of `product_name`.
    #[schema(max_length = 2048)]
    name: Option<String>,
    /// Another name of `product_name`.
    #[schema(max_length = 2048)]
    app_name: Option<String>,
    /// Another name of `product_name`.
    #[schema(max_length = 2048)]
    custom_app_name: Option<String>,
    /// Another name of `logo_url`.
    #[schema(max_length = 2048)]
    custom_logo_url: Option<String>,
    /// Another name of `logo_url`.
    #[schema(max_length = 2048)]
    custom_logo_light_url: Option<String>,
    /// Another name of `primary_color`.
    #[schema(max_length = 2048)]
    brand_color_primary: Option<String>,
    /// Another name of `background_color`.
    #[schema(max_length = 2048)]
    brand_color_secondary: Option<String>,
}

/// What a tenant may adjust about access to its previews.
#[derive(ToSchema)]
pub(in crate::control::api) struct Policy {
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
#[derive(ToSchema)]
pub(in crate::control::api) struct PreviewLimits {
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
#[derive(ToSchema)]
pub(in crate::control::api) struct PreviewLimitsOrder {
    #[schema(minimum = 1, maximum = 1000000)]
    requests_in_flight: Option<u32>,
    #[schema(minimum = 1, maximum = 1000000)]
    sockets: Option<u32>,
    #[schema(minimum = 1, maximum = 1000000)]
    requests_per_second: Option<u32>,
    #[schema(minimum = 1, maximum = 1000000)]
    burst: Option<u32>,
    #[schema(minimum = 16384, maximum = 1099511627776_u64)]
    bytes_per_second: Option<u64>,
}

/// The whole policy: what is not named gets its default.
#[derive(ToSchema)]
#[schema(examples(json!({"allowed_origins": ["https://app.example.com"]})))]
pub(in crate::control::api) struct PolicyOrder {
    /// Origins exactly as browsers send them: lower case, no path, no default port.
    #[schema(max_items = 64)]
    allowed_origins: Option<Vec<Origin>>,
    /// `https://app.example`, `https://*.example.com`, `http://localhost:*`, or `*` for every site.
    #[schema(max_items = 64)]
    frame_ancestors: Option<Vec<FrameSource>>,
    /// Methods in capital letters.
    #[schema(max_items = 16)]
    read_methods: Option<Vec<Method>>,
    read_allows_upgrade: Option<bool>,
    miosa_messages: Option<bool>,
    wake: Option<WakePolicy>,
    wake_registered: Option<bool>,
    #[schema(minimum = 0, maximum = 1000000)]
    wakes_per_minute: Option<u32>,
    /// The longest that share links may live, seconds.
    #[schema(minimum = 1, maximum = 316224000)]
    max_share_seconds: Option<u64>,
    limits: Option<PreviewLimitsOrder>,
}

/// An origin as browsers send it.
#[derive(ToSchema)]
#[schema(
    max_length = 300,
    pattern = r"^https?://[a-z0-9.\[\]:-]+$",
    examples("https://app.example.com")
)]
pub(in crate::control::api) struct Origin(String);

/// Pages of an origin, of all below a domain, or of every site.
#[derive(ToSchema)]
#[schema(
    max_length = 300,
    pattern = r"^(\*|https?://(\*\.)?[a-z0-9.-]+(:([0-9]+|\*))?)$",
    examples("https://*.example.com")
)]
pub(in crate::control::api) struct FrameSource(String);

/// A method of HTTP.
#[derive(ToSchema)]
#[schema(max_length = 32, pattern = "^[A-Z]+$", examples("POST"))]
pub(in crate::control::api) struct Method(String);
