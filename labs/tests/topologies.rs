//! Every topology of this directory can be run here and is valid containerlab.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use labs::clab::Topology;

fn labs_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn topologies() -> Vec<PathBuf> {
    let dirs = std::fs::read_dir(labs_dir()).unwrap().flatten();
    let files = dirs.filter_map(|dir| {
        let name = dir.file_name().into_string().ok()?;
        Some(dir.path().join(format!("{name}.clab.yml"))).filter(|file| file.is_file())
    });
    let files: Vec<PathBuf> = files.collect();
    assert!(!files.is_empty(), "no topology below {}", labs_dir().display());
    files
}

#[test]
fn every_topology_is_understood_and_its_files_exist() {
    for file in topologies() {
        let topology = Topology::load(&file).unwrap();
        let dir = file.parent().unwrap();
        assert_eq!(Some(topology.name.as_str()), dir.file_name().and_then(|name| name.to_str()));
        for (name, node) in &topology.nodes {
            for bind in &node.binds {
                assert!(dir.join(&bind.source).exists(), "{name}: {} is missing", bind.source.display());
            }
        }
    }
}

/// containerlab's own schema is no part of this repository: `$CLAB_SCHEMA` names it, or it lies beside the checkout.
#[test]
fn every_topology_is_valid_containerlab() {
    let beside = labs_dir().join("../../shared/data/clab.schema.json");
    let path = std::env::var_os("CLAB_SCHEMA").map_or(beside, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("CLAB_SCHEMA").is_none(), "cannot read {}", path.display());
        println!("no schema at {}: only what the runner itself understands was checked", path.display());
        return;
    };
    println!("checked against {}", path.display());
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for file in topologies() {
        let text = std::fs::read_to_string(&file).unwrap();
        let document: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}:\n{}", file.display(), errors.join("\n"));
        // A schema that lets everything through would prove nothing.
        let mut broken = document.clone();
        broken["topology"]["links"][0]["endpoints"] = serde_json::json!("not a list");
        assert!(!validator.is_valid(&broken), "the schema accepts nonsense");
    }
}
