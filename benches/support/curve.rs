//! Curves: what is measured at some points, as JSON and as text.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::figures::{short, short_count, spread};

/// One figure as a function of another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// Of the file and the flag.
    pub(crate) name: String,
    pub(crate) title: String,
    /// With their units.
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    /// Names of the places 0, 1, … on the x axis; none for a logarithmic axis.
    pub(crate) x_names: Vec<String>,
    pub(crate) log_y: bool,
    pub(crate) series: Vec<Series>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// The rounds at one place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// Medians of what explains the figure.
    pub(crate) facts: BTreeMap<String, f64>,
}

/// One round at one place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    pub(crate) facts: Vec<(&'static str, f64)>,
}

impl Point {
    pub(crate) fn of(x: f64, rounds: &[Sample]) -> Self {
        let [median, lowest, highest] = spread(rounds.iter().map(|round| round.value));
        let mut by_name: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, value) in rounds.iter().flat_map(|round| &round.facts) {
            by_name.entry((*name).to_owned()).or_default().push(*value);
        }
        let facts = by_name.into_iter().map(|(name, values)| (name, spread(values.into_iter())[0])).collect();
        Self { x, median, lowest, highest, facts }
    }
}

/// Something to measure at one place of one series.
pub(crate) struct Job<'a> {
    pub(crate) series: String,
    pub(crate) x: f64,
    pub(crate) run: Box<dyn FnMut() -> Sample + 'a>,
}

impl<'a> Job<'a> {
    pub(crate) fn new(series: impl Into<String>, x: f64, run: impl FnMut() -> Sample + 'a) -> Self {
        Self { series: series.into(), x, run: Box::new(run) }
    }
}

/// Runs the jobs in turn, `rounds` times, so that other load on the machine affects all of them.
pub(crate) fn take_turns(mut jobs: Vec<Job<'_>>, rounds: usize) -> Vec<Series> {
    let mut samples: Vec<Vec<Sample>> = jobs.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (job, samples) in jobs.iter_mut().zip(&mut samples) {
            super::process::check_signals();
            samples.push((job.run)());
        }
    }
    let mut all: Vec<Series> = Vec::new();
    for (job, samples) in jobs.iter().zip(&samples) {
        let point = Point::of(job.x, samples);
        match all.iter_mut().find(|series| series.name == job.series) {
            Some(series) => series.points.push(point),
            None => all.push(Series { name: job.series.clone(), points: vec![point] }),
        }
    }
    all
}

impl Curve {
    /// The label of a place on the x axis.
    pub(crate) fn x_name(&self, x: f64) -> String {
        let place = x as usize;
        if self.x_names.is_empty() { short_count(x) } else { self.x_names[place].clone() }
    }

    /// This and the series that only an older one has.
    fn with_others_of(mut self, older: &Self) -> Self {
        let is_new = |series: &Series| self.series.iter().all(|own| own.name != series.name);
        let others: Vec<Series> = older.series.iter().filter(|series| is_new(series)).cloned().collect();
        self.series.extend(others);
        self
    }

    /// A table of all series.
    pub(crate) fn print(&self) {
        println!("\n{} ({}, by {})", self.title, self.y_label, self.x_label);
        for series in &self.series {
            println!("  {}", series.name);
            for point in &series.points {
                let facts: Vec<String> =
                    point.facts.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
                let [median, lowest, highest] = [point.median, point.lowest, point.highest].map(short);
                let range = format!("({lowest} to {highest})");
                let x = self.x_name(point.x);
                println!("    {x:>24} {median:>9} {range:<22} {}", facts.join(", "));
            }
        }
    }
}

/// The file of a bench's figures.
pub(crate) fn figures_file(bench: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name(format!("{bench}.json"))
}

/// The curves of a file; none if there is none.
pub(crate) fn read_curves(bench: &str) -> Vec<Curve> {
    let text = fs::read_to_string(figures_file(bench)).unwrap_or_default();
    let mut value: Value = serde_json::from_str(&text).unwrap_or_default();
    serde_json::from_value(value["curves"].take()).unwrap_or_default()
}

/// Writes curves to the file of the bench. Curves and series of other names in it stay.
pub(crate) fn write_curves(bench: &str, about: &Value, curves: Vec<Curve>) {
    let mut all = read_curves(bench);
    for curve in curves {
        match all.iter_mut().find(|other| other.name == curve.name) {
            Some(other) => *other = curve.with_others_of(other),
            None => all.push(curve),
        }
    }
    let file = figures_file(bench);
    let text = serde_json::to_string_pretty(&json!({ "about": about, "curves": all })).unwrap();
    fs::write(&file, text).unwrap();
    println!("\n{}", file.display());
}
