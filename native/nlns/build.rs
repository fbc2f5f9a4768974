//! Marks the library as one that stays mapped, and says at once where none can come of it.

use std::env::var;

fn main() {
    // Purging the module unloads the library, and on OTP 25 so does every System.stop, while helper
    // threads run code in it. The linker's mark makes dlclose(3) leave it mapped.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");

    // .cargo/config.toml says it for musl, but in cargo one source of flags takes the place of another.
    let has = |name, value| var(name).is_ok_and(|found| found.split(',').any(|one| one == value));
    if has("CARGO_CFG_TARGET_ENV", "musl") && has("CARGO_CFG_TARGET_FEATURE", "crt-static") {
        println!(
            "cargo::error=a NIF is a shared library, and there is none with musl as a static library \
             (crt-static): add -C target-feature=-crt-static to RUSTFLAGS, or unset RUSTFLAGS"
        );
    }
}
