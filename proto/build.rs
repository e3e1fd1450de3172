//! Compiles the .proto sources in pure Rust: no protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost_reflect::prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=vipcast");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(["vipcast/v1/resources.proto", "vipcast/v1/api.proto"])?;
    let descriptors = compiler.file_descriptor_set();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run through cargo")?);
    fs::write(out.join("vipcast.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
