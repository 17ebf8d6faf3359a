//! What every service of Dark Tower needs around its own work: HTTP
//! conventions, certificates, the master key, configuration, supervision of
//! tasks, health.
//!
//! Deliberately absent: any rule about meetings, media or accounts.

pub mod config;
pub mod health;
pub mod http;
pub mod master_key;
pub mod supervise;
pub mod tls;
