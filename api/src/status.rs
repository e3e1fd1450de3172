//! [`ControlError`] as a gRPC status with google.rpc details, for programs and for people.
//!
//! Details travel in a header: the message stays one sentence and the violations, of which the model keeps a bounded
//! number, stand in the details alone.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::control::ControlError;

/// Resource types in `google.rpc.ResourceInfo`: this and the kind, `vipcast.v1/pool`.
const DOMAIN: &str = "vipcast.v1";

impl From<ControlError> for Status {
    fn from(error: ControlError) -> Self {
        let text = error.to_string();
        match error {
            ControlError::Invalid(violations) => {
                let summary = match violations.0.as_slice() {
                    [one] => format!("invalid: {}: {}", one.field, one.message),
                    all => format!("invalid: {} violations, see the details", all.len()),
                };
                let fields: Vec<FieldViolation> =
                    violations.0.into_iter().map(|v| FieldViolation::new(v.field, v.message)).collect();
                Status::with_error_details(
                    Code::InvalidArgument,
                    summary,
                    ErrorDetails::with_bad_request(fields),
                )
            }
            ControlError::NotFound { kind, name } => {
                let details =
                    ErrorDetails::with_resource_info(format!("{DOMAIN}/{kind}"), name, "", text.clone());
                Status::with_error_details(Code::NotFound, text, details)
            }
            ControlError::Conflict { kind, name, stored } => {
                let mut details =
                    ErrorDetails::with_resource_info(format!("{DOMAIN}/{kind}"), name, "", text.clone());
                details.set_error_info("ETAG_DIFFERS", DOMAIN, [("etag".to_owned(), stored)]);
                Status::with_error_details(Code::Aborted, text, details)
            }
            ControlError::Precondition { subject, remedy } => {
                let details = ErrorDetails::with_precondition_failure_violation("STATE", subject, remedy);
                Status::with_error_details(Code::FailedPrecondition, text, details)
            }
            ControlError::Lagged => Status::resource_exhausted(text),
            ControlError::Compacted { .. } => Status::out_of_range(text),
            ControlError::Internal(_) => Status::internal(text),
        }
    }
}
