//! What the linker must know: the name programs bind to, and that the library is never unloaded (its hooks and its
//! thread outlive any dlclose).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for argument in ["-soname,liblinger.so.0", "-z,nodelete", "-z,relro", "-z,now", "--as-needed"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{argument}");
    }
}
