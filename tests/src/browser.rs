//! A headless Chromium, driven through its pipe.
//!
//! Owns: the protocol: JSON commands with ids, each ended by a zero byte, into file descriptor 3;
//! answers and events likewise out of 4. A shell puts the pipes there.
#![expect(clippy::unwrap_used, reason = "how a test fails")]
#![expect(clippy::disallowed_types, reason = "a browser needs real time")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A page that does not show what it should for this long does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module head. Ends with its handle.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    sent: u64,
    session: Option<String>,
}

impl Browser {
    /// Starts one with a profile in this folder, which nobody else uses meanwhile. `None` if there is
    /// no Chromium here, which must not be where everything is looked at (`GREGOR_README_ALL`).
    pub fn start(profile: &Path) -> Option<Self> {
        let script = "command -v chromium >/dev/null || exit 1
            exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
            --no-first-run --user-data-dir=\"$1\" --window-size=1400,1000 \
            --remote-debugging-pipe 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let from = BufReader::new(from);
        let mut browser = Self { child, to, from, sent: 0, session: None };
        if browser.try_call("Browser.getVersion", json!({})).is_none() {
            let status = browser.child.wait().unwrap();
            assert_eq!(status.code(), Some(1), "chromium does not start");
            let all = std::env::var_os("GREGOR_README_ALL").is_some();
            assert!(!all, "chromium is not installed");
            return None;
        }
        Some(browser)
    }

    /// Calls a method of the protocol. `None` if the browser is gone.
    fn try_call(&mut self, method: &str, arguments: Value) -> Option<Value> {
        self.sent += 1;
        let mut ask = json!({ "id": self.sent, "method": method, "params": arguments });
        if let Some(session) = &self.session {
            ask["sessionId"] = json!(session);
        }
        write!(self.to, "{ask}\0").ok()?;
        self.to.flush().ok()?;
        loop {
            let answer = self.read()?;
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return Some(answer["result"].clone());
            }
        }
    }

    fn call(&mut self, method: &str, arguments: Value) -> Value {
        self.try_call(method, arguments).unwrap()
    }

    fn read(&mut self) -> Option<Value> {
        let mut line = Vec::new();
        self.from.read_until(0, &mut line).ok()?;
        line.pop()?;
        Some(serde_json::from_slice(&line).unwrap())
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let arguments = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", arguments);
        self.session = session["sessionId"].as_str().map(str::to_owned);
        self.call("Page.enable", json!({}));
        self.call("Page.navigate", json!({ "url": url }));
        while self.read().unwrap()["method"] != "Page.loadEventFired" {}
    }

    /// What a script that yields a text yields, once the page has drawn what it asked for.
    pub fn eval(&mut self, script: &str) -> String {
        let drawn = format!(
            "new Promise((done) => {{ const said = {script}; \
             requestAnimationFrame(() => requestAnimationFrame(() => done(said))); }})"
        );
        let arguments = json!({ "expression": drawn, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", arguments);
        let said = answer["result"]["value"].as_str();
        assert!(said.is_some(), "{script}: {answer}");
        said.unwrap_or_default().to_owned()
    }

    /// Waits until a script that yields a text yields this one.
    pub fn until(&mut self, script: &str, wanted: &str) {
        let begun = Instant::now();
        loop {
            let said = self.eval(script);
            if said == wanted {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{script} is {said:?}, not {wanted:?}");
        }
    }

    /// What the page looks like, as a PNG in base64.
    pub fn screenshot(&mut self) -> String {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        answer["data"].as_str().unwrap_or_default().to_owned()
    }

    fn mouse(&mut self, kind: &str, (x, y): (f64, f64), more: &Value) {
        let mut arguments = json!({ "type": kind, "x": x, "y": y, "button": "left" });
        for (name, value) in more.as_object().into_iter().flatten() {
            arguments[name] = value.clone();
        }
        self.call("Input.dispatchMouseEvent", arguments);
    }

    /// Moves there, presses and lets go.
    pub fn click(&mut self, x: f64, y: f64) {
        self.drag((x, y), (x, y));
    }

    /// Presses at one place and lets go at another.
    pub fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        let pressed = json!({ "buttons": 1, "clickCount": 1 });
        self.mouse("mouseMoved", from, &json!({ "button": "none" }));
        self.mouse("mousePressed", from, &pressed);
        self.mouse("mouseMoved", to, &json!({ "buttons": 1 }));
        self.mouse("mouseReleased", to, &json!({ "clickCount": 1 }));
    }

    /// Turns the wheel.
    pub fn wheel(&mut self, x: f64, y: f64, by: f64) {
        let more = json!({ "button": "none", "deltaX": 0.0, "deltaY": by });
        self.mouse("mouseWheel", (x, y), &more);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.try_call("Browser.close", json!({})));
        // Only if it did not end by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
