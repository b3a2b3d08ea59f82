//! What a probe printed, taken apart strictly.
//!
//! Duty: pure. Invariants: the first line and the last line are those of this version, every other line is a key that the
//! probe of this system prints, once, with a value of its form. Anything else (a line that was cut off, a text between
//! the lines, an unknown word) makes the whole unread: a script that was changed or an output that lost its beginning
//! says nothing (Run Command returns only the last 4096 bytes). It must never guess.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{AgentConf, Com, Crashes, Dhcp, Exclusions, GuestFacts, GuestOs, Service, Writer, Writers};
use crate::facts::vm_facts::Part;

/// The first line.
const FIRST: &str = "azmend-probe/1";
/// The last line.
const LAST: &str = "end=azmend-probe/1";
/// The services that the Windows probe names.
pub const WINDOWS_SERVICES: [&str; 11] = [
    "VSS",
    "SwPrv",
    "COMSysApp",
    "EventSystem",
    "MSDTC",
    "CryptSvc",
    "RpcSs",
    "msiserver",
    "Dhcp",
    "WindowsAzureGuestAgent",
    "RdAgent",
];
/// The states of `Win32_Service`, without blanks.
const STATES: [&str; 7] =
    ["Running", "Stopped", "StartPending", "StopPending", "ContinuePending", "PausePending", "Paused"];
/// The start modes of `Win32_Service`.
const STARTS: [&str; 5] = ["Auto", "Manual", "Disabled", "Boot", "System"];
/// The most writers that are named.
const MOST_WRITERS: usize = 8;

/// The lines between the first and the last, by their keys.
struct Lines<'a> {
    at: Timestamp,
    left: BTreeMap<&'a str, &'a str>,
}

/// Reads what the probe of `os` printed.
///
/// # Errors
/// What does not fit, in a fragment for people.
pub fn parse(text: &str, os: GuestOs, at: Timestamp) -> Result<GuestFacts, String> {
    let mut lines = Lines::of(text, at)?;
    let said = lines.take("os")?;
    if said != os.word() {
        return Err("the probe did not name the system that Azure names".to_owned());
    }
    let facts = match os {
        GuestOs::Windows => lines.windows(),
        GuestOs::Linux => lines.linux(),
    }?;
    match lines.left.keys().next() {
        None => Ok(facts),
        Some(key) => Err(format!("the probe printed something unknown: {}", crate::text::safe(key))),
    }
}

impl<'a> Lines<'a> {
    fn of(text: &'a str, at: Timestamp) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let [first, rest @ ..] = lines.as_slice() else { return Err("the probe printed nothing".to_owned()) };
        if *first != FIRST {
            return Err("the output of the probe has no start".to_owned());
        }
        let [rest @ .., last] = rest else { return Err("the output of the probe has no end".to_owned()) };
        if *last != LAST {
            return Err("the output of the probe has no end".to_owned());
        }
        let mut left = BTreeMap::new();
        for line in rest {
            let Some((key, value)) = line.split_once('=') else {
                return Err("the probe printed a line that is no fact".to_owned());
            };
            if left.insert(key, value).is_some() {
                return Err(format!("the probe reported {} twice", crate::text::safe(key)));
            }
        }
        Ok(Self { at, left })
    }

