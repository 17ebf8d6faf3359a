//! What the operator asked for: flags over environment over file.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use anyhow::{Context as _, ensure};
use dt_transport::webtransport::SharedPort;
use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

use crate::admin::place::{data_folder_default, make_private_folder};

/// Media handlers of one process: everybody has a home and a spare.
const HANDLERS: usize = 2;
/// Media handlers of one process at most; each is a path of the one endpoint.
const HANDLERS_MAX: usize = 16;
/// Threads for connections and media at most, where one port can have so many sockets.
const MEDIA_THREADS_MAX: usize = if SharedPort::SHARES_MAX < 16 {
    SharedPort::SHARES_MAX
} else {
    16
};

const ENVIRONMENT_PREFIX: &str = "DARKTOWER_";
/// Variables with the prefix that are no settings of the server: read by the
/// log, by the auth controller, and by the scripts around the binary.
const OTHER_VARIABLES: [&str; 5] = [
    "DARKTOWER_LOG",
    "DARKTOWER_MASTER_KEY",
    "DARKTOWER_BIN",
    "DARKTOWER_PROFILE",
    "DARKTOWER_INTEROP_PYTHON",
];

/// Run a whole Dark Tower in one process
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  darktower up                                    for yourself, on this machine
  darktower up --public 0.0.0.0:8443              for everybody in this network
  darktower up --public 0.0.0.0:443 --cert fullchain.pem --key privkey.pem
  darktower up --http 127.0.0.1:0                 on free ports
  darktower up --accounts                         only people with accounts create meetings

TCP and UDP of the public port must both be reachable, UDP of the HTTP/3 port
may be (clients do without it). Every flag can stand in the
configuration file and in the environment: handlers = 3, DARKTOWER_HANDLERS=3.")]
pub(crate) struct Args {
    /// Folder for the database, keys and the certificate
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Plain HTTP, for pages on this machine and proxies [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,

    /// The public port: HTTPS on TCP, WebTransport on UDP [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    public: Option<SocketAddr>,

    /// UDP port for HTTP/3, or off: the same pages and API as over HTTPS, which
    /// names it to clients for 24 hours [default: the public address, port + 1]
    #[arg(long, value_name = "ADDRESS:PORT|off")]
    http3: Option<Http3>,

    /// Certificate chain in PEM form; without one a self-signed certificate is made
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Private key of the certificate in PEM form
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Another origin whose pages may connect, like https://meet.example.com; repeatable
    #[arg(long = "origin", visible_alias = "allow-origin", value_name = "ORIGIN")]
    origins: Vec<String>,

    /// Media handlers; with two or more a meeting outlives one of them [default: 2]
    #[arg(long, value_name = "N")]
    handlers: Option<usize>,

    /// Threads for connections and media, a core each; more than one on Linux alone
    /// [default: the machine's cores less one, at least 1, at most 16]
    #[arg(long, value_name = "N")]
    media_threads: Option<usize>,

    /// Let only people who have signed in create meetings
    #[arg(long)]
    accounts: bool,

    /// Serve Prometheus metrics at this loopback address
    #[arg(long, value_name = "127.0.0.1:PORT")]
    metrics: Option<SocketAddr>,

    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print JSON, one object a line, and log in JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Where HTTP/3 is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Http3 {
    /// Beside the public port, if that is free.
    #[default]
    Beside,
    /// Here, or nowhere at all.
    At(SocketAddr),
    /// Not at all.
    Off,
}

impl FromStr for Http3 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            address => match address.parse() {
                Ok(address) => Ok(Self::At(address)),
                Err(_) => Err("neither ADDRESS:PORT nor off"),
            },
        }
    }
}

impl TryFrom<String> for Http3 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map_err(|error| format!("http3 = \"{text}\": {error}"))
    }
}

impl std::fmt::Display for Http3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Beside => f.write_str("beside the public port"),
            Self::At(address) => address.fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
}

/// The settings of `darktower up`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) data: PathBuf,
    pub(super) http: SocketAddr,
    pub(super) public: SocketAddr,
    pub(super) http3: Http3,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) origins: Vec<String>,
    pub(super) handlers: usize,
    pub(super) media_threads: usize,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) auth: auth_controller::Config,
    pub(super) global: global_controller::Config,
}

impl Default for Settings {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            data: data_folder_default(),
            http: loopback(8080),
            public: loopback(8443),
            http3: Http3::default(),
            cert: None,
            key: None,
            origins: Vec::new(),
            handlers: HANDLERS,
            media_threads: media_threads_default(),
            metrics: None,
            auth: auth_controller::Config::default(),
            global: global_controller::Config::default(),
        }
    }
}

