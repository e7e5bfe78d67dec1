//! The programs against a real PostgreSQL: what is backed up comes back, and bad days lose nothing.

#[path = "../lab/mod.rs"]
mod lab;

mod backup;
mod bad_days;
mod beside;
mod ctrl_c;
mod disk;
mod guardrails;
mod hostile;
mod interrupted;
mod kin;
mod meanwhile;
mod no_rows;
mod obstacles;
mod ordinary;
mod parallel;
mod parts;
mod proof;
mod replace;
mod restore;
mod retention;
mod safety;
mod services;
mod shares;
mod sources;
mod stage;
mod swap;
mod tables;
mod transaction;
mod undo;
mod untouched;
mod worst;
