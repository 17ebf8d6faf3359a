//! MLS for the browser: `dt-e2ee` as classes and functions of JavaScript, one
//! call to one call. The crypto worker owns the module
//! (`web/packages/crypto/src/worker.ts`); the rules of when to call what are in
//! `group-session.ts`.
//!
//! Deliberately absent: SFrame and the device key, which are WebCrypto's, and
//! every decision. What throws leaves the group where it stood. Secrets leave
//! the module in one place, [`EpochKeys::base_key`].

pub mod identity;
pub mod member;

#[cfg(feature = "controller")]
pub mod controller;

use std::{error::Error, fmt::Write as _};

use dt_e2ee::GroupSetup;
use wasm_bindgen::JsError;

/// An error with all its reasons, as one JavaScript `Error`.
fn thrown(error: impl Error) -> JsError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        // Writing to a String does not fail.
        let _ = write!(text, ": {reason}");
        source = reason.source();
    }
    JsError::new(&text)
}

fn setup(group_id: Vec<u8>, external_sender: Vec<u8>) -> GroupSetup {
    GroupSetup {
        group_id,
        external_sender,
    }
}
