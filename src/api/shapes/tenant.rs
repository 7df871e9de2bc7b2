//! A tenant's face and its rules.

use utoipa::ToSchema;

use crate::model::WakePolicy;

envelopes!(PolicyData(Policy));

/// A tenant's face, or none.
#[derive(ToSchema)]
pub(in crate::api) struct BrandingAnswer {
    branding: Option<Branding>,
}

/// A tenant's face on the pages that visitors meet.
#[derive(ToSchema)]
pub(in crate::api) struct Branding {
    product_name: Option<String>,
    /// The same as `product_name`.
    name: Option<String>,
    logo_url: Option<String>,
    support_url: Option<String>,
    support_email: Option<String>,
    primary_color: Option<String>,
    background_color: Option<String>,
}

/// A face to be put on, in an envelope or as it is.
#[derive(ToSchema)]
#[schema(examples(json!({"branding": {"product_name": "OpenDesigns", "primary_color": "#ff5a1f"}})))]
pub(in crate::api) struct BrandingOrder {
    /// The face; when it is here, the fields beside it mean nothing.
    branding: Option<FaceOrder>,
    #[schema(inline)]
    #[serde(flatten)]
    flat: FaceOrder,
}

/// The features of a face. What is not named is not set.
#[derive(ToSchema)]
pub(in crate::api) struct FaceOrder {
    /// The product's name: page titles and footer. No control characters.
    #[schema(max_length = 120, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    product_name: Option<String>,
    /// An `https` URL of a logo.
    #[schema(max_length = 2048)]
    logo_url: Option<String>,
    /// An `https` URL where visitors find help.
    #[schema(max_length = 2048)]
    support_url: Option<String>,
    /// An address that visitors may write to.
    #[schema(max_length = 254)]
    support_email: Option<String>,
    /// The accent, `#rgb` or `#rrggbb`.
    #[schema(pattern = "^(#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6})?$")]
    primary_color: Option<String>,
    /// The background, `#rgb` or `#rrggbb`.
    #[schema(pattern = "^(#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6})?$")]
    background_color: Option<String>,
    /// Other names of the fields above, for clients that use them.
    name: Option<String>,
    app_name: Option<String>,
    custom_app_name: Option<String>,
    custom_logo_url: Option<String>,
    custom_logo_light_url: Option<String>,
    brand_color_primary: Option<String>,
    brand_color_secondary: Option<String>,
}

/// What a tenant may adjust about access to its previews.
#[derive(ToSchema)]
pub(in crate::api) struct Policy {
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
    /// Whether sandboxes whose machines nobody starts for Portico run again when they are visited.
    wake_registered: bool,
    /// How many sandboxes visitors may wake a minute; null leaves it to the operator.
    wakes_per_minute: Option<u32>,
    /// The longest that share links made from now on may live, seconds; null = as long as their makers say.
    max_share_seconds: Option<u64>,
    limits: PreviewLimits,
}

/// What one preview may use at once. The operator's limits hold beside these, and the smaller one counts.
#[derive(ToSchema)]
pub(in crate::api) struct PreviewLimits {
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
pub(in crate::api) struct PreviewLimitsOrder {
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
pub(in crate::api) struct PolicyOrder {
    /// Origins exactly as browsers send them: lower case, no path, no default port.
    #[schema(max_items = 64)]
    allowed_origins: Option<Vec<String>>,
    /// `https://app.example`, `https://*.example.com`, `http://localhost:*`, or `*` for every site.
    #[schema(max_items = 64)]
    frame_ancestors: Option<Vec<String>>,
    /// Methods in capital letters.
    #[schema(max_items = 16)]
    read_methods: Option<Vec<String>>,
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
