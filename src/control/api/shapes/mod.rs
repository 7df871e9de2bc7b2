//! The shapes of bodies, as the API document declares them, and how what is shown is made. The bounds that are declared of a request are the
//! ones that it is held to (`Fields`). That handlers keep to what is declared here otherwise is held by the tests, which check every response
//! they see, and every request that was taken, against the document.
//!
//! A field of a response is always there: `Option` means that it may be null. One that may be missing says
//! `[extensions(("x-may-be-missing" = json!(true)))]`. A field of a request that is an `Option` may be missing or null. On
//! lists and references the macro drops it, and they are named in `document/schemas.rs`. Envelopes are not generic, as the document would then repeat what is in them.

#![expect(dead_code, reason = "declared, never made: the document is what becomes of them")]
#![expect(clippy::struct_field_names, reason = "the names are those of JSON")]
#![expect(clippy::unreadable_literal, reason = "the macro reads no separators")]

/// Declares responses that hold what was asked for in `data`.
macro_rules! envelopes {
    ($($name:ident($data:ty)),+ $(,)?) => {$(
        #[derive(utoipa::ToSchema)]
        pub(in crate::control::api) struct $name {
            data: $data,
        }
    )+};
}

/// Declares lists that are given whole or by the page.
macro_rules! pages {
    ($($name:ident($item:ty)),+ $(,)?) => {$(
        #[derive(utoipa::ToSchema)]
        pub(in crate::control::api) struct $name {
            /// What is on this page; all there is when no paging was asked for.
            data: Vec<$item>,
            meta: $crate::control::api::shapes::PageFacts,
            /// What to send as `cursor` for the next page.
            next_cursor: Option<String>,
        }
    )+};
}

/// The name of a field in JSON.
pub(super) fn plain(name: &str) -> &str {
    name.trim_start_matches("r#")
}

/// Shows a field under another name as well.
fn again(shown: &mut Object, name: &str, other: &str) {
    if let Some(value) = shown.get(plain(name)).cloned() {
        shown.insert(plain(other).to_owned(), value);
    }
}

/// Declares shapes, a field a line: its type in the document, within brackets what more the document says of it, its value, and behind `=>`
/// its other names: a request may use any of them (the first that is sent counts), what is shown has all of them. `..` takes
/// in all fields of another shape. `Name { … }` is read or only described. `Name(of what) with { … } { … }` is shown: `Name::of` makes it;
/// a field without a value is put in by the handler, when there is one. `in Query Name { … }` are parameters, `Name: …;` are words,
/// `Name = String […];` are texts that several fields or the items of a list hold.
macro_rules! shapes {
    () => {};
    ($(#[$about:meta])* $name:ident: $($word:ident),+; $($rest:tt)*) => {
        #[derive(utoipa::ToSchema)]
        $(#[$about])*
        #[expect(non_camel_case_types, reason = "they are named as JSON has them")]
        pub(in crate::control::api) enum $name { $($word),+ }
        shapes! { $($rest)* }
    };
    ($(#[$about:meta])* $name:ident = $type:ty [$($more:tt)*]; $($rest:tt)*) => {
        #[derive(utoipa::ToSchema)]
        $(#[$about])*
        #[schema($($more)*)]
        pub(in crate::control::api) struct $name($type);
        shapes! { $($rest)* }
    };
    (
        $(#[$about:meta])*
        in $place:ident $name:ident {
            $($(#[$attr:meta])* $field:ident: $type:ty $([$($more:tt)*])?,)*
        }
        $($rest:tt)*
    ) => {
        #[derive(utoipa::IntoParams)]
        $(#[$about])*
        #[into_params(parameter_in = $place)]
        pub(in crate::control::api) struct $name {
            $($(#[$attr])* $(#[param($($more)*)])? $field: $type,)*
        }
        shapes! { $($rest)* }
    };
    (
        $(#[$about:meta])*
        $name:ident {
            $(..$part:ident: $part_type:ty,)*
            $($(#[$attr:meta])* $field:ident: $type:ty $([$($more:tt)*])? $(=> $($other:ident)+)?,)*
        }
        $($rest:tt)*
    ) => {
        #[derive(utoipa::ToSchema)]
        $(#[$about])*
        pub(in crate::control::api) struct $name {
            $(#[schema(inline)] #[serde(flatten)] $part: $part_type,)*
            $($(#[$attr])* $(#[schema($($more)*)])? $field: $type,)*
            #[schema(extensions(("x-other-names" = json!(Vec::<(&str, Vec<&str>)>::from([$(
                (stringify!($field), Vec::from([$($(stringify!($other)),+)?]))
            ),*])))))]
            x_other_names: Option<bool>,
        }
        shapes! { $($rest)* }
    };
    (
        $(#[$about:meta])*
        $name:ident($($of:tt)*) $(with { $($before:tt)* })? {
            $(..$part:ident: $part_type:ty = $part_value:expr,)*
            $($(#[$attr:meta])* $field:ident: $type:ty $([$($more:tt)*])? $(= $value:expr)? $(=> $($other:ident)+)?,)*
        }
        $($rest:tt)*
    ) => {
        shapes! {
            $(#[$about])*
            $name {
                $(..$part: $part_type,)*
                $($(#[$attr])* $field: $type $([$($more)*])? $(=> $($other)+)?,)*
            }
            $($rest)*
        }

        impl $name {
            pub(in crate::control::api) fn of($($of)*) -> $crate::control::api::shapes::Object {
                $($($before)*)?
                let mut shown = $crate::control::api::shapes::Object::new();
                $(shown.extend($part_value);)*
                $($(
                    let name = $crate::control::api::shapes::plain(stringify!($field));
                    shown.insert(name.to_owned(), serde_json::json!($value));
                )?)*
                $($($($crate::control::api::shapes::again(
                    &mut shown, stringify!($field), stringify!($other),
                );)+)?)*
                shown
            }
        }
    };
}

mod access;
mod base;
mod bulk;
mod domains;
mod error;
mod keys;
mod previews;
mod quotas;
mod sandboxes;
mod shares;
mod tenant;
mod tokens;
mod usage;
mod webhooks;

pub(super) use access::*;
pub(super) use base::*;
pub(super) use bulk::*;
pub(super) use domains::*;
pub(super) use error::*;
pub(super) use keys::*;
pub(super) use previews::*;
pub(super) use quotas::*;
pub(super) use sandboxes::*;
pub(super) use shares::*;
pub(super) use tenant::*;
pub(super) use tokens::*;
pub(super) use usage::*;
pub(super) use webhooks::*;
