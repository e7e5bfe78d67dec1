//! Archives of pg_dump against pg_restore, which must write the same SQL; against facts that others
//! counted, where it is too old to read them; and against damage and malice.

#[path = "../lab/mod.rs"]
mod lab;

mod build;
mod corpus;
mod damage;
mod fresh;
mod hostile;
mod memory;
mod told;
mod versions;
