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
        // On a busy machine the answer was seen to come before the end of the page was parsed.
        let whole = "return document.URL.startsWith('file:') && document.readyState === 'complete'";
        while self.run(whole) != true {
            std::thread::yield_now();
        }
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

    /// The names of the shown cards, from top to bottom.
    fn names(&self) -> Vec<String> {
        let shown = self
            .run("return [...document.querySelectorAll('#cards .card')].filter(card => !card.hidden).map(card => card.dataset.name)");
        serde_json::from_value(shown).unwrap()
    }

    /// How many findings are shown.
    fn findings(&self) -> usize {
        let script = "return [...document.querySelectorAll('#cards .card')].filter(card => !card.hidden)\
                      .flatMap(card => [...card.querySelectorAll('.finding')]).filter(one => !one.hidden).length";
        usize::try_from(self.run(script).as_u64().unwrap()).unwrap()
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
fn the_page_groups_filters_and_orders_without_a_word_on_the_console() {
    let dir = tempfile::tempdir().unwrap();
    let audit = hostile_page(dir.path());
    let findings = audit["findings"].as_array().unwrap();
    let resources: std::collections::BTreeSet<String> =
        findings.iter().map(|one| one["resource"].as_str().unwrap().to_lowercase()).collect();
    let browser = Browser::open(1280);
    browser.go(&dir.path().join("audit.html"));
    let title = browser.run("return document.title");
    assert_eq!(title, format!("azmend audit: {}", audit["scope"].as_str().unwrap()));
    assert_eq!((browser.names().len(), browser.findings()), (resources.len(), findings.len()));
    let said = |browser: &Browser| browser.run("return document.getElementById('shown').textContent");
    assert_eq!(said(&browser), format!("{0} of {0} shown", resources.len()));
    assert_eq!(browser.run("return performance.getEntriesByType('resource').length"), 0, "nothing is fetched");
    assert_eq!(browser.run("return document.querySelectorAll('main img, main script').length"), 0);

    // Worst first: causes, cards, and the findings of a card.
    let worst_first = "const order = ['high', 'medium', 'low', 'info']; const sorted = (list) => list.every((one, i) => \
        i === 0 || order.indexOf(list[i - 1]) <= order.indexOf(one)); const chips = (css) => \
        [...document.querySelectorAll(css)].map(one => one.querySelector('.chip').textContent); return \
        sorted(chips('.cause > h3:has(.chip)')) && sorted([...document.querySelectorAll('.card')].map(one => one.dataset.level)) && \
        [...document.querySelectorAll('.card')].every(card => sorted([...card.querySelectorAll('.finding')].map(one => one.dataset.level)))";
    assert_eq!(browser.run(worst_first), true);
    let causes = audit["summary"]["rules"].as_array().unwrap().len();
    assert!(browser.run("return document.querySelectorAll('.cause > h3:has(.chip)').length") == causes);
    // A name of a cause leads to its card.
    browser.click(".cause .names a");
    assert_eq!(browser.run("return document.querySelector('.card:target') !== null"), true);

    let named = |name: &str| findings.iter().filter(|one| one["name"] == name).count();
    browser.keys("#filter-text", "APP-02");
    assert!(browser.names().contains(&"app-02".to_owned()) && browser.names().len() < resources.len());
    assert!(browser.findings() >= named("app-02"));
    browser.keys("#filter-text", &"\u{E003}".repeat("app-02".len()));
    assert_eq!(browser.findings(), findings.len());
    let count = |key: &str, value: &str| findings.iter().filter(|one| one[key] == value).count();
    browser.keys("#filter-level", "high");
    assert_eq!(browser.findings(), count("level", "high"));
    browser.run(
        "document.getElementById('filter-level').value = ''; const rule = document.getElementById('filter-rule'); \
                 rule.value = 'rp-collection-limit'; rule.dispatchEvent(new Event('input'))",
    );
    assert_eq!(browser.findings(), count("rule", "rp-collection-limit"));
    browser.go(&dir.path().join("audit.html"));
    let branch = findings.iter().find(|one| one["name"] == "sub-lock").unwrap();
    browser.keys("#filter-subscription", branch["subscription_name"].as_str().unwrap());
    assert_eq!(browser.findings(), count("subscription", branch["subscription"].as_str().unwrap()));

    browser.go(&dir.path().join("audit.html"));
    let sorted = |names: &[String]| names.is_sorted_by_key(|name| name.to_lowercase());
    assert!(!sorted(&browser.names()), "worst first is another order");
    browser.keys("#order", "by name");
    assert!(sorted(&browser.names()), "{:?}", browser.names());
    assert_eq!(browser.console(), json!([]));
}

#[test]
#[ignore = "needs Chromium and chromedriver: .ci/run browser"]
fn commands_are_whole_and_can_be_copied_with_the_keyboard() {
    let dir = tempfile::tempdir().unwrap();
    let audit = hostile_page(dir.path());
    let browser = Browser::open(500);
    browser.go(&dir.path().join("audit.html"));
    // One line each, whatever its length: it scrolls.
    let lines = "return Math.max(...[...document.querySelectorAll('code.command')].map(code => \
                 Math.round((code.clientHeight - parseFloat(getComputedStyle(code).paddingTop) * 2) \
                 / parseFloat(getComputedStyle(code).lineHeight))))";
    assert_eq!(browser.run(lines), 1);
    let commands = browser.run("return document.querySelectorAll('code.command').length").as_u64().unwrap();
    assert!(commands as usize >= audit["findings"].as_array().unwrap().len());
    assert_eq!(browser.run("return document.querySelectorAll('.copy button[aria-label]').length"), commands);
    // Tab reaches the first button, Enter copies.
    browser.run("document.querySelector('.copy button').focus()");
    browser.keys(".copy button", "\u{E007}");
    std::thread::sleep(Duration::from_millis(300));
    let copied = browser.run("return document.querySelector('.copy button').textContent");
    assert!(copied == "Copied" || copied == "Selected", "{copied}");
    assert_ne!(browser.run("return document.querySelector('[role=status]').textContent"), "");
    assert_eq!(browser.console(), json!([]));
}

/// What a screen reader needs: one main part, headings without gaps, names for controls.
#[test]
#[ignore = "needs Chromium and chromedriver: .ci/run browser"]
fn the_page_can_be_heard() {
    let dir = tempfile::tempdir().unwrap();
    hostile_page(dir.path());
    let browser = Browser::open(1280);
    browser.go(&dir.path().join("audit.html"));
    let check = "const bad = []; let last = 0; for (const head of document.querySelectorAll('h1,h2,h3,h4')) { const level = +head.tagName[1]; \
        if (level > last + 1) bad.push(head.outerHTML); last = level; } \
        for (const one of document.querySelectorAll('input,select')) if (!one.closest('label')) bad.push(one.outerHTML); \
        for (const one of document.querySelectorAll('button')) if (!(one.getAttribute('aria-label') || one.textContent.trim())) \
        bad.push(one.outerHTML); for (const one of document.querySelectorAll('[aria-labelledby]')) \
        if (!document.getElementById(one.getAttribute('aria-labelledby'))) bad.push(one.outerHTML.slice(0, 80)); \
        for (const one of document.querySelectorAll('svg')) if (one.getAttribute('aria-hidden') !== 'true') bad.push('svg'); \
        if (document.querySelectorAll('main').length !== 1) bad.push('main'); return bad";
    assert_eq!(browser.run(check), json!([]));
    // The first Tab offers the way past the numbers.
    browser.keys("body", "\u{E004}");
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
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
    for width in [768, 500] {
        let narrow = Browser::open(width);
        narrow.go(&dir.path().join("audit.html"));
        fits(&narrow, &format!("{width} pixels"));
        narrow.screenshot(&format!("{width}"));
        // Narrower than a window can be.
        let phone = json!({ "width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": true });
        narrow.at(
            "POST",
            "/goog/cdp/execute",
            &json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": phone }),
        );
        fits(&narrow, "phone");
    }
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
    assert_eq!(count("#cards .finding"), audit["findings"].as_array().unwrap().len());
    assert_eq!(count("#cards [hidden]"), 0);
    assert_eq!(count("main button"), 0, "no button that does nothing");
    let form = browser.at("GET", &format!("/element/{}/css/display", browser.element("#filter")), &Value::Null);
    assert_eq!(form, "none", "no filter that does nothing");
}
