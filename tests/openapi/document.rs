//! The document, and the places in it. A place is named by a JSON pointer such as `/components/schemas/Lease`.

use std::collections::BTreeSet;

use serde_json::Value;

/// The document. In it an object whose schema lists its properties may have no others.
pub(crate) struct Document {
    root: Value,
    strict: Value,
}

/// A method of a path.
pub(crate) struct Operation<'a> {
    document: &'a Document,
    pub(crate) path: &'a str,
    pub(crate) method: &'static str,
    pointer: String,
}

const METHODS: [(&str, &str); 5] =
    [("get", "GET"), ("put", "PUT"), ("post", "POST"), ("patch", "PATCH"), ("delete", "DELETE")];

/// A part of a pointer: RFC 6901.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Document {
    pub(crate) fn load() -> Self {
        let root: Value = serde_json::from_str(include_str!("../../src/http/openapi.json")).unwrap();
        let mut strict = root.clone();
        close_objects(&mut strict);
        Self { root, strict }
    }

    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// What is at a pointer, wherever references lead.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        let place = self.find(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"));
        self.root.pointer(&place).unwrap()
    }

    /// The pointer without references on its way.
    fn find(&self, pointer: &str) -> Option<String> {
        let mut place = String::new();
        for part in pointer.split('/').skip(1) {
            place = format!("{}/{part}", self.follow(place));
            self.root.pointer(&place)?;
        }
        Some(place)
    }

    /// Follows a reference that is a place's only member.
    pub(crate) fn follow(&self, place: String) -> String {
        let value = self.root.pointer(&place).unwrap();
        match value["$ref"].as_str() {
            Some(target) if value.as_object().is_some_and(|members| members.len() == 1) => {
                target.strip_prefix('#').unwrap().to_owned()
            }
            _ => place,
        }
    }

    /// Why a value does not fit the schema at a pointer.
    pub(crate) fn check(&self, pointer: &str, value: &Value) -> Result<(), String> {
        let place = self.find(pointer).ok_or_else(|| format!("no schema at {pointer}"))?;
        let mut schema = self.strict.clone();
        schema["$ref"] = format!("#{}", place.replace('{', "%7B").replace('}', "%7D")).into();
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| error.to_string())?;
        let faults: Vec<_> =
            validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        if faults.is_empty() { Ok(()) } else { Err(format!("{} in {value}", faults.join("; "))) }
    }

    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.root["paths"].as_object().unwrap();
        paths.iter().flat_map(move |(path, item)| {
            let methods = METHODS.into_iter().filter(|(key, _)| item.get(key).is_some());
            methods.map(move |(key, method)| Operation {
                document: self,
                path,
                method,
                pointer: format!("/paths/{}/{key}", escaped(path)),
            })
        })
    }

    /// The schema of a media type of a response or a request body.
    pub(crate) fn media_type(&self, pointer: &str, media_type: &str) -> Option<String> {
        self.find(&format!("{pointer}/content/{}/schema", escaped(media_type)))
    }

    /// The problem codes that a schema lets through.
    pub(crate) fn codes(&self, schema: &str) -> BTreeSet<String> {
        let codes = self.codes_in(schema);
        assert!(!codes.is_empty(), "no code in {schema}");
        codes
    }

    /// As [`Self::codes`]; none if the schema says nothing of codes.
    fn codes_in(&self, schema: &str) -> BTreeSet<String> {
        let value = self.at(schema);
        if let Some(codes) = value["properties"]["code"]["enum"].as_array() {
            return codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
        }
        if let Some(target) = value["$ref"].as_str() {
            return self.codes_in(target.strip_prefix('#').unwrap());
        }
        let parts = ["oneOf", "allOf"].into_iter().flat_map(|key| {
            let count = value[key].as_array().map_or(0, Vec::len);
            (0..count).map(move |index| format!("{schema}/{key}/{index}"))
        });
        parts.flat_map(|part| self.codes_in(&part)).collect()
    }

    /// Where in a value of a schema there can be members, as pointers into the value. Of an array the first item.
    pub(crate) fn members(&self, schema: &str) -> Vec<String> {
        let value = self.at(schema);
        if let Some(target) = value["$ref"].as_str() {
            return self.members(target.strip_prefix('#').unwrap());
        }
        let below = |schema: String, name: &str| {
            let deeper = self.members(&schema).into_iter();
            deeper.map(|rest| format!("/{name}{rest}")).collect::<Vec<_>>()
        };
        let mut found = Vec::new();
        for name in value["properties"].as_object().into_iter().flat_map(|members| members.keys()) {
            found.push(format!("/{}", escaped(name)));
            found.extend(below(format!("{schema}/properties/{}", escaped(name)), &escaped(name)));
        }
        if value.get("items").is_some() {
            found.extend(below(format!("{schema}/items"), "0"));
        }
        for key in ["oneOf", "anyOf", "allOf"] {
            let parts = 0..value[key].as_array().map_or(0, Vec::len);
            found.extend(parts.flat_map(|part| self.members(&format!("{schema}/{key}/{part}"))));
        }
        found
    }

    /// The names of an object's properties.
    pub(crate) fn fields(&self, schema: &str) -> BTreeSet<String> {
        self.at(&format!("{schema}/properties")).as_object().unwrap().keys().cloned().collect()
    }

    /// Where schemas are.
    pub(crate) fn schemas(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.root, "", &mut |pointer, _| {
            if pointer.ends_with("/schema") || parent(pointer) == "/components/schemas" {
                found.push(pointer.to_owned());
            }
        });
        found
    }

    /// Every example, and the pointer to its schema.
    pub(crate) fn examples(&self) -> Vec<(String, &Value)> {
        let mut found = Vec::new();
        walk(&self.root, "", &mut |pointer, value| {
            if let Some(example) = value.get("example") {
                found.push((format!("{pointer}/schema"), example));
            }
            match value.get("examples") {
                Some(Value::Array(examples)) => {
                    found.extend(examples.iter().map(|example| (pointer.to_owned(), example)));
                }
                Some(Value::Object(examples)) => {
                    let values = examples.values().map(|example| &example["value"]);
                    found.extend(values.map(|example| (format!("{pointer}/schema"), example)));
                }
                _ => {}
            }
        });
        found
    }

    /// Pointers that anything refers to.
    pub(crate) fn references(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        walk(&self.root, "", &mut |_, value| {
            if let Some(target) = value.get("$ref").and_then(Value::as_str) {
                found.insert(target.strip_prefix('#').unwrap().to_owned());
            }
        });
        found
    }

    /// Pointers of all components.
    pub(crate) fn components(&self) -> Vec<String> {
        let kinds = self.root["components"].as_object().unwrap();
        let names = |(kind, all): (&String, &Value)| -> Vec<String> {
            let names = all.as_object().unwrap().keys();
            names.map(|name| format!("/components/{kind}/{name}")).collect()
        };
        kinds.iter().flat_map(names).collect()
    }
}

