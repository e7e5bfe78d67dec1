//! What the programs share: naming, safety, codecs, dump reading, talking to PostgreSQL.
//!
//! The modules are layers. Each may use only those listed above it; `tests/layers` holds
//! them to that. Code moves here when a second program needs it, never before, and nothing in
//! here knows which program it works for.

pub mod buffer;
pub mod exit;
pub mod stamp;

pub mod cli;
pub mod http;
pub mod out;
pub mod settings;

pub mod digest;
pub mod medium;
pub mod place;

pub mod lock;

pub mod child;
pub mod progress;
pub mod services;

pub mod codec;
pub mod store;

pub mod archive;
pub mod dump;
pub mod manifest;
pub mod source;

pub mod proof;

pub mod catalog;
pub mod retention;

pub mod beside;
pub mod guard;
pub mod instance;
pub mod patroni;
pub mod pg;
pub mod session;
pub mod via;

pub mod redis;
pub mod volume;
pub mod wal;

pub mod history;
pub mod metrics;
pub mod watch;

pub mod notify;
