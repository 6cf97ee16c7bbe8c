//! Tells the command under which name Debian keeps the libraries of this machine (its multiarch triplet).

fn main() {
    let get = |name: &str| std::env::var(name).unwrap_or_default();
    let architecture = match get("CARGO_CFG_TARGET_ARCH").as_str() {
        "x86" => "i386".to_owned(),
        "powerpc64" if get("CARGO_CFG_TARGET_ENDIAN") == "little" => "powerpc64le".to_owned(),
        other => other.to_owned(),
    };
    println!("cargo::rustc-env=LINGER_MULTIARCH={architecture}-linux-gnu");
    println!("cargo::rerun-if-changed=build.rs");
}
