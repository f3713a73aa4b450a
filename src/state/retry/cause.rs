//! What retries are made for, in as few groups as a chart can tell apart.

use serde::{Deserialize, Serialize};

use crate::event::FailureClass;

/// Why a try followed another one. In the order in which a column is stacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryCause {
    /// 429.
    RateLimited,
    /// 5xx, overload.
    Server,
    /// Nothing came in time.
    Timeout,
    /// No connection, or it was reset before the response.
    Connection,
    /// The answer was cut, stood still or made no sense.
    Stream,
    /// Anything else, and what is not known: a model that loads, a conflict.
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
    pub fn of(class: FailureClass) -> Self {
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

    /// The label of the group: that of the lanes for its commonest class, where one stands for all.
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
            assert_eq!(RetryCause::of(class), cause);
            assert_eq!(class.brief(), cause.label());
        }
        for (place, cause) in RetryCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, place);
        }
    }
}
