//! What an audit writes, in the programs that read it. The page in a real browser: headless Chromium, driven by WebDriver (W3C) through its `chromedriver`.
//!
//! JUnit's XML in xmllint. Ignored unless asked for (`.ci/run browser` installs all of them and asks): the other tests need nothing but cargo.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

const AZMEND: &str = env!("CARGO_BIN_EXE_azmend");
/// The key of an element's id in WebDriver.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser that ends with the test.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    fn open(width: u32) -> Self {
        Self::open_with(width, &json!({}))
    }

    fn open_with(width: u32, prefs: &Value) -> Self {
        let mut driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().expect(
            "chromedriver is not installed: `.ci/run browser` does it, or the Debian packages chromium and chromium-driver",
        );
        let told = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = told
            .filter_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok())
            .next()
            .expect("chromedriver names its port");
        let mut browser = Self { driver, port, session: String::new() };
        let size = format!("--window-size={width},1600");
        // No namespace sandbox: in a container there is none; the page is our own file.
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &size];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args, "prefs": prefs },
            "goog:loggingPrefs": { "browser": "ALL" }
        } } });
        let session = browser.call("POST", "/session", &wanted);
        session["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser
    }

    /// One call: the value of the answer.
    fn call(&self, verb: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let body = if verb == "POST" { body.to_string() } else { String::new() };
        let head = format!(
            "{verb} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).unwrap();
        let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(answer["value"]["error"].is_null(), "{verb} {path}: {answer}");
        answer["value"].take()
    }

    fn at(&self, verb: &str, path: &str, body: &Value) -> Value {
        self.call(verb, &format!("/session/{}{path}", self.session), body)
    }

    fn go(&self, page: &Path) {
        self.at("POST", "/url", &json!({ "url": format!("file://{}", page.display()) }));
    }

    fn run(&self, script: &str) -> Value {
        self.at("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn element(&self, css: &str) -> String {
        let found = self.at("POST", "/element", &json!({ "using": "css selector", "value": css }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    fn click(&self, css: &str) {
        self.at("POST", &format!("/element/{}/click", self.element(css)), &json!({}));
    }

    fn keys(&self, css: &str, text: &str) {
        self.at("POST", &format!("/element/{}/value", self.element(css)), &json!({ "text": text }));
    }

    fn media(&self, params: &Value) {
        let body = json!({ "cmd": "Emulation.setEmulatedMedia", "params": params });
        self.at("POST", "/goog/cdp/execute", &body);
    }

    /// What the console was told: errors of scripts, of the content security policy, of loading.
    fn console(&self) -> Value {
        self.at("POST", "/se/log", &json!({ "type": "browser" }))
    }

    /// Keeps what is seen, for people to look at.
    fn screenshot(&self, name: &str) {
        let shot = self.at("GET", "/screenshot", &Value::Null);
        let png = base64::engine::general_purpose::STANDARD.decode(shot.as_str().unwrap()).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 20_000, "{name}: {} bytes show nothing", png.len());
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{name}.png")), png).unwrap();
    }

    /// The names of the shown rows, from top to bottom.
    fn names(&self) -> Vec<String> {
        let shown = self.run(
            "return [...document.querySelectorAll('#findings tbody tr')].filter(row => row.offsetParent !== null)\
             .map(row => row.querySelector('strong').textContent)",
        );
        serde_json::from_value(shown).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session; when the test failed before, with itself.
        if !self.session.is_empty() && !std::thread::panicking() {
            self.at("DELETE", "", &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn azmend(dir: &Path, words: &[&str]) {
    let out = Command::new(AZMEND).args(words).env_clear().env("HOME", dir).current_dir(dir).output().unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
}

/// The built-in estate, with texts that would like to be more than text.
fn hostile_page(dir: &Path) -> Value {
    let estate = include_str!("../../examples/estates/built-in.yaml");
    let hostile = estate.replace("Protect backups.", "<img src=x onerror=alert(1)><script>alert(2)</script>'\\\"");
    assert_ne!(hostile, estate);
    std::fs::write(dir.join("estate.yaml"), hostile).unwrap();
    azmend(dir, &["--sandbox=estate.yaml", "audit", "--out", "audit.html", "--out", "audit.json"]);
    serde_json::from_str(&std::fs::read_to_string(dir.join("audit.json")).unwrap()).unwrap()
}

#[test]
#[ignore = "needs Chromium and chromedriver: .ci/run browser"]
fn the_page_renders_filters_and_sorts_without_a_word_on_the_console() {
    let dir = tempfile::tempdir().unwrap();
    let audit = hostile_page(dir.path());
    let findings = audit["findings"].as_array().unwrap();
    let browser = Browser::open(1280);
    browser.go(&dir.path().join("audit.html"));
    let title = browser.run("return document.title");
    assert_eq!(title, format!("azmend audit: {}", audit["scope"].as_str().unwrap()));
    assert_eq!(browser.names().len(), findings.len());
    let said = |browser: &Browser| browser.run("return document.getElementById('shown').textContent");
    assert_eq!(said(&browser), format!("{0} of {0} shown", findings.len()));
    assert!(browser.run("return document.querySelectorAll('svg rect').length").as_u64().unwrap() > 8);
    assert_eq!(browser.run("return performance.getEntriesByType('resource').length"), 0, "nothing is fetched");
    assert_eq!(browser.run("return document.querySelectorAll('main img, main script').length"), 0);

    let named = |name: &str| findings.iter().filter(|one| one.to_string().contains(name)).count();
    browser.keys("#filter-text", "APP-02");
    assert!(named("app-02") > 1 && browser.names().len() == named("app-02"), "{:?}", browser.names());
    browser.keys("#filter-text", &"\u{E003}".repeat("app-02".len()));
    assert_eq!(browser.names().len(), findings.len());
    let count = |key: &str, value: &str| findings.iter().filter(|one| one[key] == value).count();
    browser.keys("#filter-level", "high");
    assert_eq!(browser.names().len(), count("level", "high"));
    browser.keys("#filter-rule", "rp-collection-limit");
    assert_eq!(browser.names().len(), count("rule", "rp-collection-limit"));
    assert_eq!(said(&browser), format!("{} of {} shown", count("rule", "rp-collection-limit"), findings.len()));
    browser.go(&dir.path().join("audit.html"));
    let branch = findings.iter().find(|one| one["name"] == "sub-lock").unwrap();
    browser.keys("#filter-subscription", branch["subscription_name"].as_str().unwrap());
    assert_eq!(browser.names().len(), count("subscription", branch["subscription"].as_str().unwrap()));

    browser.go(&dir.path().join("audit.html"));
    let resource = "#findings thead th:nth-child(3)";
    let sorted = |names: &[String]| names.is_sorted_by_key(|name| name.to_lowercase());
    assert!(!sorted(&browser.names()), "worst first is another order");
    browser.click(&format!("{resource} button"));
    assert!(sorted(&browser.names()), "{:?}", browser.names());
    let direction = |wanted: &str| {
        let script = format!("return document.querySelector('{resource}').getAttribute('aria-sort')");
        assert_eq!(browser.run(&script), wanted);
    };
    direction("ascending");
    browser.click(&format!("{resource} button"));
    direction("descending");
    let mut names = browser.names();
    names.reverse();
    assert!(sorted(&names), "{names:?}");
    browser.click("#findings thead th:nth-child(1) button");
    let levels = "return [...document.querySelectorAll('#findings tbody tr')].map(row => row.dataset.level).join(' ')";
    assert!(browser.run(levels).as_str().unwrap().starts_with("high high"));
    assert_eq!(browser.console(), json!([]));
}

/// Contrast by WCAG 2.1 of every text against the page, the smallest first.
const CONTRAST: &str = r"
  const parse = (text) => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const back = (el) => { for (; el; el = el.parentElement) { const c = parse(getComputedStyle(el).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  let worst = [99, ''];
  for (const el of document.querySelectorAll('main *')) {
    if (![...el.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(el), svg = el.namespaceURI.endsWith('svg');
    const [a, b] = [light(parse(svg ? style.fill : style.color)), light(back(el))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) worst = [ratio, el.outerHTML.slice(0, 80)];
  }
  return worst;";

#[test]
#[ignore = "needs Chromium and chromedriver: .ci/run browser"]
fn the_page_is_legible_in_light_and_dark_on_paper_and_on_a_phone() {
    let dir = tempfile::tempdir().unwrap();
    hostile_page(dir.path());
    let fits = |browser: &Browser, name: &str| {
        let over = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert!(over.as_i64().unwrap() <= 0, "{name}: {over} pixels do not fit");
    };
    let desk = Browser::open(1280);
    desk.go(&dir.path().join("audit.html"));
    let mut pages = Vec::new();
    for scheme in ["light", "dark"] {
        desk.media(&json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }));
        let worst = desk.run(CONTRAST);
        assert!(worst[0].as_f64().unwrap() >= 4.5, "{scheme}: {worst}");
        fits(&desk, scheme);
        desk.screenshot(scheme);
        pages.push(desk.run("return getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(pages[0], pages[1]);
    desk.media(&json!({ "media": "print" }));
    assert_eq!(desk.run("return getComputedStyle(document.getElementById('filter')).display"), "none");
    assert_eq!(desk.console(), json!([]));
    let phone = Browser::open(500);
    phone.go(&dir.path().join("audit.html"));
    fits(&phone, "phone");
    phone.screenshot("phone");
}

#[test]
#[ignore = "needs xmllint: .ci/run browser"]
fn junit_is_valid_by_the_published_schema() {
    let dir = tempfile::tempdir().unwrap();
    hostile_page(dir.path());
    azmend(
        dir.path(),
        &["--sandbox=estate.yaml", "audit", "--baseline", "audit.json", "--plans", "--out", "audit.xml"],
    );
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/published/junit-10.xsd");
    let check = || {
        let mut command = Command::new("xmllint");
        command.args(["--noout", "--nonet", "--schema", schema, "audit.xml"]).current_dir(dir.path());
        command.output().expect("xmllint is in the Debian package libxml2-utils")
    };
    let out = check();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(dir.path().join("audit.xml")).unwrap();
    std::fs::write(
        dir.path().join("audit.xml"),
        text.replace("<testcase ", "<test ").replace("</testcase>", "</test>"),
    )
    .unwrap();
    assert!(!check().status.success(), "a check that cannot fail shows nothing");
}

#[test]
#[ignore = "needs Chromium and chromedriver: .ci/run browser"]
fn without_javascript_the_tables_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let audit = hostile_page(dir.path());
    let browser = Browser::open_with(1280, &json!({ "profile.managed_default_content_settings.javascript": 2 }));
    browser.go(&dir.path().join("audit.html"));
    let count = |css: &str| {
        let found = browser.at("POST", "/elements", &json!({ "using": "css selector", "value": css }));
        found.as_array().unwrap().len()
    };
    assert_eq!((count("html"), count("html.js")), (1, 0), "the script does not run");
    assert_eq!(count("#findings tbody tr"), audit["findings"].as_array().unwrap().len());
    assert_eq!(count("#findings tbody tr[hidden]"), 0);
    assert_eq!(count("#findings th button"), 0, "no button that does nothing");
    let form = browser.at("GET", &format!("/element/{}/css/display", browser.element("#filter")), &Value::Null);
    assert_eq!(form, "none", "no filter that does nothing");
}
