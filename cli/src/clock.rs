//! Times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// How long ago `then` was: "00:03:09", "3d04h"; empty when it is not known.
pub(crate) fn since(then: Option<&Timestamp>, now: SystemTime) -> String {
    let Some(then) = then.and_then(|then| {
        let parts = u64::try_from(then.seconds).ok().zip(u32::try_from(then.nanos).ok());
        parts.map(|(seconds, nanos)| UNIX_EPOCH + Duration::new(seconds, nanos.min(999_999_999)))
    }) else {
        return String::new();
    };
    span(now.duration_since(then).unwrap_or_default())
}

pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours >= 24 {
        format!("{}d{:02}h", hours / 24, hours % 24)
    } else {
        format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(span(Duration::from_secs(189)), "00:03:09");
        assert_eq!(span(Duration::from_secs(3 * 86_400 + 4 * 3600 + 59)), "3d04h");
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(since(Some(&Timestamp { seconds: 40, nanos: 0 }), now), "00:01:00");
        assert_eq!(since(Some(&Timestamp { seconds: 400, nanos: 0 }), now), "00:00:00");
        assert_eq!(since(None, now), "");
    }
}
