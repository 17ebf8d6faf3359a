//! Generates the Rust types from `proto/`, without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::Path::new("../../proto");
    let files = [
        "darktower/v1/signaling.proto",
        "darktower/v1/e2ee.proto",
        "darktower/v1/media.proto",
        "darktower/internal/v1/internal.proto",
        "darktower/internal/v1/cascade.proto",
    ];
    println!("cargo:rerun-if-changed=../../proto/darktower");
    let descriptors = protox::compile(files, [root])?;
    prost_build::Config::new()
        // Payload-like fields share their buffer with the message they came in.
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