impl Settings {
    /// Puts everything together and checks what no single source can.
    pub(super) fn load(args: Args) -> anyhow::Result<Self> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| !OTHER_VARIABLES.contains(&name.as_str()));
        let file = args.config.clone();
        let public_is_given = args.public.is_some();
        let flags = args.into_table();
        let mut settings: Self =
            dt_service::config::load(file.as_deref(), ENVIRONMENT_PREFIX, environment, flags)?;
        if settings.http.port() == 0 && !public_is_given {
            settings.public.set_port(0);
        }
        settings.check()?;
        Ok(settings)
    }

    fn check(&mut self) -> anyhow::Result<()> {
        ensure!(
            (1..=HANDLERS_MAX).contains(&self.handlers),
            "--handlers must be 1 to {HANDLERS_MAX}"
        );
        ensure!(
            (1..=MEDIA_THREADS_MAX).contains(&self.media_threads),
            "--media-threads must be 1 to {MEDIA_THREADS_MAX}"
        );
        ensure!(
            self.cert.is_some() == self.key.is_some(),
            "a certificate needs its key and a key its certificate (--cert and --key)"
        );
        if let Some(metrics) = self.metrics {
            ensure!(
                metrics.ip().is_loopback(),
                "--metrics must be a loopback address"
            );
        }
        for origin in &mut self.origins {
            *origin =
                parse_origin(origin).with_context(|| format!("--origin {origin} is no origin"))?;
        }
        Ok(())
    }

    /// The folder for data, readable by its owner only.
    pub(super) fn make_data_folder(&self) -> anyhow::Result<()> {
        make_private_folder(&self.data)
            .with_context(|| format!("can't make the folder {}", self.data.display()))
    }

    /// The address that stands in the certificate beside the local ones.
    pub(super) fn certificate_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        if !self.public.ip().is_unspecified() {
            names.push(self.public.ip().to_string());
        }
        if let Some(host) = self.global.public_url.as_ref().and_then(Url::host_str) {
            names.push(host.trim_matches(['[', ']']).to_owned());
        }
        names
    }

    /// Origins of pages that may connect. Pages of the very address that they
    /// connect to may anyway.
    pub(super) fn allowed_origins(&self, http: SocketAddr, public: SocketAddr) -> Vec<String> {
        let hosts = |address: SocketAddr| {
            let own = match address.ip() {
                ip if ip.is_unspecified() => None,
                IpAddr::V6(ip) => Some(format!("[{ip}]")),
                IpAddr::V4(ip) => Some(ip.to_string()),
            };
            own.into_iter()
                .chain(["127.0.0.1".to_owned(), "localhost".to_owned()])
        };
        let plain = hosts(http).map(|host| format!("http://{host}:{}", http.port()));
        let secure = hosts(public).map(|host| format!("https://{host}:{}", public.port()));
        let public_url = self
            .global
            .public_url
            .iter()
            .map(|url| url.origin().ascii_serialization());
        let all: BTreeSet<_> = plain
            .chain(secure)
            // As browsers write them: without a port that the scheme implies.
            .filter_map(|origin| parse_origin(&origin).ok())
            .chain(public_url)
            .chain(self.origins.iter().cloned())
            .collect();
        all.into_iter().collect()
    }
}

impl Args {
    /// What was given, as the configuration file would say it.
    fn into_table(self) -> Table {
        let text = |path: PathBuf| Value::String(path.to_string_lossy().into_owned());
        let address = |address: SocketAddr| Value::String(address.to_string());
        let number = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let given = [
            ("data", self.data.map(text)),
            ("http", self.http.map(address)),
            ("public", self.public.map(address)),
            (
                "http3",
                self.http3.map(|http3| Value::String(http3.to_string())),
            ),
            ("cert", self.cert.map(text)),
            ("key", self.key.map(text)),
            ("handlers", self.handlers.map(number)),
            ("media_threads", self.media_threads.map(number)),
            ("metrics", self.metrics.map(address)),
        ];
        let mut table: Table = given
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        if !self.origins.is_empty() {
            let origins = self.origins.into_iter().map(Value::String).collect();
            table.insert("origins".to_owned(), Value::Array(origins));
        }
        if self.accounts {
            let global = Table::from_iter([("accounts".to_owned(), Value::Boolean(true))]);
            table.insert("global".to_owned(), Value::Table(global));
        }
        table
    }
}

/// One core is left to HTTP, signaling and stores.
fn media_threads_default() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).clamp(1, MEDIA_THREADS_MAX)
}

