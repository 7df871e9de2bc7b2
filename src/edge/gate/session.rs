//! Our own endpoint on every preview host, `/.well-known/portico/session`: the page that embeds a preview renews the visitor's session
//! with a fresh token, or asks how it stands, without touching what is shown in the frame.
//!
//! Setting a cookie is setting who somebody is. A site that could do it to a visitor of another site would have the visitor work in the
//! attacker's session (login fixation), so a renewal is taken only from the preview's own pages, from what a visitor types, and from pages
//! whose `Origin` may embed the preview. `Sec-Fetch-Site: same-site` alone does not do: the previews of all tenants below one zone are one
//! site. Nor does a name below the tenant's own domain, when it is the preview of another sandbox: what runs there is somebody's app. Asking changes nothing; the response can be read by the same pages only, as browsers enforce it (CORS).

use std::sync::Arc;

use http::{Method, header};

use super::RefusalReason;
use super::credentials::Carrier;
use super::decision::{Decision, Grant, Renewal, Says, Session};
use super::doing::Doing;
use super::judging::{Access, Judging};
use super::visit::{Intent, Own};
use crate::model::TokenScope;

impl Judging<'_> {
    /// Responds to what is ours.
    pub(super) fn own(&self, own: Own) -> Decision {
        if own != Own::Session {
            return self.refuse(RefusalReason::NotFound, false);
        }
        let doing = self.doing();
        let readable = doing == Doing::Embedder;
        let in_face = self.wears_face(readable);
        Decision::Session(Box::new(Session {
            subject: Some(self.found.subject()),
            tenant: in_face.then(|| Arc::clone(&self.found.tenant)),
            readable,
            says: self.says(doing).unwrap_or_else(Says::Refused),
        }))
    }

    fn says(&self, doing: Doing) -> Result<Says, RefusalReason> {
        let parts = self.visit.parts;
        if doing == Doing::Foreign && parts.headers.contains_key(header::ORIGIN) {
            return Err(RefusalReason::ForeignOrigin);
        }
        let explicit = self.visit.credentials.iter().any(|c| c.carrier != Carrier::Cookie);
        match parts.method {
            Method::OPTIONS
                if parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) =>
            {
                Ok(Says::Approved)
            }
            // Whoever only looks ahead is told how things stand, and sets nothing.
            Method::HEAD => Ok(self.standing()),
            Method::GET if !explicit || self.visit.intent == Intent::Prefetch => {
                Ok(self.standing())
            }
            Method::GET | Method::POST if matches!(doing, Doing::Own | Doing::Embedder) => {
                if explicit {
                    self.renew()
                } else {
                    Err(RefusalReason::SignInNeeded)
                }
            }
            Method::GET | Method::POST => Err(RefusalReason::ForeignOrigin),
            _ => Err(RefusalReason::MethodNotAllowed),
        }
    }

    fn standing(&self) -> Says {
        Says::Standing {
            public: self.found.route.is_public(self.found.port, self.now),
            cookie: self.by_cookie().map(|judged| judged.map(|(_, until)| until)),
        }
    }

    /// A fresh token becomes the session. One that does not hold changes nothing: the session that is there goes on.
    fn renew(&self) -> Result<Says, RefusalReason> {
        let access = self.by_token().unwrap_or(Err(RefusalReason::SignInNeeded))?;
        if access.grant.scope() == Some(TokenScope::Terminal) {
            // It opens no preview, and must not take the place of a session that does.
            return Err(RefusalReason::InsufficientScope);
        }
        let cookie = self.cookie(&access).ok_or(RefusalReason::InvalidToken)?;
        Ok(Says::Renewed { cookie, renewal: self.renewal(&access) })
    }

    /// What is open under the session that came along goes on under the new token, when that allows no less and lasts longer. What is
    /// open by a share link ends with the link, whatever comes after.
    fn renewal(&self, access: &Access) -> Option<Renewal> {
        let Some(Ok((Grant::Token { id: former, scope, expires_at, .. }, _))) = self.by_cookie()
        else {
            return None;
        };
        let Grant::Token { id, scope: new_scope, expires_at: new_end, .. } = access.grant else {
            return None;
        };
        let allows = new_scope == scope || new_scope == TokenScope::Interact;
        (id != former && allows && new_end > expires_at).then(|| Renewal {
            sandbox: self.found.route.sandbox,
            port: self.found.port,
            peer: self.visit.arrival.peer,
            former,
            grant: access.grant.clone(),
        })
    }
}
