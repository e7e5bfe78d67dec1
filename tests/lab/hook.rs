//! Somebody who is told how runs went: a little HTTP server on loopback that writes down what comes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What came: method, path with query, and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: String,
}

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Status(u16),
    /// Takes the request and says nothing.
    Never,
    /// Takes the request and cuts the connection.
    Cut,
    /// Sends one elsewhere, to `/elsewhere` of itself.
    Redirect,
}

/// The server; it ends with this.
pub struct Hook {
    port: u16,
    came: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
}

/// A connection, whatever is spoken around it.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

impl Hook {
    pub fn start(answer: Answer) -> Hook {
        Hook::behind(answer, |stream| Box::new(stream))
    }

    /// One whose connections are `dressed`, as in TLS.
    pub fn behind(answer: Answer, dressed: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static) -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (came, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (list, end) = (came.clone(), over.clone());
        std::thread::spawn(move || {
            // those that hang stay open as long as the server
            let mut open = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let mut stream = dressed(stream);
                let Some(request) = read(&mut stream) else { continue };
                list.lock().unwrap().push(request);
                open.extend(reply(stream, answer));
            }
        });
        Hook { port, came, over }
    }

    /// A URL of it; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The same by TLS.
    pub fn https(&self, path: &str) -> String {
        self.url(path).replacen("http", "https", 1)
    }

    /// What came so far.
    pub fn came(&self) -> Vec<Request> {
        self.came.lock().unwrap().clone()
    }

    /// Methods and paths of what came so far.
    pub fn paths(&self) -> Vec<String> {
        self.came().iter().map(|r| format!("{} {}", r.method, r.path)).collect()
    }

    /// The body of the only request, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let came = self.came();
        assert_eq!(came.len(), 1, "{came:?}");
        serde_json::from_str(&came[0].body).unwrap()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn read(stream: &mut dyn Stream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (method, rest) = line.trim_end().split_once(' ')?;
    let path = rest.strip_suffix(" HTTP/1.1")?.to_owned();
    let method = method.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, body: String::from_utf8(body).ok()? })
}

/// Answers; gives back a connection that is to stay open.
fn reply(mut stream: Box<dyn Stream>, answer: Answer) -> Option<Box<dyn Stream>> {
    let head = match answer {
        Answer::Never => return Some(stream),
        Answer::Cut => return None,
        Answer::Status(status) => format!("HTTP/1.1 {status} So\r\n"),
        Answer::Redirect => "HTTP/1.1 302 So\r\nlocation: /elsewhere\r\n".to_owned(),
    };
    let _ = stream.write_all(format!("{head}content-length: 2\r\nconnection: close\r\n\r\nok").as_bytes());
    let _ = stream.flush();
    None
}
