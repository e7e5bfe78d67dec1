//! What needs Docker: the stack, from nothing to its removal, and services of other projects.
#![cfg(test)]
#![allow(clippy::unwrap_used)]

mod archive;
mod cluster;
mod drill;
mod moment;
mod ordinary;
mod podman;
mod services;
mod stage;
mod volumes;

#[allow(dead_code)]
#[path = "../volumes/stage.rs"]
mod folder;
#[allow(dead_code)] // of what it has for the local server we use a part
#[path = "../make/host.rs"]
mod host;
#[path = "../lab/mod.rs"]
mod lab;

use std::process::{Command, Stdio};

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}
