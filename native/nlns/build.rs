//! Marks the library as one that stays mapped.

fn main() {
    // Purging the module unloads the library, and on OTP 25 so does every System.stop, while helper
    // threads run code in it. The linker's mark makes dlclose(3) leave it mapped.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