/// An origin as browsers send it.
fn parse_origin(text: &str) -> anyhow::Result<String> {
    let url = Url::parse(text)?;
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "it must begin with https:// or http://"
    );
    ensure!(
        url.path() == "/" && url.query().is_none() && url.fragment().is_none(),
        "it has no path: scheme, host and port"
    );
    Ok(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn settings(words: &[&str]) -> anyhow::Result<Settings> {
        let args = Cli::try_parse_from([&["up"], words].concat())?.args;
        let public_is_given = args.public.is_some();
        let mut settings: Settings =
            dt_service::config::load(None, ENVIRONMENT_PREFIX, [], args.into_table())?;
        if settings.http.port() == 0 && !public_is_given {
            settings.public.set_port(0);
        }
        settings.check()?;
        Ok(settings)
    }

    #[test]
    fn a_free_port_for_http_means_a_free_public_port_too() {
        let free = settings(&["--http", "127.0.0.1:0"]).unwrap();
        assert_eq!(free.public.port(), 0);
        let given = settings(&["--http", "127.0.0.1:0", "--public", "127.0.0.1:9443"]).unwrap();
        assert_eq!(given.public.port(), 9443);
    }

    #[test]
    fn http3_is_beside_the_public_port_elsewhere_or_off() {
        assert_eq!(settings(&[]).unwrap().http3, Http3::Beside);
        assert_eq!(settings(&["--http3", "off"]).unwrap().http3, Http3::Off);
        let elsewhere = Http3::At("127.0.0.1:9444".parse().unwrap());
        let given = settings(&["--http3", "127.0.0.1:9444"]).unwrap();
        assert_eq!(given.http3, elsewhere);
        assert!(settings(&["--http3", "9444"]).is_err());

        let variable = ("DARKTOWER_HTTP3".to_owned(), "off".to_owned());
        let from_environment: Settings =
            dt_service::config::load(None, ENVIRONMENT_PREFIX, [variable], Table::new()).unwrap();
        assert_eq!(from_environment.http3, Http3::Off);
        let from_file: Settings = toml::from_str("http3 = '127.0.0.1:9444'").unwrap();
        assert_eq!(from_file.http3, elsewhere);
        let wrong = toml::from_str::<Settings>("http3 = 'on'").unwrap_err();
        assert!(wrong.to_string().contains("ADDRESS:PORT"), "{wrong}");
    }

    #[test]
    fn media_threads_come_from_flag_environment_and_file_and_leave_a_core() {
        let default = settings(&[]).unwrap().media_threads;
        let cores = std::thread::available_parallelism().unwrap().get();
        assert!((1..=16).contains(&default));
        assert!(default == 1 || default < cores);
        let most = MEDIA_THREADS_MAX.to_string();
        let given = settings(&["--media-threads", &most]).unwrap();
        assert_eq!(given.media_threads, MEDIA_THREADS_MAX);
        let variable = ("DARKTOWER_MEDIA_THREADS".to_owned(), most);
        let from_environment: Settings =
            dt_service::config::load(None, ENVIRONMENT_PREFIX, [variable], Table::new()).unwrap();
        assert_eq!(from_environment.media_threads, MEDIA_THREADS_MAX);
        let from_file: Settings = toml::from_str("media_threads = 3").unwrap();
        assert_eq!(from_file.media_threads, 3);
    }

    #[test]
    fn contradictions_are_refused_with_the_flag_s_name() {
        for (words, flag) in [
            (&["--handlers", "0"][..], "--handlers"),
            (&["--media-threads", "0"], "--media-threads must be 1 to"),
            (&["--media-threads", "17"], "--media-threads must be 1 to"),
            (&["--metrics", "0.0.0.0:9000"], "--metrics"),
            (&["--origin", "https://a.example/path"], "--origin"),
            (&["--cert", "cert.pem"], "--key"),
        ] {
            let error = format!("{:#}", settings(words).unwrap_err());
            assert!(error.contains(flag), "{error}");
        }
    }

    #[test]
    fn pages_of_both_entrances_and_of_named_origins_may_connect() {
        let settings = settings(&["--origin", "https://meet.example:443"]).unwrap();
        let http = "127.0.0.1:8080".parse().unwrap();
        let public = "192.0.2.7:443".parse().unwrap();
        let origins = settings.allowed_origins(http, public);
        for origin in [
            "http://127.0.0.1:8080",
            "http://localhost:8080",
            "https://192.0.2.7",
            "https://localhost",
            "https://meet.example",
        ] {
            assert!(
                origins.iter().any(|o| o == origin),
                "{origin} in {origins:?}"
            );
        }
    }

    #[test]
    fn accounts_is_a_setting_of_the_global_controller() {
        assert!(settings(&["--accounts"]).unwrap().global.accounts);
        assert!(!settings(&[]).unwrap().global.accounts);
    }
}
