//! Causes of retries, in as few groups as a chart can show.

use serde::{Deserialize, Serialize};

use crate::event::FailureClass;

/// Causes of a retry, in stacking order of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryCause {
    /// 429.
    RateLimited,
    /// 5xx, overload.
    Server,
    /// Timeout.
    Timeout,
    /// No connection, or it was reset before the response.
    Connection,
    /// The response was truncated, stalled or malformed.
    Stream,
    /// Anything else or unknown: a loading model, a conflict.
    Other,
}

impl RetryCause {
    /// Every cause, in the order of their discriminants.
    pub const ALL: [Self; 6] = [
        Self::RateLimited,
        Self::Server,
        Self::Timeout,
        Self::Connection,
        Self::Stream,
        Self::Other,
    ];

    /// The group of a class.
    pub fn from_class(class: FailureClass) -> Self {
        match class {
            FailureClass::RateLimited | FailureClass::Quota => Self::RateLimited,
            FailureClass::ServerError
            | FailureClass::BadGateway
            | FailureClass::Unavailable
            | FailureClass::Overloaded => Self::Server,
            FailureClass::ConnectTimeout
            | FailureClass::HeaderTimeout
            | FailureClass::RequestTimeout
            | FailureClass::Deadline => Self::Timeout,
            FailureClass::Connect | FailureClass::Dns | FailureClass::Tls | FailureClass::Reset => {
                Self::Connection
            }
            FailureClass::Truncated
            | FailureClass::Interrupted
            | FailureClass::Stalled
            | FailureClass::NoProgress
            | FailureClass::Malformed
            | FailureClass::NotAnApi
            | FailureClass::Oversize => Self::Stream,
            FailureClass::Loading
            | FailureClass::Conflict
            | FailureClass::Invalid
            | FailureClass::ContextLength
            | FailureClass::Auth
            | FailureClass::NotFound
            | FailureClass::TooLarge
            | FailureClass::Unsupported
            | FailureClass::Redirect
            | FailureClass::LimitRejected
            | FailureClass::BreakerRefused
            | FailureClass::Internal => Self::Other,
        }
    }

    /// The label of the group: that of its most common class in a timeline, where one represents all.
    pub fn label(self) -> &'static str {
        match self {
            Self::RateLimited => "429",
            Self::Server => "5xx",
            Self::Timeout => "TMO",
            Self::Connection => "RST",
            Self::Stream => "CUT",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_the_label_that_lanes_show() {
        for (class, cause) in [
            (FailureClass::RateLimited, RetryCause::RateLimited),
            (FailureClass::HeaderTimeout, RetryCause::Timeout),
            (FailureClass::ConnectTimeout, RetryCause::Timeout),
            (FailureClass::Reset, RetryCause::Connection),
            (FailureClass::Truncated, RetryCause::Stream),
        ] {
            assert_eq!(RetryCause::from_class(class), cause);
            assert_eq!(class.brief(), cause.label());
        }
        for (place, cause) in RetryCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, place);
        }
    }
}
