//! Who is behind a leaf, and the codes that people compare.

use dt_e2ee::Claims;
use wasm_bindgen::prelude::*;

use crate::thrown;

/// What a credential with a good device signature says.
#[wasm_bindgen(getter_with_clone, inspectable)]
#[derive(Debug)]
pub struct Identity {
    /// UUID of the meeting.
    #[wasm_bindgen(readonly, js_name = meetingId)]
    pub meeting_id: String,
    /// UUID of the participant.
    #[wasm_bindgen(readonly, js_name = participantId)]
    pub participant_id: String,
    /// The name to show.
    #[wasm_bindgen(readonly)]
    pub name: String,
    /// Ed25519 public key of the device, 32 bytes.
    #[wasm_bindgen(readonly, js_name = deviceKey)]
    pub device_key: Vec<u8>,
    /// JWS of the auth controller, unchecked; empty for guests.
    #[wasm_bindgen(readonly)]
    pub statement: String,
}

/// What the device key signs so that a leaf key is its own.
#[wasm_bindgen(js_name = bindingBytes)]
#[must_use]
pub fn binding_bytes(
    meeting_id: String,
    participant_id: String,
    name: String,
    leaf_public: &[u8],
) -> Vec<u8> {
    let claims = Claims {
        meeting_id,
        participant_id,
        name,
    };
    dt_e2ee::binding_bytes(&claims, leaf_public)
}

/// An encoded MemberCredential.
#[wasm_bindgen]
pub fn credential(
    meeting_id: String,
    participant_id: String,
    name: String,
    device_public: &[u8],
    signature: &[u8],
    statement: &str,
) -> Result<Vec<u8>, JsError> {
    let claims = Claims {
        meeting_id,
        participant_id,
        name,
    };
    let signature = signature
        .try_into()
        .map_err(|_| JsError::new("a device's signature has 64 bytes"))?;
    Ok(dt_e2ee::credential(
        &claims,
        &device_key(device_public)?,
        signature,
        statement,
    ))
}

/// Reads the credential of a leaf and checks that its device signed that leaf.
#[wasm_bindgen(js_name = readCredential)]
pub fn read_credential(identity: &[u8], leaf_public: &[u8]) -> Result<Identity, JsError> {
    let read = dt_e2ee::read_credential(identity, leaf_public).map_err(thrown)?;
    Ok(Identity {
        meeting_id: read.meeting_id,
        participant_id: read.participant_id,
        name: read.name,
        device_key: read.device_key.to_vec(),
        statement: read.statement,
    })
}

/// What everybody in the meeting reads the same: 30 digits.
#[wasm_bindgen(js_name = meetingCode)]
#[must_use]
pub fn meeting_code(authenticator: &[u8]) -> String {
    dt_e2ee::meeting_code(authenticator)
}

/// What two people read the same of their devices: 45 digits.
#[wasm_bindgen(js_name = pairCode)]
pub fn pair_code(a: &[u8], b: &[u8]) -> Result<String, JsError> {
    Ok(dt_e2ee::pair_code(&device_key(a)?, &device_key(b)?))
}

fn device_key(bytes: &[u8]) -> Result<[u8; 32], JsError> {
    bytes
        .try_into()
        .map_err(|_| JsError::new("a device key has 32 bytes"))
}
