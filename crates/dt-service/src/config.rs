//! One loader for configuration: a TOML file, the environment over it, flags
//! over both.
//!
//! Each component owns its settings as a type with `#[serde(default,
//! deny_unknown_fields)]`; [`load`] fills it before any port is bound. What is
//! wrong is named by file and line, by variable, or by flag.
//!
//! Environment variables are the prefix and the path of the setting in capital
//! letters, with two underscores between levels: `DARKTOWER_UP__HANDLERS=2` is
//! `handlers` in `[up]`.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that is not understood.
    #[error("{}, line {line}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A variable of the environment is not understood.
    #[error("the environment variable {name}: {message}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value given on the command line does not fit.
    #[error("the command line: {0}")]
    Flags(String),
}

/// Puts file, environment and flags together.
///
/// `environment` are the variables whose names begin with `prefix`, others are
/// passed over; `flags` are laid over the rest as they are.
///
/// # Errors
/// When a source is unreadable, or names a setting that does not exist.
pub fn load<T: DeserializeOwned>(
    file: Option<&Path>,
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: Table,
) -> Result<T, ConfigError> {
    let mut table = match file {
        Some(path) => read::<T>(path)?,
        None => Table::new(),
    };
    // In order of names, so that an error does not depend on chance.
    let mut variables: Vec<_> = environment
        .into_iter()
        .filter_map(|(name, value)| {
            let path = name.strip_prefix(prefix)?.to_lowercase();
            Some((name, path, value))
        })
        .collect();
    variables.sort();
    for (name, path, value) in variables {
        table = with_variable::<T>(&table, &path, &value)
            .map_err(|message| ConfigError::Environment { name, message })?;
    }
    merge(&mut table, flags);
    T::deserialize(table).map_err(|error| ConfigError::Flags(error.message().to_owned()))
}

/// The file's table, after it was found to fit by itself: only its own text
/// can tell the line.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |error: toml::de::Error| {
        let before = error.span().map_or("", |span| &text[..span.start]);
        ConfigError::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            message: error.message().to_owned(),
        }
    };
    toml::from_str::<T>(&text).map_err(wrong)?;
    toml::from_str(&text).map_err(wrong)
}

/// The table with one variable laid over it. A variable has no type: what reads
/// as a TOML value is tried as one first, then as text.
fn with_variable<T: DeserializeOwned>(
    table: &Table,
    path: &str,
    value: &str,
) -> Result<Table, String> {
    let typed = toml::from_str::<Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"));
    let mut message = String::new();
    for value in typed.into_iter().chain([Value::String(value.to_owned())]) {
        let mut levels = path.rsplit("__");
        let last = levels.next().unwrap_or(path);
        let overlay = levels.fold(
            Table::from_iter([(last.to_owned(), value)]),
            |inner, level| Table::from_iter([(level.to_owned(), Value::Table(inner))]),
        );
        let mut merged = table.clone();
        merge(&mut merged, overlay);
        match T::deserialize(merged.clone()) {
            Ok(_) => return Ok(merged),
            Err(error) => message = error.message().to_owned(),
        }
    }
    Err(message)
}

/// Lays `over` over `table`, level by level.
fn merge(table: &mut Table, over: Table) {
    for (name, value) in over {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        name: String,
        handlers: u32,
        limits: Limits,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Limits {
        per_minute: u32,
    }

    fn load_from(
        text: &str,
        environment: &[(&str, &str)],
        flags: Table,
    ) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("darktower.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        load(Some(&path), "DARKTOWER_", environment, flags)
    }

    #[test]
    fn flags_go_over_the_environment_and_that_over_the_file() {
        let settings = load_from(
            "name = \"file\"\nhandlers = 1\n[limits]\nper_minute = 5\n",
            &[
                ("DARKTOWER_HANDLERS", "2"),
                ("DARKTOWER_LIMITS__PER_MINUTE", "7"),
                ("HOME", "/"),
            ],
            Table::from_iter([("handlers".to_owned(), Value::Integer(3))]),
        );
        let expected = Settings {
            name: "file".to_owned(),
            handlers: 3,
            limits: Limits { per_minute: 7 },
        };
        assert_eq!(settings.unwrap(), expected);
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line() {
        let error = load_from(
            "handlers = 1\n\n[limits]\nper_hour = 5\n",
            &[],
            Table::new(),
        );
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("darktower.toml, line 4: unknown field `per_hour`"),
            "{text}"
        );
        let error = load_from("handlers = \"many\"\n", &[], Table::new());
        let text = error.unwrap_err().to_string();
        assert!(text.contains("line 1: invalid type"), "{text}");
    }

    #[test]
    fn an_unknown_variable_is_named() {
        let error = load_from("", &[("DARKTOWER_HANDLER", "2")], Table::new());
        let text = error.unwrap_err().to_string();
        assert!(
            text.starts_with("the environment variable DARKTOWER_HANDLER: unknown field"),
            "{text}"
        );
    }

    #[test]
    fn a_text_that_looks_like_a_number_stays_a_text_where_one_is_wanted() {
        let settings = load_from("", &[("DARKTOWER_NAME", "42")], Table::new()).unwrap();
        assert_eq!(settings.name, "42");
    }

    #[test]
    fn without_any_source_all_settings_have_their_defaults() {
        let settings: Settings = load(None, "DARKTOWER_", [], Table::new()).unwrap();
        assert_eq!(settings, Settings::default());
    }
}
