//! Requests and responses against the published OpenAPI (`tests/fixtures/openapi`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use super::schema::{Author, Files};

/// The contracts, read once.
pub static CONTRACTS: LazyLock<Contracts> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/openapi");
    Contracts::load(&root)
});

/// What is not checked, and why: verb, path (`{}` is one segment, `{scope}` any number), the api-version it must carry
/// (empty: the address is Azure's own and followed as it is), and the reason.
pub const EXEMPT: &[(&str, &str, &str, &str)] = &[
    (
        "GET",
        "/{scope}/providers/Microsoft.Authorization/permissions",
        "2022-04-01",
        "the contract of role definitions and permissions is not among the fixtures",
    ),
    (
        "GET",
        "/{scope}/providers/Microsoft.Authorization/denyAssignments",
        "2022-04-01",
        "the contract of deny assignments is not among the fixtures",
    ),
    (
        "GET",
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Compute/disks/{}",
        "2023-10-02",
        "the contract of managed disks is not among the fixtures",
    ),
    (
        "GET",
        "/subscriptions/{}/providers/Microsoft.Network/locations/{}/operationResults/{}",
        "",
        "no contract describes it: Azure gives the whole address",
    ),
    (
        "GET",
        "/{scope}/providers/Microsoft.Authorization/roleAssignments",
        "2022-04-01",
        "the contract of role assignments is not among the fixtures",
    ),
    (
        "GET",
        "/subscriptions/{}/providers/Microsoft.Authorization/policyAssignments",
        "2021-06-01",
        "the contract of policies is not among the fixtures",
    ),
    (
        "GET",
        "/providers/Microsoft.Authorization/policyDefinitions/{}",
        "2021-06-01",
        "the contract of policies is not among the fixtures",
    ),
    (
        "GET",
        "/providers/Microsoft.Authorization/policySetDefinitions/{}",
        "2021-06-01",
        "the contract of policies is not among the fixtures",
    ),
    (
        "PUT",
        "/{scope}/providers/Microsoft.Authorization/roleAssignments/{}",
        "2022-04-01",
        "the contract is not among the fixtures; as recorded in azure-cli's test_backup_encryption",
    ),
    (
        "DELETE",
        "/{scope}/providers/Microsoft.Authorization/roleAssignments/{}",
        "2022-04-01",
        "the contract of role assignments is not among the fixtures",
    ),
    (
        "GET",
        "/subscriptions/{}/providers/Microsoft.Compute/locations/{}/operations/{}",
        "",
        "no contract describes it: Azure gives the whole signed address",
    ),
    (
        "GET",
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.RecoveryServices/vaults/{}/backupJobs/{}/operationsStatus/{}",
        "",
        "no contract describes it: recorded in the Azure-AsyncOperation of a job's cancellation, with another version",
    ),
];

/// Calls whose contract is at hand in another version than the generated client sends: verb, path, the version that is
/// sent, the reason. Path and body are checked; only the version differs. There is none now: every pinned version
/// (compute 2024-07-01, locks 2020-05-01, backup and vaults 2024-04-01) is at hand.
pub const OTHER_VERSION: &[(&str, &str, &str, &str)] = &[];

/// Addresses of operations that Azure gave (`Azure-AsyncOperation`, `Location`) and azmend follows as they are: path and
/// verb are checked, the signed query is not ours.
pub const FOLLOWED: &[&str] = &["operationsStatus", "operationResults", "backupOperations"];

/// What the sandbox answers beside the contract, and why: the path template's last word, what the checker says, the reason.
pub const BESIDE: &[(&str, &str, &str)] = &[
    ("subscriptions", ".nextLink is required and missing", "a last page has no link, as in every other list"),
    ("", "hardwareProfile.vmSize is", "the enumeration ended years ago; Azure has more sizes"),
    ("backupStatus", ".objectType is not in the contract", "recorded (azure-cli, 2024-04-01)"),
    ("", ".properties.softDeleteRetentionPeriod is not in the contract", "recorded (azure-cli, 2024-04-01)"),
    ("", ".properties.sourceSideScanning is not in the contract", "recorded (azure-cli, 2024-04-01)"),
    (
        "resources",
        ".data is [",
        "recorded, and in the contract's own examples: a list of objects, where the contract says object",
    ),
    ("{jobName}", ".taskType is not in the contract", "recorded (azure-cli, 2024-04-01)"),
];

/// The parameter of the next page: it stands in a `nextLink`, which is followed as it is.
const NEXT_PAGE: &str = "$skiptoken";

/// One request as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: Value,
}

pub struct Contracts {
    files: Files,
    operations: Vec<Operation>,
}

