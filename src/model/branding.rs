//! A tenant's face on the pages we answer with.

use serde::{Deserialize, Serialize};

/// Branding as the tenant set it. Values have been validated (lengths, `https:` URLs, `#rrggbb`), not escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Branding {
    /// The product's name: page titles and footer.
    pub product_name: Option<String>,
    /// Logo, `https:` only.
    pub logo_url: Option<String>,
    /// Where visitors find help, `https:` only.
    pub support_url: Option<String>,
    /// Whom visitors write to.
    pub support_email: Option<String>,
    /// Accent colour, `#rgb` or `#rrggbb`.
    pub primary_color: Option<String>,
    /// Background colour, `#rgb` or `#rrggbb`.
    pub background_color: Option<String>,
}
