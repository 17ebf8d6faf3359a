//! How figures leave the program: as lines of tables for people, and as one
//! object of JSON a line in the file that `FIGURES` in the environment names, for
//! `BENCHMARKS.md` and its plots.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
};

use anyhow::Context as _;
use serde::Serialize;

use crate::{losses::Losses, machine::load_average, run::Outcome};

/// Where figures are recorded, if anywhere.
pub(crate) struct Report(Option<File>);

/// One measurement; what does not belong to its part is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Record {
    pub(crate) part: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receivers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offered_packets_per_s: Option<u32>,
    pub(crate) handler: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) raw: Option<Figures>,
    /// CPU a packet, by that of the raw sender; of saturation packets a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) goal: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_a_stream: Option<f64>,
    /// Where what did not arrive was lost, from the start of sending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) losses: Option<Losses>,
    /// Of the whole machine when it was measured.
    pub(crate) load_average: f64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) us_a_packet: f64,
    pub(crate) cpu_s_a_gb: f64,
    pub(crate) packets_per_s: f64,
    pub(crate) core_percent: f64,
    pub(crate) delivered_percent: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) load_core_percent: f64,
}

impl From<&Outcome> for Figures {
    fn from(outcome: &Outcome) -> Self {
        Self {
            us_a_packet: rounded(outcome.us_a_packet()),
            cpu_s_a_gb: rounded(outcome.cpu_s_a_gb()),
            packets_per_s: outcome.packets_per_s().round(),
            core_percent: rounded(outcome.busy()),
            delivered_percent: rounded(outcome.delivered),
            p50_ms: rounded(outcome.p50.as_secs_f64() * 1e3),
            p99_ms: rounded(outcome.p99.as_secs_f64() * 1e3),
            load_core_percent: rounded(outcome.load),
        }
    }
}

/// To what such figures are good for.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

impl Report {
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let Ok(path) = std::env::var("FIGURES") else {
            return Ok(Self(None));
        };
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self(Some(file.with_context(|| {
            format!("can't write figures to {path}")
        })?)))
    }

    pub(crate) fn record(&mut self, record: Record) -> anyhow::Result<()> {
        let Some(file) = &mut self.0 else {
            return Ok(());
        };
        let record = Record {
            load_average: load_average(),
            ..record
        };
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        Ok(file.write_all(&line)?)
    }
}
