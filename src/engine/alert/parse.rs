//! From bytes to [`Alerts`].

use serde_json::Value;

use super::shape::{Place, id_of};
use super::{About, Alert, AlertError, Alerts};
use crate::arm::id::{ResourceId, is_guid};
use crate::catalog::Catalog;
use crate::text::safe_short;

/// The most alerts or events at once.
const MOST: usize = 200;
const VM: &str = "Microsoft.Compute/virtualMachines";
const JOB: &str = "Microsoft.RecoveryServices/vaults/backupJobs";
const ITEM: &str = "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems";

/// Reads what was given.
///
/// # Errors
/// A sentence for people.
pub fn parse(bytes: &[u8]) -> Result<Alerts, AlertError> {
    let text = text_of(bytes)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(AlertError::NotReadable("it is empty".to_owned()));
    }
    if !text.starts_with(['{', '[']) {
        return Ok(Alerts { fired: vec![job_named(text)?], ..Alerts::default() });
    }
    let value = json(text)?;
    let mut out = Alerts::default();
    match &value {
        Value::Array(all) if all.is_empty() => return Err(AlertError::NotKnown("the list is empty".to_owned())),
        Value::Array(all) if all.len() > MOST => {
            return Err(AlertError::NotKnown(format!("the list has {} entries; {MOST} are read at most", all.len())));
        }
        Value::Array(all) => {
            for (index, one) in all.iter().enumerate() {
                read(one, &format!("[{index}]"), &mut out)?;
            }
        }
        one => read(one, "", &mut out)?,
    }
    Ok(out)
}

