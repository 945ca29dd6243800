//! Compares the guard's verdicts on client messages with those of the official schemas.
//!
//! The official files are not part of this repository. They are looked for in `$MCP_SCHEMAS`, then as
//! `shared/mcp-schemas` beside any parent folder. Without them the test says that it skips, and with
//! `MCP_GUARD_REQUIRE_SCHEMAS=1` it fails.
//!
//! A message is officially valid if both the definition of its method and that of every request (or notification)
//! accept it: the older schemas declare `_meta` only in the latter. `format` is not asserted on either side.

#![expect(clippy::indexing_slicing, reason = "a test may panic; indexing a Value yields null where there is nothing")]
#![expect(clippy::print_stdout, reason = "the counts are the evidence that something was compared")]

#[path = "official_schemas/samples.rs"]
mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use mcp_guard::call::{Kind, Method};
use mcp_guard::json::Tape;
use mcp_guard::limits::JSON_DEPTH_MAX;
use mcp_guard::revision::Revision;
use mcp_guard::validation::messages::{MessageFault, MessageSchemas, params_may_be_absent};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error>>;

/// Two mutations at once, drawn for each sample.
const DOUBLE_MUTATIONS: usize = 400;

#[test]
fn every_client_method_of_the_official_schemas_is_known_and_no_other() -> Outcome {
    let Some(folder) = schemas()? else { return Ok(()) };
    for revision in Revision::ALL {
        let official: BTreeSet<_> = Official::read(&folder, revision)?.methods.into_keys().collect();
        // Tasks left the schema in 2026-07-28 and became an extension.
        let is_extension = |method: &str| revision.is_stateless() && method.starts_with("tasks/");
        let ours = Method::KNOWN.iter().filter(|method| !is_extension(method) && has_schema(revision, method));
        assert_eq!(ours.map(ToString::to_string).collect::<BTreeSet<_>>(), official, "{revision}");
        println!("{revision}: {} methods", official.len());
    }
    Ok(())
}

#[test]
fn every_official_example_gets_the_official_verdict() -> Outcome {
    let Some(folder) = schemas()? else { return Ok(()) };
    // The examples belong to the newest revision.
    let official = Official::read(&folder, Revision::V2026_07_28)?;
    let (mut whole, mut parts) = (0, 0);
    for (method, definition) in &official.methods {
        let examples = |suffix| read_all(&folder.join("examples").join(format!("{}{suffix}", definition.name)));
        for message in examples("")? {
            assert_eq!(message["method"], json!(method));
            assert_eq!(ours(official.revision, method, message.get("params")), Ok(()), "{message}");
            whole += 1;
        }
        for params in examples("Params")? {
            let accepted = ours(official.revision, method, Some(&params)).is_ok();
            assert_eq!(accepted, official.accepts(method, Some(&params)), "{params}");
            // Some show only what the method adds, without the `_meta` that the schema asks for.
            assert!(accepted || params.get("_meta").is_none(), "{params}");
            parts += 1;
        }
    }
    println!("{whole} examples of messages, {parts} of params");
    assert!(whole >= official.methods.len(), "a method has no example");
    Ok(())
}

#[test]
fn every_mutation_gets_the_official_verdict() -> Outcome {
    let Some(folder) = schemas()? else { return Ok(()) };
    for revision in Revision::ALL {
        let official = Official::read(&folder, revision)?;
        let mut tally = Tally::default();
        for method in official.methods.keys() {
            let samples = samples::of(revision, method);
            assert!(!samples.is_empty(), "no sample of {method}");
            compare(&official, method, None, &mut tally);
            for sample in samples {
                assert!(official.accepts(method, Some(&sample)), "not a valid {method} of {revision}: {sample}");
                compare_mutations(&official, method, &sample, &mut tally);
            }
        }
        for stranger in ["x/y", "notifications/x"] {
            compare(&official, stranger, None, &mut tally);
            compare_mutations(&official, stranger, &samples::stranger(), &mut tally);
        }
        println!("{revision}: both accept {}, both refuse {}", tally.accepted, tally.refused);
        assert!(tally.accepted > 1_000 && tally.refused > 1_000, "{revision}: too few of one sort");
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
}

fn compare_mutations(official: &Official, method: &str, sample: &Value, tally: &mut Tally) {
    compare(official, method, Some(sample), tally);
    let single = mutations(sample);
    for mutation in &single {
        compare(official, method, Some(&mutation.applied(sample)), tally);
    }
    // A fixed seed: the same pairs in every run.
    let mut random = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..DOUBLE_MUTATIONS {
        let once = pick(&single, &mut random).applied(sample);
        compare(official, method, Some(&pick(&single, &mut random).applied(&once)), tally);
    }
}

fn compare(official: &Official, method: &str, params: Option<&Value>, tally: &mut Tally) {
    let expected = official.accepts(method, params);
    let ours = ours(official.revision, method, params);
    assert_eq!(ours.is_ok(), expected, "{method} of {}: {params:?}: {ours:?}", official.revision);
    if expected {
        tally.accepted += 1;
    } else {
        tally.refused += 1;
    }
}

/// One change at one place; at a place that is no longer there it changes nothing.
struct Mutation {
    pointer: String,
    change: Change,
}

enum Change {
    Drop,
    Replace(Value),
    Add(Value),
}

fn mutations(sample: &Value) -> Vec<Mutation> {
    let mut all = Vec::new();
    for pointer in pointers(sample) {
        let at = |change| Mutation { pointer: pointer.clone(), change };
        all.push(at(Change::Drop));
        all.extend(samples::replacements().into_iter().map(|value| at(Change::Replace(value))));
        all.extend(samples::additions().into_iter().map(|value| at(Change::Add(value))));
    }
    all
}

impl Mutation {
    fn applied(&self, sample: &Value) -> Value {
        let mut value = sample.clone();
        match &self.change {
            Change::Replace(other) => {
                if let Some(place) = value.pointer_mut(&self.pointer) {
                    *place = other.clone();
                }
            }
            Change::Add(other) => match value.pointer_mut(&self.pointer) {
                Some(Value::Object(members)) => drop(members.insert("unknown".into(), other.clone())),
                Some(Value::Array(items)) => items.push(other.clone()),
                Some(_) | None => {}
            },
            Change::Drop => {
                let (parent, key) = self.pointer.rsplit_once('/').unwrap_or_default();
                match value.pointer_mut(parent) {
                    Some(Value::Object(members)) => drop(members.remove(&unescaped(key))),
                    Some(Value::Array(items)) => drop(items.pop()),
                    Some(_) | None => {}
                }
            }
        }
        value
    }
}

/// Where everything in `value` is, itself first.
fn pointers(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, child)| (escaped(key), child)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, child)| (at.to_string(), child)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let below =
        children.iter().flat_map(|(key, child)| pointers(child).into_iter().map(move |rest| format!("/{key}{rest}")));
    std::iter::once(String::new()).chain(below).collect()
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn unescaped(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

/// One of `items`, by xorshift64.
fn pick<'a>(items: &'a [Mutation], random: &mut usize) -> &'a Mutation {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    items.get(*random % items.len()).unwrap_or(&items[0])
}

