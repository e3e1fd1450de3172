//! What every command works with: the nodes, the chosen format, and where to write.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use crate::args::{Format, Global};
use crate::client::Node;
use crate::failure::{Exit, Failure};
use crate::proto_json::{Shown, Style};

pub(crate) struct Context<'a> {
    pub(crate) global: Global,
    pub(crate) out: &'a mut dyn Write,
    pub(crate) err: &'a mut dyn Write,
}

/// What one node answered.
pub(crate) type Answer<T> = (String, T);

impl Context<'_> {
    pub(crate) fn format(&self) -> Format {
        self.global.output
    }

    pub(crate) fn wide(&self) -> bool {
        self.global.output == Format::Wide
    }

    /// Asks every node in the order given. What fails is written down at once; the exit code is the worst.
    pub(crate) async fn each<T>(
        &mut self,
        ask: impl AsyncFn(&Node) -> Result<T, Failure>,
    ) -> Result<(Vec<Answer<T>>, Exit), Failure> {
        let (mut answers, mut exit) = (Vec::new(), Exit::Ok);
        for target in self.global.nodes.clone() {
            let answer = match Node::connect(&target, self.global.timeout).await {
                Ok(node) => ask(&node).await,
                Err(failure) => Err(failure),
            };
            match answer {
                Ok(answer) => answers.push((target, answer)),
                Err(failure) => {
                    exit = exit.max(failure.exit());
                    self.complain(&failure)?;
                }
            }
        }
        Ok((answers, exit))
    }

    pub(crate) fn complain(&mut self, failure: &Failure) -> Result<(), Failure> {
        for line in failure.lines(None) {
            writeln!(self.err, "{line}")?;
        }
        Ok(())
    }

    /// The answer as JSON: itself for one node, an object by target for several.
    pub(crate) fn json<T: Serialize>(&mut self, mut answers: Vec<Answer<T>>) -> Result<(), Failure> {
        let text = if self.global.nodes.len() == 1 {
            match answers.pop() {
                Some((_, answer)) => serde_json::to_string_pretty(&answer),
                None => return Ok(()),
            }
        } else {
            serde_json::to_string_pretty(&answers.into_iter().collect::<BTreeMap<_, _>>())
        };
        Ok(writeln!(self.out, "{}", text.map_err(std::io::Error::from)?)?)
    }

    /// The answers as YAML documents; of several nodes each with its target in a comment.
    pub(crate) fn yaml<T: Serialize>(&mut self, answers: Vec<Answer<T>>) -> Result<(), Failure> {
        let several = self.global.nodes.len() > 1;
        for (target, answer) in answers {
            if several {
                writeln!(self.out, "---\n# node: {target}")?;
            }
            let text =
                serde_saphyr::to_string(&answer).map_err(|error| std::io::Error::other(error.to_string()))?;
            writeln!(self.out, "{}", text.trim_end())?;
        }
        Ok(())
    }

    /// A document, in the words that `apply` reads.
    pub(crate) fn document(&mut self, configs: Vec<Answer<proto::v1::Config>>) -> Result<(), Failure> {
        let shown = |config| Shown::new(&config, "vipcast.v1.Config", Style::Document);
        self.yaml(configs.into_iter().map(|(target, config)| (target, shown(config))).collect())
    }
}
