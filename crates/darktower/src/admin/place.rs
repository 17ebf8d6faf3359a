//! Where a deployment keeps its things, as told by flags, environment and file.
//!
//! Of a configuration file only `data` and the section `auth` matter here; the
//! rest is checked by the roles that use it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use auth_controller::MasterKey;
use dt_store::SqliteDatabase;
use serde::Deserialize;

/// The database's file in the data folder.
pub(crate) const DATABASE_FILE: &str = "darktower.db";

/// Environment variables over the file: `DARKTOWER_DATA`, `DARKTOWER_AUTH__ISSUER`.
const ENVIRONMENT_PREFIX: &str = "DARKTOWER_";

/// A deployment's data folder and the settings that tokens depend on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    data: Option<PathBuf>,
    pub(super) auth: auth_controller::Config,
}

impl Place {
    /// The folder that `data` names, or the environment, or the file, or else
    /// the one that `darktower up` uses.
    pub(super) fn find(data: Option<PathBuf>, config: Option<&Path>) -> anyhow::Result<Self> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let place: Self =
            dt_service::config::load(config, ENVIRONMENT_PREFIX, environment, toml::Table::new())?;
        Ok(Self {
            data: data.or(place.data),
            ..place
        })
    }

    fn folder(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(data_folder_default)
    }

    pub(super) fn database_file(&self) -> PathBuf {
        self.folder().join(DATABASE_FILE)
    }

    /// Opens the database, and makes folder and file if there are none.
    pub(super) async fn open(&self) -> anyhow::Result<SqliteDatabase> {
        let folder = self.folder();
        make_private_folder(&folder)
            .with_context(|| format!("the data folder {} can't be made", folder.display()))?;
        Ok(SqliteDatabase::open(self.database_file()).await?)
    }

    /// Opens the database; checking one that was made for the purpose would
    /// say that all is well with a mistyped folder.
    pub(super) async fn open_existing(&self) -> anyhow::Result<SqliteDatabase> {
        let file = self.database_file();
        if !file.exists() {
            bail!(
                "there is no database {}; --data names another folder",
                file.display()
            );
        }
        Ok(SqliteDatabase::open(file).await?)
    }

    /// The master key; made if there is none, as `darktower up` does.
    pub(super) fn master_key(&self) -> anyhow::Result<MasterKey> {
        Ok(MasterKey::load_or_make(&self.folder())?)
    }
}

/// The folder for data when nobody names one: `darktower` where the system
/// keeps programs' data, or `darktower-data` here if there is no home.
pub(crate) fn data_folder_default() -> PathBuf {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map_or_else(
            || PathBuf::from("darktower-data"),
            |data| data.join("darktower"),
        )
}

/// Makes a folder that only its owner may look into; one that is there stays as
/// it is.
pub(crate) fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
