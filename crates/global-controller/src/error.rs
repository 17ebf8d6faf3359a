//! The one place where failures become answers.

use axum::response::{IntoResponse, Response};
use dt_rpc::RpcError;
use dt_service::http::ApiError;
use dt_store::{DatabaseError, StateError};

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The request's own fault, or a state that does not allow it.
    #[error("refused: {0}")]
    Refused(#[from] ApiError),
    /// The database failed.
    #[error("database")]
    Database(#[from] DatabaseError),
    /// The state store failed.
    #[error("state store")]
    State(#[from] StateError),
    /// Another role failed.
    #[error("call")]
    Call(#[from] RpcError),
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let unavailable = |cause: &(dyn std::error::Error + 'static)| {
            tracing::error!(cause, "a store or role can't be reached");
            Self::unavailable("this part of the service is not available at the moment")
        };
        match &failure {
            Failure::Refused(error) => error.clone(),
            Failure::Database(cause @ DatabaseError::Unavailable(_)) => unavailable(cause),
            Failure::State(cause @ (StateError::Unavailable(_) | StateError::Full)) => {
                unavailable(cause)
            }
            Failure::Call(RpcError::Capacity(_)) => {
                Self::capacity_exceeded("there is no room for this meeting at the moment")
            }
            Failure::Call(cause @ RpcError::Unavailable(_)) => unavailable(cause),
            // A token outlives its organisation by an hour at most.
            Failure::Database(cause @ DatabaseError::Dangling(_)) => {
                Self::conflict(cause.to_string())
            }
            Failure::Database(cause) => Self::internal(cause),
            Failure::State(cause) => Self::internal(cause),
            Failure::Call(cause) => Self::internal(cause),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        ApiError::from(self).into_response()
    }
}
