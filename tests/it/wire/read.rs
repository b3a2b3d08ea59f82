//! The reader: folders of recorded traffic in the formats people publish it in.
//!
//! Duty: every request and response of a folder as one type, whatever the file was written by: VCR YAML (azure-cli and
//! the Python SDKs), go-vcr YAML (azure-service-operator), session records (PowerShell, .NET, Java), single exchanges
//! and OpenAPI examples. A file or an interaction that cannot be read is reported, never skipped in silence.

use std::fmt;
use std::path::{Path, PathBuf};

use azmend::arm::http::{HeaderName, HeaderValue, Method, Request, Response};
use bytes::Bytes;
use serde_json::Value;
use url::Url;

/// One request and its response.
#[derive(Clone)]
pub struct Exchange {
    /// The file, relative to the folder.
    pub file: String,
    /// Which one of the file, from 0.
    pub index: usize,
    /// The verb; `EXAMPLE` when the file says nothing about the request.
    pub method: String,
    /// Path and query at the public endpoint.
    pub url: Url,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// What a file held.
pub struct FileRead {
    pub file: String,
    pub exchanges: Vec<Exchange>,
    /// What could not be read, one line each.
    pub unread: Vec<String>,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {} {} -> {}", self.file, self.index, self.method, self.url.path(), self.status)
    }
}

impl Exchange {
    pub fn is_example(&self) -> bool {
        self.method == EXAMPLE
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body)).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The response as the gateway gets it.
    pub fn response(&self) -> Response {
        let mut response = Response::empty(self.status);
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                response.headers.append(name, value);
            }
        }
        response.body = self.body.clone();
        response
    }

    /// The request as the gateway sends it.
    pub fn request(&self) -> Request {
        Request::new(self.method.parse().unwrap_or(Method::GET), self.url.clone())
    }

    /// Decoded segments of the path; empty ones left out. (The Java recordings escape the slashes of a scope.)
    pub fn segments(&self) -> Vec<String> {
        let path = percent_decode(self.url.path());
        path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    }
}

pub const EXAMPLE: &str = "EXAMPLE";

fn percent_decode(text: &str) -> String {
    let with_marks = text.replace('+', "%2B");
    let pair = format!("x={with_marks}");
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Reads every file of a folder laid out as `recordings`, `errors/exchanges`, `spec-examples`.
pub fn read_folder(folder: &Path) -> Vec<FileRead> {
    let mut files = Vec::new();
    for part in ["recordings", "errors/exchanges", "spec-examples"] {
        walk(&folder.join(part), &mut files);
    }
    files.sort();
    files.iter().map(|file| read_file(folder, file)).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let known = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if path.is_dir() {
            walk(&path, files);
        } else if known {
            files.push(path);
        }
    }
}

fn read_file(folder: &Path, path: &Path) -> FileRead {
    let file = path.strip_prefix(folder).unwrap_or(path).display().to_string().replace('\\', "/");
    let mut read = FileRead { file: file.clone(), exchanges: Vec::new(), unread: Vec::new() };
    let document = match document(path) {
        Ok(document) => document,
        Err(why) => {
            read.unread.push(why);
            return read;
        }
    };
    let list = |key: &str| document.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let (items, parse): (Vec<Value>, Parse) = if document.get("interactions").is_some() {
        (list("interactions"), vcr)
    } else if document.get("Entries").is_some() {
        (list("Entries"), session_entry)
    } else if document.get("networkCallRecords").is_some() {
        (list("networkCallRecords"), java_entry)
    } else if document.get("request").is_some() && document.get("response").is_some() {
        (vec![document.clone()], exchange)
    } else if let Some(Value::Object(responses)) = document.get("responses") {
        let body =
            |(status, response): (&String, &Value)| serde_json::json!({ "status": status, "response": response });
        (responses.iter().map(body).collect(), example)
    } else {
        read.unread.push("none of the known formats".into());
        return read;
    };
    for (index, item) in items.iter().enumerate() {
        match parse(item).and_then(|raw| raw.finish(&file, index)) {
            Ok(exchange) => read.exchanges.push(exchange),
            Err(why) => read.unread.push(format!("[{index}] {why}")),
        }
    }
    read
}

fn document(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let text = text.trim_start_matches('\u{feff}');
    if path.extension().is_some_and(|e| e == "json") {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_reader_input_bytes: None, max_events: 50_000_000, max_nodes: 50_000_000,
            max_total_scalar_bytes: 1 << 30 },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string().lines().take(2).collect())
}

/// Takes one interaction apart.
type Parse = fn(&Value) -> Result<Raw, String>;

