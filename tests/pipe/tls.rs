//! `--notify` by https: a real TLS listener, whose certificate an authority of the test's own has signed.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::lab::hook::{Answer, Hook};
use crate::lab::run;
use crate::{Place, lab};

/// An authority, and a certificate of it.
const OPENSSL: &str = "
printf '[req]\\ndistinguished_name=n\\n[n]\\n[ca]\\nbasicConstraints=critical,CA:TRUE\\n[leaf]\\nsubjectAltName=%s\\n' \"$1\" >conf
openssl req -config conf -x509 -extensions ca -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2
openssl req -config conf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out csr.pem -subj /CN=hook
openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile conf -extensions leaf
";

/// A folder with `ca.pem`, `cert.pem` and `key.pem`, of a server that calls itself `name`.
fn authority(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut sh = Command::new("sh");
    let ran = run(sh.args(["-ec", OPENSSL, "sh", name]).current_dir(dir.path()));
    assert_eq!(ran.code, 0, "openssl is needed here (apt-get install openssl): {}", ran.err);
    dir
}

/// A hook that speaks TLS with the certificate in `dir`.
fn hook(dir: &Path) -> Hook {
    let certificate = CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    Hook::behind(Answer::Status(200), move |stream| {
        Box::new(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream))
    })
}

/// A backup that is told of at `url`, by whoever believes the certificates in `roots`.
fn backed_up(place: &Place, url: &str, roots: Option<&Path>) -> lab::Ran {
    let mut command = place.tool();
    command.args(["-q", "--notify", url, "--", "cat", "dump.sql"]);
    if let Some(roots) = roots {
        command.env("SSL_CERT_FILE", roots);
    }
    // told or not, the backup is made
    run(&mut command).exits(0)
}

#[test]
fn who_is_believed_is_told() {
    let (place, dir) = (Place::new(), authority("IP:127.0.0.1"));
    let hook = hook(dir.path());
    let ca = dir.path().join("ca.pem");
    let made = backed_up(&place, &hook.https("/hook?key=secret"), Some(&ca));
    assert_eq!(made.err, "");
    assert_eq!(hook.paths(), ["POST /hook?key=secret"]);
    assert_eq!(hook.json()["artifacts"], serde_json::json!([made.line()]));
    backed_up(&place, &format!("healthchecks:{}", hook.https("/id")), Some(&ca));
    assert_eq!(hook.paths()[1..], ["GET /id/start", "POST /id"]);
}

#[test]
fn who_is_not_believed_hears_nothing() {
    let place = Place::new();
    let (ours, other) = (authority("IP:127.0.0.1"), authority("DNS:example.org"));
    let hook_of = |dir: &TempDir| hook(dir.path());
    for (what, hook, roots) in [
        ("nobody knows its authority", hook_of(&ours), None),
        ("another authority is believed", hook_of(&ours), Some(other.path().join("ca.pem"))),
        ("its certificate is of another name", hook_of(&other), Some(other.path().join("ca.pem"))),
        ("there is no such file", hook_of(&ours), Some(ours.path().join("nowhere.pem"))),
    ] {
        let ran = backed_up(&place, &hook.https("/secret"), roots.as_deref());
        assert!(!ran.err.contains("secret"), "{what}: {}", ran.err);
        let why = if what.contains("file") { "SSL_CERT_FILE cannot be read" } else { "TLS: " };
        ran.says("cannot notify 'https://127.0.0.1:").says(why);
        assert!(hook.came().is_empty(), "{what}: {:?}", hook.came());
    }
    // and who does not speak TLS gets nothing either
    let plain = Hook::start(Answer::Status(200));
    backed_up(&place, &plain.https("/secret"), None).says("cannot notify");
    assert!(plain.came().is_empty());
    place.holds(5);
}