impl Operation<'_> {
    /// What generated clients call it.
    pub(crate) fn id(&self) -> String {
        self.document.at(&format!("{}/operationId", self.pointer)).as_str().unwrap().to_owned()
    }

    /// The path with its parameters' examples in it.
    pub(crate) fn example_path(&self) -> String {
        let mut path = self.path.to_owned();
        let all = self.document.root["components"]["parameters"].as_object().unwrap();
        for parameter in all.values().filter(|parameter| parameter["in"] == "path") {
            let name = parameter["name"].as_str().unwrap();
            let example = parameter["example"].to_string();
            path = path.replace(&format!("{{{name}}}"), example.trim_matches('"'));
        }
        path
    }

    /// Status and pointer of each response.
    pub(crate) fn responses(&self) -> Vec<(String, String)> {
        let pointer = format!("{}/responses", self.pointer);
        let statuses = self.document.at(&pointer).as_object().unwrap().keys();
        statuses.map(|status| (status.clone(), format!("{pointer}/{status}"))).collect()
    }

    /// The names of its query parameters.
    pub(crate) fn query_parameters(&self) -> BTreeSet<String> {
        let pointer = format!("{}/parameters", self.pointer);
        let count = self.document.root.pointer(&pointer).and_then(Value::as_array).map_or(0, Vec::len);
        let parameters = (0..count).map(|index| {
            let place = self.document.follow(format!("{pointer}/{index}"));
            self.document.at(&place)
        });
        let of_query = parameters.filter(|parameter| parameter["in"] == "query");
        of_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The schema of its JSON body, if it has one.
    pub(crate) fn json_request(&self) -> Option<String> {
        self.document.media_type(&format!("{}/requestBody", self.pointer), "application/json")
    }

    /// The example of its JSON body.
    pub(crate) fn json_example(&self) -> &Value {
        self.document.at(&format!("{}/requestBody/content/application~1json/example", self.pointer))
    }
}

fn parent(pointer: &str) -> &str {
    pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Visits every object but what is in examples.
fn walk<'a>(value: &'a Value, pointer: &str, visit: &mut impl FnMut(&str, &'a Value)) {
    match value {
        Value::Object(members) => {
            visit(pointer, value);
            for (name, member) in members {
                if !matches!(name.as_str(), "example" | "examples") {
                    walk(member, &format!("{pointer}/{}", escaped(name)), visit);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{pointer}/{index}"), visit);
            }
        }
        _ => {}
    }
}

/// Lets no object have a property that its schema does not name.
fn close_objects(value: &mut Value) {
    if let Some(items) = value.as_array_mut() {
        items.iter_mut().for_each(close_objects);
    }
    let Some(members) = value.as_object_mut() else { return };
    members.values_mut().for_each(close_objects);
    let lists_properties = members.get("properties").is_some_and(Value::is_object);
    // A schema that is called "properties" is none of these.
    let is_schema = members.get("type").is_some_and(|kind| kind == "object") || members.contains_key("$ref");
    if lists_properties && is_schema && !members.contains_key("additionalProperties") {
        members.insert("unevaluatedProperties".to_owned(), false.into());
    }
}
