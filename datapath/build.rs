//! Finds the eBPF object that `cargo xtask ebpf` builds and tells the loader where to embed it from.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const OBJECT: &str = "vipcast-xdp.o";

fn main() -> ExitCode {
    println!("cargo:rerun-if-env-changed=VIPCAST_BPF_DIR");
    if env::var_os("CARGO_FEATURE_LOADER").is_none() {
        return ExitCode::SUCCESS;
    }
    let candidates: Vec<PathBuf> = match env::var_os("VIPCAST_BPF_DIR") {
        Some(dir) => vec![PathBuf::from(dir).join(OBJECT)],
        // <target>/[<triple>/]<profile>/build/datapath-<hash>/out
        None => {
            let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
            out.ancestors().skip(4).take(2).map(|dir| dir.join("bpf").join(OBJECT)).collect()
        }
    };
    for path in &candidates {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => {
            println!("cargo:rustc-env=VIPCAST_XDP_OBJECT={}", Path::new(path).display());
            ExitCode::SUCCESS
        }
        None => {
            let places: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
            println!(
                "cargo:error=run `cargo xtask ebpf` first: the eBPF object is missing ({})",
                places.join(", ")
            );
            ExitCode::FAILURE
        }
    }
}