struct Operation {
    file: String,
    version: String,
    verb: String,
    template: Vec<String>,
    /// Parameters of the path and of the verb, resolved.
    parameters: Vec<Value>,
    responses: Value,
}

/// How a request was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// By this path template of this file.
    By(String),
    /// Exempt: the entry of the list.
    Exempt(usize),
}

fn segments(path: &str) -> Vec<String> {
    let decode = |segment: &str| {
        let pair = format!("x={}", segment.replace('+', "%2B"));
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, v)| v.into_owned()).unwrap_or_default()
    };
    path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
}

/// What stands for the variables of a template; none when the path is another one. Literals are compared without case.
fn fill(template: &[String], path: &[String]) -> Option<Vec<(String, String)>> {
    let literal = |word: &str, segment: &str| !word.starts_with('{') && word.eq_ignore_ascii_case(segment);
    let variable = |word: &str| word.trim_matches(['{', '}']).to_owned();
    match template.split_first() {
        Some((first, rest)) if first == "{scope}" || first == "{resourceUri}" => {
            let scope = path.len().checked_sub(rest.len())?;
            let mut values = vec![(variable(first), path[..scope].join("/"))];
            values.extend(fill(rest, &path[scope..])?);
            (scope > 0).then_some(values)
        }
        _ if template.len() != path.len() => None,
        _ => {
            let mut values = Vec::new();
            for (word, segment) in template.iter().zip(path) {
                if word.starts_with('{') {
                    values.push((variable(word), segment.clone()));
                } else if !literal(word, segment) {
                    return None;
                }
            }
            Some(values)
        }
    }
}

impl Operation {
    fn checked(&self) -> Checked {
        Checked::By(format!("{} /{} of {}", self.verb, self.template.join("/"), self.file))
    }
}