    /// A line that must be there.
    fn take(&mut self, key: &str) -> Result<&'a str, String> {
        self.left.remove(key).ok_or_else(|| format!("the probe did not report {key}"))
    }

    /// A fact that may be unread or absent.
    fn part<T>(&mut self, key: &str, form: impl FnOnce(&str) -> Option<T>) -> Result<Part<T>, String> {
        let value = self.take(key)?;
        if let Some(why) = value.strip_prefix("unread ") {
            return Ok(Part::Unread { why: crate::text::safe(why) });
        }
        if value == "absent" {
            return Ok(Part::Absent { at: self.at });
        }
        let value = form(value).ok_or_else(|| format!("the probe reported something unknown about {key}"))?;
        Ok(Part::Known { at: self.at, value })
    }

    fn windows(&mut self) -> Result<GuestFacts, String> {
        let mut facts = GuestFacts::nothing(GuestOs::Windows);
        for name in WINDOWS_SERVICES {
            let part = self.part(&format!("service.{name}"), service(&STATES, &STARTS))?;
            facts.services.insert(name.to_owned(), part);
        }
        facts.dtc_network_service = self.part("dtc.account", |text| match text {
            "network-service" => Some(true),
            "other" => Some(false),
            _ => None,
        })?;
        facts.vc_runtime = self.part("vc.x64", |text| {
            let parts: Vec<&str> = text.split('.').collect();
            (parts.len() == 4 && parts.iter().all(|part| part.parse::<u32>().is_ok())).then(|| text.to_owned())
        })?;
        facts.dhcp = self.part("dhcp", |text| {
            let (dynamic, all) = pair(text)?;
            (dynamic <= all).then_some(Dhcp { dynamic, all })
        })?;
        facts.crashes = self.part("crash", |text| {
            let (count, last) = text.split_once(' ')?;
            let count = count.parse().ok()?;
            let last = if last == "-" { None } else { Some(last.parse().ok()?) };
            ((count == 0) == last.is_none()).then_some(Crashes { count, last })
        })?;
        facts.defender = self.part("defender", |text| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })?;
        let plugins = self.part("exclusion.plugins", yes)?;
        let logs = self.part("exclusion.logs", yes)?;
        facts.exclusions = both(plugins, logs);
        facts.com = self.part("com", |text| match text.split_once(' ') {
            None if text == "works" => Some(Com::Works),
            Some(("fails", code)) if hresult(code) => Some(Com::Fails(code.to_owned())),
            _ => None,
        })?;
        facts.writers = self.writers()?;
        Ok(facts)
    }

    fn writers(&mut self) -> Result<Part<Writers>, String> {
        let part = self.part("writers", pair)?;
        let Part::Known { at, value: (all, unwell) } = part else {
            return Ok(match part {
                Part::Unread { why } => Part::Unread { why },
                _ => return Err("the probe reported something unknown about writers".to_owned()),
            });
        };
        if unwell > all || all == 0 {
            return Err("the probe reported something unknown about writers".to_owned());
        }
        let mut named = Vec::new();
        for number in 1..=MOST_WRITERS.min(unwell as usize) {
            let key = format!("writer.{number}");
            let line = self.take(&key)?;
            named.push(writer(line).ok_or_else(|| format!("the probe reported something unknown about {key}"))?);
        }
        Ok(Part::Known { at, value: Writers { all, unwell, named } })
    }

    fn linux(&mut self) -> Result<GuestFacts, String> {
        let mut facts = GuestFacts::nothing(GuestOs::Linux);
        let agent = self.part("service.agent", |text| {
            let (state, start) = text.split_once(' ')?;
            let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            (word(state) && word(start)).then(|| Service { state: state.to_owned(), start: start.to_owned() })
        })?;
        facts.services.insert("agent".to_owned(), agent);
        let mut setting = |key: &str| {
            self.part(key, |text| {
                let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
                (!text.is_empty() && text.len() <= 20 && text.chars().all(good)).then(|| text.to_owned())
            })
        };
        let enabled = setting("conf.Extensions.Enabled")?;
        let enable = setting("conf.Extensions.Enable")?;
        let provisioning = setting("conf.Provisioning.Agent")?;
        facts.agent_conf = match (enabled, enable, provisioning) {
            (Part::Known { at, value: enabled }, Part::Known { value: enable, .. }, Part::Known { value, .. }) => {
                Part::Known { at, value: AgentConf { enabled, enable, provisioning: value } }
            }
            (Part::Unread { why }, ..) | (_, Part::Unread { why }, _) | (.., Part::Unread { why }) => {
                Part::Unread { why }
            }
            _ => return Err("the probe reported something unknown about waagent.conf".to_owned()),
        };
        Ok(facts)
    }
}

fn service<'a>(states: &'a [&str], starts: &'a [&str]) -> impl Fn(&str) -> Option<Service> + 'a {
    |text| {
        let (state, start) = text.split_once(' ')?;
        (states.contains(&state) && starts.contains(&start))
            .then(|| Service { state: state.to_owned(), start: start.to_owned() })
    }
}

fn pair(text: &str) -> Option<(u32, u32)> {
    let (one, other) = text.split_once(' ')?;
    Some((one.parse().ok()?, other.parse().ok()?))
}

fn yes(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn both(plugins: Part<bool>, logs: Part<bool>) -> Part<Exclusions> {
    match (plugins, logs) {
        (Part::Known { at, value: plugins }, Part::Known { value: logs, .. }) => {
            Part::Known { at, value: Exclusions { plugins, logs } }
        }
        (Part::Unread { why }, _) | (_, Part::Unread { why }) => Part::Unread { why },
        (Part::Absent { at }, _) | (_, Part::Absent { at }) => Part::Absent { at },
    }
}

fn hresult(code: &str) -> bool {
    code.len() == 10 && code.starts_with("0x") && code.chars().skip(2).all(|c| c.is_ascii_hexdigit())
}

fn writer(line: &str) -> Option<Writer> {
    let mut words = line.splitn(3, ' ');
    let state = words.next()?.parse().ok()?;
    let error = match words.next()? {
        "none" => false,
        "error" => true,
        _ => return None,
    };
    let name = words.next().filter(|name| !name.is_empty())?;
    Some(Writer { name: crate::text::safe(name), state, error })
}
