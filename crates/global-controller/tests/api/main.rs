//! The HTTP API as clients see it, endpoint by endpoint.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod access;
mod document;
mod fixture;
mod meetings;
mod pages;
mod placement;
