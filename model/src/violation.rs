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