impl Contracts {
    pub fn load(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        read(root, "", &mut files);
        let files = Files(files);
        let mut operations = Vec::new();
        for (file, document) in &files.0 {
            let version = document.pointer("/info/version").and_then(Value::as_str).unwrap_or_default();
            for (path, verbs) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
                let shared = verbs.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
                for (verb, operation) in verbs.as_object().into_iter().flatten().filter(|(v, _)| *v != "parameters") {
                    let own = operation.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
                    let resolve = |parameter: &Value| {
                        let (home, mut parameter) = {
                            let (home, found) = files.follow(file, parameter);
                            (home, found.clone())
                        };
                        parameter["__file"] = Value::String(home);
                        parameter
                    };
                    operations.push(Operation {
                        file: file.clone(),
                        version: version.to_owned(),
                        verb: verb.to_uppercase(),
                        template: path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
                        parameters: shared.iter().chain(&own).map(resolve).collect(),
                        responses: operation.get("responses").cloned().unwrap_or_default(),
                    });
                }
            }
        }
        assert!(!operations.is_empty(), "there are no contracts in {}", root.display());
        Self { files, operations }
    }

    /// The operation of a request: the template with the most literal segments.
    fn find(&self, method: &str, path: &[String]) -> Option<(&Operation, Vec<(String, String)>)> {
        let found = self.operations.iter().filter(|operation| operation.verb == method);
        let fitting = found.filter_map(|operation| Some((operation, fill(&operation.template, path)?)));
        fitting.max_by_key(|(operation, _)| operation.template.iter().filter(|word| !word.starts_with('{')).count())
    }

    /// Checks a request; says by what, or what is wrong.
    pub fn request(&self, sent: &Sent) -> Result<Checked, Vec<String>> {
        let path = segments(&sent.path);
        let query: Vec<(String, String)> = url::form_urlencoded::parse(sent.query.as_bytes()).into_owned().collect();
        let version = query.iter().find(|(name, _)| name == "api-version").map_or("", |(_, value)| value.as_str());
        for (index, (verb, template, expected, _)) in EXEMPT.iter().enumerate() {
            let template: Vec<String> = template.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
            if *verb == sent.method && fill(&template, &path).is_some() {
                if !expected.is_empty() && version != *expected {
                    return Err(vec![format!("api-version is {version:?}, not {expected}")]);
                }
                return Ok(Checked::Exempt(index));
            }
        }
        let Some((operation, values)) = self.find(&sent.method, &path) else {
            return Err(vec!["no contract has this verb and path".into()]);
        };
        let before_last = operation.template.iter().rev().nth(1);
        if before_last.is_some_and(|word| FOLLOWED.contains(&word.as_str())) {
            return Ok(operation.checked());
        }
        let mut wrong = Vec::new();
        let excused = OTHER_VERSION.iter().any(|(verb, template, other, _)| {
            let template: Vec<String> = template.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
            *verb == sent.method && *other == version && fill(&template, &path).is_some()
        });
        if version != operation.version && !excused {
            wrong.push(format!("api-version is {version:?}, the contract's is {}", operation.version));
        }
        self.parameters(operation, &values, &query, &mut wrong);
        self.body(operation, &sent.body, &mut wrong);
        if wrong.is_empty() { Ok(operation.checked()) } else { Err(wrong) }
    }

    fn parameters(
        &self,
        operation: &Operation,
        values: &[(String, String)],
        query: &[(String, String)],
        wrong: &mut Vec<String>,
    ) {
        let of = |place: &'static str| operation.parameters.iter().filter(move |p| p["in"] == place);
        let name = |parameter: &Value| parameter["name"].as_str().unwrap_or_default().to_owned();
        let typed = |parameter: &Value, text: &str| match parameter["type"].as_str() {
            Some("integer") => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
            Some("boolean") => text.parse::<bool>().map_or_else(|_| text.into(), Value::from),
            _ => Value::String(text.to_owned()),
        };
        let check = |parameter: &Value, text: &str| -> Vec<String> {
            let file = parameter["__file"].as_str().unwrap_or_default();
            let found = self.files.check(file, parameter, &typed(parameter, text), Author::Request);
            found.into_iter().map(|why| format!("parameter {}{why}", name(parameter))).collect()
        };
        for (variable, text) in values {
            if let Some(parameter) = of("path").find(|p| p["name"] == variable.as_str()) {
                wrong.extend(check(parameter, text));
            }
        }
        for (key, text) in query {
            match of("query").find(|p| name(p).eq_ignore_ascii_case(key)) {
                Some(parameter) => wrong.extend(check(parameter, text)),
                None if key.eq_ignore_ascii_case(NEXT_PAGE) => {}
                None => wrong.push(format!("parameter {key} is not in the contract")),
            }
        }
        for parameter in of("query").filter(|p| p["required"] == true) {
            if !query.iter().any(|(key, _)| key.eq_ignore_ascii_case(&name(parameter))) {
                wrong.push(format!("parameter {} is required and missing", name(parameter)));
            }
        }
    }

    fn body(&self, operation: &Operation, body: &Value, wrong: &mut Vec<String>) {
        let parameter = operation.parameters.iter().find(|p| p["in"] == "body");
        match (parameter, body) {
            (None, Value::Null) => {}
            (None, _) => wrong.push("a body was sent that the contract does not know".into()),
            (Some(parameter), Value::Null) if parameter["required"] == true => {
                wrong.push("the body is required and missing".into());
            }
            (Some(_), Value::Null) => {}
            (Some(parameter), body) => {
                let file = parameter["__file"].as_str().unwrap_or_default();
                let found = self.files.check(file, &parameter["schema"], body, Author::Request);
                wrong.extend(found.into_iter().map(|why| format!("body{why}")));
            }
        }
    }

    /// Checks a response to a request that is not exempt: its status and its body.
    pub fn response(&self, sent: &Sent, status: u16, body: &[u8]) -> Vec<String> {
        let Some((operation, _)) = self.find(&sent.method, &segments(&sent.path)) else { return Vec::new() };
        let named = operation.responses.get(status.to_string());
        let response = match named.or_else(|| operation.responses.get("default").filter(|_| status >= 400)) {
            Some(response) => response,
            // Contracts without `default` say nothing about errors.
            None if status >= 400 => return Vec::new(),
            None => return vec![format!("status {status} is not in the contract")],
        };
        let (file, response) = self.files.follow(&operation.file, response);
        let Some(schema) = response.get("schema") else {
            let text = String::from_utf8_lossy(body);
            return if text.is_empty() {
                Vec::new()
            } else {
                vec![format!("status {status} has no body, sent {text}")]
            };
        };
        let mut wrong = match serde_json::from_slice(body) {
            Ok(body) => self.files.check(&file, schema, &body, Author::Response),
            Err(error) => vec![format!("the body of a {status} is not JSON: {error}")],
        };
        let last = operation.template.last().map_or("", String::as_str);
        wrong.retain(|why| !BESIDE.iter().any(|(of, what, _)| why.contains(what) && (of.is_empty() || *of == last)));
        wrong
    }
}

fn read(root: &Path, below: &str, files: &mut BTreeMap<String, Value>) {
    let Ok(entries) = std::fs::read_dir(root.join(below)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            read(root, &path, files);
        } else if name.ends_with(".json") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            files.insert(path, document);
        }
    }
}
