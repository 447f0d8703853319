//! Dry runs: what a list would become.

use std::fmt::Write as _;
use std::sync::Arc;

use hyper::body::Incoming;

use crate::domain::settings::PoolName;
use crate::engine::operations::preview::Preview;
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::calls::{Api, Reply, upload};
use crate::http::request::number_list::Source;
use crate::http::response::json::{self, push_first_invalid, quoted};
use crate::numbers::list::survey::{Sample, Survey};

/// What a new pool would contain.
pub(super) async fn of_new_pool(
    api: Arc<Api>,
    actor: Actor,
    name: PoolName,
    source: Source,
    body: Incoming,
) -> Reply {
    let engine = Arc::clone(&api.engine);
    let source = source.surveyed();
    let preview = upload(&api, &actor, body, move |input| Ok(engine.preview(source.over(input))?)).await?;
    let text = format!("{{\"pool\":{},\"dry_run\":true,", quoted(name.as_str()));
    Ok(json::ok_json(report(text, &preview)))
}

/// What an addition to a pool would contain.
pub(super) async fn of_addition(
    api: Arc<Api>,
    actor: Actor,
    pool: Arc<Pool>,
    source: Source,
    body: Incoming,
) -> Reply {
    let source = source.surveyed();
    let preview = upload(&api, &actor, body, move |input| Ok(pool.preview(source.over(input))?)).await?;
    let existing = preview.loaded.numbers - preview.missing;
    let text = format!("{{\"added\":{},\"existing\":{existing},\"dry_run\":true,", preview.missing);
    Ok(json::ok_json(report(text, &preview)))
}

/// The rest of an answer that begins with `text`.
fn report(mut text: String, preview: &Preview) -> String {
    let loaded = &preview.loaded;
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\"numbers\":{},\"duplicates\":{},\"invalid\":{}",
        loaded.numbers, loaded.duplicates, loaded.invalid
    );
    push_first_invalid(&mut text, &loaded.first_invalid);
    let _ = write!(text, ",\"first\":{},\"last\":{}", preview.first, preview.last);
    let codes = preview.country_codes.iter().map(|(code, numbers)| {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        format!("\"{code}\":{numbers}")
    });
    let _ = write!(text, ",\"country_codes\":{{{}}}", codes.collect::<Vec<_>>().join(","));
    if let Some(survey) = &loaded.survey {
        push_survey(&mut text, survey);
    }
    text.push('}');
    text
}

fn push_survey(text: &mut String, survey: &Survey) {
    let lengths = survey.lengths().map(|(digits, lines)| format!("\"{digits}\":{lines}"));
    let samples = survey.samples().into_iter().map(sample);
    let odd = survey.oddities().into_iter().map(|sentence| quoted(&sentence));
    let _ = write!(
        text,
        ",\"lengths\":{{{}}},\"samples\":[{}],\"odd\":[{}]",
        lengths.collect::<Vec<_>>().join(","),
        samples.collect::<Vec<_>>().join(","),
        odd.collect::<Vec<_>>().join(",")
    );
}

fn sample(Sample { line, text, range }: &Sample) -> String {
    format!(
        "{{\"line\":{line},\"text\":{},\"first\":{},\"last\":{}}}",
        quoted(text),
        range.first(),
        range.last()
    )
}
