//! Documents: `vipcast.v1.Config` as YAML or JSON, in the words of people.
//!
//! Field names are those of the .proto files or their lowerCamelCase; durations are "3s"; enums go by short names too
//! (`drop`, `ipip`, `tcp`); `name` and `labels` may stand at a resource's own level. Several YAML documents, and several
//! files, make one. Faults name file, line, column and path, all at once.

mod build;
mod tree;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use prost_reflect::{DynamicMessage, prost::Message as _};
use proto::v1;

use crate::proto_json::descriptor;
use build::Findings;

/// Largest file; the API takes no larger request.
const LARGEST: u64 = 4 << 20;

/// Where something stands in a file; both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Option<Place>,
    /// Empty when it concerns the file as a whole.
    pub(crate) path: String,
    pub(crate) message: String,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {file}: {source}")]
    Read { file: String, source: std::io::Error },
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
}

/// A document and where its fields were written.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) config: v1::Config,
    places: BTreeMap<String, (String, Place)>,
}

impl Document {
    /// Reads `files` ("-": standard input) into one document.
    pub(crate) fn read(files: &[String]) -> Result<Self, Error> {
        let texts: Result<Vec<_>, Error> = files.iter().map(|file| Ok((shown(file), read(file)?))).collect();
        Self::parse(&texts?)
    }

    /// As [`Document::read`], from texts with the names that faults show.
    pub(crate) fn parse(files: &[(String, String)]) -> Result<Self, Error> {
        let mut message = DynamicMessage::new(descriptor("vipcast.v1.Config"));
        let mut faults = Vec::new();
        let mut places = BTreeMap::new();
        for (file, text) in files {
            let mut findings = Findings::default();
            match tree::parse(text) {
                Ok(documents) => {
                    for document in &documents {
                        build::fill(&mut message, document, "", &mut findings);
                    }
                }
                Err(fault) => findings.faults.push(fault),
            }
            faults.extend(findings.faults.into_iter().map(|fault| Line(file, fault).to_string()));
            let found = findings.places.into_iter().map(|(path, place)| (path, (file.clone(), place)));
            for (path, place) in found {
                places.entry(path).or_insert(place);
            }
        }
        if !faults.is_empty() {
            return Err(Error::Faults(faults));
        }
        // The message was built for this very descriptor: decoding its own bytes cannot fail unless the two disagree.
        let config = v1::Config::decode(message.encode_to_vec().as_slice())
            .map_err(|error| Error::Faults(vec![format!("the document does not fit vipcast.v1: {error}")]))?;
        Ok(Self { config, places })
    }

    /// "FILE:LINE:COLUMN" of `path`, or of the nearest field above it.
    pub(crate) fn place(&self, path: &str) -> Option<String> {
        let mut path = path;
        loop {
            if let Some((file, place)) = self.places.get(path) {
                return Some(format!("{file}:{}:{}", place.line, place.column));
            }
            let cut = path.rfind(['.', '['])?;
            path = &path[..cut];
        }
    }
}

/// A fault as one line: FILE:LINE:COLUMN: PATH: MESSAGE.
struct Line<'a>(&'a str, Fault);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(file, fault) = self;
        write!(f, "{file}:")?;
        if let Some(place) = fault.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        if !fault.path.is_empty() {
            write!(f, " {}:", fault.path)?;
        }
        write!(f, " {}", fault.message)
    }
}

fn shown(file: &str) -> String {
    if file == "-" { "<stdin>".to_owned() } else { file.to_owned() }
}

fn read(file: &str) -> Result<String, Error> {
    let error = |source| Error::Read { file: shown(file), source };
    let reader: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(std::fs::File::open(path).map_err(error)?),
    };
    let mut text = String::new();
    reader.take(LARGEST + 1).read_to_string(&mut text).map_err(error)?;
    if text.len() as u64 > LARGEST {
        return Err(Error::Faults(vec![format!("{}: larger than 4 MiB: split it", shown(file))]));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