fn kind(method: &str) -> Kind {
    if method.starts_with("notifications/") { Kind::Notification } else { Kind::Request }
}

fn ours(revision: Revision, method: &str, params: Option<&Value>) -> Result<(), MessageFault> {
    let text = params.map(Value::to_string).unwrap_or_default();
    let tape = params.and_then(|_| Tape::read(&text, JSON_DEPTH_MAX).ok());
    MessageSchemas::get().check(revision, kind(method), method, tape.as_ref().map(|tape| tape.root(&text)))
}

/// Whether the guard has a schema for `method`: then absent params are either known to be allowed, or refused.
fn has_schema(revision: Revision, method: &str) -> bool {
    params_may_be_absent(revision, method)
        || matches!(ours(revision, method, None), Err(MessageFault::ParamsInvalid(_)))
}

/// The official schema of one revision.
struct Official {
    revision: Revision,
    methods: BTreeMap<String, Definition>,
    request: Validator,
    notification: Validator,
}

struct Definition {
    name: String,
    validator: Validator,
}

impl Official {
    fn read(folder: &Path, revision: Revision) -> Result<Self, Box<dyn Error>> {
        let file: Value = serde_json::from_str(&fs::read_to_string(folder.join(format!("{revision}.json")))?)?;
        let under = if file.get("$defs").is_some() { "$defs" } else { "definitions" };
        let compile = |name: &str| -> Result<Validator, Box<dyn Error>> {
            let mut schema = file.clone();
            // Draft-07 ignores whatever stands beside a $ref; inside a branch nothing does.
            schema["allOf"] = json!([{"$ref": format!("#/{under}/{name}")}]);
            Ok(jsonschema::options().should_validate_formats(false).offline().build(&schema)?)
        };
        let mut methods = BTreeMap::new();
        for union in ["ClientRequest", "ClientNotification"] {
            for name in members(&file[under], union) {
                let method = file[under][&name]["properties"]["method"]["const"].as_str().ok_or("no method")?;
                methods.insert(method.to_owned(), Definition { validator: compile(&name)?, name });
            }
        }
        let (request, notification) = (compile("JSONRPCRequest")?, compile("JSONRPCNotification")?);
        Ok(Self { revision, methods, request, notification })
    }

    fn accepts(&self, method: &str, params: Option<&Value>) -> bool {
        let mut message = json!({"jsonrpc": "2.0", "method": method});
        if let Some(params) = params {
            message["params"] = params.clone();
        }
        let envelope = if kind(method) == Kind::Notification {
            &self.notification
        } else {
            message["id"] = json!(1);
            &self.request
        };
        envelope.is_valid(&message)
            && self.methods.get(method).is_none_or(|definition| definition.validator.is_valid(&message))
    }
}

/// The names in a union. A union of one is written as a copy of that one.
fn members(definitions: &Value, union: &str) -> Vec<String> {
    let definition = &definitions[union];
    match definition["anyOf"].as_array() {
        Some(branches) => {
            let name = |branch: &Value| Some(branch["$ref"].as_str()?.rsplit('/').next()?.to_owned());
            branches.iter().filter_map(name).collect()
        }
        None => definitions
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, other)| *name != union && other["properties"] == definition["properties"])
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

/// Every file in `folder`, if there is such a folder.
fn read_all(folder: &Path) -> Result<Vec<Value>, Box<dyn Error>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder)?.map(|entry| Ok(serde_json::from_str(&fs::read_to_string(entry?.path())?)?)).collect()
}

/// The folder of the official schemas, or `None` after saying so.
fn schemas() -> Result<Option<PathBuf>, Box<dyn Error>> {
    let named = std::env::var_os("MCP_SCHEMAS").map(PathBuf::from);
    let parents = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let beside = || parents.map(|parent| parent.join("shared/mcp-schemas")).find(|folder| folder.is_dir());
    if let Some(folder) = named.or_else(beside).filter(|folder| folder.is_dir()) {
        return Ok(Some(folder));
    }
    if std::env::var("MCP_GUARD_REQUIRE_SCHEMAS").is_ok_and(|value| value == "1") {
        return Err("no official schemas found, and MCP_GUARD_REQUIRE_SCHEMAS=1 asks for them".into());
    }
    println!("SKIPPED: no official schemas; set MCP_SCHEMAS to a folder that holds them");
    Ok(None)
}
