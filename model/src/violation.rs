//! What is wrong with a document, where, and what to do about it.

use std::fmt;

/// One violation. `field` is a path in the caller's document: `pools[2].spec.backends[0].address`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub field: String,
    /// What is wrong and the remedy.
    pub message: String,
}

/// All violations of one document, in the document's order. Never empty when used as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    /// A single violation.
    pub fn one(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self(vec![Violation { field: field.into(), message: message.to_string() }])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, v) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}: {}", v.field, v.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

/// Gathers violations while a value is put together from its parts; each part keeps its place in the path.
///
/// Most that are kept are [`Collector::MOST`]: a document with more is wrong as a whole, and the answer must stay small.
#[derive(Debug, Default)]
pub struct Collector {
    violations: Vec<Violation>,
    dropped: usize,
}

impl Collector {
    pub const MOST: usize = 200;

    pub fn new() -> Self {
        Self::default()
    }

    /// Records one violation of `field`.
    pub fn push(&mut self, field: impl Into<String>, message: impl fmt::Display) {
        if self.violations.len() < Self::MOST {
            self.violations.push(Violation { field: field.into(), message: message.to_string() });
        } else {
            self.dropped += 1;
        }
    }

    /// The value, or its error recorded at `field`.
    pub fn take<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.push(field, error)).ok()
    }

    /// The value of a part, or all of its violations recorded below `field`.
    pub fn nest<T>(&mut self, field: &str, result: Result<T, Violations>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(violations) => {
                for violation in violations.0 {
                    self.push(join(field, &violation.field), violation.message);
                }
                None
            }
        }
    }

    /// Nothing was recorded so far.
    pub fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }

    /// `value` when there was no violation. A missing value without a violation cannot happen unless the caller forgot
    /// to record one: that is reported as a violation too, never as a panic.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Violations> {
        match value {
            Some(value) if self.violations.is_empty() => Ok(value),
            _ => {
                if self.violations.is_empty() {
                    self.push("", "is not complete");
                }
                Err(self.into_violations())
            }
        }
    }

    /// What was recorded; the last line says how many more there were.
    pub fn into_violations(mut self) -> Violations {
        if self.dropped > 0 {
            let message = format!("{} more violations are not listed", self.dropped);
            self.violations.push(Violation { field: String::new(), message });
        }
        Violations(self.violations)
    }
}

fn join(parent: &str, child: &str) -> String {
    match (parent.is_empty(), child.is_empty()) {
        (true, _) => child.to_owned(),
        (_, true) => parent.to_owned(),
        _ if child.starts_with('[') => format!("{parent}{child}"),
        _ => format!("{parent}.{child}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_path() {
        let mut inner = Collector::new();
        inner.push("address", "no");
        inner.push("", "empty");
        let mut outer = Collector::new();
        assert_eq!(outer.nest("backends[1]", inner.finish(Some(()))), None);
        let fields: Vec<_> = outer.into_violations().0.into_iter().map(|v| v.field).collect();
        assert_eq!(fields, ["backends[1].address", "backends[1]"]);
    }

    #[test]
    fn the_answer_stays_small() {
        let mut collector = Collector::new();
        for i in 0..5000 {
            collector.push(format!("vips[{i}]"), "no");
        }
        let violations = collector.into_violations();
        assert_eq!(violations.0.len(), Collector::MOST + 1);
        assert_eq!(violations.0[Collector::MOST].message, "4800 more violations are not listed");
    }

    #[test]
    fn a_value_with_violations_is_refused() {
        let mut collector = Collector::new();
        collector.push("a", "b");
        assert_eq!(collector.finish(Some(1)), Err(Violations::one("a", "b")));
        assert_eq!(Collector::new().finish(Some(1)), Ok(1));
        assert!(Collector::new().finish(None::<u8>).is_err());
    }
}