/// The text of bytes; UTF-16 is what Windows PowerShell writes with `>`.
fn text_of(bytes: &[u8]) -> Result<String, AlertError> {
    let wide = |from: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| from([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    let text = match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    };
    text.ok_or_else(|| AlertError::NotReadable("it is not text in UTF-8".to_owned()))
}

fn json(text: &str) -> Result<Value, AlertError> {
    serde_json::from_str(text).map_err(|error| {
        let why = error.to_string();
        let why = if why.contains("recursion limit") { "it is nested too deeply".to_owned() } else { why };
        AlertError::NotReadable(format!("its JSON cannot be read: {}", safe_short(&why, 200)))
    })
}

/// A job by its id or its GUID.
fn job_named(text: &str) -> Result<Alert, AlertError> {
    let of = |about, job| Alert { about, job, name: "a backup job".to_owned(), at: None, code: None };
    if is_guid(text) {
        return Ok(of(About::JobGuid(text.to_ascii_lowercase()), None));
    }
    let id = ResourceId::parse(text).ok().filter(|id| id.is_type(JOB));
    let why = "it starts with no { and no [, and is neither the resource id of a backup job nor a GUID";
    let id = id.ok_or_else(|| AlertError::NotReadable(why.to_owned()))?;
    Ok(of(About::Job(id.clone()), Some(id)))
}

/// One entry of what was given.
fn read(value: &Value, path: &str, out: &mut Alerts) -> Result<(), AlertError> {
    let here = if path.is_empty() { "it" } else { path };
    let Value::Object(_) = value else {
        return Err(AlertError::NotKnown(format!("{here} is not an object")));
    };
    let place = Place::of(value, path)?;
    // Automation hands the request on with its body as a text.
    if let Some(body) = place.get("RequestBody") {
        let inner;
        let body = match body {
            Value::String(text) => {
                inner = json(text.trim_start_matches('\u{feff}').trim())?;
                &inner
            }
            other => other,
        };
        let entries = body.as_array().map_or(std::slice::from_ref(body), Vec::as_slice);
        if entries.len() > MOST {
            return Err(AlertError::NotKnown(format!(
                "RequestBody has {} entries; {MOST} are read at most",
                entries.len()
            )));
        }
        for one in entries {
            if Place::of(one, "RequestBody")?.get("RequestBody").is_some() {
                return Err(AlertError::NotKnown("RequestBody has a RequestBody of its own".to_owned()));
            }
            read(one, "RequestBody", out)?;
        }
        return Ok(());
    }
    let schema = place.text("schemaId").ok().flatten().unwrap_or_default();
    let data = place.object("data").ok().flatten();
    if schema.eq_ignore_ascii_case("azureMonitorCommonAlertSchema")
        || data.as_ref().is_some_and(|data| data.get("essentials").is_some())
    {
        return common_alert(&place, out);
    }
    if !schema.is_empty() {
        return Err(AlertError::NotKnown(format!(
            "{here} is an alert of the schema {:?}: switch the common alert schema on in the action group",
            safe_short(schema, 80)
        )));
    }
    if place.get("eventType").is_some() || (place.get("specversion").is_some() && place.get("type").is_some()) {
        return event(&place, out);
    }
    if let Some(id) = place.id("id").ok().flatten().filter(|id| id.is_type(JOB)) {
        add(
            out,
            Alert {
                about: About::Job(id.clone()),
                job: Some(id),
                name: "a backup job".to_owned(),
                at: None,
                code: None,
            },
        );
        return Ok(());
    }
    let what = "no schemaId, no eventType, no specversion with type, and no id of a backup job";
    Err(AlertError::NotKnown(format!("{here} has {what}")))
}

/// An alert for something that is in the list already adds nothing.
fn add(out: &mut Alerts, alert: Alert) {
    if !out.fired.iter().any(|one| one.about.as_str().eq_ignore_ascii_case(alert.about.as_str())) {
        out.fired.push(alert);
    }
}

fn common_alert(place: &Place<'_>, out: &mut Alerts) -> Result<(), AlertError> {
    let missing = |key: &str| AlertError::Wrong(format!("the alert has no {key}"));
    let data = place.object("data")?.ok_or_else(|| missing("data"))?;
    let essentials = data.object("essentials")?.ok_or_else(|| missing("data.essentials"))?;
    let name = safe_short(essentials.text("alertRule")?.unwrap_or("an alert without a name"), 120);
    let condition = essentials.text("monitorCondition")?.unwrap_or("Fired");
    if condition.eq_ignore_ascii_case("Resolved") {
        out.resolved += 1;
        return Ok(());
    }
    if !condition.eq_ignore_ascii_case("Fired") {
        let shown = safe_short(condition, 40);
        return Err(AlertError::Wrong(format!(
            "{} is {shown:?}; azmend knows Fired and Resolved",
            essentials.path("monitorCondition")
        )));
    }
    let at = essentials.text("firedDateTime")?.and_then(|text| text.parse().ok());
    let context = data.object("alertContext")?;
    let found = Found::of(&essentials, context.as_ref())?;
    let code = essentials.text("description").ok().flatten().and_then(code_of);
    found.tell(&name, at, code, out);
    Ok(())
}

/// The error of the catalogue that a text names.
fn code_of(text: &str) -> Option<String> {
    let catalog = Catalog::get();
    catalog.by_code(text.trim()).or_else(|| catalog.by_text(text)).map(|entry| entry.code.clone())
}

/// What an alert or an event names.
#[derive(Debug, Default)]
struct Found {
    vms: Vec<ResourceId>,
    item: Option<ResourceId>,
    vault: Option<ResourceId>,
    job: Option<String>,
    /// What of it azmend has nothing to do with.
    other: Option<String>,
}

impl Found {
    fn of(essentials: &Place<'_>, context: Option<&Place<'_>>) -> Result<Self, AlertError> {
        let mut found = Self::default();
        for (index, text) in essentials.texts("alertTargetIDs")?.into_iter().enumerate().take(MOST) {
            found.target(&id_of(text, &format!("{}[{index}]", essentials.path("alertTargetIDs")))?);
        }
        // Names for people, or the ids of what sends the data: only ids of VMs say something.
        for text in essentials.texts("configurationItems").unwrap_or_default().into_iter().take(MOST) {
            found.vms.extend(ResourceId::parse(text).ok().filter(|id| id.is_type(VM)));
        }
        if let Some(context) = context {
            found.context(context)?;
        }
        Ok(found)
    }

    /// Something that an alert is on.
    fn target(&mut self, id: &ResourceId) {
        if id.is_type(VM) {
            self.vms.push(id.clone());
        } else if id.is_type("Microsoft.RecoveryServices/vaults") {
            self.vault = Some(id.clone());
        } else {
            self.other = Some(id.resource_type());
        }
    }

    fn context(&mut self, context: &Place<'_>) -> Result<(), AlertError> {
        let extended = context.object("extendedInfo")?;
        self.job = match &extended {
            Some(extended) => extended.text("jobId")?,
            None => None,
        }
        .or(context.text("jobId")?)
        .map(str::to_owned);
        if let Some(item) = context.id("protectedItemId")? {
            self.backup_item(&item);
        }
        if let Some(source) = context.id("sourceId")? {
            // `.../virtualMachines/NAME/providers/Microsoft.RecoveryServices/backupProtectedItem/ITEM`, or the VM itself.
            let of = source.as_str().rsplit('/').next().unwrap_or_default();
            let inside = source.is_type("Microsoft.RecoveryServices/backupProtectedItem");
            if inside && self.item.is_none() && !of.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("VM;")) {
                self.other = Some(format!("the backup of {:?} in a VM", safe_short(of, 80)));
            }
            self.vms.extend(vm_of(&source));
        }
        if let Some(linked) = context.id("linkedResourceId")? {
            self.vms.extend(vm_of(&linked));
        }
        self.dimensions(context);
        Ok(())
    }

    /// Metric alerts on a vault name the VM in a dimension (Microsoft.RecoveryServices/vaults: `dataSourceURL`).
    fn dimensions(&mut self, context: &Place<'_>) {
        let Ok(Some(condition)) = context.object("condition") else { return };
        let all = condition.get("allOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let dimensions = all.iter().take(MOST).filter_map(|one| one.get("dimensions")?.as_array()).flatten();
        for dimension in dimensions.take(MOST) {
            if let Some(id) =
                dimension.get("value").and_then(Value::as_str).and_then(|text| ResourceId::parse(text).ok())
            {
                self.vms.extend(vm_of(&id));
            }
        }
    }

    /// A backup item: of a VM, or of something that azmend does not repair (a database in a VM, a file share).
    fn backup_item(&mut self, item: &ResourceId) {
        let container = item.segment("protectionContainers").unwrap_or_default().to_lowercase();
        if item.is_type(ITEM) && container.starts_with("iaasvmcontainer") {
            self.item = Some(item.clone());
            self.vault = item.up_to("vaults").or(self.vault.take());
        } else {
            self.other = Some(format!("the backup item {:?}", safe_short(item.name(), 80)));
        }
    }

    /// Writes down what it comes to.
    fn tell(mut self, name: &str, at: Option<jiff::Timestamp>, code: Option<String>, out: &mut Alerts) {
        self.vms.sort_by(|a, b| a.key().cmp(b.key()));
        self.vms.dedup();
        if let Some(other) = self.other.filter(|_| self.item.is_none()) {
            out.other.push(format!("{name:?} is about {other}, not about the backup of a VM"));
            return;
        }
        let job = self.job.zip(self.vault.clone()).and_then(|(job, vault)| match ResourceId::parse(&job) {
            Ok(id) => Some(id).filter(|id| id.is_type(JOB)),
            Err(_) => vault.child("backupJobs", &job).ok(),
        });
        let alert = |about| Alert { about, job: job.clone(), name: name.to_owned(), at, code: code.clone() };
        match (self.vms.is_empty(), self.item, &job) {
            (false, ..) => self.vms.into_iter().for_each(|vm| add(out, alert(About::Vm(vm)))),
            (true, Some(item), _) => add(out, alert(About::Item(item))),
            (true, None, Some(id)) => add(out, alert(About::Job(id.clone()))),
            (true, None, None) => out.other.push(match self.vault {
                Some(vault) => format!("{name:?} is about the vault {} and names no VM and no job", vault.name()),
                None => format!("{name:?} names no VM, no backup item and no job"),
            }),
        }
    }
}

/// The VM that an id is of, or is below.
fn vm_of(id: &ResourceId) -> Option<ResourceId> {
    id.up_to("virtualMachines").filter(|id| id.is_type(VM))
}

fn event(place: &Place<'_>, out: &mut Alerts) -> Result<(), AlertError> {
    let kind = match place.text("eventType")? {
        Some(kind) => kind,
        None => place.text("type")?.unwrap_or_default(),
    };
    let name = safe_short(kind, 120);
    if kind.eq_ignore_ascii_case("Microsoft.EventGrid.SubscriptionValidationEvent") {
        out.other.push(
            "it is Event Grid's validation of a new subscription, not an event: the endpoint has to answer it"
                .to_owned(),
        );
        return Ok(());
    }
    let at = match place.text("eventTime")? {
        Some(at) => Some(at),
        None => place.text("time")?,
    };
    let data = place.object("data")?;
    let info = data.as_ref().map(|data| data.object("resourceInfo")).transpose()?.flatten();
    let ids = [
        data.as_ref().map(|data| data.text("resourceUri")).transpose()?.flatten(),
        info.as_ref().map(|info| info.text("id")).transpose()?.flatten(),
        place.text("subject")?,
    ];
    let mut found = Found::default();
    for id in ids.into_iter().flatten().filter_map(|text| ResourceId::parse(text).ok()) {
        if id.segment("protectedItems").is_some() {
            found.backup_item(&id.up_to("protectedItems").unwrap_or(id));
        } else if id.is_type(JOB) {
            found.vault = id.up_to("vaults");
            found.job = Some(id.as_str().to_owned());
        } else if let Some(vm) = vm_of(&id) {
            found.vms.push(vm);
        } else if found.vms.is_empty() && found.item.is_none() && found.other.is_none() {
            found.other = Some(id.resource_type());
        }
    }
    if !found.vms.is_empty() || found.job.is_some() {
        found.other = found.other.filter(|other| other.starts_with("the backup"));
    }
    // What succeeded asks for nothing: the events of subscriptions end in Success, Failure or Cancel.
    if kind.to_ascii_lowercase().ends_with("success") {
        out.other.push(format!("{name:?} reports a success: nothing has to be repaired"));
        return Ok(());
    }
    found.tell(&name, at.and_then(|at| at.parse().ok()), None, out);
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
