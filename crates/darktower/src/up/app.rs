//! The web app, embedded when the binary was compiled.

use global_controller::web::{Asset, Assets};
use rust_embed::RustEmbed;

// Empty where the web app was not built; the server then says so.
#[derive(RustEmbed)]
#[folder = "../../web/apps/meet/dist"]
#[allow_missing = true]
struct Dist;

/// The embedded files.
pub(super) struct App;

impl Assets for App {
    fn get(&self, path: &str) -> Option<Asset> {
        let file = Dist::get(path)?;
        Some(Asset {
            sha256: file.metadata.sha256_hash(),
            bytes: file.data,
        })
    }
}
