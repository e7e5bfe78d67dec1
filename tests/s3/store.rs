//! A store that speaks S3, of the test's own: it verifies signatures and checksums, and keeps its objects
//! as files of a directory.

use std::collections::VecDeque;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{HttpRequest, HttpResponse};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The bucket that is there.
pub(crate) const BUCKET: &str = "keep";
const KEY: &str = "AKIATEST";
const SECRET: &str = "secret/of+the/test";

/// The store; dropped, it is gone.
pub(crate) struct Store {
    dir: TempDir,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the test sees of the requests, and does to them.
#[derive(Default)]
struct Shared {
    /// Milliseconds that each answer takes longer.
    delay: AtomicU64,
    /// So many of the next requests are answered 503.
    busy: AtomicUsize,
    /// Bytes of all answers.
    given: AtomicU64,
    /// Connections that were made.
    connections: AtomicUsize,
    /// `METHOD /path` of each request.
    seen: Mutex<VecDeque<String>>,
}

#[derive(Clone)]
struct Service {
    inner: S3Service,
    shared: Arc<Shared>,
}

impl hyper::service::Service<hyper::Request<hyper::body::Incoming>> for Service {
    type Response = HttpResponse;
    type Error = s3s::HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: hyper::Request<hyper::body::Incoming>) -> Self::Future {
        let (inner, shared) = (self.inner.clone(), self.shared.clone());
        Box::pin(async move {
            let request: HttpRequest = request.map(s3s::Body::from);
            shared.seen.lock().unwrap().push_back(format!("{} {}", request.method(), request.uri().path()));
            tokio::time::sleep(Duration::from_millis(shared.delay.load(Ordering::Relaxed))).await;
            let less = |n: usize| n.checked_sub(1);
            if shared.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
                let mut response = HttpResponse::default();
                *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                return Ok(response);
            }
            let answer = inner.call(request).await;
            let length = answer.as_ref().ok().and_then(|a| a.headers().get("content-length"));
            let length = length.and_then(|n| n.to_str().ok()?.parse().ok()).unwrap_or(0);
            shared.given.fetch_add(length, Ordering::Relaxed);
            answer
        })
    }
}

impl Store {
    pub(crate) fn start() -> Store {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let shared = Arc::new(Shared::default());
        let service = Service { inner: builder.build(), shared: shared.clone() };
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, service) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().unwrap();
        Store { dir, address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Tells a program where the store is.
    pub(crate) fn known_to<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("S3_ENDPOINT_URL", format!("http://{}", self.address))
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_REGION", "eu-central-1")
    }

    /// The file of an object.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        self.dir.path().join(BUCKET).join(key)
    }

    /// From now on each answer takes so much longer.
    pub(crate) fn slow(&self, by: Duration) {
        self.shared.delay.store(by.as_millis() as u64, Ordering::Relaxed);
    }

    /// Answers 503 to so many of the next requests.
    pub(crate) fn busy(&self, requests: usize) {
        self.shared.busy.store(requests, Ordering::Relaxed);
    }

    /// How many bytes it has given since it was last asked.
    pub(crate) fn given(&self) -> u64 {
        self.shared.given.swap(0, Ordering::Relaxed)
    }

    /// How many connections were made since it was last asked.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.swap(0, Ordering::Relaxed)
    }

    /// The requests since it was last asked.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().drain(..).collect()
    }
}

async fn serve(listener: TcpListener, service: Service) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let service = service.clone();
        service.shared.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}
