//! `GET /openapi.json` against the daemon: the document is valid, it names exactly the calls, parameters, fields,
//! problems and limits of the code, and what the daemon answers is what it says.

#![allow(clippy::unwrap_used)]

mod answers;
mod code;
mod document;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use document::Document;
use serde_json::Value;
use support::Server;

#[test]
fn the_daemon_serves_it() {
    let server = Server::start();
    let answer = server.call("GET", "/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json(), *Document::load().root());
}

#[test]
fn it_is_valid_openapi_whose_schemas_are_valid_and_whose_examples_fit() {
    let document = Document::load();
    // The official schema of OpenAPI 3.1 (Apache-2.0), which leaves the schemas in a document to JSON Schema.
    let official = serde_json::from_str(include_str!("openapi-3.1.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&official).unwrap();
    let faults: Vec<_> = validator.iter_errors(document.root()).map(|e| e.to_string()).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let schemas = document.schemas();
    assert!(schemas.len() > 100, "only {} schemas found", schemas.len());
    for pointer in &schemas {
        let schema = document.at(pointer);
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|e| panic!("{pointer}: {e}"));
    }
    let examples = document.examples();
    assert!(examples.len() > 50, "only {} examples found", examples.len());
    for (schema, example) in &examples {
        document.check(schema, example).unwrap_or_else(|e| panic!("example of {schema}: {e}"));
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = Document::load();
    let used = document.references();
    for pointer in &used {
        assert!(document.root().pointer(pointer).is_some(), "{pointer} is not there");
    }
    // What belongs to no call: paths and methods that there are not.
    let alone = [
        "/components/responses/NotFound",
        "/components/responses/MethodNotAllowed",
        // Named by `security`, not by a reference.
        "/components/securitySchemes/token",
    ];
    let unused: Vec<_> = document.components().into_iter().filter(|name| !used.contains(name)).collect();
    assert_eq!(unused.iter().map(String::as_str).collect::<BTreeSet<_>>(), alone.into());
}

#[test]
fn it_has_every_call_of_the_code_and_none_else() {
    let document = Document::load();
    let documented: BTreeSet<_> =
        document.operations().map(|operation| format!("{} {}", operation.method, operation.path)).collect();
    assert_eq!(documented, code::calls());
    let names = document.at("/components/schemas/Stats/properties/requests/propertyNames/enum");
    let names: BTreeSet<_> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, allotd::http::counters::requests::Call::ALL.iter().map(|call| call.as_str()).collect());
}

#[test]
fn every_call_in_it_is_answered() {
    let document = Document::load();
    let server = Server::with_pool("", "79033100626");
    for operation in document.operations() {
        let path = operation.example_path().replace("demo", "ru");
        let answer = server.call(operation.method, &path);
        // The members of a cluster answer them: tests/cluster.
        let of_clusters = operation.path.starts_with("/v1/cluster");
        assert!(!of_clusters || answer.json()["detail"].as_str().unwrap().contains("stands alone"));
        let nowhere = !of_clusters && answer.status == 404 && answer.problem().1 == "not_found";
        assert!(!nowhere && answer.status != 405, "{} {path}: {}", operation.method, answer.status);
    }
}

#[test]
fn other_methods_and_paths_are_refused_as_it_says() {
    let document = Document::load();
    let server = Server::with_pool("", "79033100626");
    let fits = |response: &str, answer: &support::Answer| {
        let schema = format!("/components/responses/{response}/content/application~1problem+json/schema");
        document.check(&schema, &answer.json()).unwrap();
    };
    let mut methods: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for operation in document.operations() {
        let known = methods.entry(operation.example_path().replace("demo", "ru")).or_default();
        known.insert(operation.method);
        if operation.method == "GET" {
            known.insert("HEAD");
        }
    }
    for (path, methods) in methods {
        let answer = server.call("TRACE", &path);
        fits("MethodNotAllowed", &answer);
        assert_eq!(answer.header("allow").unwrap().split(", ").collect::<BTreeSet<_>>(), methods, "{path}");
    }
    fits("NotFound", &server.call("GET", "/v1/pools/ru/holders/c/d"));
}

#[test]
fn every_problem_of_the_code_is_in_it_with_its_status_and_none_else() {
    let document = Document::load();
    let problems = code::problems();
    let in_code: BTreeSet<_> = problems.keys().cloned().collect();
    assert_eq!(document.codes("/components/schemas/Problem"), in_code);
    let refusals = document.at("/components/schemas/Stats/properties/refusals/propertyNames/enum");
    let refusals: BTreeSet<_> =
        refusals.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert_eq!(refusals, in_code);
    let mut of_calls = BTreeSet::from(["not_found".to_owned(), "method_not_allowed".to_owned()]);
    for operation in document.operations() {
        for (status, response) in operation.responses() {
            let Some(schema) = document.media_type(&response, "application/problem+json") else { continue };
            for code in document.codes(&schema) {
                assert_eq!(problems[&code].0.to_string(), status, "{code} of {response}");
                of_calls.insert(code);
            }
        }
    }
    assert_eq!(of_calls, in_code);
    for (schema, example) in document.examples() {
        let Some(code) = example.get("code").and_then(|code| code.as_str()) else { continue };
        assert_eq!(example["title"], problems[code].1, "example of {schema}");
    }
}

#[test]
fn each_call_that_needs_a_token_says_how_it_is_refused_without_one() {
    let document = Document::load();
    // See `auth`: these need none, and have no limit of requests.
    let open = ["/healthz", "/readyz", "/"];
    for operation in document.operations().filter(|operation| !open.contains(&operation.path)) {
        let statuses: BTreeSet<_> = operation.responses().into_iter().map(|(status, _)| status).collect();
        for status in ["401", "403", "429"] {
            assert!(statuses.contains(status), "{} {}: {status}", operation.method, operation.path);
        }
    }
}

#[test]
fn its_limits_are_those_of_the_code() {
    let document = Document::load();
    for (pointer, limit) in code::limits() {
        assert_eq!(*document.at(pointer), limit, "{pointer}");
    }
    for (parameter, default) in code::defaults() {
        let description = document.at(&format!("{parameter}/description")).as_str().unwrap();
        assert!(
            description.ends_with(&format!("`{default}` if it is left out.")),
            "{parameter}: {description}"
        );
    }
}

/// What makes generators leave calls out, or make clients that cannot read a number or do not compile.
#[test]
fn generators_make_whole_clients_of_it() {
    let document = Document::load();
    for pointer in document.schemas() {
        let schema = document.at(&pointer);
        let is_integer = |kind: &serde_json::Value| kind == "integer";
        let kinds = &schema["type"];
        if is_integer(kinds) || kinds.as_array().is_some_and(|kinds| kinds.iter().any(is_integer)) {
            assert_eq!(schema["format"], "int64", "{pointer}");
        }
        let members = schema.as_object().map_or(0, serde_json::Map::len);
        assert!(schema.get("$ref").is_none() || members == 1, "{pointer} has members beside $ref");
        assert!(schema.get("default").is_none(), "{pointer} has a default, which clients would send");
    }
    let mut ids = BTreeSet::new();
    for operation in document.operations() {
        let id = operation.id();
        let (verb, noun) = id.split_once('_').unwrap_or((&id, ""));
        assert!(!verb.is_empty() && !noun.is_empty(), "{id} is no verb with a noun");
        assert!(ids.insert(id.clone()), "{id} is there twice");
    }
}

#[test]
fn its_parameters_and_fields_are_those_that_the_daemon_names() {
    let document = Document::load();
    let server = Server::with_pool("", "79033100626");
    let listed =
        |names: &mut dyn Iterator<Item = &str>| -> BTreeSet<String> { names.map(str::to_owned).collect() };
    for operation in document.operations() {
        let path = operation.example_path().replace("demo", "ru");
        let answer = server.send(operation.method, &format!("{path}?zz=1"), "application/json", "");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("\"zz\" is not a parameter"), "{} {path}: {detail}", operation.method);
        let names = detail.split_once(": give ").map_or("", |(_, names)| names);
        let mut names = names.split(", ").filter(|name| !name.is_empty());
        assert_eq!(operation.query_parameters(), listed(&mut names), "{path}");
        let Some(schema) = operation.json_request() else { continue };
        let answer = server.send(operation.method, &path, "application/json", "{\"zz\":1}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("unknown field `zz`"), "{path}: {detail}");
        let (_, names) = detail.split_once("expected ").unwrap();
        assert_eq!(document.fields(&schema), listed(&mut names.split('`').skip(1).step_by(2)), "{path}");
    }
}

#[test]
fn null_is_refused_where_it_has_none() {
    let document = Document::load();
    let server = Server::with_pool("", "79033100626");
    let mut refused = 0;
    // The members of a cluster answer those calls.
    for operation in document.operations().filter(|operation| !operation.path.starts_with("/v1/cluster")) {
        let Some(schema) = operation.json_request() else { continue };
        let path = operation.example_path().replace("demo", "ru");
        for member in document.members(&schema) {
            let mut body = operation.json_example().clone();
            let (object, name) = member.rsplit_once('/').unwrap();
            let Some(Value::Object(members)) = body.pointer_mut(object) else { continue };
            members.insert(name.to_owned(), Value::Null);
            if document.check(&schema, &body).is_ok() {
                continue;
            }
            let answer = server.send(operation.method, &path, "application/json", &body.to_string());
            assert_eq!(answer.status, 400, "{path} takes {body}: {}", answer.body);
            // Refused as a body, not for what else it says.
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with("The body is refused: "), "{path} of {body}: {detail}");
            refused += 1;
        }
    }
    assert!(refused > 30, "only {refused} members were tried");
}
