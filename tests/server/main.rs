//! The programs against a real PostgreSQL: what is backed up comes back, and bad days lose nothing.

#[path = "../lab/mod.rs"]
mod lab;

mod backup;
mod bad_days;
mod hostile;
mod interrupted;
mod kin;
mod meanwhile;
mod obstacles;
mod replace;
mod restore;
mod retention;
mod services;
mod sources;
mod stage;
mod tables;
mod transaction;
mod untouched;
