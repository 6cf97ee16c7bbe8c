//! Generates the C header from `src/ffi.rs` into OUT_DIR, where `make header` and `make check` find it. Only with
//! the feature `header`: users of the crate need no generator.

fn main() {
    println!("cargo:rerun-if-changed=src/ffi.rs");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    #[cfg(feature = "header")]
    generate();
}

#[cfg(feature = "header")]
fn generate() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let out = std::path::Path::new(&std::env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("linger.h");
    let config = cbindgen::Config::from_root_or_default(&root);
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(std::path::Path::new(&root).join("src/ffi.rs"))
        .generate()
        .expect("cbindgen reads src/ffi.rs");
    bindings.write_to_file(&out);
    // For scripts that look for it outside of cargo.
    println!("cargo:warning=header: {}", out.display());
}
