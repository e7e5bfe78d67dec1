//! Dropping and creating databases, keeping what a dump of one database does not carry: its
//! owner, encoding, locale, settings and grants.

use kit::child::converse;
use kit::dump::lex::{Event, Lexer};
use kit::dump::statement::{Statement, classify};
use kit::exit::Result;
use kit::pg::{Server, identifier, literal, literal_dbname};

use crate::plan::{Plan, Target};

/// Ends the sessions of each target and drops it; creates those that the dump does not. `dropped`
/// are the names of those that are gone, also when it fails.
pub(crate) fn recreate(plan: &Plan, server: &Server, dropped: &mut Vec<String>) -> Result<()> {
    for target in &plan.targets {
        // while a database is dropped, nobody may be connected to it, we neither
        let from = if target.name == plan.entrance { "template1" } else { &plan.entrance };
        let definition = if target.by_dump { None } else { Some(definition(target, server)?) };
        if target.present.is_some() {
            server
                .query(from, &drop_sql(target, server))
                .map_err(|e| e.within(format!("cannot drop database '{}'", target.name)))?;
            dropped.push(target.name.clone());
        }
        if let Some(definition) = definition {
            server
                .query_in("UTF8", from, &definition)
                .map_err(|e| e.within(format!("cannot create database '{}'", target.name)))?;
        }
    }
    Ok(())
}

fn drop_sql(target: &Target, server: &Server) -> String {
    let name = identifier(&target.name);
    let is_template = target.present.as_ref().is_some_and(|live| live.is_template);
    let free =
        if is_template { format!("ALTER DATABASE {name} IS_TEMPLATE false;\n") } else { String::new() };
    // PostgreSQL 13 ends the sessions and drops in one step, so that none can come back between
    if server.facts().version >= 130_000 {
        return format!("{free}DROP DATABASE IF EXISTS {name} WITH (FORCE);");
    }
    format!(
        "{free}ALTER DATABASE {name} ALLOW_CONNECTIONS false;\n\
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {} AND pid <> pg_backend_pid();\n\
         DROP DATABASE IF EXISTS {name};",
        literal(&target.name)
    )
}

/// The statements that make an empty database like the one that is there now, by pg_dump itself,
/// behind those that say how they are to be read.
fn definition(target: &Target, server: &Server) -> Result<Vec<u8>> {
    let plain = format!("CREATE DATABASE {} TEMPLATE template0;", identifier(&target.name)).into_bytes();
    if target.present.is_none() {
        return Ok(plain);
    }
    let dbname = format!("--dbname={}", literal_dbname(&target.name));
    let run = server.via().run("pg_dump").connecting().args([
        "--create",
        "--schema-only",
        "--exclude-schema=*",
        &dbname,
    ]);
    let (ended, sql) = converse(&mut run.command(), "pg_dump", "")?;
    if !ended.ok() {
        let what = format!("cannot read the owner and settings of database '{}'", target.name);
        return Err(ended.error().within(what).hint(
            "To do without them drop the database yourself; then it is made with the server's defaults.",
        ));
    }
    let mut statements = Vec::new();
    let mut present = Vec::new();
    let mut found = false;
    Lexer::default().feed(&sql, &mut |event| match event {
        Event::Sql { bytes, .. } => present.extend_from_slice(bytes),
        Event::SqlEnd { .. } => {
            let statement = classify(&present);
            found |= matches!(statement, Statement::CreateDatabase(_));
            let about = matches!(statement, Statement::CreateDatabase(_) | Statement::OnDatabase);
            // the encoding and the backslashes of what follows are as these say
            if about || statement == Statement::Session {
                statements.append(&mut present);
                statements.push(b'\n');
            }
            present.clear();
        }
        _ => {}
    });
    Ok(if found { statements } else { plain })
}
