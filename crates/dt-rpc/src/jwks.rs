//! The auth controller as the place where a verifier gets its keys.

use std::sync::Arc;

use async_trait::async_trait;
use dt_token::{Jwks, JwksFetchError, JwksSource};
use dt_wire::internal::GetJwks;

use crate::AuthController;

/// Fetches keys by [`AuthController::get_jwks`], for a
/// [`Verifier`](dt_token::Verifier).
pub struct AuthJwks(pub Arc<dyn AuthController>);

#[async_trait]
impl JwksSource for AuthJwks {
    async fn fetch(&self) -> Result<Jwks, JwksFetchError> {
        let answer = self
            .0
            .get_jwks(GetJwks {})
            .await
            .map_err(|error| JwksFetchError(error.to_string()))?;
        Jwks::parse(&answer.jwks_json).map_err(|error| JwksFetchError(error.to_string()))
    }
}
