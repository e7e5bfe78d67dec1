//! What is told of a run: as JSON, as the text of a chat, as plain text.

use std::time::Duration;

use serde_json::json;

/// No message is longer than so many bytes: what takes them has limits of its own.
pub(super) const LONGEST: usize = 3000;

/// How a run ended.
pub(super) struct Outcome {
    pub(super) tool: &'static str,
    pub(super) host: String,
    pub(super) exit_code: u8,
    pub(super) duration: Duration,
    pub(super) artifacts: Vec<String>,
    /// Lines without control characters.
    pub(super) message: String,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self.exit_code {
            0 => "success",
            3 => "partial",
            _ => "failure",
        }
    }

    /// The message, cut where it is too long.
    fn message(&self) -> String {
        let mut end = self.message.len().min(LONGEST);
        while !self.message.is_char_boundary(end) {
            end -= 1;
        }
        let cut = if end < self.message.len() { " …" } else { "" };
        format!("{}{cut}", &self.message[..end])
    }

    fn headline(&self) -> String {
        let (tool, host, word) = (self.tool, &self.host, self.word());
        format!("{tool} on {host}: {word} (exit {}) in {:.1} s", self.exit_code, self.duration.as_secs_f64())
    }
}

/// One object; `docs/formats.md` describes it.
pub(super) fn json(outcome: &Outcome) -> String {
    json!({
        "tool": outcome.tool,
        "host": outcome.host,
        "outcome": outcome.word(),
        "exit_code": outcome.exit_code,
        "duration_ms": outcome.duration.as_millis() as u64,
        "artifacts": outcome.artifacts,
        "message": outcome.message(),
    })
    .to_string()
}

/// For people.
pub(super) fn text(outcome: &Outcome) -> String {
    format!("{}\n{}\n", outcome.headline(), outcome.message())
}

/// The text of a chat. What comes from a database stands in a block of code, where no `@all` or
/// `<!channel>` in the name of a table calls anybody.
pub(super) fn slack(outcome: &Outcome) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let message = escaped(&outcome.message().replace('`', "'"));
    let block = if message.is_empty() { String::new() } else { format!("\n```\n{message}\n```") };
    json!({ "text": format!("{}{block}", escaped(&outcome.headline())) }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(message: &str) -> Outcome {
        Outcome {
            tool: "t",
            host: "h".into(),
            exit_code: 1,
            duration: Duration::from_millis(1250),
            artifacts: vec!["a\"b".into()],
            message: message.into(),
        }
    }

    #[test]
    fn names_call_nobody_in_a_chat() {
        let text = slack(&outcome("table <!channel> `@all` ``` & more"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let want =
            "t on h: failure (exit 1) in 1.2 s\n```\ntable &lt;!channel&gt; '@all' ''' &amp; more\n```";
        assert_eq!(value["text"], want);
    }

    #[test]
    fn a_long_message_is_cut_between_letters() {
        let long = "ü".repeat(LONGEST);
        let message = outcome(&long).message();
        assert!(message.len() <= LONGEST + 4 && message.ends_with("ü …"), "{}", message.len());
        assert_eq!(outcome("short").message(), "short");
    }
}
