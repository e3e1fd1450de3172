//! Times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// How long ago `then` was: "00:03:09", "3d04h"; empty when it is not known.
pub(crate) fn since(then: Option<&Timestamp>, now: SystemTime) -> String {
    let then = then.and_then(time);
    then.map_or_else(String::new, |then| span(now.duration_since(then).unwrap_or_default()))
}

/// How long it is until `then`; zero when it is over.
pub(crate) fn until(then: &Timestamp, now: SystemTime) -> String {
    time(then).map_or_else(String::new, |then| span(then.duration_since(now).unwrap_or_default()))
}

/// `None` for what no clock can show.
fn time(timestamp: &Timestamp) -> Option<SystemTime> {
    let (seconds, nanos) = (timestamp.seconds.try_into().ok()?, timestamp.nanos.try_into().ok()?);
    UNIX_EPOCH.checked_add(Duration::new(seconds, 0))?.checked_add(Duration::new(0, nanos))
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
        assert_eq!(until(&Timestamp { seconds: 125, nanos: 0 }, now), "00:00:25");
        assert_eq!(until(&Timestamp { seconds: 40, nanos: 0 }, now), "00:00:00");
        assert_eq!(since(Some(&Timestamp { seconds: i64::MAX, nanos: -1 }), now), "");
    }
}