/// An exchange before its parts are checked.
struct Raw {
    method: String,
    url: String,
    status: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Raw {
    fn finish(self, file: &str, index: usize) -> Result<Exchange, String> {
        let status = self.status.parse().or_else(|_| number_of(&self.status));
        let status = status.map_err(|()| format!("the status {:?} is not known", self.status))?;
        let base: Url = "https://management.azure.com".parse().map_err(|_| "no base".to_owned())?;
        let mut url = base.join(&self.url).map_err(|error| format!("the address is not one: {error}"))?;
        // Recordings through a local proxy (Java) name that; the traffic is the endpoint's.
        if url.host_str() == Some("localhost") {
            let rest = url[url::Position::BeforePath..].to_owned();
            url = base.join(&rest).map_err(|error| format!("the address is not one: {error}"))?;
        }
        Ok(Exchange {
            file: file.to_owned(),
            index,
            method: self.method.to_uppercase(),
            url,
            status,
            headers: self.headers,
            body: Bytes::from(self.body),
        })
    }
}

/// The HTTP status codes that .NET's session records write by name.
fn number_of(name: &str) -> Result<u16, ()> {
    let known = [("OK", 200), ("Created", 201), ("Accepted", 202), ("NoContent", 204), ("BadRequest", 400)];
    let more = [("Forbidden", 403), ("NotFound", 404), ("Conflict", 409), ("InternalServerError", 500)];
    known.iter().chain(&more).find(|(word, _)| *word == name).map(|(_, code)| *code).ok_or(())
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Header values are texts or lists of texts.
fn headers(value: Option<&Value>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, value) in value.and_then(Value::as_object).into_iter().flatten() {
        match value {
            Value::Array(values) => all.extend(values.iter().map(|value| (name.clone(), text(Some(value))))),
            other => all.push((name.clone(), text(Some(other)))),
        }
    }
    all
}

fn first(value: &Value, keys: &[&str]) -> Result<String, String> {
    let found = keys.iter().map(|key| text(value.pointer(key))).find(|text| !text.is_empty());
    found.ok_or_else(|| format!("there is no {}", keys.join(" or ")))
}

/// VCR of Python (`body.string`, `status.code`, `uri`) and of Go (`body`, `code`, `url`).
fn vcr(item: &Value) -> Result<Raw, String> {
    let body = match item.pointer("/response/body") {
        Some(Value::Object(map)) if map.contains_key("string") => text(map.get("string")),
        Some(Value::Object(_)) => return Err("the body is written in an unknown way".into()),
        other => text(other),
    };
    Ok(Raw {
        method: first(item, &["/request/method"])?,
        url: first(item, &["/request/uri", "/request/url"])?,
        status: first(item, &["/response/code", "/response/status/code"])?,
        headers: headers(item.pointer("/response/headers")),
        body,
    })
}

fn session_entry(item: &Value) -> Result<Raw, String> {
    Ok(Raw {
        method: first(item, &["/RequestMethod"])?,
        url: first(item, &["/RequestUri"])?,
        status: first(item, &["/StatusCode"])?,
        headers: headers(item.get("ResponseHeaders")),
        body: text(item.get("ResponseBody")),
    })
}

fn java_entry(item: &Value) -> Result<Raw, String> {
    Ok(Raw {
        method: first(item, &["/Method"])?,
        url: first(item, &["/Uri"])?,
        status: first(item, &["/Response/StatusCode"])?,
        headers: headers(item.get("Response")).into_iter().filter(|(k, _)| k != "Body" && k != "StatusCode").collect(),
        body: text(item.pointer("/Response/Body")),
    })
}

fn exchange(item: &Value) -> Result<Raw, String> {
    let written = item.pointer("/response/body_text").filter(|body| !body.is_null());
    Ok(Raw {
        method: first(item, &["/request/method"])?,
        url: first(item, &["/request/uri"])?,
        status: first(item, &["/response/status"])?,
        headers: headers(item.pointer("/response/headers")),
        body: text(written.or_else(|| item.pointer("/response/body_json"))),
    })
}

/// An example says only what comes back. It has placeholders where Azure has GUIDs and names.
fn example(item: &Value) -> Result<Raw, String> {
    let mut body = item.pointer("/response/body").cloned().unwrap_or(Value::Null);
    fill_placeholders(&mut body);
    Ok(Raw {
        method: EXAMPLE.into(),
        url: "/".into(),
        status: first(item, &["/status"])?,
        headers: headers(item.pointer("/response/headers")),
        body: text(Some(&body)),
    })
}

const EXAMPLE_SUBSCRIPTION: &str = "11111111-1111-1111-1111-111111111111";

/// `{subscription-id}` and `subid` become a GUID; the braces of other placeholders go.
fn fill_placeholders(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(fill_placeholders),
        Value::Array(items) => items.iter_mut().for_each(fill_placeholders),
        Value::String(text) if text.to_lowercase().starts_with("/subscriptions/") => {
            let mut segments: Vec<String> = text.split('/').map(|s| s.replace(['{', '}'], "")).collect();
            if let Some(subscription) = segments.get_mut(2)
                && subscription.parse::<uuid::Uuid>().is_err()
            {
                *subscription = EXAMPLE_SUBSCRIPTION.to_owned();
            }
            *text = segments.join("/");
        }
        _ => {}
    }
}
